//! The budget: from GPU memory and a KV layout to blocks, tokens and page addresses.
//!
//! Three steps, one file each, all of them pure arithmetic:
//!
//! * [`KvLayout`] says what one token costs on one GPU: layers, KV heads, element type,
//!   tensor parallelism and pipeline stages.
//! * [`plan`] divides the memory of each GPU by that cost. The result is a [`Budget`]
//!   with its [`Derivation`], line by line.
//! * [`PageLayout`] says where the page of a block lies in a GPU's KV arena.
//!
//! **Data parallelism is not in here.** A budget is that of one replica. Replicas hold
//! independent pools: two of them do not make one pool twice as large, because a prefix
//! that is cached in one cannot be hit in the other. Tensor-parallel ranks and pipeline
//! stages, by contrast, each hold a part of *every* token, so they share one id space and
//! the rank with the fewest blocks bounds them all.
//!
//! ```
//! use kvkeep::budget::{Attention, KvDtype, KvLayout, Memory, plan};
//!
//! // Qwen3-32B with an fp8 cache on two GPUs, 12.58 GiB of KV cache on each.
//! let attention = Attention::Grouped { kv_heads: 8, head_size: 128 };
//! let layout = KvLayout::builder(64, attention, KvDtype::Fp8E4m3)
//!     .tensor_parallel_size(2)
//!     .build()?;
//! let budget = plan(&layout, &Memory::kv_bytes_per_gpu(13_507_672_145), None)?;
//! assert_eq!(budget.bytes_per_block_per_gpu, 1 << 20);
//! assert_eq!(budget.num_blocks, 12_881);
//! assert_eq!(budget.num_tokens, 206_096);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod derivation;
mod derive;
mod dtype;
mod error;
mod layout;
mod memory;
mod page;
mod page_error;
mod plan;

pub use derivation::{Derivation, Line, Value};
pub use dtype::{KvDtype, ParseKvDtypeError};
pub use error::{MemoryPart, PlanError};
pub use layout::{
    Attention, DEFAULT_BLOCK_SIZE, KvLayout, KvLayoutBuilder, LayoutError, LayoutProblem, MAX_RANKS,
};
pub use memory::{GpuMemory, Memory, PerRank};
pub use page::{BlockRuns, CopyRun, PageLayout, PageOrder, PagePart};
pub use page_error::PageError;
pub use plan::{Budget, RankBudget, plan};
