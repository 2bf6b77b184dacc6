//! The work that the benches do: pools filled, prompts made.
//!
//! Tokens are drawn from a seeded generator, so every run does the same work.

#![allow(dead_code, reason = "each bench uses a part")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on should stop")]

use kvkeep::{Admission, BlockManager, Config, Identity, SeqId};

/// Tokens per block everywhere.
pub(crate) const BLOCK_SIZE: usize = 16;

/// splitmix64: tiny, seeded, and good enough for token ids.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn tokens(&mut self, count: usize) -> Vec<u32> {
        (0..count).map(|_| self.next() as u32 % 151_936).collect()
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.next() as usize % (i + 1));
        }
    }
}

/// In which order ids come out of a fresh pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Neighbours in a chain are neighbours in memory.
    Allocation,
    /// Random, as in a pool that has run for days.
    Scrambled,
}

pub(crate) fn manager(config: Config, order: Order) -> BlockManager {
    let mut kv = BlockManager::new(config).unwrap();
    if order == Order::Scrambled {
        // Two blocks to each sequence, then back in random order; the second time around
        // the blocks of a sequence are no neighbours any more.
        for seed in [7, 8] {
            let mut held: Vec<SeqId> = Vec::new();
            while kv.usage().free > 0 {
                let tokens = kv.usage().free.min(2) * BLOCK_SIZE;
                let seq = admit(&mut kv, &vec![1; tokens]).seq;
                reserve(&mut kv, seq, tokens);
                held.push(seq);
            }
            Rng(seed).shuffle(&mut held);
            held.into_iter().for_each(|seq| free(&mut kv, seq));
        }
    }
    kv
}

pub(crate) fn admit(kv: &mut BlockManager, prompt: &[u32]) -> Admission {
    kv.admit(prompt, &Identity::default()).unwrap()
}

pub(crate) fn reserve(kv: &mut BlockManager, seq: SeqId, tokens: usize) {
    kv.reserve(seq, tokens).unwrap();
}

pub(crate) fn commit(kv: &mut BlockManager, seq: SeqId, tokens: usize) {
    kv.commit(seq, tokens).unwrap();
}

pub(crate) fn free(kv: &mut BlockManager, seq: SeqId) {
    kv.free(seq).unwrap();
}

/// One step of decoding.
#[inline]
pub(crate) fn decode(kv: &mut BlockManager, seq: SeqId, token: u32) {
    kv.append(seq, token).unwrap();
    kv.reserve(seq, 1).unwrap();
    kv.commit(seq, 1).unwrap();
}

/// Admits a prompt and computes what did not hit.
#[inline]
pub(crate) fn prefill(kv: &mut BlockManager, prompt: &[u32]) -> Admission {
    let admission = admit(kv, prompt);
    let rest = prompt.len() - admission.tokens_cached;
    reserve(kv, admission.seq, rest);
    commit(kv, admission.seq, rest);
    admission
}

/// Runs one request: prompt only. Returns the cached tokens.
#[inline]
pub(crate) fn request(kv: &mut BlockManager, prompt: &[u32]) -> usize {
    let admission = prefill(kv, prompt);
    free(kv, admission.seq);
    admission.tokens_cached
}

/// Looks a prompt up and releases it: all of a hit's cost and nothing else.
#[inline]
pub(crate) fn hit(kv: &mut BlockManager, prompt: &[u32]) -> usize {
    let admission = admit(kv, prompt);
    free(kv, admission.seq);
    admission.tokens_cached
}

/// Fills what is left of a pool with cached chains of 64 blocks.
pub(crate) fn fill(kv: &mut BlockManager, rng: &mut Rng) {
    while kv.usage().free > 0 {
        let blocks = kv.usage().free.min(64);
        request(kv, &rng.tokens(blocks * BLOCK_SIZE));
    }
}
