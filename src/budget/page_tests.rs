//! Tests of page addresses: offsets worked by hand, bounds, and full coverage of the arena.

use super::*;
use crate::BlockId;
use crate::budget::KvDtype;
use proptest::prelude::*;

const ORDERS: [PageOrder; 4] = [
    PageOrder::PartFirst,
    PageOrder::BlockFirst,
    PageOrder::BlockFirstHeadsOuter,
    PageOrder::BlockMajor,
];

fn deployment(order: PageOrder) -> PageLayout {
    let attention = Attention::Grouped { kv_heads: 8, head_size: 128 };
    let layout = KvLayout::builder(64, attention, KvDtype::Fp8E4m3)
        .tensor_parallel_size(2)
        .build()
        .expect("valid layout");
    PageLayout::new(&layout, 0, 12_881, order).expect("fits")
}

#[test]
fn offsets_in_the_deployment_worked_by_hand() {
    // A part is 16 x 4 x 128 = 8,192 bytes; a layer 12,881 x 2 x 8,192 = 211,042,304.
    let key = |order| {
        deployment(order).part(BlockId::from(100), 3, PagePart::Key).expect("in bounds").start
    };
    let value = |order| {
        deployment(order).part(BlockId::from(100), 3, PagePart::Value).expect("in bounds").start
    };
    // 3 x 211,042,304 + 100 x 8,192
    assert_eq!(key(PageOrder::PartFirst), 633_946_112);
    // ... + 12,881 x 8,192
    assert_eq!(value(PageOrder::PartFirst), 633_946_112 + 105_521_152);
    // 3 x 211,042,304 + 100 x 16,384
    assert_eq!(key(PageOrder::BlockFirst), 634_765_312);
    assert_eq!(value(PageOrder::BlockFirst), 634_765_312 + 8_192);
    assert_eq!(key(PageOrder::BlockFirstHeadsOuter), 634_765_312);
    // 100 x 1 MiB + 3 x 16,384
    assert_eq!(key(PageOrder::BlockMajor), 104_906_752);
    assert_eq!(value(PageOrder::BlockMajor), 104_906_752 + 8_192);
    for order in ORDERS {
        assert_eq!(deployment(order).bytes_per_layer(), 211_042_304);
        assert_eq!(deployment(order).total_bytes(), 12_881 * 1_048_576);
    }
}

#[test]
fn runs_are_as_long_as_the_order_allows() {
    for (order, runs, bytes) in [
        (PageOrder::PartFirst, 128, 8_192),
        (PageOrder::BlockFirst, 64, 16_384),
        (PageOrder::BlockFirstHeadsOuter, 64, 16_384),
        (PageOrder::BlockMajor, 1, 1_048_576),
    ] {
        let found: Vec<_> =
            deployment(order).block_runs(BlockId::from(7)).expect("in bounds").collect();
        assert_eq!(found.len(), runs, "{order:?}");
        assert!(found.iter().all(|run| run.end - run.start == bytes), "{order:?}");
    }
}

#[test]
fn scales_follow_their_part() {
    let attention = Attention::Grouped { kv_heads: 2, head_size: 8 };
    let layout =
        KvLayout::builder(1, attention, KvDtype::Int8).block_size(4).build().expect("valid");
    let pages = PageLayout::new(&layout, 0, 3, PageOrder::PartFirst).expect("fits");
    // 4 tokens x 2 heads x 8 bytes = 64 bytes of vectors, then 8 scales of 4 bytes.
    assert_eq!(pages.part(BlockId::from(1), 0, PagePart::Key), Ok(96..192));
    assert_eq!(pages.vector(BlockId::from(1), 0, PagePart::Key, 3, 1), Ok(96 + 56..96 + 64));
    assert_eq!(pages.scale(BlockId::from(1), 0, PagePart::Key, 0, 0), Ok(Some(96 + 64..96 + 68)));
    assert_eq!(pages.scale(BlockId::from(1), 0, PagePart::Key, 3, 1), Ok(Some(96 + 92..192)));
    assert_eq!(
        deployment(PageOrder::PartFirst).scale(BlockId::from(1), 0, PagePart::Key, 0, 0),
        Ok(None)
    );
}

#[test]
fn what_is_out_of_bounds_is_named() {
    let pages = deployment(PageOrder::BlockMajor);
    let out = |index, value, bound| Err(PageError::OutOfBounds { index, value, bound });
    assert_eq!(pages.part(BlockId::from(12_881), 0, PagePart::Key), out("block", 12_881, 12_881));
    assert_eq!(pages.part(BlockId::from(0), 64, PagePart::Key), out("layer", 64, 64));
    assert_eq!(pages.vector(BlockId::from(0), 0, PagePart::Key, 16, 0), out("slot", 16, 16));
    assert_eq!(pages.vector(BlockId::from(0), 0, PagePart::Key, 0, 4), out("head", 4, 4));
    assert!(pages.scale(BlockId::from(0), 0, PagePart::Key, 0, 4).is_err());
    assert!(pages.block_runs(BlockId::from(12_881)).is_err());
    assert!(pages.copy_runs(BlockId::from(0), BlockId::from(12_881)).is_err());
    assert_eq!(
        pages.part(BlockId::from(0), 0, PagePart::Latent),
        Err(PageError::NoSuchPart { part: PagePart::Latent })
    );
}

