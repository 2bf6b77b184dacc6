//! The service that kvkeep is sized for where nobody says otherwise: Qwen3-32B with an fp8
//! KV cache, tensor parallel over two GPUs with 12.58 GiB of cache each.

use crate::error::Error;
use kvkeep::budget::{Attention, Budget, KvDtype, KvLayout, Memory, plan};

/// For the head of a report.
pub(crate) const MODEL: &str = "qwen3-32b, fp8, 2 GPUs";

const KV_BYTES_PER_GPU: u64 = 1_258 * (1 << 30) / 100;

/// What a block of `block_size` tokens takes there.
pub(crate) fn layout(block_size: u32) -> Result<KvLayout, Error> {
    let attention = Attention::Grouped { kv_heads: 8, head_size: 128 };
    let builder = KvLayout::builder(64, attention, KvDtype::Fp8E4m3);
    Ok(builder.tensor_parallel_size(2).block_size(block_size).build()?)
}

/// Its pool.
pub(crate) fn budget(block_size: u32) -> Result<Budget, Error> {
    Ok(plan(&layout(block_size)?, &Memory::kv_bytes_per_gpu(KV_BYTES_PER_GPU), None)?)
}
