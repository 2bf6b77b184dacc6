//! The exact hit rate at every size, in one pass over the trace: of LRU, and of the optimum.
//!
//! Mattson's stack algorithm (1970). Both policies keep one order of all blocks, of which a
//! cache of `c` blocks holds the first `c`: for LRU, with release tail first, the most recently
//! used ones; for OPT what its stack has on top. A block hits in every cache at least as
//! large as its place in the order, and its place is never before its parent's, so block
//! hits and prefix hits are the same.
//!
//! The inclusion breaks where a request does not fit a cache: that cache does not run it,
//! larger ones do. [`Curve::exact_from`] says from which size on the curve is exact. Other
//! policies have no such order.

use crate::accesses::Accesses;
use crate::opt::NextUses;
use crate::priority_stack::PriorityStack;
use crate::recency::RecencyStack;
use crate::replay::Hits;

/// What a policy hits at every size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Curve {
    /// Blocks hit in a cache of `index` blocks, in the rule's unit.
    hits: Vec<u64>,
    /// Blocks that such a cache has to take in: those that it did not hold.
    taken_in: Vec<u64>,
    total: u64,
    exact_from: u32,
}

impl Curve {
    /// Of LRU. O(log n) per block in the different blocks `n`.
    #[must_use]
    pub fn lru(accesses: &Accesses) -> Curve {
        let mut stack = RecencyStack::new(accesses.distinct_blocks());
        let mut tally = Tally::new(accesses);
        for access in accesses.iter() {
            for (depth, distance) in (0..).zip(stack.distances(access.blocks)) {
                tally.count(distance, depth < access.hittable);
            }
            stack.push(access.blocks);
        }
        tally.curve(accesses)
    }

    /// Of OPT, see [`Opt`](crate::Opt). O(log n) per block and place where it is decided anew
    /// which of two blocks a cache of that size keeps; about ten of them.
    #[must_use]
    pub fn opt(accesses: &Accesses) -> Curve {
        let next_uses = NextUses::new(accesses, |_| true);
        let mut stack = PriorityStack::new(accesses.distinct_blocks());
        let mut tally = Tally::new(accesses);
        for (request, access) in accesses.iter().enumerate() {
            for (depth, &block) in (0..).zip(access.blocks) {
                // What a request uses stays until it ends.
                if let Some(place) = stack.push(block, u64::MAX) {
                    tally.count(place, depth < access.hittable);
                }
            }
            for (depth, &block) in access.blocks.iter().enumerate() {
                // All that is never used again is alike here: which of it a cache holds
                // changes no hit, and to tell it apart costs most of the exchanges.
                let is_used = next_uses.is_used(request, depth);
                let priority = if is_used { next_uses.priority(request, depth) } else { 0 };
                stack.set_priority(block, priority);
            }
        }
        tally.curve(accesses)
    }

    /// What a cache of `blocks` blocks hits, in the rule's unit.
    #[must_use]
    pub fn hit(&self, blocks: u32) -> u64 {
        self.hits[self.at(blocks)]
    }

    /// All that a replay says about a cache of `blocks` blocks, where the curve is exact.
    #[must_use]
    pub fn hits(&self, blocks: u32) -> Hits {
        let taken_in = self.taken_in[self.at(blocks)];
        Hits {
            hit: self.hit(blocks),
            total: self.total,
            rejected: 0,
            // What was taken in and did not find a free block.
            evicted: taken_in.saturating_sub(u64::from(blocks)),
        }
    }

    /// Larger caches than the working set are all alike.
    fn at(&self, blocks: u32) -> usize {
        (blocks as usize).min(self.hits.len() - 1)
    }

    /// The hit rate at `blocks` blocks.
    #[must_use]
    pub fn rate(&self, blocks: u32) -> f64 {
        if self.total == 0 { 0.0 } else { self.hit(blocks) as f64 / self.total as f64 }
    }

    /// From this size on the curve is what a replay gives: the longest request and one block
    /// more fit. Below, a replay rejects requests, or computes a block again that it held.
    #[must_use]
    pub fn exact_from(&self) -> u32 {
        self.exact_from
    }

    /// The smallest cache that hits at least `share` of what a cache without bound hits.
    /// O(log n).
    #[must_use]
    pub fn blocks_for(&self, share: f64) -> u32 {
        let most = self.hits.last().copied().unwrap_or(0) as f64;
        self.hits.partition_point(|&hit| (hit as f64) < share * most) as u32
    }
}

/// Blocks found, by place in the order.
struct Tally {
    /// Those that may hit, and all.
    found_at: Vec<(u64, u64)>,
}

impl Tally {
    fn new(accesses: &Accesses) -> Tally {
        Tally { found_at: vec![(0, 0); accesses.distinct_blocks() as usize + 1] }
    }

    fn count(&mut self, place: u32, may_hit: bool) {
        let (hits, found) = &mut self.found_at[place as usize];
        *hits += u64::from(may_hit);
        *found += 1;
    }

    fn curve(self, accesses: &Accesses) -> Curve {
        let uses: u64 = accesses.iter().map(|access| access.blocks.len() as u64).sum();
        let (mut hits, mut found) = (0, 0);
        let (hits, taken_in) = self
            .found_at
            .iter()
            .map(|at| {
                hits += at.0;
                found += at.1;
                (accesses.weight_of_hit(hits), uses - found)
            })
            .unzip();
        Curve {
            hits,
            taken_in,
            total: accesses.total_weight(),
            exact_from: accesses.longest_request() + 1,
        }
    }
}
