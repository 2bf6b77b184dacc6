//! LRU-2: the second-to-last use decides.

use super::history::History;
use super::uses::Uses;
use super::{Access, CandidateHeap, EvictionPolicy, Inserted};
use crate::BlockId;

/// Evicted blocks that it remembers, in pools.
const REMEMBERED: usize = 4;

/// LRU-K with K = 2 (O'Neil, O'Neil and Weikum, *The LRU-K page replacement algorithm*,
/// SIGMOD 1993): evicts the block whose second-to-last use is the oldest.
///
/// Blocks that were used once go first, the oldest first. The last use of evicted blocks is
/// remembered, for four times the blocks of the pool: what comes back has its history, so
/// that a reuse distance longer than the pool can be seen at all.
///
/// *Cost*: O(log n); 64 bytes per block, and about 200 for what it remembers. *Not for*
/// pools that hold most of the working set: there a conversation in its first turn is worth
/// keeping, and goes before those that have ended.
#[derive(Clone, Debug, Default)]
pub struct LruK {
    uses: Uses,
    blocks: Vec<Block>,
    /// Last use of evicted blocks.
    history: History<u64>,
    candidates: CandidateHeap<(u64, u64)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Block {
    key: u64,
    /// One more than the time of the second-to-last use, 0 if there was none.
    previous: u64,
}

impl EvictionPolicy for LruK {
    fn init(&mut self, num_blocks: usize) {
        self.uses = Uses::new(num_blocks);
        self.blocks = vec![Block::default(); num_blocks];
        self.history = History::new(num_blocks.saturating_mul(REMEMBERED));
        self.candidates = CandidateHeap::new(num_blocks);
    }

    fn hit(&mut self, blocks: &[BlockId], _: &Access) {
        for &block in blocks {
            self.blocks[block.index()].previous = self.uses.last(block) + 1;
        }
        self.uses.hit(blocks);
    }

    fn insert(&mut self, block: BlockId, inserted: &Inserted, _: &Access) {
        let previous = self.history.take(inserted.key).map_or(0, |last| last + 1);
        self.blocks[block.index()] = Block { key: inserted.key, previous };
        self.uses.insert(block, inserted);
    }

    fn finish(&mut self, chain: &[BlockId], _: &Access) {
        self.uses.finish(chain);
    }

    fn offer(&mut self, block: BlockId) {
        let previous = self.blocks[block.index()].previous;
        self.candidates.insert(block, (previous, self.uses.recency(block)));
    }

    fn retract(&mut self, block: BlockId) {
        self.candidates.remove(block);
    }

    fn victim(&mut self) -> Option<BlockId> {
        self.candidates.first()
    }

    fn remove(&mut self, block: BlockId) {
        self.candidates.remove(block);
        self.history.insert(self.blocks[block.index()].key, self.uses.last(block));
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
    fn the_second_to_last_use_decides() {
        let mut script = Script::new(LruK::default(), 8);
        script.request(&[0]); // time 0
        script.request(&[1]); // time 1
        script.request(&[1]); // time 2: second to last 1
        script.request(&[0]); // time 3: second to last 0
        script.request(&[2, 3]); // once
        assert_eq!(script.evict_all(), [3, 2, 0, 1]);
    }

    #[test]
    fn what_comes_back_has_its_history() {
        let mut script = Script::new(LruK::default(), 8);
        script.request(&[0]); // time 0
        script.request(&[1]);
        assert_eq!(script.evict(), 0);
        script.request(&[0]); // second to last 0
        script.request(&[2]);
        assert_eq!(script.evict_all(), [1, 2, 0]);
    }

    #[test]
    fn four_pools_are_remembered() {
        let mut script = Script::new(LruK::default(), 2);
        script.request(&[0]);
        assert_eq!(script.policy.history.len(), 0);
        assert_eq!(script.evict(), 0);
        for key in 10..17 {
            script.policy.history.insert(key, 0);
        }
        assert_eq!(script.policy.history.len(), 8);
        script.policy.history.insert(17, 0);
        assert_eq!(script.policy.history.take(0), None);
        assert_eq!(script.policy.history.take(10), Some(0));
    }
}
