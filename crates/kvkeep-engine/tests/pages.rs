//! What the logits may depend on: the dtype of the pages and what is in them. What they
//! may not: where the pages are, how they are laid out, over how many ranks, and in which
//! chunks they were written. And a page without KV is noticed.

use kvkeep::BlockId;
use kvkeep::budget::PageOrder;
use kvkeep_engine::{Error, KvCache, Model, PageConfig, PageDtype, Segment, Shape, Weights};

const BLOCK: usize = 4;

struct Rig {
    model: Model,
    tokens: Vec<u32>,
}

impl Rig {
    fn new() -> Self {
        let model = Model::new(Shape::tiny(), Weights::Random(11)).expect("sound");
        Rig { model, tokens: (0..30).map(|at| at * at % 40).collect() }
    }

    fn cache(&self, dtype: PageDtype, ranks: u32, order: PageOrder) -> KvCache {
        let pages = PageConfig {
            num_blocks: 16,
            block_size: BLOCK as u32,
            dtype,
            tensor_parallel_size: ranks,
            order,
        };
        let scales = self.model.measure_scales().expect("sound");
        KvCache::new(self.model.shape(), &pages, scales).expect("sound")
    }

    /// The logits of the last token, computed in chunks of `chunk` tokens.
    fn logits(&self, cache: &mut KvCache, table: &[u32], chunk: usize) -> Result<Vec<f32>, Error> {
        let table: Vec<BlockId> = table.iter().map(|&id| id.into()).collect();
        let mut logits = Vec::new();
        for (at, tokens) in self.tokens.chunks(chunk).enumerate() {
            let segment = Segment { tokens, first: at * chunk, table: &table, logits: true };
            logits = self.model.forward(cache, &[segment])?.remove(0).expect("sound");
        }
        Ok(logits)
    }
}

const IN_ORDER: [u32; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
const SCATTERED: [u32; 8] = [9, 2, 15, 0, 7, 11, 3, 6];

#[test]
fn placement_layout_ranks_and_chunks_change_no_bit() {
    let rig = Rig::new();
    for dtype in [PageDtype::Fp8, PageDtype::Bf16, PageDtype::F32] {
        let mut cache = rig.cache(dtype, 1, PageOrder::PartFirst);
        let expected = rig.logits(&mut cache, &IN_ORDER, 30).unwrap();
        for order in [
            PageOrder::PartFirst,
            PageOrder::BlockFirst,
            PageOrder::BlockFirstHeadsOuter,
            PageOrder::BlockMajor,
        ] {
            for ranks in [1, 2] {
                for chunk in [1, 3, 16, 17, 30] {
                    let mut cache = rig.cache(dtype, ranks, order);
                    let logits = rig.logits(&mut cache, &SCATTERED, chunk).unwrap();
                    assert_eq!(logits, expected, "{dtype} {order:?} {ranks} {chunk}");
                }
            }
        }
    }
}

#[test]
fn a_batch_changes_no_bit() {
    let rig = Rig::new();
    let mut cache = rig.cache(PageDtype::Fp8, 2, PageOrder::BlockFirst);
    let alone = rig.logits(&mut cache, &IN_ORDER, 30).unwrap();
    let mut cache = rig.cache(PageDtype::Fp8, 2, PageOrder::BlockFirst);
    let (own, other) = (SCATTERED.map(BlockId::from), [4, 1].map(BlockId::from));
    let batch = [
        Segment { tokens: &[7, 3, 9, 9, 1], first: 0, table: &other, logits: false },
        Segment { tokens: &rig.tokens, first: 0, table: &own, logits: true },
    ];
    let logits = rig.model.forward(&mut cache, &batch).unwrap();
    assert_eq!(logits, [None, Some(alone)]);
}

#[test]
fn a_page_without_kv_is_noticed() {
    let rig = Rig::new();
    let last = rig.tokens.len() - 1;
    for dtype in [PageDtype::Fp8, PageDtype::Bf16, PageDtype::F32] {
        let mut cache = rig.cache(dtype, 2, PageOrder::BlockMajor);
        rig.logits(&mut cache, &IN_ORDER, 30).unwrap();
        let decode = |cache: &mut KvCache, table: [u32; 8]| {
            let table = table.map(BlockId::from);
            let segment =
                Segment { tokens: &rig.tokens[last..], first: last, table: &table, logits: true };
            rig.model.forward(cache, &[segment])
        };
        let sound = decode(&mut cache, IN_ORDER).unwrap();
        let foreign = decode(&mut cache, [0, 0, 2, 3, 4, 5, 6, 7]).unwrap();
        assert_ne!(sound, foreign);
        // A page that nobody wrote, and one that was given back.
        let never = decode(&mut cache, [0, 9, 2, 3, 4, 5, 6, 7]);
        assert!(matches!(never, Err(Error::NotFinite { position }) if position == last));
        cache.poison(2.into()).unwrap();
        assert!(matches!(decode(&mut cache, IN_ORDER), Err(Error::NotFinite { .. })));
    }
}

/// Root mean square of the difference, over that of the logits.
fn error(logits: &[f32], reference: &[f32]) -> f32 {
    let square =
        |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>();
    let difference = square(&mut logits.iter().zip(reference).map(|(a, b)| a - b));
    (difference / square(&mut reference.iter().copied())).sqrt()
}

#[test]
fn rounding_costs_what_it_should() {
    let rig = Rig::new();
    let logits = |dtype| {
        let mut cache = rig.cache(dtype, 1, PageOrder::BlockFirst);
        rig.logits(&mut cache, &IN_ORDER, 30).unwrap()
    };
    let exact = logits(PageDtype::F32);
    let (bf16, fp8) =
        (error(&logits(PageDtype::Bf16), &exact), error(&logits(PageDtype::Fp8), &exact));
    println!("error of the logits against f32 pages: bf16 {bf16:.5}, fp8 {fp8:.5}");
    // Half a unit in the last place is 2^-9 of a value in bf16, 2^-4 in fp8; attention
    // averages over tokens.
    assert!((1e-5..4e-3).contains(&bf16), "{bf16}");
    assert!((10.0 * bf16 / 3.0..6e-2).contains(&fp8), "{fp8}");
}
