//! FIFO: what was computed first goes first.

use super::{Access, CandidateHeap, EvictionPolicy, Inserted};
use crate::BlockId;

/// First in, first out, among leaves.
///
/// Uses do not count, so on chains it differs from LRU only where a conversation comes back
/// without growing.
///
/// *Cost*: O(log n); 28 bytes per block. *Not for* prefixes that many requests share but
/// none continues for long, such as system prompts in a small pool: their age decides, and
/// they are the oldest.
#[derive(Clone, Debug, Default)]
pub struct Fifo {
    insertions: u64,
    inserted: Vec<u64>,
    candidates: CandidateHeap<u64>,
}

impl EvictionPolicy for Fifo {
    fn init(&mut self, num_blocks: usize) {
        self.inserted = vec![0; num_blocks];
        self.candidates = CandidateHeap::new(num_blocks);
    }

    fn insert(&mut self, block: BlockId, _: &Inserted, _: &Access) {
        self.insertions += 1;
        self.inserted[block.index()] = self.insertions;
    }

    fn offer(&mut self, block: BlockId) {
        self.candidates.insert(block, self.inserted[block.index()]);
    }

    fn retract(&mut self, block: BlockId) {
        self.candidates.remove(block);
    }

    fn victim(&mut self) -> Option<BlockId> {
        self.candidates.first()
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
    fn uses_do_not_count_and_children_go_before_parents() {
        let mut script = Script::new(Fifo::default(), 8);
        script.request(&[0, 1]);
        script.request(&[2]);
        script.request(&[0, 3]);
        script.request(&[0, 1]);
        // 1 came before 2 and 3; 0 waits for 3.
        assert_eq!(script.evict_all(), [1, 2, 3, 0]);
    }

    #[test]
    fn content_that_comes_again_is_new() {
        let mut script = Script::new(Fifo::default(), 8);
        script.request(&[0]);
        script.request(&[1]);
        assert_eq!(script.evict(), 0);
        script.request(&[0]);
        script.clear();
        script.request(&[2]);
        script.request(&[1]);
        assert_eq!(script.evict_all(), [2, 1]);
    }
}
