//! LFU: the block with the fewest uses goes first.

use super::uses::Uses;
use super::{Access, CandidateHeap, EvictionPolicy, Inserted};
use crate::BlockId;

/// Least frequently used since it was computed; LRU among equals.
///
/// *Cost*: O(log n); 48 bytes per block. *Not for* traffic that changes: what was popular
/// once stays until its count is beaten, and blocks of new conversations go before their
/// second turn. [LFU-DA](super::Gdsf::lfu_da) forgets.
#[derive(Clone, Debug, Default)]
pub struct Lfu {
    uses: Uses,
    candidates: CandidateHeap<(u32, u64)>,
}

impl EvictionPolicy for Lfu {
    fn init(&mut self, num_blocks: usize) {
        self.uses = Uses::new(num_blocks);
        self.candidates = CandidateHeap::new(num_blocks);
    }

    fn hit(&mut self, blocks: &[BlockId], _: &Access) {
        self.uses.hit(blocks);
    }

    fn insert(&mut self, block: BlockId, inserted: &Inserted, _: &Access) {
        self.uses.insert(block, inserted);
    }

    fn finish(&mut self, chain: &[BlockId], _: &Access) {
        self.uses.finish(chain);
    }

    fn offer(&mut self, block: BlockId) {
        self.candidates.insert(block, (self.uses.count(block), self.uses.recency(block)));
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
    fn fewest_uses_first_then_the_oldest() {
        let mut script = Script::new(Lfu::default(), 8);
        script.request(&[0, 1]); // 1 use each
        script.request(&[2]);
        script.request(&[3]);
        script.request(&[0, 1]); // 2 uses each
        script.request(&[2]); // 2 uses, later
        script.request(&[4]);
        // Once: 3, 4. Twice: 1, then 0, which 1 uncovers and which is older than 2.
        assert_eq!(script.evict_all(), [3, 4, 1, 0, 2]);
    }

    #[test]
    fn counts_end_with_the_content() {
        let mut script = Script::new(Lfu::default(), 8);
        script.request(&[0]);
        script.request(&[0]);
        assert_eq!(script.evict(), 0);
        script.request(&[0]);
        script.request(&[1]);
        assert_eq!(script.evict_all(), [0, 1]);
    }
}
