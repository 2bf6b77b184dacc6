//! What a manager counts. Every counter says what it counts, in which unit.

use crate::miss::{MissCounts, MissReason};

/// Counters since the manager was made. They only grow, but for what
/// [`withdraw`](crate::BlockManager::withdraw) takes back; subtract two readings for a
/// window.
///
/// A request counts once, when it is admitted. A preempted request that comes back
/// (`readmit`) counts in the `readmitted_*` fields instead, so that its second lookup,
/// which finds its own blocks, does not flatter the hit rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Sequences admitted with `admit`.
    pub requests: u64,
    /// Prompt tokens of these.
    pub prompt_tokens: u64,
    /// Prompt tokens of these that the prefix hit covered. Whole blocks, never the last
    /// token.
    pub cached_tokens: u64,
    /// Why their hits ended.
    pub misses: MissCounts,
    /// Sequences ended with `preempt`.
    pub preemptions: u64,
    /// Sequences admitted with `readmit`.
    pub readmitted_requests: u64,
    /// Tokens of these, outputs included.
    pub readmitted_tokens: u64,
    /// Tokens of these that the prefix hit covered.
    pub readmitted_cached_tokens: u64,
    /// Tokens of these that it did not cover: the recompute tax of preemption, plus the
    /// newest token of each, whose KV had not been computed before.
    pub recomputed_tokens: u64,
    /// Tokens committed: their KV was computed, or loaded, by the engine.
    pub committed_tokens: u64,
    /// Steps that were reverted, by `revert` or because the sequence ended in one.
    pub reverted_steps: u64,
    /// Blocks published by `commit`.
    pub published_blocks: u64,
    /// Published blocks whose content was given up for a reservation.
    pub evicted_blocks: u64,
    /// Published blocks made unreachable by `invalidate_all`.
    pub invalidated_blocks: u64,
    /// Full blocks that `commit` left private since their content was published already:
    /// by a sequence that computed it at the same time, or before, where the last token of
    /// a cached prompt is computed again.
    pub duplicate_blocks: u64,
    /// Full blocks that `commit` left private since other content has their hash.
    pub collisions: u64,
    /// Releases whose retention hints above the default priority were ignored, since
    /// `max_retained_blocks` would have been exceeded.
    pub refused_retentions: u64,
    /// Evictions where the policy named no candidate, so that the least recently released
    /// block went: a defect of the policy.
    pub overruled_victims: u64,
    /// Residency: for each published block the ms between its publication and its
    /// eviction (or now), summed up over all blocks, by the caller's clock. Divided by
    /// `published_blocks` it is the mean residency so far.
    pub resident_block_ms: u64,
}

impl Stats {
    /// Prefix hit rate: `cached_tokens / prompt_tokens`; 0 before the first request.
    #[must_use]
    pub fn hit_rate(&self) -> f64 {
        if self.prompt_tokens == 0 {
            0.0
        } else {
            self.cached_tokens as f64 / self.prompt_tokens as f64
        }
    }
}

/// What an admission added to the counters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    pub(crate) tokens: usize,
    pub(crate) tokens_cached: usize,
    /// `None` for a sequence that comes back.
    pub(crate) miss: Option<MissReason>,
}

impl Stats {
    /// Published blocks of this epoch: those that neither eviction nor invalidation took.
    pub(crate) fn resident_blocks(&self) -> u64 {
        self.published_blocks - self.evicted_blocks - self.invalidated_blocks
    }

    #[inline]
    pub(crate) fn count(&mut self, admission: Counted) {
        self.apply(admission, |counter, by| *counter += by);
    }

    /// Takes back what `count` added.
    pub(crate) fn discount(&mut self, admission: Counted) {
        self.apply(admission, |counter, by| *counter -= by);
    }

    #[inline]
    fn apply(&mut self, admission: Counted, change: impl Fn(&mut u64, u64)) {
        let Counted { tokens, tokens_cached, miss } = admission;
        let (tokens, cached) = (tokens as u64, tokens_cached as u64);
        if let Some(reason) = miss {
            change(&mut self.requests, 1);
            change(&mut self.prompt_tokens, tokens);
            change(&mut self.cached_tokens, cached);
            let count = self.misses.get_mut(reason);
            change(&mut count.requests, 1);
            change(&mut count.tokens, tokens - cached);
        } else {
            change(&mut self.readmitted_requests, 1);
            change(&mut self.readmitted_tokens, tokens);
            change(&mut self.readmitted_cached_tokens, cached);
            change(&mut self.recomputed_tokens, tokens - cached);
        }
    }
}

/// Where the blocks are now. `free + cached + in_use` is the size of the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Blocks without content.
    pub free: usize,
    /// Blocks with content that nobody uses: evictable.
    pub cached: usize,
    /// Blocks that sequences use.
    pub in_use: usize,
    /// Sequences.
    pub sequences: usize,
}

impl Usage {
    /// Blocks that a reservation can get.
    #[must_use]
    pub fn available(&self) -> usize {
        self.free + self.cached
    }

    /// Share of the blocks in use, 0 to 1. Cached blocks do not count: they are there
    /// for the taking.
    #[must_use]
    pub fn fraction_in_use(&self) -> f64 {
        self.in_use as f64 / (self.available() + self.in_use).max(1) as f64
    }
}
