//! LFU-DA: frequency that ages.

use super::uses::Uses;
use super::{Access, CandidateHeap, EvictionPolicy, Inserted};
use crate::BlockId;

/// Least frequently used with dynamic aging (Arlitt et al., *Evaluating content management
/// techniques for Web proxy caches*, 2000).
///
/// A use gives a block the value of its count plus that of the last victim, so that old
/// counts are outgrown. LRU among equals.
///
/// *Cost*: O(log n); 56 bytes per block. *Not for* pools that hold a small part of the
/// working set: before a second use it is LRU.
#[derive(Clone, Debug, Default)]
pub struct LfuDa {
    uses: Uses,
    values: Vec<u64>,
    /// Value of the last victim.
    inflation: u64,
    candidates: CandidateHeap<(u64, u64)>,
}

impl EvictionPolicy for LfuDa {
    fn init(&mut self, num_blocks: usize) {
        self.uses = Uses::new(num_blocks);
        self.values = vec![0; num_blocks];
        self.candidates = CandidateHeap::new(num_blocks);
    }

    fn hit(&mut self, blocks: &[BlockId], _: &Access) {
        self.uses.hit(blocks);
        for &block in blocks {
            let value = self.inflation + u64::from(self.uses.count(block));
            self.values[block.index()] = value;
        }
    }

    fn insert(&mut self, block: BlockId, inserted: &Inserted, _: &Access) {
        self.uses.insert(block, inserted);
        self.values[block.index()] = self.inflation + 1;
    }

    fn finish(&mut self, chain: &[BlockId], _: &Access) {
        self.uses.finish(chain);
    }

    fn offer(&mut self, block: BlockId) {
        let key = (self.values[block.index()], self.uses.recency(block));
        self.candidates.insert(block, key);
    }

    fn retract(&mut self, block: BlockId) {
        self.candidates.remove(block);
    }

    fn victim(&mut self) -> Option<BlockId> {
        let (value, _) = self.candidates.first_key()?;
        // A parent can be worth less than the victim that uncovered it.
        self.inflation = self.inflation.max(value);
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
    fn old_counts_are_outgrown() {
        let mut script = Script::new(LfuDa::default(), 8);
        (0..3).for_each(|_| script.request(&[0])); // value 3
        script.request(&[1]); // value 1
        script.request(&[2]); // value 1
        assert_eq!([script.evict(), script.evict()], [1, 2]); // last victim: 1
        script.request(&[3]); // 1 + 1
        script.request(&[3]); // 1 + 2 = 3, younger than 0
        assert_eq!(script.evict(), 0); // last victim: 3
        script.request(&[4]); // 3 + 1
        assert_eq!(script.evict_all(), [3, 4]);
    }
}
