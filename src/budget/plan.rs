//! From memory to blocks.
//!
//! The arithmetic is vLLM's, so that the two agree to the block:
//!
//! ```text
//! requested = ceil(total x gpu_memory_utilization)     must be free at start
//! kv        = requested - weights - activations - other
//! blocks    = floor(kv / bytes_per_block), the minimum over all ranks
//! ```
//!
//! `total x gpu_memory_utilization` is computed in 64-bit floats, then rounded up, because
//! vLLM (Python) does just that: the same operands give the same IEEE product, hence the
//! same byte. All other steps are integers. For memory below 2^53 bytes the product is off
//! the decimal one by less than a byte.

use super::derivation::{Derivation, Grouped, Value};
use super::derive;
use super::error::{MemoryPart, PlanError};
use super::layout::KvLayout;
use super::memory::{GpuMemory, Memory, PerRank};

/// What a KV cache holds. Made by [`plan`], for one data-parallel replica.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// Blocks of the pool: what the rank with the fewest can hold.
    pub num_blocks: u32,
    /// Tokens per block.
    pub block_size: u32,
    /// Tokens of the pool: `num_blocks * block_size`.
    pub num_tokens: u64,
    /// Bytes that a block takes on one GPU; with pipeline stages of unequal layers, on the
    /// GPUs of the stage with the most layers.
    pub bytes_per_block_per_gpu: u64,
    /// Requests of `max_model_len` tokens that fit at once (vLLM's "maximum concurrency"):
    /// blocks divided by the whole blocks that one such request needs. `None` without a
    /// `max_model_len`.
    pub max_concurrency: Option<f64>,
    /// The longest single request that fits, tokens. vLLM's own pool keeps one block aside,
    /// so that block less fits there.
    pub longest_model_len: u64,
    /// Each GPU's part, in rank order.
    pub ranks: Vec<RankBudget>,
    /// How the figures came about.
    pub derivation: Derivation,
}

impl Budget {
    /// Bytes that no block uses, on all GPUs: remainders and unevenness.
    #[must_use]
    pub fn stranded_bytes(&self) -> u128 {
        self.ranks.iter().map(|rank| u128::from(rank.stranded_bytes())).sum()
    }
}

/// One GPU's part of a [`Budget`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankBudget {
    /// The rank: stage by stage, tensor-parallel ranks inside a stage.
    pub rank: u32,
    /// Its pipeline stage.
    pub pipeline_stage: u32,
    /// Layers that it keeps KV for.
    pub layers: u32,
    /// KV cache memory, bytes.
    pub kv_bytes: u64,
    /// Bytes that a block takes here.
    pub bytes_per_block: u64,
    /// Blocks that this GPU could hold by itself.
    pub num_blocks_alone: u64,
    /// Bytes left because memory is no multiple of the block.
    pub remainder_bytes: u64,
    /// Bytes of whole blocks that this GPU could hold and another cannot.
    pub uneven_bytes: u64,
}

impl RankBudget {
    /// Bytes of KV cache memory that no block uses.
    #[must_use]
    pub const fn stranded_bytes(&self) -> u64 {
        self.remainder_bytes + self.uneven_bytes
    }
}

