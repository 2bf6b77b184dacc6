//! The hit rate of a cache that never evicts: what the pool's size costs.
//!
//! The same rule as the manager's (full blocks from the start of the prompt, never the last
//! prompt token) over a plain set of block hashes. No second manager: only the hasher is the
//! library's.

use ahash::RandomState;
use kvkeep::{
    ExtraKeys,
    hash::{BlockHasher, Xxh3},
};
use std::collections::HashSet;

type Digest = <Xxh3 as BlockHasher>::Digest;

/// Every block ever computed.
pub(super) struct InfiniteCache {
    /// Tokens.
    block_size: usize,
    blocks: HashSet<Digest, RandomState>,
    /// The blocks of the sequence at hand; kept for its allocation.
    chain: Vec<Digest>,
}

impl InfiniteCache {
    /// An empty cache of blocks of `block_size` tokens.
    pub(super) fn new(block_size: usize) -> Self {
        Self { block_size, blocks: HashSet::default(), chain: Vec::new() }
    }

    /// Returns the tokens that hit for a prompt, the first `prompt_tokens` of `tokens`, then
    /// keeps the full blocks of all `tokens`.
    pub(super) fn replay(&mut self, tokens: &[u32], prompt_tokens: usize) -> u64 {
        self.chain.clear();
        let mut parent = Xxh3.root(self.block_size);
        for block in tokens.chunks_exact(self.block_size) {
            parent = Xxh3.hash(&parent, block, ExtraKeys::default());
            self.chain.push(parent);
        }
        // Chains are kept whole, so known blocks come before all new ones. To search for the
        // border touches the large set a few times instead of once per block.
        let blocks_known = self.chain.partition_point(|block| self.blocks.contains(block));
        self.blocks.extend(&self.chain[blocks_known..]);
        let blocks_allowed = prompt_tokens.saturating_sub(1) / self.block_size;
        (blocks_known.min(blocks_allowed) * self.block_size) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::InfiniteCache;

    #[test]
    fn full_blocks_hit_and_the_last_token_never_does() {
        let mut cache = InfiniteCache::new(4);
        assert_eq!(cache.replay(&[1, 2, 3, 4, 5, 6, 7, 8], 8), 0);
        // All eight are known, but the last token has to be computed, so its block as well.
        assert_eq!(cache.replay(&[1, 2, 3, 4, 5, 6, 7, 8], 8), 4);
        assert_eq!(cache.replay(&[1, 2, 3, 4, 5, 6, 7, 8, 9], 9), 8);
        assert_eq!(cache.replay(&[1, 2, 3, 4, 0, 6, 7, 8, 9], 9), 4);
        assert_eq!(cache.replay(&[0, 2, 3, 4, 5, 6, 7, 8, 9], 9), 0);
        assert_eq!(cache.replay(&[1], 1), 0);
    }

    #[test]
    fn equal_blocks_under_other_parents_are_other_blocks() {
        let mut cache = InfiniteCache::new(2);
        assert_eq!(cache.replay(&[7, 7, 7, 7, 7, 7], 6), 0);
        assert_eq!(cache.replay(&[7, 7, 7], 3), 2);
        assert_eq!(cache.replay(&[8, 8, 7, 7, 7], 5), 0);
    }

    #[test]
    fn outputs_are_kept_but_only_prompts_hit() {
        let mut cache = InfiniteCache::new(2);
        assert_eq!(cache.replay(&[1, 2, 3, 4], 3), 0);
        // Two blocks of the answer are known; the prompt of three tokens may use one.
        assert_eq!(cache.replay(&[1, 2, 3, 4], 3), 2);
        assert_eq!(cache.replay(&[1, 2, 3, 4, 5], 5), 4);
    }
}
