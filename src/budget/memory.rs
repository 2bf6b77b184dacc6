//! The memory that a budget starts from.

/// A quantity that is the same on every rank, or given for each.
///
/// A list must have one entry per rank, in rank order (pipeline stage by stage).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PerRank<T> {
    /// The same on every rank.
    Same(T),
    /// One entry per rank.
    Each(Vec<T>),
}

impl<T: Copy> PerRank<T> {
    /// The value of rank `rank`; `None` past the end of a list.
    ///
    /// ```
    /// use kvkeep::budget::PerRank;
    ///
    /// assert_eq!(PerRank::Same(7).get(3), Some(7));
    /// assert_eq!(PerRank::Each(vec![7, 8]).get(1), Some(8));
    /// assert_eq!(PerRank::Each(vec![7, 8]).get(2), None);
    /// ```
    #[must_use]
    pub fn get(&self, rank: usize) -> Option<T> {
        match self {
            Self::Same(value) => Some(*value),
            Self::Each(values) => values.get(rank).copied(),
        }
    }
}

/// GPU memory and what else lives there. All sizes are bytes per GPU.
#[derive(Clone, Debug, PartialEq)]
pub struct GpuMemory {
    /// Memory of the GPU.
    pub total_bytes: PerRank<u64>,
    /// Memory free before the engine loads anything; `None` means all of it.
    pub free_bytes: Option<PerRank<u64>>,
    /// Part of `total_bytes` that the engine may use for everything, above 0 and at most 1.
    pub gpu_memory_utilization: f64,
    /// Model weights, this rank's share.
    pub weights_bytes: PerRank<u64>,
    /// Peak of the activations while the largest batch is processed.
    pub activation_bytes: PerRank<u64>,
    /// Everything else: CUDA context, NCCL buffers, CUDA graphs, ...
    pub other_reserved_bytes: PerRank<u64>,
}

impl GpuMemory {
    /// All of `total_bytes` is free and nothing is loaded yet; set the fields that differ.
    ///
    /// ```
    /// use kvkeep::budget::{GpuMemory, PerRank};
    ///
    /// let memory = GpuMemory {
    ///     weights_bytes: PerRank::Same(9 << 30),
    ///     ..GpuMemory::new(PerRank::Same(24 << 30), 0.95)
    /// };
    /// assert_eq!(memory.activation_bytes, PerRank::Same(0));
    /// ```
    #[must_use]
    pub const fn new(total_bytes: PerRank<u64>, gpu_memory_utilization: f64) -> Self {
        Self {
            total_bytes,
            free_bytes: None,
            gpu_memory_utilization,
            weights_bytes: PerRank::Same(0),
            activation_bytes: PerRank::Same(0),
            other_reserved_bytes: PerRank::Same(0),
        }
    }
}

/// Where the memory of the KV cache comes from.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Memory {
    /// Bytes set aside for the KV cache (vLLM's `--kv-cache-memory-bytes`).
    KvBytes(PerRank<u64>),
    /// What is left of the GPU after everything else.
    Gpu(GpuMemory),
}

impl Memory {
    /// The same number of KV cache bytes on every GPU.
    #[must_use]
    pub const fn kv_bytes_per_gpu(bytes: u64) -> Self {
        Self::KvBytes(PerRank::Same(bytes))
    }
}
