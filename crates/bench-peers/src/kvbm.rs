//! kvbm-logical, driven as its own request type drives it, with less around it.
//!
//! Per request: hash the prompt, `match_blocks` on all hashes, `allocate_blocks` for the
//! rest, `stage` each, `register_blocks` in one batch, drop. Its `RequestSequence` does
//! the same plus an ordered map of guards per request and one registration per block;
//! leaving those out is in kvbm's favour. Guards are dropped last block first, because
//! its LRU evicts in the order of the drops. The registry has no frequency tracker (only
//! its MultiLRU needs one) and no event manager.

use std::marker::PhantomData;

use dynamo_tokens::{PositionalLineageHash, TokenBlockSequence, compute_block_hash_for_tokens};
use kvbm_logical::manager::BlockManagerConfigBuilder;
use kvbm_logical::{
    BlockManager, BlockRegistry, ImmutableBlock, KvbmSequenceHashProvider, MutableBlock,
    SequenceHash,
};

use crate::peer::Peer;
use crate::work::BLOCK_SIZE;

/// Marks the tier of the blocks, as the crate asks its users to do.
#[derive(Clone)]
pub(crate) struct Device;

/// A way to get from tokens to kvbm's block hashes.
pub(crate) trait Chain {
    /// The chain of a prompt, and the hashes of its full blocks.
    fn new(prompt: &[u32]) -> (Self, Vec<SequenceHash>)
    where
        Self: Sized;

    /// Adds a token; the hash of the block that it filled, if it filled one.
    fn append(&mut self, token: u32) -> Option<SequenceHash>;
}

/// dynamo-tokens' `TokenBlockSequence`: what kvbm's own request types use.
pub(crate) struct TokenBlocks(TokenBlockSequence);

impl Chain for TokenBlocks {
    fn new(prompt: &[u32]) -> (Self, Vec<SequenceHash>) {
        let sequence = TokenBlockSequence::from_slice(prompt, BLOCK_SIZE as u32, None);
        let blocks = sequence.blocks().iter();
        let hashes = blocks.map(KvbmSequenceHashProvider::kvbm_sequence_hash).collect();
        (Self(sequence), hashes)
    }

    fn append(&mut self, token: u32) -> Option<SequenceHash> {
        let filled = self.0.append(token).expect("kvbm: a token can be appended")?;
        Some(self.0.blocks()[filled].kvbm_sequence_hash())
    }
}

/// dynamo-tokens' free functions: the same hashes without a copy of the tokens.
pub(crate) struct FreeFunctions {
    last: Option<SequenceHash>,
    partial: Vec<u32>,
}

impl FreeFunctions {
    fn push_block(last: &mut Option<SequenceHash>, tokens: &[u32]) -> SequenceHash {
        let block_hash = compute_block_hash_for_tokens(tokens, 0);
        let hash = match last {
            Some(parent) => parent.extend(block_hash),
            None => PositionalLineageHash::root(block_hash),
        };
        *last = Some(hash);
        hash
    }
}

impl Chain for FreeFunctions {
    fn new(prompt: &[u32]) -> (Self, Vec<SequenceHash>) {
        let (blocks, partial) = prompt.as_chunks::<BLOCK_SIZE>();
        let mut last = None;
        let hashes = blocks.iter().map(|block| Self::push_block(&mut last, block)).collect();
        let mut buffer = Vec::with_capacity(BLOCK_SIZE);
        buffer.extend_from_slice(partial);
        (Self { last, partial: buffer }, hashes)
    }

    fn append(&mut self, token: u32) -> Option<SequenceHash> {
        self.partial.push(token);
        if self.partial.len() < BLOCK_SIZE {
            return None;
        }
        let hash = Self::push_block(&mut self.last, &self.partial);
        self.partial.clear();
        Some(hash)
    }
}

/// One of kvbm's eviction indexes.
pub(crate) trait Backend {
    /// Selects it.
    fn select(builder: BlockManagerConfigBuilder<Device>) -> BlockManagerConfigBuilder<Device>;
}

/// Least recently released first.
pub(crate) struct Lru;

impl Backend for Lru {
    fn select(builder: BlockManagerConfigBuilder<Device>) -> BlockManagerConfigBuilder<Device> {
        builder.with_lru_backend()
    }
}

/// Leaves first, in the order of its default policy; the crate's default.
pub(crate) struct Lineage;

impl Backend for Lineage {
    fn select(builder: BlockManagerConfigBuilder<Device>) -> BlockManagerConfigBuilder<Device> {
        builder.with_lineage_backend()
    }
}

/// LRU with the hashing that kvbm's users get.
pub(crate) type KvbmLru = Kvbm<TokenBlocks, Lru>;
/// LRU with the cheapest hashing that gives the same hashes.
pub(crate) type KvbmLruFreeHash = Kvbm<FreeFunctions, Lru>;
/// The default index.
pub(crate) type KvbmLineage = Kvbm<TokenBlocks, Lineage>;

/// A kvbm manager with a way to hash and an eviction index.
pub(crate) struct Kvbm<C, B> {
    manager: BlockManager<Device>,
    choice: PhantomData<(C, B)>,
}