#[test]
fn absurd_arenas_are_refused() {
    let attention = Attention::Grouped { kv_heads: 1 << 12, head_size: 1 << 16 };
    let layout =
        KvLayout::builder(1 << 10, attention, KvDtype::Bf16).build().expect("a huge block");
    let error = PageLayout::new(&layout, 0, u32::MAX, PageOrder::BlockMajor);
    assert!(matches!(error, Err(PageError::ArenaTooLarge { .. })));
    let error = PageLayout::new(&layout, 1, 1, PageOrder::BlockMajor);
    assert_eq!(error, Err(PageError::Stage { stage: 1, stages: 1 }));
}

fn any_pages() -> impl Strategy<Value = PageLayout> {
    let attention = prop_oneof![
        (1_u32..4, 1_u32..9)
            .prop_map(|(kv_heads, head_size)| Attention::Grouped { kv_heads, head_size }),
        (1_u32..9, 0_u32..3)
            .prop_map(|(latent_size, rope_size)| Attention::Latent { latent_size, rope_size }),
    ];
    let dtype = prop_oneof![Just(KvDtype::Fp8E4m3), Just(KvDtype::Bf16), Just(KvDtype::Int8)];
    let order = proptest::sample::select(ORDERS.to_vec());
    (attention, dtype, order, 2_u32..5, 1_u32..4, 1_u32..6, 0_u32..2).prop_map(
        |(attention, dtype, order, layers, block_size, num_blocks, stage)| {
            let layout = KvLayout::builder(layers, attention, dtype)
                .block_size(block_size)
                .pipeline_parallel_size(2)
                .build()
                .expect("valid layout");
            PageLayout::new(&layout, stage, num_blocks, order).expect("fits")
        },
    )
}

fn parts(pages: &PageLayout) -> &'static [PagePart] {
    if pages.parts == 2 { &[PagePart::Key, PagePart::Value] } else { &[PagePart::Latent] }
}

/// Sorted, the ranges touch one another from 0 to `end`: disjoint, in bounds, nothing left out.
fn tiles(mut ranges: Vec<Range<u64>>, end: u64) -> bool {
    ranges.sort_by_key(|range| range.start);
    let mut covered = 0;
    ranges.iter().all(|range| range.start == std::mem::replace(&mut covered, range.end))
        && covered == end
}

proptest! {
    #[test]
    fn parts_runs_and_vectors_tile_the_arena(pages in any_pages()) {
        let (mut by_part, mut by_vector, mut by_run) = (Vec::new(), Vec::new(), Vec::new());
        for block in 0..pages.num_blocks() {
            by_run.extend(pages.block_runs(BlockId::from(block)).expect("in bounds"));
            for layer in 0..pages.layers() {
                for &part in parts(&pages) {
                    by_part.push(pages.part(BlockId::from(block), layer, part).expect("in bounds"));
                    for slot in 0..pages.block_size {
                        for head in 0..pages.heads {
                            let at = (block, layer, part, slot, head);
                            by_vector.push(pages.vector(BlockId::from(at.0), at.1, at.2, at.3, at.4).expect("in bounds"));
                            by_vector.extend(pages.scale(BlockId::from(at.0), at.1, at.2, at.3, at.4).expect("in bounds"));
                        }
                    }
                }
            }
        }
        prop_assert!(tiles(by_part, pages.total_bytes()));
        prop_assert!(tiles(by_run, pages.total_bytes()));
        prop_assert!(tiles(by_vector, pages.total_bytes()));
    }

    #[test]
    fn copying_the_runs_copies_every_part(pages in any_pages()) {
        let (source, destination) = (0, pages.num_blocks() - 1);
        let mut arena: Vec<u64> = (0..pages.total_bytes()).collect();
        for run in pages.copy_runs(BlockId::from(source), BlockId::from(destination)).expect("in bounds") {
            let from = run.source_offset as usize;
            arena.copy_within(from..from + run.bytes as usize, run.destination_offset as usize);
        }
        for layer in 0..pages.layers() {
            for &part in parts(&pages) {
                let from = pages.part(BlockId::from(source), layer, part).expect("in bounds");
                let to = pages.part(BlockId::from(destination), layer, part).expect("in bounds");
                prop_assert!(to.zip(from).all(|(to, from)| arena[to as usize] == from));
            }
        }
    }
}
