//! The block manager: what an engine talks to.
//!
//! Each file of this folder is one phase of a sequence's life: admission, steps, release;
//! then what concerns the whole cache, and the check of all invariants. The structures
//! they work on are in the crate's other files.

mod admit;
mod batch;
mod cache;
mod check;
mod release;
mod step;
mod take;
mod validate;

pub use admit::Admission;
pub use batch::{Advance, Advanced, BatchError};
pub use cache::BlockState;
pub use step::{BlockCopy, Commit, Step};
pub use validate::InvariantError;

use crate::evict::{EvictionPolicy, Guard, Lru};
use crate::ghost::Ghost;
use crate::hash::{BlockHasher, Xxh3};
use crate::pool::Pool;
use crate::prefix::PrefixIndex;
use crate::retention::Retained;
use crate::sequence::Sequences;
use crate::stats::{Stats, Usage};
use crate::tally::Tally;
use crate::{BlockId, Config, ConfigError, Duplicate, Error, SeqId};
use std::fmt;

/// A pool of KV blocks with a prefix cache, for one model on one replica.
///
/// One manager serves one tensor-parallel group: a block id names a page of the same
/// index on each of its GPUs. Replicas (data parallel) have a manager each, see
/// [`Replicas`](crate::Replicas).
///
/// Single-threaded by design; [`SharedBlockManager`](crate::SharedBlockManager) puts a
/// lock around it. No operation reads a clock or does I/O.
///
/// # Life of a sequence
///
/// ```
/// use kvkeep::{BlockManager, Config, Identity};
///
/// let mut kv = BlockManager::new(Config::new(64))?;
/// let prompt: Vec<u32> = (0..40).collect();
///
/// let first = kv.admit(&prompt, &Identity::default())?;
/// assert_eq!(first.tokens_cached, 0);
/// kv.reserve(first.seq, 40)?; // slots for the prompt: 3 blocks
/// // ... the engine writes KV ...
/// kv.commit(first.seq, 40)?; // 2 full blocks become visible
/// kv.append(first.seq, 7)?; // the sampled token
/// kv.free(first.seq)?;
///
/// let second = kv.admit(&prompt, &Identity::default())?;
/// assert_eq!(second.tokens_cached, 32);
/// # kv.validate().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct BlockManager<H: BlockHasher = Xxh3, P: EvictionPolicy = Lru> {
    config: Config,
    pool: Pool,
    policy: Guard<P>,
    index: PrefixIndex<H>,
    sequences: Sequences<H::Digest>,
    /// The blocks that running sequences will compute next, by folded hash, with the number of
    /// sequences: a thousand equal prompts at once are one entry.
    frontier: Tally,
    ghost: Ghost,
    retained: Retained,
    /// A chain for the policy; kept for its allocation.
    chain: Vec<BlockId>,
    admissions: u64,
    epoch: u64,
    now_ms: u64,
    stats: Stats,
}

/// A summary: tokens and salts stay out of logs.
impl<H: BlockHasher, P: EvictionPolicy> fmt::Debug for BlockManager<H, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockManager")
            .field("config", &self.config)
            .field("usage", &self.usage())
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl BlockManager<Xxh3> {
    /// A manager with the default hasher. O(num_blocks).
    ///
    /// # Errors
    /// [`ConfigError`] lists every field that is out of range.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Self::with_hasher(config, Xxh3)
    }
}

impl<P: EvictionPolicy> BlockManager<Xxh3, P> {
    /// A manager with the default hasher that evicts by `policy`. O(num_blocks).
    ///
    /// ```
    /// use kvkeep::{BlockManager, Config, evict};
    ///
    /// let chosen_in_code = BlockManager::with_policy(Config::new(64), evict::S3Fifo::default())?;
    /// let chosen_by_name: evict::Kind = "s3-fifo".parse()?;
    /// let at_run_time = BlockManager::with_policy(Config::new(64), chosen_by_name.build(16))?;
    /// # let _ = (chosen_in_code, at_run_time);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ConfigError`] lists every field that is out of range.
    pub fn with_policy(config: Config, policy: P) -> Result<Self, ConfigError> {
        Self::with_hasher_and_policy(config, Xxh3, policy)
    }
}

