//! How large a pool the replay runs on: given in blocks, or planned from memory.

use crate::{budget_args::BudgetArgs, bytes::parse_count, error::Error};
use kvkeep::budget::DEFAULT_BLOCK_SIZE;
use kvkeep_sim::{deployment, simulate::Pool};

/// The pool's flags.
#[derive(clap::Args)]
pub(crate) struct PoolArgs {
    /// Blocks in the pool: 300, 1k, 2.5M [default: what two 12.58 GiB GPUs hold of Qwen3-32B in fp8]
    #[arg(
        long,
        value_name = "N",
        value_parser = parse_count::<u32>,
        conflicts_with_all = [
            "model", "tensor_parallel_size", "pipeline_parallel_size", "dtype", "kv_cache_dtype",
            "max_model_len", "kv_cache_memory_bytes", "gpu_memory", "gpu_memory_free",
            "gpu_memory_utilization", "weights", "activations", "other_reserved",
        ],
    )]
    blocks: Option<u32>,
    #[command(flatten)]
    budget: BudgetArgs,
}

impl PoolArgs {
    /// The pool that the flags describe; without any, the deployment's.
    pub(crate) fn pool(&self) -> Result<Pool, Error> {
        let block_size = self.budget.block_size.unwrap_or(DEFAULT_BLOCK_SIZE);
        if let Some(num_blocks) = self.blocks {
            return Ok(Pool { num_blocks, block_size, memory: None });
        }
        let budget = match self.budget.is_given() {
            true => self.budget.budget()?,
            false => deployment::budget(&deployment::layout(block_size)?)?,
        };
        Ok(Pool::planned(&budget))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deployment_holds_the_same_memory_at_any_block_size() {
        for (block_size, num_blocks) in [(16, 12_881), (512, 402), (1, 206_110)] {
            let pool = Pool::planned(
                &deployment::budget(&deployment::layout(block_size).unwrap()).unwrap(),
            );
            assert_eq!((pool.num_blocks, pool.block_size), (num_blocks, block_size));
            let memory = pool.memory.unwrap();
            assert_eq!(memory.gpus, 2);
            // 64 KiB per token and GPU.
            let bytes = (u64::from(num_blocks) * u64::from(block_size)) << 16;
            assert_eq!(memory.bytes_per_gpu, bytes);
        }
    }

    #[test]
    fn a_block_that_does_not_fit_is_an_error() {
        assert!(deployment::budget(&deployment::layout(1 << 20).unwrap()).is_err());
    }
}
