//! Hyperbolic caching: uses per time in the cache.

use super::random::Lottery;
use super::uses::Uses;
use super::{Access, EvictionPolicy, Inserted};
use crate::BlockId;
use crate::prefetch::prefetch;

/// Candidates compared for one eviction, as in the paper.
const DRAWS: usize = 64;

/// Hyperbolic caching (Blankstein, Sen and Freedman, USENIX ATC 2017): of 64 candidates
/// drawn by chance it evicts the one with the fewest uses per time since it was computed.
///
/// Time counts requests. The order changes with time, so no queue can hold it, and drawing
/// replaces it.
///
/// *Cost*: O(1), but 64 reads all over memory per eviction, which overlap; 32 bytes per
/// block. *Not for* conversations that pause longer than most others live: an old
/// conversation falls behind with each request, however surely it comes back.
#[derive(Clone, Debug, Default)]
pub struct Hyperbolic {
    uses: Uses,
    inserted: Vec<u64>,
    candidates: Lottery,
}

impl EvictionPolicy for Hyperbolic {
    fn init(&mut self, num_blocks: usize) {
        self.uses = Uses::new(num_blocks);
        self.inserted = vec![0; num_blocks];
        self.candidates = Lottery::new(num_blocks);
    }

    fn hit(&mut self, blocks: &[BlockId], _: &Access) {
        self.uses.hit(blocks);
    }

    fn insert(&mut self, block: BlockId, inserted: &Inserted, _: &Access) {
        self.uses.insert(block, inserted);
        self.inserted[block.index()] = self.uses.now();
    }

    fn finish(&mut self, chain: &[BlockId], _: &Access) {
        self.uses.finish(chain);
    }

    fn offer(&mut self, block: BlockId) {
        self.candidates.insert(block);
    }

    fn retract(&mut self, block: BlockId) {
        self.candidates.remove(block);
    }

    fn victim(&mut self) -> Option<BlockId> {
        let (uses, inserted) = (&self.uses, &self.inserted);
        let ask = |block: BlockId| {
            uses.prefetch(block);
            prefetch(inserted, block.index());
        };
        let rank = |block: BlockId| {
            let lived = uses.now() - inserted[block.index()] + 1;
            (f64::from(uses.count(block)) / lived as f64, uses.recency(block))
        };
        self.candidates.least::<DRAWS, _>(ask, rank)
    }

    fn remove(&mut self, block: BlockId) {
        self.candidates.remove(block);
    }

    fn clear(&mut self) {
        self.candidates.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evict::script::Script;

    #[test]
    fn fewest_uses_per_request_lived_first() {
        let mut script = Script::new(Hyperbolic::default(), 8);
        script.request(&[0]); // computed at time 0
        script.request(&[0]);
        script.request(&[0]);
        script.request(&[1]); // time 3
        script.request(&[2, 3]); // time 4
        // At time 5, lived counted from 1: 0 has 3/6, 1 has 1/3, 2 and 3 have 1/2 and are
        // younger than 0.
        assert_eq!(script.evict_all(), [1, 0, 3, 2]);
    }
}