/// Computes the budget of one replica.
///
/// With `max_model_len` (tokens, prompt and output) the budget says how many such requests
/// fit at once, and it is an error if not even one does, as in vLLM.
///
/// # Errors
///
/// [`PlanError`]; [`PlanError::is_bad_input`] tells input that contradicts itself from a
/// sound request that does not fit.
///
/// ```
/// use kvkeep::budget::{Attention, GpuMemory, KvDtype, KvLayout, Memory, PerRank, PlanError, plan};
///
/// let attention = Attention::Grouped { kv_heads: 8, head_size: 128 };
/// let layout = KvLayout::builder(64, attention, KvDtype::Fp8E4m3)
///     .tensor_parallel_size(2)
///     .build()?;
/// let memory = Memory::Gpu(GpuMemory {
///     weights_bytes: PerRank::Same(9 << 30),
///     activation_bytes: PerRank::Same(1 << 30),
///     ..GpuMemory::new(PerRank::Each(vec![24 << 30, 20 << 30]), 0.9)
/// });
/// let budget = plan(&layout, &memory, Some(32_768))?;
/// // ceil(20 GiB x 0.9) - 10 GiB = 8 GiB bound the pool; a request takes 2,048 blocks.
/// assert_eq!(budget.num_blocks, 8_192);
/// assert_eq!(budget.max_concurrency, Some(4.0));
/// // The larger GPU strands the difference.
/// assert_eq!(budget.ranks[1].stranded_bytes(), 0);
/// assert_eq!(budget.ranks[0].uneven_bytes, 3_686 << 20); // 3,686 whole blocks of 1 MiB
///
/// assert!(matches!(
///     plan(&layout, &memory, Some(1 << 20)),
///     Err(PlanError::ModelLenDoesNotFit { longest_model_len: 131_072, .. })
/// ));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn plan(
    layout: &KvLayout,
    memory: &Memory,
    max_model_len: Option<u64>,
) -> Result<Budget, PlanError> {
    if max_model_len == Some(0) {
        return Err(PlanError::ZeroModelLen);
    }
    check_rank_counts(layout.num_ranks(), memory)?;
    let mut ranks = (0..layout.num_ranks())
        .map(|rank| rank_alone(layout, memory, rank))
        .collect::<Result<Vec<_>, _>>()?;

    let mut limiting = ranks[0];
    for rank in &ranks {
        if rank.num_blocks_alone < limiting.num_blocks_alone {
            limiting = *rank;
        }
    }
    let num_blocks = u32::try_from(limiting.num_blocks_alone)
        .map_err(|_| PlanError::TooManyBlocks { num_blocks: limiting.num_blocks_alone })?;
    for rank in &mut ranks {
        rank.uneven_bytes = (rank.num_blocks_alone - u64::from(num_blocks)) * rank.bytes_per_block;
    }

    let block_size = layout.block_size();
    let num_tokens = u64::from(num_blocks) * u64::from(block_size);
    if let Some(max_model_len) = max_model_len.filter(|length| *length > num_tokens) {
        return Err(model_len_error(max_model_len, num_blocks, num_tokens, block_size, &ranks));
    }
    let blocks_per_request = max_model_len.map(|length| length.div_ceil(u64::from(block_size)));
    let max_concurrency = blocks_per_request.map(|needed| f64::from(num_blocks) / needed as f64);

    let mut derivation = Derivation::default();
    derive::block(&mut derivation, layout, &limiting);
    derive::memory(&mut derivation, memory, &limiting);
    let even = ranks.iter().all(|rank| rank.uneven_bytes == 0);
    derive::pool(&mut derivation, layout, &limiting, num_tokens, even);
    if let (Some(length), Some(needed), Some(concurrency)) =
        (max_model_len, blocks_per_request, max_concurrency)
    {
        derivation.push(
            "blocks per full-length request",
            format!("ceil({} tokens / {block_size} tokens)", Grouped(length)),
            Value::Blocks(needed),
        );
        derivation.push(
            "full-length requests at once",
            format!("{} blocks / {} blocks", Grouped(num_blocks.into()), Grouped(needed)),
            Value::Requests(concurrency),
        );
    }

    Ok(Budget {
        num_blocks,
        block_size,
        num_tokens,
        bytes_per_block_per_gpu: ranks.iter().map(|rank| rank.bytes_per_block).max().unwrap_or(0),
        max_concurrency,
        longest_model_len: num_tokens,
        ranks,
        derivation,
    })
}

/// Every list has an entry for each rank, so that the lookups below cannot miss.
fn check_rank_counts(expected: u32, memory: &Memory) -> Result<(), PlanError> {
    let check = |part, values: &PerRank<u64>| match values {
        PerRank::Each(list) if list.len() as u64 != u64::from(expected) => {
            Err(PlanError::WrongRankCount { part, expected, found: list.len() })
        }
        _ => Ok(()),
    };
    match memory {
        Memory::KvBytes(bytes) => check(MemoryPart::Kv, bytes),
        Memory::Gpu(gpu) => {
            check(MemoryPart::Total, &gpu.total_bytes)?;
            if let Some(free) = &gpu.free_bytes {
                check(MemoryPart::Free, free)?;
            }
            check(MemoryPart::Weights, &gpu.weights_bytes)?;
            check(MemoryPart::Activations, &gpu.activation_bytes)?;
            check(MemoryPart::OtherReserved, &gpu.other_reserved_bytes)?;
            let utilization = gpu.gpu_memory_utilization;
            // Written so that NaN fails as well.
            if !(utilization > 0.0 && utilization <= 1.0) {
                return Err(PlanError::Utilization { value: utilization });
            }
            Ok(())
        }
    }
}

