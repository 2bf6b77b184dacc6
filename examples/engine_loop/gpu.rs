//! A device that notices: simulated pages, and a model whose output depends on each of
//! them. The KV of a token is a digest of it and of the KV before it, so a page that is
//! stale, overwritten early or somebody else's has the wrong value in it.

use kvkeep::{BlockCopy, BlockId};
use std::fmt;

/// The pages of the pool, one word of KV per token slot.
pub(crate) struct Gpu {
    pages: Vec<u64>,
    block_size: usize,
    pub(crate) slots_checked: usize,
    pub(crate) pages_copied: usize,
}

impl Gpu {
    pub(crate) fn new(num_blocks: usize, block_size: usize) -> Self {
        let pages = vec![0; num_blocks * block_size];
        Gpu { pages, block_size, slots_checked: 0, pages_copied: 0 }
    }

    /// Copy on write.
    pub(crate) fn copy(&mut self, copy: BlockCopy) {
        let source = copy.source.index() * self.block_size;
        let destination = copy.destination.index() * self.block_size;
        self.pages.copy_within(source..source + copy.tokens, destination);
        self.pages_copied += 1;
    }

    /// One forward pass: writes the KV of `tokens[first..]`, after a check of all KV
    /// before it, and returns the model's output at each of these tokens.
    pub(crate) fn forward(
        &mut self,
        table: &[BlockId],
        tokens: &[u32],
        first: usize,
    ) -> Result<Vec<u64>, StalePage> {
        let mut kv = 0;
        let mut outputs = Vec::new();
        for (position, &token) in tokens.iter().enumerate() {
            kv = attend(kv, token);
            let block = table[position / self.block_size];
            let start = block.index() * self.block_size;
            let slot = &mut self.pages[start + position % self.block_size];
            if position >= first {
                *slot = kv;
                outputs.push(kv);
            } else if *slot != kv {
                return Err(StalePage { block, position });
            }
        }
        self.slots_checked += first;
        Ok(outputs)
    }

    /// Overwrites everything, to see that it is noticed.
    pub(crate) fn scribble(&mut self) {
        self.pages.fill(u64::MAX);
    }
}

/// A page that does not hold what the sequence needs.
#[derive(Debug)]
pub(crate) struct StalePage {
    block: BlockId,
    position: usize,
}

impl fmt::Display for StalePage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {:?} does not hold the KV of token {}", self.block, self.position)
    }
}

impl std::error::Error for StalePage {}

/// What the model says after `prompt`, computed without any cache.
pub(crate) fn reference(prompt: &[u32], output_tokens: usize, seed: u64) -> Vec<u32> {
    let mut kv = prompt.iter().fold(0, |kv, &token| attend(kv, token));
    let mut output = Vec::new();
    for _ in 0..output_tokens {
        let token = sample(kv, seed);
        output.push(token);
        kv = attend(kv, token);
    }
    output
}

/// A draft model: right about the next tokens, except for one in seven.
pub(crate) fn draft(tokens: &[u32], draft_tokens: usize, seed: u64) -> Vec<u32> {
    let mut drafts = reference(tokens, draft_tokens, seed);
    for (ahead, draft) in drafts.iter_mut().enumerate() {
        if (tokens.len() + ahead).is_multiple_of(7) {
            *draft ^= 1;
        }
    }
    drafts
}

fn attend(kv: u64, token: u32) -> u64 {
    mix(kv ^ u64::from(token))
}

/// Samples a token from an output of the model.
pub(crate) fn sample(output: u64, seed: u64) -> u32 {
    (mix(output ^ mix(seed)) % 50_000) as u32
}

/// The finaliser of SplitMix64.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
