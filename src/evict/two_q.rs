//! 2Q: a short queue for what is new, LRU for what came back.

use super::history::History;
use super::uses::Uses;
use super::{Access, CandidateHeap, EvictionPolicy, Inserted};
use crate::BlockId;

/// Part of the pool for new blocks, and evicted ones remembered, in percent of the pool; as
/// in the paper.
const NEW_PERCENT: usize = 25;
const REMEMBERED_PERCENT: usize = 50;

/// 2Q (Johnson and Shasha, VLDB 1994): new blocks go through a FIFO queue of a quarter of
/// the pool. Those evicted from it are remembered, for half the blocks of the pool; if they
/// come back they enter the main queue, LRU. Hits inside the first queue do not count, as
/// correlated uses would.
///
/// *Cost*: O(log n); 57 bytes per block, and 25 for what it remembers. *Not for*
/// conversations: their second turn counts as correlated, and a block has to be lost once to
/// be worth keeping.
#[derive(Clone, Debug, Default)]
pub struct TwoQ {
    max_new: usize,
    uses: Uses,
    blocks: Vec<Block>,
    /// Resident blocks in the queue for new ones.
    num_new: usize,
    history: History<()>,
    insertions: u64,
    new: CandidateHeap<u64>,
    main: CandidateHeap<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Block {
    key: u64,
    /// Its place in the queue for new blocks; `None` in the main queue.
    new: Option<u64>,
}

impl EvictionPolicy for TwoQ {
    fn init(&mut self, num_blocks: usize) {
        self.max_new = num_blocks * NEW_PERCENT / 100;
        self.uses = Uses::new(num_blocks);
        self.blocks = vec![Block::default(); num_blocks];
        self.history = History::new(num_blocks * REMEMBERED_PERCENT / 100);
        self.new = CandidateHeap::new(num_blocks);
        self.main = CandidateHeap::new(num_blocks);
    }

    fn insert(&mut self, block: BlockId, inserted: &Inserted, _: &Access) {
        self.uses.insert(block, inserted);
        self.insertions += 1;
        let new = self.history.take(inserted.key).is_none().then_some(self.insertions);
        self.num_new += usize::from(new.is_some());
        self.blocks[block.index()] = Block { key: inserted.key, new };
    }

    fn finish(&mut self, chain: &[BlockId], _: &Access) {
        self.uses.finish(chain);
    }

    fn offer(&mut self, block: BlockId) {
        match self.blocks[block.index()].new {
            Some(place) => self.new.insert(block, place),
            None => self.main.insert(block, self.uses.recency(block)),
        }
    }

    fn retract(&mut self, block: BlockId) {
        if !self.new.remove(block) {
            self.main.remove(block);
        }
    }

    fn victim(&mut self) -> Option<BlockId> {
        let (new, main) = (self.new.first(), self.main.first());
        if self.num_new > self.max_new { new.or(main) } else { main.or(new) }
    }

    fn remove(&mut self, block: BlockId) {
        self.retract(block);
        let Block { key, new } = self.blocks[block.index()];
        if new.is_some() {
            self.num_new -= 1;
            self.history.insert(key, ());
        }
    }

    fn clear(&mut self) {
        self.num_new = 0;
        self.new.clear();
        self.main.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evict::script::Script;

    #[test]
    fn what_comes_back_is_kept() {
        let mut script = Script::new(TwoQ::default(), 8); // 2 new ones
        (0..4).for_each(|id| script.request(&[id]));
        script.request(&[0]); // does not count
        assert_eq!(script.evict(), 0);
        script.request(&[0]); // comes back, into the main queue
        // Three new ones are one too many: 1 goes. Then the main queue: 0.
        assert_eq!(script.evict_all(), [1, 0, 2, 3]);
    }

    #[test]
    fn half_a_pool_is_remembered() {
        let mut script = Script::new(TwoQ::default(), 8);
        (0..6).for_each(|id| script.request(&[id]));
        assert_eq!(script.evict_all().len(), 6);
        // 2, 3, 4 and 5 are.
        script.request(&[1]);
        script.request(&[2]);
        assert_eq!(script.policy.num_new, 1);
    }
}
