//! Priorities by kind of work, then LRU.

use super::uses::Uses;
use super::{Access, CandidateHeap, EvictionPolicy, Inserted};
use crate::{BlockId, DEFAULT_PRIORITY};
use ahash::AHashMap;

/// Blocks of the lowest priority first, LRU inside a priority, where the category of the
/// last request that used a block gives its priority (after TensorRT-LLM's retention
/// priorities, 2024).
///
/// Priorities by token range and with a duration are
/// [`BlockManager::retain`](crate::BlockManager::retain)'s: the manager ranks those by
/// itself, under any policy. This policy is for engines that know the kind of work
/// ([`describe`](crate::BlockManager::describe)) and nothing else. Categories without a
/// priority have [`DEFAULT_PRIORITY`]; by default all are equal, which is LRU.
///
/// *Cost*: O(log n); 49 bytes per block. *Not for* a pool that one category can fill: what
/// ranks highest is not evicted before everything else is gone.
#[derive(Clone, Debug, Default)]
pub struct Priority {
    priorities: AHashMap<u16, u8>,
    uses: Uses,
    blocks: Vec<u8>,
    candidates: CandidateHeap<(u8, u64)>,
}

impl Priority {
    /// Priority by category, 0 (goes first) to 255; of two for one category the last counts.
    ///
    /// ```
    /// use kvkeep::evict::Priority;
    ///
    /// const BATCH: u16 = 1;
    /// const CHAT: u16 = 2;
    /// let policy = Priority::with_priorities([(BATCH, 10), (CHAT, 60)]);
    /// # let _ = policy;
    /// ```
    #[must_use]
    pub fn with_priorities(priorities: impl IntoIterator<Item = (u16, u8)>) -> Self {
        Priority { priorities: priorities.into_iter().collect(), ..Priority::default() }
    }

    fn of(&self, access: &Access) -> u8 {
        self.priorities.get(&access.category).copied().unwrap_or(DEFAULT_PRIORITY)
    }
}

impl EvictionPolicy for Priority {
    fn init(&mut self, num_blocks: usize) {
        self.uses = Uses::new(num_blocks);
        self.blocks = vec![0; num_blocks];
        self.candidates = CandidateHeap::new(num_blocks);
    }

    fn hit(&mut self, blocks: &[BlockId], access: &Access) {
        let priority = self.of(access);
        blocks.iter().for_each(|block| self.blocks[block.index()] = priority);
    }

    fn insert(&mut self, block: BlockId, inserted: &Inserted, access: &Access) {
        self.uses.insert(block, inserted);
        self.blocks[block.index()] = self.of(access);
    }

    fn finish(&mut self, chain: &[BlockId], _: &Access) {
        self.uses.finish(chain);
    }

    fn offer(&mut self, block: BlockId) {
        let key = (self.blocks[block.index()], self.uses.recency(block));
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
    fn the_last_category_ranks_a_block() {
        let mut script = Script::new(Priority::with_priorities([(1, 10), (2, 60)]), 8);
        script.describe(&[0], 2, None);
        script.describe(&[1], 1, None);
        script.describe(&[2], 0, None); // the default, 35
        script.describe(&[3, 4], 1, None);
        script.describe(&[3], 2, None);
        // 10: 1, 4. 35: 2. 60: 0, 3.
        assert_eq!(script.evict_all(), [1, 4, 2, 0, 3]);
    }

    #[test]
    fn by_default_it_is_lru() {
        let mut script = Script::new(Priority::default(), 8);
        script.describe(&[0, 1], 3, None);
        script.describe(&[2], 4, None);
        script.describe(&[0, 3], 5, None);
        assert_eq!(script.evict_all(), [1, 2, 3, 0]);
    }
}
