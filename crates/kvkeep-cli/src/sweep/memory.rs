//! What a block of the trace takes, and the deployment's own size.

use crate::{budget_args::BudgetArgs, deployment, error::Error};
use kvkeep::budget::KvLayout;

/// GPU memory of one replica, all its GPUs together.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    /// Model, dtype and GPUs.
    pub(super) name: String,
    pub(super) bytes_per_block: u64,
    /// Blocks of the deployment, where its memory is known.
    pub(super) deployment: Option<u32>,
}

impl Memory {
    /// For blocks of `block_size` tokens, which is the trace's to say.
    pub(super) fn new(args: &BudgetArgs, block_size: u32) -> Result<Memory, Error> {
        if args.block_size.is_some_and(|asked| asked != block_size) {
            return Err(Error::Input(format!(
                "the trace names blocks of {block_size} tokens; drop --block-size"
            )));
        }
        if !args.is_given() {
            let layout = deployment::layout(block_size)?;
            // A block larger than the deployment is no reason not to sweep.
            let deployment = deployment::budget(block_size).ok().map(|budget| budget.num_blocks);
            return Ok(Memory {
                name: deployment::MODEL.to_owned(),
                bytes_per_block: bytes_per_block(&layout)?,
                deployment,
            });
        }
        let args = BudgetArgs { block_size: Some(block_size), ..args.clone() };
        let (model, layout) = args.layout()?;
        let deployment = args.has_memory().then(|| args.budget()).transpose()?;
        let gpus = match layout.num_ranks() {
            1 => "1 GPU".to_owned(),
            gpus => format!("{gpus} GPUs"),
        };
        Ok(Memory {
            name: format!("{}, {}, {gpus}", model.name, layout.dtype()),
            bytes_per_block: bytes_per_block(&layout)?,
            deployment: deployment.map(|budget| budget.num_blocks),
        })
    }

    /// GiB of so many blocks.
    pub(super) fn gib(&self, blocks: u32) -> f64 {
        f64::from(blocks) * (self.bytes_per_block as f64 / f64::from(1 << 30))
    }
}

/// On all GPUs together.
fn bytes_per_block(layout: &KvLayout) -> Result<u64, Error> {
    (0..layout.pipeline_parallel_size())
        .try_fold(0_u64, |sum, stage| {
            let on_each = layout.bytes_per_block_per_gpu(stage)?;
            sum.checked_add(on_each.checked_mul(layout.tensor_parallel_size().into())?)
        })
        .ok_or_else(|| Error::Input("a block takes more than 2^64 bytes".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_counted_on_all_gpus() {
        let memory = Memory::new(&BudgetArgs::default(), 512).unwrap();
        assert_eq!((memory.bytes_per_block, memory.deployment), (64 << 20, Some(402)));
        assert_eq!(memory.gib(402), 25.125);
        // 28 layers x 8 heads x 128 x 2 x 2 bytes = 112 KiB a token, on three unequal stages.
        let args = BudgetArgs {
            model: Some("qwen3-0.6b".to_owned()),
            pipeline_parallel_size: Some(3),
            ..BudgetArgs::default()
        };
        let memory = Memory::new(&args, 16).unwrap();
        assert_eq!((memory.bytes_per_block, memory.deployment), ((16 * 112) << 10, None));
        let args = BudgetArgs { kv_cache_memory_bytes: vec![1 << 30], ..args };
        // Ten of 28 layers on the fullest stage: 640 KiB a block.
        assert_eq!(Memory::new(&args, 16).unwrap().deployment, Some(1_638));
        assert!(Memory::new(&BudgetArgs { block_size: Some(8), ..args }, 16).is_err());
    }

    #[test]
    fn a_block_beyond_the_deployment_leaves_it_out() {
        assert_eq!(Memory::new(&BudgetArgs::default(), 1 << 20).unwrap().deployment, None);
    }
}
