//! SLRU: a probation and a protected segment.

use super::segments::Segments;
use super::uses::Uses;
use super::{Access, CandidateHeap, EvictionPolicy, Inserted};
use crate::BlockId;

const PROBATION: usize = 0;
const PROTECTED: usize = 1;
/// Part of the pool that is protected, in percent.
const PROTECTED_PERCENT: usize = 80;

/// Segmented LRU (Karedla, Love and Wherry, 1994): new blocks are on probation, a hit
/// protects them. Probation goes first. What exceeds 80 % of the pool falls from the
/// protected segment back on probation, the oldest first, and is the newest there.
///
/// *Cost*: O(log n), amortised; 60 bytes per block. *Not for* conversations in a large pool:
/// a new one goes before those that have ended but were continued once.
#[derive(Clone, Debug, Default)]
pub struct Slru {
    max_protected: usize,
    uses: Uses,
    segments: Segments<2>,
    candidates: CandidateHeap<(usize, u64)>,
}

impl Slru {
    fn offer_again(&mut self, block: BlockId) {
        if self.candidates.contains(block) {
            self.offer(block);
        }
    }
}

impl EvictionPolicy for Slru {
    fn init(&mut self, num_blocks: usize) {
        self.max_protected = num_blocks * PROTECTED_PERCENT / 100;
        self.uses = Uses::new(num_blocks);
        self.segments = Segments::new(num_blocks);
        self.candidates = CandidateHeap::new(num_blocks);
    }

    fn hit(&mut self, blocks: &[BlockId], _: &Access) {
        self.uses.hit(blocks);
        // The deepest is the oldest.
        for &block in blocks.iter().rev() {
            self.segments.renew(block, PROTECTED);
        }
        while self.segments.len(PROTECTED) > self.max_protected
            && let Some(oldest) = self.segments.oldest(PROTECTED)
        {
            self.segments.renew(oldest, PROBATION);
            self.uses.renew(oldest);
            self.offer_again(oldest);
        }
    }

    fn insert(&mut self, block: BlockId, inserted: &Inserted, _: &Access) {
        self.uses.insert(block, inserted);
        self.segments.push(block, PROBATION);
    }

    fn finish(&mut self, chain: &[BlockId], _: &Access) {
        self.uses.finish(chain);
    }

    fn offer(&mut self, block: BlockId) {
        let key = (self.segments.segment(block), self.uses.recency(block));
        self.candidates.insert(block, key);
    }

    fn retract(&mut self, block: BlockId) {
        self.candidates.remove(block);
    }

    fn victim(&mut self) -> Option<BlockId> {
        self.candidates.first()
    }

    fn remove(&mut self, block: BlockId) {
        self.candidates.remove(block);
        self.segments.remove(block);
    }

    fn clear(&mut self) {
        self.candidates.clear();
        self.segments.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evict::script::Script;

    #[test]
    fn a_hit_protects() {
        let mut script = Script::new(Slru::default(), 10);
        script.request(&[0, 1]);
        script.request(&[0]); // protects 0
        script.request(&[2]);
        script.request(&[2]); // protects 2
        script.request(&[3]);
        assert_eq!(script.evict_all(), [1, 3, 0, 2]);
    }

    #[test]
    fn what_falls_back_is_the_newest_on_probation() {
        let mut script = Script::new(Slru::default(), 8);
        script.policy.max_protected = 2;
        for id in [0, 0, 1, 1, 2, 3] {
            script.request(&[id]);
        }
        (0..2).for_each(|_| script.request(&[4]));
        // 0 gives way to 4, and is behind 2 and 3, which were used after it.
        assert_eq!(script.evict_all(), [2, 3, 0, 1, 4]);
    }

    #[test]
    fn the_oldest_falls_back_on_probation() {
        let mut script = Script::new(Slru::default(), 5); // 4 are protected at most
        for id in 0..5 {
            script.request(&[id]);
            script.request(&[id]);
        }
        // 0 has fallen back.
        assert_eq!(script.policy.segments.len(PROBATION), 1);
        script.request(&[1]);
        assert_eq!(script.evict_all(), [0, 2, 3, 4, 1]);
    }
}
