//! OPT against exhaustive search, and OPT against counts worked out by hand.

mod support;

use kvkeep::evict::Lru;
use kvkeep_sim::{Accesses, Opt, Rule, replay};
use proptest::prelude::*;
use std::collections::HashMap;
use support::{prompts, trace, trace_of};

fn opt(accesses: &Accesses, num_blocks: u32) -> u64 {
    replay(accesses, num_blocks, Opt::new(accesses, num_blocks)).expect("the size is possible").hit
}

/// The most hits that any choice of victims gives, by trying all of them.
///
/// Blocks are bits. A victim is any resident block that the request does not use and that
/// has no resident child.
struct Search {
    requests: Vec<Vec<u32>>,
    /// By block: the blocks right below it, as bits.
    children: Vec<u64>,
    num_blocks: u32,
    known: HashMap<(usize, u64), u64>,
}

impl Search {
    fn new(accesses: &Accesses, num_blocks: u32) -> Search {
        let mut children = vec![0; accesses.distinct_blocks() as usize];
        let requests: Vec<Vec<u32>> = accesses.iter().map(|a| a.blocks.to_vec()).collect();
        for pair in requests.iter().flat_map(|request| request.windows(2)) {
            children[pair[0] as usize] |= 1_u64 << pair[1];
        }
        Search { requests, children, num_blocks, known: HashMap::new() }
    }

    fn best(&mut self, at: usize, resident: u64) -> u64 {
        let Some(request) = self.requests.get(at).cloned() else { return 0 };
        if let Some(&known) = self.known.get(&(at, resident)) {
            return known;
        }
        if request.len() > self.num_blocks as usize {
            return self.best(at + 1, resident);
        }
        let used = request.iter().fold(0, |bits, block| bits | 1_u64 << block);
        let hits = (resident & used).count_ones();
        let room = self.num_blocks - used.count_ones();
        let mut best = 0;
        // What stays beside the request: all that fits, or any choice of it.
        for beside in self.leftovers(resident & !used, used, room) {
            best = best.max(self.best(at + 1, beside | used));
        }
        self.known.insert((at, resident), best + u64::from(hits));
        best + u64::from(hits)
    }

    /// All sets that evicting leaf after leaf from `cached` down to `room` blocks can leave.
    fn leftovers(&self, cached: u64, used: u64, room: u32) -> Vec<u64> {
        if cached.count_ones() <= room {
            return vec![cached];
        }
        let bits = (0..64).filter(|bit| cached >> bit & 1 == 1);
        let leaves = bits.filter(|&bit| self.children[bit] & (cached | used) == 0);
        let mut left: Vec<u64> =
            leaves.flat_map(|bit| self.leftovers(cached & !(1 << bit), used, room)).collect();
        left.sort_unstable();
        left.dedup();
        left
    }
}

#[test]
fn worked_by_hand() {
    // Blocks a, ab, ac, d. With room for three and a token more, LRU gives up `ab` for `d`, then
    // misses it; OPT gives up `ac`, which nobody asks for again.
    let accesses = Accesses::new(&trace(&[b"ab", b"ac", b"d", b"ab", b"d", b"ab"]), Rule::Blocks);
    // LRU: ab | a, ac (1) | d evicts ab | a hits, ab evicts ac (1) | d (1) | a, ab (2).
    assert_eq!(replay(&accesses, 3, Lru).unwrap().hit, 5);
    // OPT: ab | a, ac (1) | d evicts ac | a, ab (2) | d (1) | a, ab (2).
    assert_eq!(opt(&accesses, 3), 6);
    assert_eq!(accesses.infinite().0, 6);
    assert_eq!(accesses.total_weight(), 10);
}

#[test]
fn what_does_not_fit_is_not_run_and_not_waited_for() {
    let accesses = Accesses::new(&trace(&[b"a", b"xyzw", b"b", b"x", b"a"]), Rule::Blocks);
    let hits = replay(&accesses, 3, Opt::new(&accesses, 3)).unwrap();
    assert_eq!((hits.rejected, hits.hit, hits.total), (1, 1, 8));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn no_choice_of_victims_hits_more(
        prompts in prompts(3, 4, 12),
        num_blocks in 2_u32..8,
    ) {
        let accesses = Accesses::new(&trace_of(&prompts), Rule::Blocks);
        let best = Search::new(&accesses, num_blocks).best(0, 0);
        prop_assert_eq!(opt(&accesses, num_blocks), best);
    }
}
