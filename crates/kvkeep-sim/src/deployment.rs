//! The service that kvkeep is sized for where nobody says otherwise: Qwen3-32B with an fp8
//! KV cache, tensor parallel over two GPUs with 12.58 GiB of cache each.

use kvkeep::budget::{Attention, Budget, KvDtype, KvLayout, LayoutError, Memory, PlanError, plan};

/// For the head of a report.
pub const MODEL: &str = "qwen3-32b, fp8, 2 GPUs";

const KV_BYTES_PER_GPU: u64 = 1_258 * (1 << 30) / 100;

/// What a block of `block_size` tokens takes there.
///
/// # Errors
/// There can be no such block.
pub fn layout(block_size: u32) -> Result<KvLayout, LayoutError> {
    let attention = Attention::Grouped { kv_heads: 8, head_size: 128 };
    let builder = KvLayout::builder(64, attention, KvDtype::Fp8E4m3);
    builder.tensor_parallel_size(2).block_size(block_size).build()
}

/// Its pool, for blocks of this layout.
///
/// # Errors
/// Not even one block fits.
pub fn budget(layout: &KvLayout) -> Result<Budget, PlanError> {
    plan(layout, &Memory::kv_bytes_per_gpu(KV_BYTES_PER_GPU), None)
}
