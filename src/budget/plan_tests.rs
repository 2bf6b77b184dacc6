//! Tests of the budget: figures worked by hand, every error, and properties.

use super::*;
use crate::budget::{Attention, KvDtype};
use proptest::prelude::*;

/// 12.58 GiB, rounded down.
const POOL_BYTES: u64 = 13_507_672_145;
const QWEN3_32B: Attention = Attention::Grouped { kv_heads: 8, head_size: 128 };

fn layout(dtype: KvDtype, tp: u32, pp: u32) -> KvLayout {
    KvLayout::builder(64, QWEN3_32B, dtype)
        .tensor_parallel_size(tp)
        .pipeline_parallel_size(pp)
        .build()
        .expect("valid layout")
}

fn gpu(total_bytes: u64, utilization: f64) -> GpuMemory {
    GpuMemory::new(PerRank::Same(total_bytes), utilization)
}

#[test]
fn the_deployment() {
    let memory = Memory::kv_bytes_per_gpu(POOL_BYTES);
    let fp8 = plan(&layout(KvDtype::Fp8E4m3, 2, 1), &memory, None).expect("fits");
    assert_eq!(fp8.bytes_per_block_per_gpu, 1_048_576);
    assert_eq!(fp8.num_blocks, 12_881);
    assert_eq!(fp8.num_tokens, 206_096);
    assert_eq!(fp8.longest_model_len, 206_096);
    assert_eq!(fp8.max_concurrency, None);
    // 13,507,672,145 - 12,881 x 1,048,576 on each of the two
    assert_eq!(fp8.ranks[1].remainder_bytes, 964_689);
    assert_eq!(fp8.stranded_bytes(), 2 * 964_689);

    let bf16 = plan(&layout(KvDtype::Bf16, 2, 1), &memory, None).expect("fits");
    assert_eq!(bf16.bytes_per_block_per_gpu, 2_097_152);
    assert_eq!(bf16.num_blocks, 6_440);
}

#[test]
fn concurrency_counts_whole_blocks() {
    let memory = Memory::kv_bytes_per_gpu(POOL_BYTES);
    // 40,960 tokens are 2,560 blocks; 40,961 are 2,561.
    let exact = plan(&layout(KvDtype::Fp8E4m3, 2, 1), &memory, Some(40_960)).expect("fits");
    assert_eq!(exact.max_concurrency, Some(12_881.0 / 2_560.0));
    let ragged = plan(&layout(KvDtype::Fp8E4m3, 2, 1), &memory, Some(40_961)).expect("fits");
    assert_eq!(ragged.max_concurrency, Some(12_881.0 / 2_561.0));
}

#[test]
fn longest_model_len_is_the_last_that_fits() {
    let layout = layout(KvDtype::Fp8E4m3, 2, 1);
    let memory = Memory::kv_bytes_per_gpu(POOL_BYTES);
    assert!(plan(&layout, &memory, Some(206_096)).is_ok());
    let error = plan(&layout, &memory, Some(206_097)).expect_err("one token too many");
    assert_eq!(
        error,
        PlanError::ModelLenDoesNotFit {
            max_model_len: 206_097,
            needed_blocks: 12_882,
            num_blocks: 12_881,
            longest_model_len: 206_096,
            short_by_bytes: 1_048_576 - 964_689,
        }
    );
    assert!(error.to_string().contains("at most 206,096"), "{error}");
}

#[test]
fn gpu_memory_is_rounded_up_like_vllm() {
    // Python: math.ceil(25_769_803_776 * 0.95) == 24_481_313_588
    let memory = GpuMemory {
        weights_bytes: PerRank::Same(9 << 30),
        activation_bytes: PerRank::Same(1 << 30),
        other_reserved_bytes: PerRank::Same(512 << 20),
        ..gpu(24 << 30, 0.95)
    };
    let budget = plan(&layout(KvDtype::Fp8E4m3, 2, 1), &Memory::Gpu(memory), None).expect("fits");
    let kv_bytes = 24_481_313_588 - 10 * (1 << 30) - (512 << 20);
    assert_eq!(budget.ranks[0].kv_bytes, kv_bytes);
    assert_eq!(u64::from(budget.num_blocks), kv_bytes >> 20);
    // Python: math.ceil(100 * 0.07) == 8, the product being 7.000000000000001
    assert_eq!(requested_bytes(&gpu(100, 0.07), 0), 8);
    assert_eq!(requested_bytes(&gpu(24 << 30, 1.0), 0), 24 << 30);
    assert_eq!(requested_bytes(&gpu(u64::MAX, 1.0), 0), u64::MAX);
}

