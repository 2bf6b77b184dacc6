//! The exact hit rate of LRU at every size, in one pass.
//!
//! Mattson's stack algorithm (1970): with release tail first, a cache of `c` blocks holds
//! the `c` most recently used ones, so a block hits in every cache at least as large as its
//! distance from the top of the stack. A block is never nearer to the top than its parent, so
//! block hits and prefix hits are the same.
//!
//! The inclusion breaks where a request does not fit a cache: that cache does not run it,
//! larger ones do. [`LruCurve::exact_from`] says from which size on the curve is exact.

use crate::accesses::Accesses;
use crate::recency::RecencyStack;
use crate::replay::Hits;

/// What LRU hits at every size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LruCurve {
    /// Blocks hit in a cache of `index` blocks, in the rule's unit.
    hits: Vec<u64>,
    /// Blocks that such a cache has to take in: those that it did not hold.
    taken_in: Vec<u64>,
    total: u64,
    exact_from: u32,
}

impl LruCurve {
    /// Reads the trace once. O(log n) per block in the different blocks `n`.
    #[must_use]
    pub fn new(accesses: &Accesses) -> LruCurve {
        let mut stack = RecencyStack::new(accesses.distinct_blocks());
        let mut at_distance = vec![(0_u64, 0_u64); accesses.distinct_blocks() as usize + 1];
        let mut uses = 0;
        for access in accesses.iter() {
            for (depth, distance) in (0..).zip(stack.distances(access.blocks)) {
                let (hits, found) = &mut at_distance[distance as usize];
                *hits += u64::from(depth < access.hittable);
                *found += 1;
            }
            stack.push(access.blocks);
            uses += access.blocks.len() as u64;
        }
        let (mut hits, mut found) = (0, 0);
        let (hits, taken_in) = at_distance
            .iter()
            .map(|at| {
                hits += at.0;
                found += at.1;
                (accesses.weight_of_hit(hits), uses - found)
            })
            .unzip();
        LruCurve {
            hits,
            taken_in,
            total: accesses.total_weight(),
            exact_from: accesses.longest_request() + 1,
        }
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

    /// From this size on the curve is what a replay gives: the longest request and one
    /// block for its last token fit. Below, a replay rejects requests.
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
