//! T-LRU: the ends of conversations that the latency objective does not need go first.

use super::uses::Uses;
use super::{Access, CandidateHeap, EvictionPolicy, Inserted};
use crate::BlockId;

/// Tokens that are computed within the objective.
const EXCESS_TOKENS: usize = 1024;
/// Tokens per block of the default.
const BLOCK_SIZE: usize = 16;

/// Tail-optimised LRU (Zhang et al., *Tail-Optimized Caching for LLM Inference*, NeurIPS
/// 2025): a conversation needs only so much of its history in the cache that what is left
/// to compute meets the objective for time to first token. What exceeds that goes first,
/// LRU among it, then the rest, LRU.
///
/// The excess is the last `n` blocks of each chain, where `n` blocks are what an engine
/// computes within the objective, less what a new turn usually adds.
///
/// *Cost*: O(log n); 49 bytes per block. *Not for* throughput or the mean latency: it gives
/// up hits that are cheap to recompute so that fewer requests miss all. With chains shorter
/// than `n` it is LRU.
#[derive(Clone, Debug)]
pub struct TailLru {
    excess_blocks: usize,
    uses: Uses,
    needed: Vec<bool>,
    candidates: CandidateHeap<(bool, u64)>,
}

impl Default for TailLru {
    /// 64 blocks, 1,024 tokens in blocks of 16, are computed within the objective.
    fn default() -> Self {
        TailLru::for_block_size(BLOCK_SIZE)
    }
}

impl TailLru {
    /// 1,024 tokens in blocks of so many (0 counts as 1), rounded down to whole blocks.
    pub(super) fn for_block_size(tokens: usize) -> Self {
        TailLru::with_excess_blocks(EXCESS_TOKENS / tokens.max(1))
    }

    /// `blocks` at the end of a conversation can be computed within the objective, besides
    /// what its next turn adds: tokens that a prefill computes in that time, less the
    /// tokens of a usual turn, over the tokens of a block.
    #[must_use]
    pub fn with_excess_blocks(blocks: usize) -> Self {
        TailLru {
            excess_blocks: blocks,
            uses: Uses::default(),
            needed: Vec::new(),
            candidates: CandidateHeap::default(),
        }
    }
}

impl EvictionPolicy for TailLru {
    fn init(&mut self, num_blocks: usize) {
        self.uses = Uses::new(num_blocks);
        self.needed = vec![false; num_blocks];
        self.candidates = CandidateHeap::new(num_blocks);
    }

    fn insert(&mut self, block: BlockId, inserted: &Inserted, _: &Access) {
        self.uses.insert(block, inserted);
        self.needed[block.index()] = false;
    }

    fn finish(&mut self, chain: &[BlockId], _: &Access) {
        self.uses.finish(chain);
        let needed = chain.len().saturating_sub(self.excess_blocks);
        for (position, block) in chain.iter().enumerate() {
            self.needed[block.index()] = position < needed;
        }
    }

    fn offer(&mut self, block: BlockId) {
        let key = (self.needed[block.index()], self.uses.recency(block));
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
    fn excess_goes_first() {
        let mut script = Script::new(TailLru::with_excess_blocks(2), 8);
        script.request(&[0, 1, 2]); // 0 is needed
        script.request(&[3]); // excess
        script.request(&[4, 5, 6, 7]); // 4 and 5 are needed
        // Excess by age: 2, 1, 3, 7, 6. Then 0, 5, 4.
        assert_eq!(script.evict_all(), [2, 1, 3, 7, 6, 0, 5, 4]);
    }

    #[test]
    fn the_excess_is_the_same_number_of_tokens_in_blocks_of_any_size() {
        let blocks = |tokens| TailLru::for_block_size(tokens).excess_blocks;
        assert_eq!([0, 1, 16, 512, 1000, 2048].map(blocks), [1024, 1024, 64, 2, 1, 0]);
        assert_eq!(TailLru::default().excess_blocks, 64);
    }

    #[test]
    fn a_conversation_that_grows_needs_more() {
        let mut script = Script::new(TailLru::with_excess_blocks(1), 8);
        script.request(&[0, 1]); // 1 is excess
        script.request(&[2, 3]); // 3 is excess
        script.request(&[0, 1, 4]); // 1 is needed now
        assert_eq!(script.evict_all(), [3, 4, 2, 1, 0]);
    }
}