#[test]
fn uneven_gpus_strand_whole_blocks_and_a_remainder() {
    let block = 1 << 20;
    let memory = Memory::KvBytes(PerRank::Each(vec![10 * block + 7, 8 * block + 3]));
    let budget = plan(&layout(KvDtype::Fp8E4m3, 2, 1), &memory, None).expect("fits");
    assert_eq!(budget.num_blocks, 8);
    assert_eq!((budget.ranks[0].uneven_bytes, budget.ranks[0].remainder_bytes), (2 * block, 7));
    assert_eq!((budget.ranks[1].uneven_bytes, budget.ranks[1].remainder_bytes), (0, 3));
    let blocks = budget.derivation.lines().iter().find(|line| line.name == "blocks");
    assert!(blocks.expect("line").formula.contains("GPU 1 bounds"));
}

#[test]
fn the_stage_with_most_layers_bounds_the_pool() {
    // 64 layers in 3 stages: 21, 22, 21; a block of a layer is 2 x 8 x 128 x 16 = 32 KiB.
    let budget = plan(&layout(KvDtype::Fp8E4m3, 1, 3), &Memory::kv_bytes_per_gpu(1 << 30), None)
        .expect("fits");
    assert_eq!(budget.bytes_per_block_per_gpu, 22 * 32_768);
    assert_eq!(u64::from(budget.num_blocks), (1 << 30) / (22 * 32_768));
    assert_eq!(budget.ranks[1].uneven_bytes, 0);
    assert!(budget.ranks[0].uneven_bytes > 0);
}

#[test]
fn no_room_says_what_is_missing() {
    let memory = GpuMemory { weights_bytes: PerRank::Same(23 << 30), ..gpu(24 << 30, 0.95) };
    let error = plan(&layout(KvDtype::Fp8E4m3, 2, 1), &Memory::Gpu(memory.clone()), None);
    let short = (23 << 30) - 24_481_313_588 + (1 << 20);
    let error = error.expect_err("weights fill the GPU");
    assert!(
        matches!(error, PlanError::NoRoom { rank: 0, short_by_bytes, .. } if short_by_bytes == short),
        "{error:?}"
    );
    // (23 GiB + 1 MiB) / 24 GiB is 0.95838.
    assert!(error.to_string().contains("raise gpu_memory_utilization to at least 0.959,"));
    // Given exactly what it is short by, one block fits.
    let enough = GpuMemory { weights_bytes: PerRank::Same((23 << 30) - short), ..memory };
    let budget = plan(&layout(KvDtype::Fp8E4m3, 2, 1), &Memory::Gpu(enough), None).expect("one");
    assert_eq!(budget.num_blocks, 1);
}

#[test]
fn a_utilization_that_would_not_help_is_not_advised() {
    let message = |weights: u64, free: u64| {
        let memory = GpuMemory {
            weights_bytes: PerRank::Same(weights << 30),
            free_bytes: Some(PerRank::Same(free << 30)),
            ..gpu(24 << 30, 0.9)
        };
        let error = plan(&layout(KvDtype::Fp8E4m3, 2, 1), &Memory::Gpu(memory), None);
        error.expect_err("nothing fits").to_string()
    };
    for (weights, free) in [(24, 24), (100, 24), (100, 2), (23, 22)] {
        let message = message(weights, free);
        assert!(!message.contains("utilization to"), "{message}");
    }
    assert!(message(100, 2).contains("no gpu_memory_utilization makes room: quantize"));
    // 21.6 GiB are asked for: more than are free, and 20 GiB of weights need more than 18.
    assert!(message(20, 18).contains("asks for; stop what else runs there"));
    assert!(message(15, 18).contains("lower gpu_memory_utilization to 0.750 or stop"));
}

