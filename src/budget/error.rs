//! Why a plan fails, and what to do about it.

use super::derivation::{Bytes, Grouped};
use std::fmt;

/// The inputs of a plan that can be given per rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemoryPart {
    /// KV cache bytes.
    Kv,
    /// GPU memory.
    Total,
    /// Free GPU memory.
    Free,
    /// Weights.
    Weights,
    /// Activations.
    Activations,
    /// Everything else.
    OtherReserved,
}

impl fmt::Display for MemoryPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kv => "KV cache memory",
            Self::Total => "GPU memory",
            Self::Free => "free GPU memory",
            Self::Weights => "weights",
            Self::Activations => "activations",
            Self::OtherReserved => "other reserved memory",
        })
    }
}

/// Why [`plan`](super::plan) has no budget to give.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum PlanError {
    /// A list does not have one entry per rank.
    WrongRankCount {
        /// Which input.
        part: MemoryPart,
        /// Ranks of the layout.
        expected: u32,
        /// Entries of the list.
        found: usize,
    },
    /// `gpu_memory_utilization` is not above 0 and at most 1.
    Utilization {
        /// The value given.
        value: f64,
    },
    /// More memory is free than there is.
    MoreFreeThanTotal {
        /// The rank.
        rank: u32,
        /// Free memory given.
        free_bytes: u64,
        /// Total memory given.
        total_bytes: u64,
    },
    /// `max_model_len` is 0.
    ZeroModelLen,
    /// The engine would ask for more memory than is free when it starts.
    NotFreeAtStart {
        /// The rank.
        rank: u32,
        /// What the utilization asks for.
        requested_bytes: u64,
        /// What is free.
        free_bytes: u64,
        /// The utilization that asks for what is free, if that leaves room for the KV cache.
        utilization: Option<f64>,
    },
    /// Weights, activations and the rest leave nothing for the KV cache.
    NoRoom {
        /// The rank.
        rank: u32,
        /// What the utilization asks for.
        requested_bytes: u64,
        /// What everything but the KV cache takes.
        taken_bytes: u64,
        /// What is missing for one block.
        short_by_bytes: u64,
        /// The utilization that leaves one block, if there is any.
        utilization: Option<f64>,
    },
    /// There is KV cache memory, but less than one block.
    NotOneBlock {
        /// The rank.
        rank: u32,
        /// KV cache memory.
        kv_bytes: u64,
        /// One block.
        bytes_per_block: u64,
    },
    /// More blocks than a `u32` block id can name.
    TooManyBlocks {
        /// Blocks that the memory holds.
        num_blocks: u64,
    },
    /// One request of `max_model_len` tokens needs more blocks than there are.
    ModelLenDoesNotFit {
        /// Tokens of one request.
        max_model_len: u64,
        /// Blocks it needs.
        needed_blocks: u64,
        /// Blocks there are.
        num_blocks: u32,
        /// The longest request that fits, tokens.
        longest_model_len: u64,
        /// Bytes missing on the GPU that bounds the blocks.
        short_by_bytes: u64,
    },
}

impl PlanError {
    /// Whether the input contradicts itself (`true`), or is sound and does not fit (`false`).
    #[must_use]
    pub const fn is_bad_input(&self) -> bool {
        matches!(
            self,
            Self::WrongRankCount { .. }
                | Self::Utilization { .. }
                | Self::MoreFreeThanTotal { .. }
                | Self::ZeroModelLen
        )
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::WrongRankCount { part, expected, found } => write!(
                f,
                "{part} lists {found} values for {expected} GPUs; give one value for all or one \
                 per GPU"
            ),
            Self::Utilization { value } => {
                write!(f, "gpu_memory_utilization is {value}; it must be above 0 and at most 1")
            }
            Self::MoreFreeThanTotal { rank, free_bytes, total_bytes } => write!(
                f,
                "GPU {rank} cannot have {} free of {} in all; check free and total memory",
                Bytes(free_bytes),
                Bytes(total_bytes)
            ),
            Self::ZeroModelLen => f.write_str("max_model_len is 0; it must be at least 1"),
            Self::NotFreeAtStart { rank, requested_bytes, free_bytes, utilization } => {
                write!(
                    f,
                    "GPU {rank} has {} free, less than the {} that gpu_memory_utilization asks \
                     for; ",
                    Bytes(free_bytes),
                    Bytes(requested_bytes),
                )?;
                if let Some(utilization) = utilization {
                    write!(f, "lower gpu_memory_utilization to {utilization:.3} or ")?;
                }
                let short_by = Bytes(requested_bytes - free_bytes);
                write!(f, "stop what else runs there (short by {short_by})")
            }
            Self::NoRoom { rank, requested_bytes, taken_bytes, short_by_bytes, utilization } => {
                write!(
                    f,
                    "no room for KV cache on GPU {rank}: weights, activations and other reserved \
                     memory take {} of the {} that gpu_memory_utilization allows; ",
                    Bytes(taken_bytes),
                    Bytes(requested_bytes),
                )?;
                match utilization {
                    Some(utilization) => {
                        write!(f, "raise gpu_memory_utilization to at least {utilization:.3}, ")?;
                    }
                    None => f.write_str("no gpu_memory_utilization makes room: ")?,
                }
                write!(
                    f,
                    "quantize the weights, lower the activations (a smaller batch) or use more \
                     GPUs (short by {} for one block)",
                    Bytes(short_by_bytes)
                )
            }
            Self::NotOneBlock { rank, kv_bytes, bytes_per_block } => write!(
                f,
                "{} of KV cache memory on GPU {rank} do not hold one block of {}; give it more \
                 memory, or lower block_size (short by {})",
                Bytes(kv_bytes),
                Bytes(bytes_per_block),
                Bytes(bytes_per_block - kv_bytes)
            ),
            Self::TooManyBlocks { num_blocks } => write!(
                f,
                "{} blocks are more than 32-bit block ids can name; raise block_size",
                Grouped(num_blocks)
            ),
            Self::ModelLenDoesNotFit {
                max_model_len,
                needed_blocks,
                num_blocks,
                longest_model_len,
                short_by_bytes,
            } => write!(
                f,
                "one request of max_model_len {} needs {} blocks but there are {}; lower \
                 max_model_len to at most {}, or give the KV cache more memory (short by {} \
                 per GPU)",
                Grouped(max_model_len),
                Grouped(needed_blocks),
                Grouped(u64::from(num_blocks)),
                Grouped(longest_model_len),
                Bytes(short_by_bytes)
            ),
        }
    }
}

impl std::error::Error for PlanError {}
