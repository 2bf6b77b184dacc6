//! S3-FIFO: a small queue that filters what is used once.

use super::history::History;
use super::{Access, CandidateHeap, EvictionPolicy, Inserted};
use crate::BlockId;

/// Part of the pool for new blocks, in percent; hits that lead from there to the main queue;
/// and the largest count of hits. All as in the paper.
const SMALL_PERCENT: usize = 10;
const MIN_COUNT: u8 = 2;
const MAX_COUNT: u8 = 3;

/// S3-FIFO (Yang et al., *FIFO queues are all you need for cache eviction*, SOSP 2023): new
/// blocks enter a small FIFO queue, a tenth of the pool. At its end those that were hit twice
/// move to the main queue, the others are evicted and remembered; what comes back enters
/// the main queue. That one is a CLOCK with counts up to 3.
///
/// *Cost*: O(log n), amortised over the uses; 57 bytes per block, and about 50 for what it
/// remembers. *Not for* conversations that pause: a small queue is passed before their next
/// turn. Counts of first blocks, which all turns share, are high without need.
#[derive(Clone, Debug, Default)]
pub struct S3Fifo {
    max_small: usize,
    stamps: u64,
    blocks: Vec<Block>,
    /// Resident blocks in the small queue.
    num_small: usize,
    history: History<()>,
    small: CandidateHeap<u64>,
    main: CandidateHeap<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Block {
    key: u64,
    stamp: u64,
    count: u8,
    small: bool,
}

impl S3Fifo {
    /// Gives a candidate a new place at the end of the main queue.
    fn move_to_main(&mut self, block: BlockId, count: u8) {
        self.stamps += 1;
        let state = &mut self.blocks[block.index()];
        self.num_small -= usize::from(state.small);
        *state = Block { stamp: self.stamps, count, small: false, ..*state };
        self.small.remove(block);
        self.main.insert(block, self.stamps);
    }
}

impl EvictionPolicy for S3Fifo {
    fn init(&mut self, num_blocks: usize) {
        self.max_small = num_blocks * SMALL_PERCENT / 100;
        self.blocks = vec![Block::default(); num_blocks];
        self.history = History::new(num_blocks - self.max_small);
        self.small = CandidateHeap::new(num_blocks);
        self.main = CandidateHeap::new(num_blocks);
    }

    fn hit(&mut self, blocks: &[BlockId], _: &Access) {
        for block in blocks {
            let count = &mut self.blocks[block.index()].count;
            *count = (*count + 1).min(MAX_COUNT);
        }
    }

    fn insert(&mut self, block: BlockId, inserted: &Inserted, _: &Access) {
        self.stamps += 1;
        let small = self.history.take(inserted.key).is_none();
        self.num_small += usize::from(small);
        let (key, stamp) = (inserted.key, self.stamps);
        self.blocks[block.index()] = Block { key, stamp, count: 0, small };
    }

    fn offer(&mut self, block: BlockId) {
        let Block { stamp, small, .. } = self.blocks[block.index()];
        let queue = if small { &mut self.small } else { &mut self.main };
        queue.insert(block, stamp);
    }

    fn retract(&mut self, block: BlockId) {
        if !self.small.remove(block) {
            self.main.remove(block);
        }
    }

    fn victim(&mut self) -> Option<BlockId> {
        loop {
            let (small, main) = (self.small.first(), self.main.first());
            let block =
                if self.num_small > self.max_small { small.or(main) } else { main.or(small) }?;
            let Block { count, small, .. } = self.blocks[block.index()];
            match (small, count) {
                (true, 0..MIN_COUNT) | (false, 0) => return Some(block),
                (true, _) => self.move_to_main(block, 0),
                (false, _) => self.move_to_main(block, count - 1),
            }
        }
    }

    fn remove(&mut self, block: BlockId) {
        self.retract(block);
        let Block { key, small, .. } = self.blocks[block.index()];
        if small {
            self.num_small -= 1;
            self.history.insert(key, ());
        }
    }

    fn clear(&mut self) {
        self.num_small = 0;
        self.small.clear();
        self.main.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evict::script::Script;

    #[test]
    fn the_small_queue_lets_through_what_was_hit_twice() {
        let mut script = Script::new(S3Fifo::default(), 10); // 1 in the small queue
        (0..4).for_each(|id| script.request(&[id]));
        script.request(&[0]);
        script.request(&[0]);
        script.request(&[1]); // once is not enough
        // 0 moves to the main queue, 1 and 2 go. Then 3 alone is not too many: 0 goes.
        assert_eq!(script.evict_all(), [1, 2, 0, 3]);
    }

    #[test]
    fn what_comes_back_enters_the_main_queue() {
        let mut script = Script::new(S3Fifo::default(), 10);
        (0..3).for_each(|id| script.request(&[id]));
        assert_eq!(script.evict(), 0);
        script.request(&[0]);
        assert!(!script.policy.blocks[0].small);
        assert_eq!(script.evict(), 1);
        script.request(&[1]);
        assert!(!script.policy.blocks[1].small);
        (0..2).for_each(|_| script.request(&[0])); // goes round twice
        script.request(&[3]);
        // 2 and 3 are one too many in the small queue. Then 1, 0 after two rounds, and 3.
        assert_eq!(script.evict_all(), [2, 1, 0, 3]);
    }
}
