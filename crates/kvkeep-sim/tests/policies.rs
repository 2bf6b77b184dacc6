//! What holds for every policy, and three policies by counts worked out by hand.

mod support;

use kvkeep::evict::{EvictionPolicy, Kind, Lfu, Lru, S3Fifo, TailLru};
use kvkeep_sim::trace::{Request, Trace};
use kvkeep_sim::{Accesses, Opt, Policy, Rule, Sweep, replay};
use proptest::prelude::*;
use std::num::NonZeroUsize;
use support::{prompts, trace, trace_of};

/// A pool of three blocks. Blocks are named by their last token: `b` is always behind `a`.
#[test]
fn three_policies_by_hand() {
    let prompts: [&[u8]; 8] = [b"d", b"c", b"d", b"ab", b"c", b"c", b"ab", b"d"];
    let accesses = Accesses::new(&trace(&prompts), Rule::Blocks);
    fn hits<P: EvictionPolicy>(accesses: &Accesses, policy: P) -> u64 {
        replay(accesses, 3, policy).expect("the size is possible").hit
    }
    // Oldest release first:
    //   d    d
    //   c    d c
    //   d    c d      1 hit
    //   ab   d b a    c goes; the tail is released first
    //   c    b a c    d goes
    //   c    b a c    2 hits
    //   ab   c b a    4 hits
    //   d    b a d    c goes
    assert_eq!(hits(&accesses, Lru), 4);
    // Uses in brackets, oldest first:
    //   d    d[1]
    //   c    d[1] c[1]
    //   d    c[1] d[2]        1 hit
    //   ab   d[2] b[1] a[1]   c goes
    //   c    d[2] a[1] c[1]   b goes
    //   c    d[2] a[1] c[2]   2 hits
    //   ab   c[2] b[1] a[2]   3 hits; for b goes d: it has as many uses as c and is older
    //   d    c[2] a[2] d[1]   b goes
    assert_eq!(hits(&accesses, Lfu::default()), 3);
    // A tenth of three is no block: all new ones are too many for the small queue. Hits in
    // brackets, oldest first:
    //   d    small d[0]
    //   c    small d[0] c[0]
    //   d    small d[1] c[0]        1 hit
    //   ab   small c[0] a[0] b[0]   d goes: one hit is not enough; it is remembered
    //   c    small c[1] a[0] b[0]   2 hits
    //   c    small c[2] a[0] b[0]   3 hits
    //   ab   small c[2] a[1] b[1]   5 hits
    //   d    small a[1], main c[0] d[0]   c moves, b goes; d comes back
    assert_eq!(hits(&accesses, S3Fifo::default()), 5);
    // The infinite cache misses d, c, a and b once.
    assert_eq!(accesses.infinite().0, 6);
}

/// 1,024 tokens are the excess of T-LRU, whatever the size of a block.
#[test]
fn defaults_in_tokens_follow_the_blocks_of_the_trace() {
    let request = |blocks: &[u64]| Request {
        input_tokens: 512 * blocks.len() as u32,
        blocks: blocks.to_vec(),
        ..Request::default()
    };
    // Of the first three blocks one is needed. The fourth is excess, and younger than it.
    let requests = [&[0, 1, 2][..], &[3], &[4, 5, 6], &[0], &[3]].map(request);
    let accesses = Accesses::new(&Trace::new(512, &requests), Rule::Blocks);
    let two = replay(&accesses, 4, TailLru::with_excess_blocks(2)).unwrap();
    assert_eq!(two.hit, 1);
    assert_eq!(replay(&accesses, 4, TailLru::default()).unwrap().hit, 0);
    let sweep = Sweep::new(&accesses, NonZeroUsize::MIN);
    assert_eq!(sweep.hits(Policy::Evict(Kind::TailLru), 4), Ok(two));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_policy_hits_more_than_the_optimum(
        prompts in prompts(3, 6, 60),
        num_blocks in 1_u32..40,
    ) {
        let accesses = Accesses::new(&trace_of(&prompts), Rule::Blocks);
        let infinite = accesses.infinite().0;
        let opt = replay(&accesses, num_blocks, Opt::new(&accesses, num_blocks)).unwrap();
        prop_assert!(opt.hit <= infinite, "{} of {infinite}", opt.hit);
        for kind in Kind::ALL {
            let hits = replay(&accesses, num_blocks, kind.build(1)).unwrap();
            prop_assert!(hits.hit <= opt.hit, "{kind}: {} of {}", hits.hit, opt.hit);
            prop_assert_eq!((hits.total, hits.rejected), (opt.total, opt.rejected));
        }
    }

    #[test]
    fn a_pool_that_holds_everything_hits_what_the_infinite_cache_does(
        prompts in prompts(3, 6, 60),
        spare in 0_u32..3,
    ) {
        let accesses = Accesses::new(&trace_of(&prompts), Rule::Blocks);
        let (infinite, kept) = accesses.infinite();
        // The longest request needs one more, for the token after it.
        let num_blocks = (kept as u32).max(accesses.longest_request() + 1) + spare;
        for kind in Kind::ALL {
            let hits = replay(&accesses, num_blocks, kind.build(1)).unwrap();
            prop_assert_eq!((hits.hit, hits.evicted), (infinite, 0), "{}", kind);
        }
    }
}
