//! The curves of LRU and OPT against a replay at every size, and against counts worked out by
//! hand.

mod support;

use kvkeep::evict::Lru;
use kvkeep_sim::{Accesses, Curve, Opt, Rule, replay};
use proptest::prelude::*;
use support::{prompts, trace, trace_of};

#[test]
fn worked_by_hand() {
    let accesses = Accesses::new(&trace(&[b"ab", b"ac", b"d", b"ab"]), Rule::Blocks);
    let curve = Curve::lru(&accesses);
    // Stacks, top first: a b | a c b | d a c b | a at 2, b at 4. The second request finds a at 1.
    let hits: Vec<u64> = (0..=5).map(|blocks| curve.hit(blocks)).collect();
    assert_eq!(hits, [0, 1, 2, 2, 3, 3]);
    assert_eq!((curve.exact_from(), curve.rate(2)), (3, 2.0 / 7.0));
    assert_eq!((curve.blocks_for(1.0), curve.blocks_for(0.5)), (4, 2));
}

#[test]
fn the_rule_decides_what_the_last_block_is_worth() {
    let accesses = Accesses::new(&trace(&[b"ab", b"ab"]), Rule::Engine);
    // One token per block: the second request may hit `a`, not the block of its last token.
    assert_eq!((Curve::lru(&accesses).hit(9), accesses.infinite().0), (1, 1));
    assert_eq!(replay(&accesses, 9, Lru).unwrap().hit, 1);
    assert_eq!(accesses.total_weight(), 4);
    let accesses = Accesses::new(&trace(&[b"ab", b"ab"]), Rule::Blocks);
    assert_eq!((Curve::lru(&accesses).hit(9), accesses.infinite().0), (2, 2));
}

#[test]
fn opt_worked_by_hand() {
    let accesses = Accesses::new(&trace(&[b"ab", b"ac", b"d", b"ab", b"d", b"ab"]), Rule::Blocks);
    let curve = Curve::opt(&accesses);
    // A cache of three: see optimum.rs. Of four: all but the first uses hit.
    assert_eq!((curve.exact_from(), curve.hit(3), curve.hit(4)), (3, 6, 6));
    assert_eq!(curve.blocks_for(1.0), 3);
}

proptest! {
    #[test]
    fn opt_is_what_a_replay_gives_at_every_size(
        prompts in prompts(3, 9, 60),
        engine: bool,
    ) {
        let rule = if engine { Rule::Engine } else { Rule::Blocks };
        let accesses = Accesses::new(&trace_of(&prompts), rule);
        let curve = Curve::opt(&accesses);
        for num_blocks in curve.exact_from()..accesses.distinct_blocks() + 3 {
            let hits = replay(&accesses, num_blocks, Opt::new(&accesses, num_blocks)).unwrap();
            prop_assert_eq!(hits, curve.hits(num_blocks));
        }
        prop_assert_eq!(curve.hit(u32::MAX), accesses.infinite().0);
    }

    #[test]
    fn the_curve_is_what_a_replay_gives_at_every_size(
        prompts in prompts(3, 9, 60),
        engine: bool,
    ) {
        let rule = if engine { Rule::Engine } else { Rule::Blocks };
        let accesses = Accesses::new(&trace_of(&prompts), rule);
        let curve = Curve::lru(&accesses);
        for num_blocks in curve.exact_from()..accesses.distinct_blocks() + 3 {
            let hits = replay(&accesses, num_blocks, Lru).unwrap();
            prop_assert_eq!(hits, curve.hits(num_blocks));
        }
        prop_assert_eq!(curve.hit(u32::MAX), accesses.infinite().0);
    }
}