impl<H: BlockHasher> BlockManager<H> {
    /// A manager whose blocks are named by `hasher`. O(num_blocks).
    ///
    /// # Errors
    /// [`ConfigError`] lists every field that is out of range.
    pub fn with_hasher(config: Config, hasher: H) -> Result<Self, ConfigError> {
        Self::with_hasher_and_policy(config, hasher, Lru)
    }
}

impl<H: BlockHasher, P: EvictionPolicy> BlockManager<H, P> {
    /// A manager whose blocks are named by `hasher` and evicted by `policy`. O(num_blocks).
    ///
    /// # Errors
    /// [`ConfigError`] lists every field that is out of range.
    pub fn with_hasher_and_policy(
        config: Config,
        hasher: H,
        policy: P,
    ) -> Result<Self, ConfigError> {
        config.check(size_of::<H::Digest>())?;
        let remembered = config.remember_evicted.unwrap_or(config.num_blocks) as usize;
        Ok(BlockManager {
            pool: Pool::new(config.num_blocks),
            policy: Guard::new(policy, config.num_blocks),
            index: PrefixIndex::new(hasher, config.num_blocks, config.block_size, config.verified),
            sequences: Sequences::new(config.max_sequences),
            frontier: Tally::default(),
            ghost: Ghost::new(remembered),
            retained: Retained::new(),
            chain: Vec::new(),
            admissions: 0,
            epoch: 0,
            now_ms: 0,
            stats: Stats::default(),
            config,
        })
    }

    /// The eviction policy, for what it can tell about itself.
    #[must_use]
    pub fn policy(&self) -> &P {
        self.policy.policy()
    }

    /// Tokens per block.
    #[inline]
    #[must_use]
    pub fn block_size(&self) -> usize {
        self.config.block_size
    }

    /// Blocks of the pool.
    #[must_use]
    pub fn num_blocks(&self) -> usize {
        self.config.num_blocks as usize
    }

    /// Tokens that the pool holds: `num_blocks * block_size`. Also the most tokens of a
    /// sequence.
    #[inline]
    #[must_use]
    pub fn num_tokens(&self) -> usize {
        self.num_blocks() * self.block_size()
    }

    /// The blocks of a sequence, in order. Entry `t / block_size` holds token `t` in slot
    /// `t % block_size`. O(1).
    ///
    /// # Errors
    /// [`Error::UnknownSequence`].
    #[inline]
    pub fn block_table(&self, seq: SeqId) -> Result<&[BlockId], Error> {
        Ok(&self.sequences.get(seq)?.blocks)
    }

    /// Tokens of a sequence whose KV is there: hit, or committed. O(1).
    ///
    /// # Errors
    /// [`Error::UnknownSequence`].
    #[inline]
    pub fn tokens_computed(&self, seq: SeqId) -> Result<usize, Error> {
        Ok(self.sequences.get(seq)?.tokens_computed(self.block_size()))
    }

    /// Tokens of a sequence that are known: prompt and appended ones. O(1).
    ///
    /// # Errors
    /// [`Error::UnknownSequence`].
    #[inline]
    pub fn tokens_known(&self, seq: SeqId) -> Result<usize, Error> {
        Ok(self.sequences.get(seq)?.tokens_known(self.block_size()))
    }

    /// The entries of a sequence's table whose content is also published elsewhere, by
    /// position; see [`adopt`](Self::adopt). O(1).
    ///
    /// # Errors
    /// [`Error::UnknownSequence`].
    pub fn duplicates(&self, seq: SeqId) -> Result<&[Duplicate], Error> {
        Ok(&self.sequences.get(seq)?.duplicates)
    }

    /// Where the blocks are now. O(1).
    #[must_use]
    pub fn usage(&self) -> Usage {
        let (free, cached) = (self.pool.free_blocks() as usize, self.pool.cached_blocks() as usize);
        Usage {
            free,
            cached,
            in_use: self.num_blocks() - free - cached,
            sequences: self.sequences.len(),
        }
    }

    /// The counters. O(1).
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }
}
