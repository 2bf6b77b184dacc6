//! What a block of a trace takes, and the deployment's own size.

use crate::deployment;
use kvkeep::budget::{KvLayout, LayoutError};
use std::fmt;

/// GPU memory of one replica, all its GPUs together.
#[derive(Clone, Debug)]
pub struct Memory {
    /// Model, dtype and GPUs.
    pub name: String,
    /// Bytes that a block takes.
    pub bytes_per_block: u64,
    /// Blocks of the deployment, where its memory is known.
    pub deployment: Option<u32>,
}

impl Memory {
    /// That of the deployment, for blocks of `block_size` tokens.
    ///
    /// # Errors
    /// There can be no such block.
    pub fn of_deployment(block_size: u32) -> Result<Memory, MemoryError> {
        let layout = deployment::layout(block_size)?;
        // A block larger than the deployment is no reason not to sweep.
        let budget = deployment::budget(&layout).ok();
        Ok(Memory {
            name: deployment::MODEL.to_owned(),
            bytes_per_block: bytes_per_block(&layout)?,
            deployment: budget.map(|budget| budget.num_blocks),
        })
    }

    /// That of a layout, for blocks of `block_size` tokens, whatever its own are.
    ///
    /// # Errors
    /// There can be no such block.
    pub fn of_layout(layout: &KvLayout, block_size: u32) -> Result<Memory, MemoryError> {
        let layout = KvLayout::builder(layout.layers(), layout.attention(), layout.dtype())
            .tensor_parallel_size(layout.tensor_parallel_size())
            .pipeline_parallel_size(layout.pipeline_parallel_size())
            .block_size(block_size)
            .build()?;
        let gpus = layout.num_ranks();
        let name = format!(
            "{} layers, {}, {gpus} GPU{}",
            layout.layers(),
            layout.dtype(),
            if gpus == 1 { "" } else { "s" }
        );
        let bytes_per_block = bytes_per_block(&layout)?;
        Ok(Memory { name, bytes_per_block, deployment: None })
    }

    /// GiB of so many blocks.
    #[must_use]
    pub fn gib(&self, blocks: u32) -> f64 {
        f64::from(blocks) * (self.bytes_per_block as f64 / f64::from(1 << 30))
    }
}

/// Bytes that a block takes on all GPUs together.
///
/// # Errors
/// They exceed 2^64.
pub fn bytes_per_block(layout: &KvLayout) -> Result<u64, MemoryError> {
    let mut stages = 0..layout.pipeline_parallel_size();
    let sum = stages.try_fold(0_u64, |sum, stage| {
        let on_each = layout.bytes_per_block_per_gpu(stage)?;
        sum.checked_add(on_each.checked_mul(layout.tensor_parallel_size().into())?)
    });
    sum.ok_or(MemoryError::TooLarge)
}

/// Why a block has no size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemoryError {
    /// There can be no such block.
    Layout(LayoutError),
    /// It takes more than 2^64 bytes.
    TooLarge,
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MemoryError::Layout(error) => error.fmt(f),
            MemoryError::TooLarge => f.write_str("a block takes more than 2^64 bytes"),
        }
    }
}

impl std::error::Error for MemoryError {}

impl From<LayoutError> for MemoryError {
    fn from(error: LayoutError) -> Self {
        MemoryError::Layout(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deployment_is_counted_on_all_gpus() {
        let memory = Memory::of_deployment(512).unwrap();
        assert_eq!((memory.bytes_per_block, memory.deployment), (64 << 20, Some(402)));
        assert_eq!(memory.gib(402), 25.125);
    }

    #[test]
    fn a_layout_is_counted_in_the_blocks_of_the_trace() {
        let layout = deployment::layout(16).unwrap();
        let memory = Memory::of_layout(&layout, 512).unwrap();
        assert_eq!((memory.bytes_per_block, memory.deployment), (64 << 20, None));
        assert_eq!(memory.name, "64 layers, fp8_e4m3, 2 GPUs");
    }

    #[test]
    fn a_block_beyond_the_deployment_leaves_it_out() {
        assert_eq!(Memory::of_deployment(1 << 20).unwrap().deployment, None);
        assert!(Memory::of_deployment(0).is_err());
    }
}
