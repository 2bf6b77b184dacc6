//! ARC: recency and frequency, in a proportion that it learns.

use super::history::History;
use super::uses::Uses;
use super::{Access, CandidateHeap, EvictionPolicy, Inserted};
use crate::BlockId;

/// ARC, the adaptive replacement cache (Megiddo and Modha, FAST 2003): one LRU list for
/// blocks used once, one for those used more often, and a memory of what each has lost.
/// What comes back from a memory shows that its list was too short.
///
/// A block's key is known only once it is computed, after others were evicted for it; so
/// the target moves at that time, and the paper's tie rule for a miss in the second memory
/// does not apply.
///
/// *Cost*: O(log n); 57 bytes per block, and about 50 for what it remembers. *Not for* very
/// small pools: reuse distances beyond two pools are invisible to it (see
/// [`LruK`](super::LruK)).
#[derive(Clone, Debug, Default)]
pub struct AdaptiveReplacement {
    num_blocks: usize,
    /// Blocks that the list of blocks used once should have.
    target: usize,
    uses: Uses,
    blocks: Vec<Block>,
    /// Resident blocks used once, then more often.
    once: List,
    often: List,
}

#[derive(Clone, Debug, Default)]
struct List {
    len: usize,
    candidates: CandidateHeap<u64>,
    evicted: History<()>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Block {
    key: u64,
    often: bool,
}

impl AdaptiveReplacement {
    fn list(&mut self, often: bool) -> &mut List {
        if often { &mut self.often } else { &mut self.once }
    }

    /// Whether the content was used before, as the memories know; moves the target.
    fn recall(&mut self, key: u64) -> bool {
        let (once, often) = (self.once.evicted.len(), self.often.evicted.len());
        if self.once.evicted.take(key).is_some() {
            self.target = (self.target + (often / once.max(1)).max(1)).min(self.num_blocks);
            true
        } else if self.often.evicted.take(key).is_some() {
            self.target = self.target.saturating_sub((once / often.max(1)).max(1));
            true
        } else {
            false
        }
    }

    /// Each memory with its list covers a pool, all together two.
    fn forget(&mut self) {
        let List { len, evicted, .. } = &mut self.once;
        if *len + evicted.len() > self.num_blocks {
            evicted.forget_oldest();
        }
        let known = self.once.len + self.once.evicted.len() + self.often.len;
        if known + self.often.evicted.len() > 2 * self.num_blocks {
            self.often.evicted.forget_oldest();
        }
    }
}

impl EvictionPolicy for AdaptiveReplacement {
    fn init(&mut self, num_blocks: usize) {
        self.num_blocks = num_blocks;
        self.uses = Uses::new(num_blocks);
        self.blocks = vec![Block::default(); num_blocks];
        for list in [&mut self.once, &mut self.often] {
            list.candidates = CandidateHeap::new(num_blocks);
            list.evicted = History::new(2 * num_blocks);
        }
    }

    fn hit(&mut self, blocks: &[BlockId], _: &Access) {
        self.uses.hit(blocks);
        for block in blocks {
            if !std::mem::replace(&mut self.blocks[block.index()].often, true) {
                self.once.len -= 1;
                self.often.len += 1;
                // A block of the hit is no candidate, and will be offered to the other list.
            }
        }
    }

    fn insert(&mut self, block: BlockId, inserted: &Inserted, _: &Access) {
        self.uses.insert(block, inserted);
        let often = self.recall(inserted.key);
        self.blocks[block.index()] = Block { key: inserted.key, often };
        self.list(often).len += 1;
        self.forget();
    }

    fn finish(&mut self, chain: &[BlockId], _: &Access) {
        self.uses.finish(chain);
    }

    fn offer(&mut self, block: BlockId) {
        let recency = self.uses.recency(block);
        self.list(self.blocks[block.index()].often).candidates.insert(block, recency);
    }

    fn retract(&mut self, block: BlockId) {
        if !self.once.candidates.remove(block) {
            self.often.candidates.remove(block);
        }
    }

    fn victim(&mut self) -> Option<BlockId> {
        let (once, often) = (self.once.candidates.first(), self.often.candidates.first());
        if self.once.len > self.target { once.or(often) } else { often.or(once) }
    }

    fn remove(&mut self, block: BlockId) {
        self.retract(block);
        let Block { key, often } = self.blocks[block.index()];
        let list = self.list(often);
        list.len -= 1;
        list.evicted.insert(key, ());
        self.forget();
    }

    fn clear(&mut self) {
        for list in [&mut self.once, &mut self.often] {
            list.len = 0;
            list.candidates.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evict::script::Script;

    #[test]
    fn what_was_used_once_goes_first_until_it_is_missed() {
        let mut script = Script::new(AdaptiveReplacement::default(), 4);
        script.request(&[0]);
        script.request(&[0]); // often
        script.request(&[1]);
        script.request(&[2]);
        script.request(&[3]);
        assert_eq!([script.evict(), script.evict()], [1, 2]);
        // Comes back: often, and the target is 1. 3 is the only one used once.
        script.request(&[1]);
        assert_eq!(script.policy.target, 1);
        assert_eq!(script.evict(), 0);
        // Comes back from the other memory: the target is 0 again.
        script.request(&[0]);
        assert_eq!(script.policy.target, 0);
        assert_eq!(script.evict_all(), [3, 1, 0]);
    }

    #[test]
    fn lists_and_memories_cover_two_pools() {
        let mut script = Script::new(AdaptiveReplacement::default(), 16);
        script.policy.num_blocks = 4;
        for id in 0..16 {
            script.request(&[id]);
            if id % 2 == 0 {
                script.request(&[id]);
            }
            if id >= 4 {
                script.evict();
            }
        }
        let AdaptiveReplacement { once, often, .. } = &script.policy;
        assert!(once.len + once.evicted.len() <= 4);
        assert_eq!(once.len + once.evicted.len() + often.len + often.evicted.len(), 8);
    }
}
