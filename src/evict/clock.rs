//! CLOCK: FIFO with a second chance.

use super::{Access, CandidateHeap, EvictionPolicy, Inserted};
use crate::BlockId;

/// FIFO in which a block that was used since the hand passed goes to the back of the queue
/// instead (Corbató, *A paging experiment with the Multics system*, 1968).
///
/// Only candidates are passed by the hand: blocks in use, and those that others continue,
/// keep their mark until they are candidates.
///
/// *Cost*: O(log n), amortised: each use pays for one second chance at most. 29 bytes per
/// block. *Not for* pools well below the working set: every block of a conversation gets
/// its second chance when the first of its turns hit, whether there will be another or not.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    stamps: u64,
    blocks: Vec<Place>,
    candidates: CandidateHeap<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    stamp: u64,
    used: bool,
}

impl EvictionPolicy for Clock {
    fn init(&mut self, num_blocks: usize) {
        self.blocks = vec![Place::default(); num_blocks];
        self.candidates = CandidateHeap::new(num_blocks);
    }

    fn hit(&mut self, blocks: &[BlockId], _: &Access) {
        blocks.iter().for_each(|block| self.blocks[block.index()].used = true);
    }

    fn insert(&mut self, block: BlockId, _: &Inserted, _: &Access) {
        self.stamps += 1;
        self.blocks[block.index()] = Place { stamp: self.stamps, used: false };
    }

    fn offer(&mut self, block: BlockId) {
        self.candidates.insert(block, self.blocks[block.index()].stamp);
    }

    fn retract(&mut self, block: BlockId) {
        self.candidates.remove(block);
    }

    fn victim(&mut self) -> Option<BlockId> {
        loop {
            let block = self.candidates.first()?;
            if !self.blocks[block.index()].used {
                return Some(block);
            }
            self.stamps += 1;
            self.blocks[block.index()] = Place { stamp: self.stamps, used: false };
            self.candidates.insert(block, self.stamps);
        }
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
    fn a_use_is_worth_one_second_chance() {
        let mut script = Script::new(Clock::default(), 8);
        script.request(&[0]);
        script.request(&[1]);
        script.request(&[2]);
        script.request(&[0]);
        script.request(&[0]);
        // The hand passes 0, takes 1 and 2, and comes to 0 again.
        assert_eq!(script.evict_all(), [1, 2, 0]);
    }

    #[test]
    fn a_parent_keeps_its_mark_until_it_is_a_candidate() {
        let mut script = Script::new(Clock::default(), 8);
        script.request(&[0, 1]);
        script.request(&[0, 2]); // marks 0
        script.request(&[3]);
        assert_eq!([script.evict(), script.evict()], [1, 2]);
        // 0 is the oldest, but marked: it goes behind 3.
        assert_eq!(script.evict_all(), [3, 0]);
    }
}
