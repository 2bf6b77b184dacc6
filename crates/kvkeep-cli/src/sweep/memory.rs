//! What a block of the trace takes, as the flags say.

use crate::{budget_args::BudgetArgs, error::Error};
use kvkeep_sim::sweep::{Memory, MemoryError, bytes_per_block};

/// For blocks of `block_size` tokens, which is the trace's to say.
pub(super) fn of(args: &BudgetArgs, block_size: u32) -> Result<Memory, Error> {
    if args.block_size.is_some_and(|asked| asked != block_size) {
        return Err(Error::Input(format!(
            "the trace names blocks of {block_size} tokens; drop --block-size"
        )));
    }
    if !args.is_given() {
        return Memory::of_deployment(block_size).map_err(impossible);
    }
    let args = BudgetArgs { block_size: Some(block_size), ..args.clone() };
    let (model, layout) = args.layout()?;
    let deployment = args.has_memory().then(|| args.budget()).transpose()?;
    let gpus = match layout.num_ranks() {
        1 => "1 GPU".to_owned(),
        gpus => format!("{gpus} GPUs"),
    };
    let bytes_per_block = bytes_per_block(&layout).map_err(impossible)?;
    Ok(Memory {
        name: format!("{}, {}, {gpus}", model.name, layout.dtype()),
        bytes_per_block,
        deployment: deployment.map(|budget| budget.num_blocks),
    })
}

fn impossible(error: MemoryError) -> Error {
    match error {
        MemoryError::Layout(error) => Error::Layout(error),
        MemoryError::TooLarge => Error::Input(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_counted_on_all_gpus() {
        // 28 layers x 8 heads x 128 x 2 x 2 bytes = 112 KiB a token, on three unequal stages.
        let args = BudgetArgs {
            model: Some("qwen3-0.6b".to_owned()),
            pipeline_parallel_size: Some(3),
            ..BudgetArgs::default()
        };
        let memory = of(&args, 16).unwrap();
        assert_eq!((memory.bytes_per_block, memory.deployment), ((16 * 112) << 10, None));
        let args = BudgetArgs { kv_cache_memory_bytes: vec![1 << 30], ..args };
        // Ten of 28 layers on the fullest stage: 640 KiB a block.
        assert_eq!(of(&args, 16).unwrap().deployment, Some(1_638));
        assert!(of(&BudgetArgs { block_size: Some(8), ..args }, 16).is_err());
    }
}