/// A request: its guards are what keeps its blocks.
pub(crate) struct KvbmSequence<C> {
    chain: C,
    prompt_blocks: usize,
    hashes: Vec<SequenceHash>,
    registered: Vec<ImmutableBlock<Device>>,
    blank: Vec<MutableBlock<Device>>,
}

impl<C: Chain, B: Backend> Kvbm<C, B> {
    fn take(&self, count: usize) -> Vec<MutableBlock<Device>> {
        let blocks = self.manager.allocate_blocks(count);
        blocks.unwrap_or_else(|| panic!("kvbm: a pool too small for {count} more blocks"))
    }
}

/// Names of the combinations that are measured.
pub(crate) trait Named {
    /// Name in tables and in the raw result.
    const NAME: &'static str;
}

impl Named for KvbmLru {
    const NAME: &'static str = "kvbm-lru";
}

impl Named for KvbmLruFreeHash {
    const NAME: &'static str = "kvbm-lru-free-hash";
}

impl Named for KvbmLineage {
    const NAME: &'static str = "kvbm-lineage";
}

impl<C: Chain + 'static, B: Backend + 'static> Peer for Kvbm<C, B>
where
    Self: Named,
{
    const NAME: &'static str = <Self as Named>::NAME;

    type Sequence = KvbmSequence<C>;

    fn new(num_blocks: usize) -> Self {
        let builder = BlockManager::<Device>::builder()
            .block_count(num_blocks)
            .block_size(BLOCK_SIZE)
            .registry(BlockRegistry::new());
        let manager = B::select(builder).build().expect("kvbm: a valid configuration");
        Self { manager, choice: PhantomData }
    }

    fn admit(&mut self, prompt: &[u32]) -> (Self::Sequence, usize) {
        let (chain, hashes) = C::new(prompt);
        let registered = self.manager.match_blocks(&hashes);
        let tokens_cached = registered.len() * BLOCK_SIZE;
        let prompt_blocks = prompt.len().div_ceil(BLOCK_SIZE);
        let sequence = KvbmSequence { chain, prompt_blocks, hashes, registered, blank: Vec::new() };
        (sequence, tokens_cached)
    }

    fn allocate(&mut self, sequence: &mut Self::Sequence) {
        sequence.blank = self.take(sequence.prompt_blocks - sequence.registered.len());
    }

    fn publish(&mut self, sequence: &mut Self::Sequence) {
        let hashes = &sequence.hashes[sequence.registered.len()..];
        let staged = sequence
            .blank
            .drain(..hashes.len())
            .zip(hashes)
            .map(|(block, &hash)| block.stage(hash, BLOCK_SIZE).expect("kvbm: same block size"))
            .collect();
        sequence.registered.extend(self.manager.register_blocks(staged));
    }

    fn decode(&mut self, sequence: &mut Self::Sequence, token: u32) {
        if sequence.blank.is_empty() {
            sequence.blank = self.take(1);
        }
        if let Some(hash) = sequence.chain.append(token)
            && let Some(block) = sequence.blank.pop()
        {
            let staged = block.stage(hash, BLOCK_SIZE).expect("kvbm: same block size");
            sequence.registered.push(self.manager.register_block(staged));
        }
    }

    fn release(&mut self, mut sequence: Self::Sequence) {
        sequence.blank.clear();
        while let Some(block) = sequence.registered.pop() {
            drop(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::{Order, empty_pool};
    use crate::work::text;

    /// The cheap hashing must be the same identity, or it would be another workload.
    #[test]
    fn both_ways_to_hash_agree() {
        let tokens = text(1, 300 * BLOCK_SIZE + 9);
        let (mut blocks, from_blocks) = TokenBlocks::new(&tokens);
        let (mut free, from_free) = FreeFunctions::new(&tokens);
        assert_eq!(from_blocks.len(), 300);
        assert_eq!(from_blocks, from_free);
        for token in text(2, 40) {
            assert_eq!(blocks.append(token), free.append(token));
        }
    }

    #[test]
    fn a_scrambled_pool_is_whole_and_has_hardly_any_neighbours() {
        for num_blocks in [254, 256] {
            let mut peer = empty_pool::<KvbmLru>(num_blocks, Order::Scrambled);
            let (mut sequence, _) = peer.admit(&text(1, num_blocks * BLOCK_SIZE));
            peer.allocate(&mut sequence);
            let mut ids: Vec<usize> = sequence.blank.iter().map(MutableBlock::block_id).collect();
            // A random order of 256 has two pairs of neighbours on average.
            let neighbours = ids.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) == 1).count();
            assert!(neighbours < 12, "{neighbours}");
            ids.sort_unstable();
            assert_eq!(ids, (0..num_blocks).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_decoded_block_is_found_by_the_next_request() {
        let mut peer = KvbmLru::new(8);
        let tokens = text(1, 2 * BLOCK_SIZE);
        let (mut sequence, _) = peer.admit(&tokens[..20]);
        peer.allocate(&mut sequence);
        peer.publish(&mut sequence);
        for &token in &tokens[20..] {
            peer.decode(&mut sequence, token);
        }
        peer.release(sequence);
        assert_eq!(peer.admit(&tokens).1, 2 * BLOCK_SIZE);
    }
}
