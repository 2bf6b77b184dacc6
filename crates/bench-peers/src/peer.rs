//! What every block manager has to do here, and the states that a workload starts from.
//!
//! The trait is the smallest set of steps that all workloads are made of. Tokens go in,
//! so hashing is inside; a side that needs no call for a step leaves it empty.

use crate::work::{BLOCK_SIZE, shuffled, text};

/// A block manager under measurement.
pub(crate) trait Peer: Sized + 'static {
    /// Name in tables and in the raw result.
    const NAME: &'static str;

    /// A running request.
    type Sequence;

    /// An empty pool of `num_blocks` blocks of [`BLOCK_SIZE`] tokens.
    fn new(num_blocks: usize) -> Self;

    /// Hashes the prompt, finds its longest cached prefix and pins it; the number is
    /// the tokens that it covers.
    fn admit(&mut self, prompt: &[u32]) -> (Self::Sequence, usize);

    /// Takes blocks for the rest of the prompt, a partial last one too, and evicts for
    /// them if it must.
    fn allocate(&mut self, sequence: &mut Self::Sequence);

    /// Makes the full blocks that `allocate` took findable.
    fn publish(&mut self, sequence: &mut Self::Sequence);

    /// Adds a generated token and accounts for its KV: a block is taken when the last
    /// one is full, and made findable when the token fills it.
    fn decode(&mut self, sequence: &mut Self::Sequence, token: u32);

    /// Ends the request, last block first; cached content stays.
    fn release(&mut self, sequence: Self::Sequence);
}

/// How the free blocks lie when a workload starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// As the manager hands them out when new.
    Allocation,
    /// As they come back from requests that ended in random order.
    Scrambled,
}

impl Order {
    /// Name in tables and in the raw result.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Allocation => "allocation",
            Self::Scrambled => "scrambled",
        }
    }
}

/// Contents for texts that nothing else asks for.
const SCRATCH: u64 = 1 << 60;

/// A pool without content whose free blocks lie in `order`; `num_blocks` is even.
pub(crate) fn empty_pool<P: Peer>(num_blocks: usize, order: Order) -> P {
    let mut peer = P::new(num_blocks);
    if order == Order::Scrambled {
        assert!(num_blocks.is_multiple_of(2), "an odd block would shift the pairs");
        // Two blocks at a time, because managers bound the number of sequences. The
        // second pass is off by one, so that it parts the pairs of the first.
        take_all_and_release_shuffled(&mut peer, num_blocks, 2);
        take_all_and_release_shuffled(&mut peer, num_blocks, 1);
    }
    peer
}

/// Takes every block, in sequences of two after a first one of `first_blocks`, and
/// releases the sequences in random order.
fn take_all_and_release_shuffled<P: Peer>(peer: &mut P, num_blocks: usize, first_blocks: usize) {
    let mut held = Vec::with_capacity(num_blocks / 2 + 1);
    let mut blocks_left = num_blocks;
    let mut next_blocks = first_blocks;
    while blocks_left > 0 {
        let blocks = next_blocks.min(blocks_left);
        let content = SCRATCH + held.len() as u64;
        let (mut sequence, _) = peer.admit(&text(content, blocks * BLOCK_SIZE));
        peer.allocate(&mut sequence);
        held.push(Some(sequence));
        blocks_left -= blocks;
        next_blocks = 2;
    }
    for i in shuffled(held.len(), first_blocks as u64) {
        if let Some(sequence) = held[i].take() {
            peer.release(sequence);
        }
    }
}

/// Runs a request that only prefills; returns the tokens that were cached.
pub(crate) fn prefill<P: Peer>(peer: &mut P, prompt: &[u32]) -> usize {
    let (mut sequence, tokens_cached) = peer.admit(prompt);
    peer.allocate(&mut sequence);
    peer.publish(&mut sequence);
    peer.release(sequence);
    tokens_cached
}

/// Caches `num_blocks` blocks of new content in chains of at most `chain_blocks`.
pub(crate) fn fill<P: Peer>(peer: &mut P, num_blocks: usize, chain_blocks: usize) {
    let mut left = num_blocks;
    let mut content = SCRATCH + (1 << 50);
    while left > 0 {
        let blocks = left.min(chain_blocks);
        prefill(peer, &text(content, blocks * BLOCK_SIZE));
        content += 1;
        left -= blocks;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kvbm::{KvbmLineage, KvbmLru, KvbmLruFreeHash};
    use crate::kvkeep::{HashOnly, Kvkeep, Verified};

    /// Cached tokens per request of a workload that shares prefixes and evicts.
    fn hits<P: Peer>() -> Vec<usize> {
        let mut peer = P::new(64);
        let visits = (0..20).flat_map(|round| shuffled(12, round));
        visits
            .enumerate()
            .map(|(visit, topic)| {
                // Never a whole number of blocks, so the last-token rule has no say.
                let shared = text(topic as u64 % 3, 4 * BLOCK_SIZE);
                let own = text(100 + topic as u64, (1 + topic) * BLOCK_SIZE + 1 + visit % 15);
                let prompt = [shared, own].concat();
                let (mut sequence, tokens_cached) = peer.admit(&prompt);
                peer.allocate(&mut sequence);
                peer.publish(&mut sequence);
                for token in text(1000 + topic as u64, visit % 40) {
                    peer.decode(&mut sequence, token);
                }
                peer.release(sequence);
                tokens_cached
            })
            .collect()
    }

    /// The sides are only worth comparing if they do the same work.
    #[test]
    fn all_sides_hit_and_evict_alike() {
        let expected = hits::<KvbmLru>();
        let hit_tokens: usize = expected.iter().sum();
        assert!(expected.contains(&0) && hit_tokens > 100 * BLOCK_SIZE, "{expected:?}");
        assert_eq!(hits::<KvbmLruFreeHash>(), expected);
        assert_eq!(hits::<Kvkeep<Verified>>(), expected);
        assert_eq!(hits::<Kvkeep<HashOnly>>(), expected);
        assert_eq!(hits::<KvbmLineage>(), expected);
    }
}