#[test]
fn memory_that_is_in_use_at_start() {
    let memory = GpuMemory { free_bytes: Some(PerRank::Same(22 << 30)), ..gpu(24 << 30, 0.95) };
    let error = plan(&layout(KvDtype::Fp8E4m3, 2, 1), &Memory::Gpu(memory), None)
        .expect_err("22 GiB are less than 22.8");
    assert!(matches!(error, PlanError::NotFreeAtStart { rank: 0, .. }), "{error:?}");
    assert!(error.to_string().contains("lower gpu_memory_utilization to 0.916"), "{error}");
    assert!(!error.is_bad_input());
}

#[test]
fn contradictory_input_is_told_apart() {
    let layout = layout(KvDtype::Fp8E4m3, 2, 1);
    let more_free = GpuMemory { free_bytes: Some(PerRank::Same(25 << 30)), ..gpu(24 << 30, 0.9) };
    let three = Memory::KvBytes(PerRank::Each(vec![1 << 30; 3]));
    for (memory, length) in [
        (three, None),
        (Memory::Gpu(more_free), None),
        (Memory::Gpu(gpu(24 << 30, 0.0)), None),
        (Memory::Gpu(gpu(24 << 30, 1.01)), None),
        (Memory::Gpu(gpu(24 << 30, f64::NAN)), None),
        (Memory::kv_bytes_per_gpu(1 << 30), Some(0)),
    ] {
        let error = plan(&layout, &memory, length).expect_err("bad input");
        assert!(error.is_bad_input(), "{error:?}");
    }
}

#[test]
fn too_little_and_too_much() {
    let layout = layout(KvDtype::Fp8E4m3, 2, 1);
    let error = plan(&layout, &Memory::kv_bytes_per_gpu((1 << 20) - 1), None);
    assert!(matches!(error, Err(PlanError::NotOneBlock { rank: 0, .. })));
    let error = plan(&layout, &Memory::kv_bytes_per_gpu(u64::MAX), None);
    assert!(matches!(error, Err(PlanError::TooManyBlocks { num_blocks: 17_592_186_044_415 })));
    let memory = GpuMemory { weights_bytes: PerRank::Same(u64::MAX), ..gpu(1 << 30, 0.9) };
    let memory = GpuMemory { activation_bytes: PerRank::Same(u64::MAX), ..memory };
    assert!(matches!(plan(&layout, &Memory::Gpu(memory), None), Err(PlanError::NoRoom { .. })));
}

proptest! {
    #[test]
    fn every_byte_is_in_a_block_or_stranded(
        kv_bytes in proptest::collection::vec(1_u64 << 22..1 << 40, 4),
        block_size in 1_u32..64,
        tp_is_2 in any::<bool>(),
        max_model_len in proptest::option::of(1_u64..100_000),
    ) {
        let (tp, pp) = if tp_is_2 { (2, 2) } else { (1, 4) };
        let layout = KvLayout::builder(9, Attention::Grouped { kv_heads: 4, head_size: 32 }, KvDtype::Int8)
            .block_size(block_size)
            .tensor_parallel_size(tp)
            .pipeline_parallel_size(pp)
            .build()
            .expect("valid layout");
        match plan(&layout, &Memory::KvBytes(PerRank::Each(kv_bytes.clone())), max_model_len) {
            Ok(budget) => {
                for (rank, bytes) in budget.ranks.iter().zip(&kv_bytes) {
                    let used = u64::from(budget.num_blocks) * rank.bytes_per_block;
                    prop_assert_eq!(used + rank.stranded_bytes(), *bytes);
                    prop_assert!(rank.remainder_bytes < rank.bytes_per_block);
                }
                // One more block does not fit everywhere.
                prop_assert!(budget.ranks.iter().any(|rank| rank.uneven_bytes == 0));
                prop_assert!(budget.max_concurrency.is_none_or(|requests| requests >= 1.0));
            }
            Err(PlanError::ModelLenDoesNotFit { longest_model_len, .. }) => {
                prop_assert!(max_model_len.expect("given") > longest_model_len);
                let fits = plan(&layout, &Memory::KvBytes(PerRank::Each(kv_bytes)), Some(longest_model_len));
                prop_assert!(fits.is_ok());
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
    }
}