/// What one GPU could hold if the others did not matter.
fn rank_alone(layout: &KvLayout, memory: &Memory, rank: u32) -> Result<RankBudget, PlanError> {
    let pipeline_stage = rank / layout.tensor_parallel_size();
    let layers = layout.stage_layers(pipeline_stage).unwrap_or(0);
    // A layout has at least one layer per stage and no zero size, so this is at least 1.
    let bytes_per_block = layout.bytes_per_block_per_gpu(pipeline_stage).unwrap_or(1);
    let kv_bytes = match memory {
        Memory::KvBytes(bytes) => at(bytes, rank),
        Memory::Gpu(gpu) => left_for_kv(gpu, rank, bytes_per_block)?,
    };
    if kv_bytes < bytes_per_block {
        return Err(PlanError::NotOneBlock { rank, kv_bytes, bytes_per_block });
    }
    Ok(RankBudget {
        rank,
        pipeline_stage,
        layers,
        kv_bytes,
        bytes_per_block,
        num_blocks_alone: kv_bytes / bytes_per_block,
        remainder_bytes: kv_bytes % bytes_per_block,
        uneven_bytes: 0,
    })
}

pub(super) fn at(values: &PerRank<u64>, rank: u32) -> u64 {
    values.get(rank as usize).unwrap_or(0)
}

/// `ceil(total x utilization)`, at most `total`.
pub(super) fn requested_bytes(gpu: &GpuMemory, rank: u32) -> u64 {
    let total_bytes = at(&gpu.total_bytes, rank);
    let product = total_bytes as f64 * gpu.gpu_memory_utilization;
    // The clamp matters from 2^53 bytes on, where a float may lie above the integer.
    (product.ceil() as u64).min(total_bytes)
}

fn left_for_kv(gpu: &GpuMemory, rank: u32, bytes_per_block: u64) -> Result<u64, PlanError> {
    let total_bytes = at(&gpu.total_bytes, rank);
    let requested_bytes = requested_bytes(gpu, rank);
    let free_bytes = gpu.free_bytes.as_ref().map_or(total_bytes, |free| at(free, rank));
    if free_bytes > total_bytes {
        return Err(PlanError::MoreFreeThanTotal { rank, free_bytes, total_bytes });
    }
    let taken_bytes = at(&gpu.weights_bytes, rank)
        .saturating_add(at(&gpu.activation_bytes, rank))
        .saturating_add(at(&gpu.other_reserved_bytes, rank));
    let needed_bytes = taken_bytes.saturating_add(bytes_per_block);
    // A utilization to advise, to three digits: one that asks for enough and not for too much.
    let advice = |thousandths: f64| {
        let bytes = total_bytes as f64 * (thousandths / 1000.0);
        let is_good = bytes >= needed_bytes as f64 && bytes <= free_bytes as f64;
        is_good.then_some(thousandths / 1000.0)
    };
    let thousandths = |bytes: u64| bytes as f64 / total_bytes as f64 * 1000.0;
    // Where everything but the cache is larger than the GPU, what is free does not matter.
    if requested_bytes > free_bytes && needed_bytes <= total_bytes {
        let utilization = advice(thousandths(free_bytes).floor());
        return Err(PlanError::NotFreeAtStart { rank, requested_bytes, free_bytes, utilization });
    }
    match requested_bytes.checked_sub(taken_bytes) {
        Some(kv_bytes) if kv_bytes > 0 => Ok(kv_bytes),
        _ => Err(PlanError::NoRoom {
            rank,
            requested_bytes,
            taken_bytes,
            short_by_bytes: (taken_bytes - requested_bytes).saturating_add(bytes_per_block),
            utilization: advice(thousandths(needed_bytes).ceil()),
        }),
    }
}

fn model_len_error(
    max_model_len: u64,
    num_blocks: u32,
    longest_model_len: u64,
    block_size: u32,
    ranks: &[RankBudget],
) -> PlanError {
    let needed_blocks = max_model_len.div_ceil(u64::from(block_size));
    let short_by_bytes = ranks
        .iter()
        .map(|rank| {
            needed_blocks.saturating_mul(rank.bytes_per_block).saturating_sub(rank.kv_bytes)
        })
        .max()
        .unwrap_or(0);
    PlanError::ModelLenDoesNotFit {
        max_model_len,
        needed_blocks,
        num_blocks,
        longest_model_len,
        short_by_bytes,
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
