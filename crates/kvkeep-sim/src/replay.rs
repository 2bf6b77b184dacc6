//! The library's block manager, fed from a trace.
//!
//! A block of the trace is one token of a manager with blocks of one token: the ids are all
//! that is known of the content, and the manager, its index and its policies are the ones
//! that an engine embeds. One request after the other; outputs leave nothing.

use crate::accesses::Accesses;
use kvkeep::evict::EvictionPolicy;
use kvkeep::{BlockManager, Config, ConfigError, Error, Identity, hash::Xxh3};
use std::fmt;

/// What a cache hit of a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hits {
    /// What hit, in the rule's unit: tokens, or blocks.
    pub hit: u64,
    /// What could have, in the same unit.
    pub total: u64,
    /// Requests that need more blocks than the cache has: not run, and all missed.
    pub rejected: u64,
    /// Blocks that were evicted.
    pub evicted: u64,
}

impl Hits {
    /// `hit / total`; 0 for nothing.
    #[must_use]
    pub fn rate(&self) -> f64 {
        if self.total == 0 { 0.0 } else { self.hit as f64 / self.total as f64 }
    }
}

/// Why a replay was not possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayError {
    /// No such pool.
    Config(ConfigError),
    /// The manager refused an operation: a defect, there or here.
    Manager(Error),
    /// Whoever asked wants it no more, see [`Accesses::until`].
    Stopped,
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplayError::Config(error) => error.fmt(f),
            ReplayError::Manager(error) => {
                write!(f, "the block manager refused a request: {error}")
            }
            ReplayError::Stopped => f.write_str("stopped"),
        }
    }
}

impl std::error::Error for ReplayError {}

impl From<ConfigError> for ReplayError {
    fn from(error: ConfigError) -> Self {
        ReplayError::Config(error)
    }
}

impl From<Error> for ReplayError {
    fn from(error: Error) -> Self {
        ReplayError::Manager(error)
    }
}

/// Stands behind each prompt, so that its last block is not the one with the last token: the
/// rule says what counts as a hit, and the cache is the same for both. It takes no block, but the
/// manager admits no prompt with it that fills the pool: that one goes without, and its last block
/// is computed again.
const LAST: u32 = u32::MAX;

/// Replays all requests through a pool of `num_blocks` blocks that evicts by `policy`.
/// O(1) or O(log n) per block, as the policy has it.
///
/// # Errors
/// [`ReplayError::Config`] if there can be no such pool.
pub fn replay<P: EvictionPolicy>(
    accesses: &Accesses,
    num_blocks: u32,
    policy: P,
) -> Result<Hits, ReplayError> {
    let config = Config::new(num_blocks).block_size(1).remember_evicted(0);
    let mut kv = BlockManager::<Xxh3, P>::with_policy(config, policy)?;
    let mut hits = Hits { total: accesses.total_weight(), ..Hits::default() };
    let mut prompt: Vec<u32> = Vec::new();
    let identity = Identity::default();
    let mut now_ms = 0;
    for access in accesses.iter() {
        if access.needed > num_blocks {
            hits.rejected += 1;
            continue;
        }
        if access.blocks.is_empty() {
            continue;
        }
        now_ms = access.time_ms.max(now_ms);
        kv.advance_time(now_ms)?;
        prompt.clear();
        prompt.extend_from_slice(access.blocks);
        prompt.push(LAST);
        let fills = access.blocks.len() == num_blocks as usize;
        let found = fills.then(|| kv.longest_prefix(&prompt, &identity));
        if fills {
            prompt.pop();
        }
        let admission = kv.admit(&prompt, &identity)?;
        kv.describe(admission.seq, access.category, access.turn)?;
        let rest = access.blocks.len() - admission.tokens_cached;
        if rest > 0 {
            kv.reserve(admission.seq, rest)?;
            kv.commit(admission.seq, rest)?;
        }
        kv.free(admission.seq)?;
        let found = found.unwrap_or(admission.tokens_cached);
        let cached = found.min(access.hittable as usize);
        hits.hit += accesses.weight_of_hit(cached as u64);
    }
    hits.evicted = kv.stats().evicted_blocks;
    Ok(hits)
}
