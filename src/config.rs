//! What a manager is built from, and its bounds.

use crate::slot::MAX_REFS;
use std::fmt;

/// Largest number of blocks of one manager.
pub const MAX_BLOCKS: u32 = 1 << 31;
/// Largest block size, in tokens.
pub const MAX_BLOCK_SIZE: usize = 1 << 16;
/// Most sequences at a time.
pub const MAX_SEQUENCES: usize = (MAX_REFS / 2) as usize;

/// Settings of a [`BlockManager`](crate::BlockManager).
///
/// | setting | default | range |
/// |---|---|---|
/// | `num_blocks` | required | 1 to 2^31 |
/// | [`block_size`](Config::block_size) | 16 tokens | 1 to 65,536 |
/// | [`hash_only`](Config::hash_only) | off: hits are verified | |
/// | [`remember_evicted`](Config::remember_evicted) | `num_blocks` evictions | up to 2^31 |
/// | [`max_retained_blocks`](Config::max_retained_blocks) | half of the blocks | up to `num_blocks` |
/// | [`max_sequences`](Config::max_sequences) | 524,287 | 1 to 524,287 |
///
/// Metadata per block: 32 bytes, the hash (16 bytes with [`Xxh3`](crate::hash::Xxh3)),
/// `4 * block_size` bytes of tokens unless hash-only, 2 bytes of memory of evictions, and
/// 9 to 18 bytes of hash table for first blocks and for children after the first. Once
/// sequences have extra keys: 4 bytes more per block, each distinct set of keys once, and
/// about 30 bytes per first block with extra keys.
///
/// ```
/// use kvkeep::{BlockManager, Config};
///
/// let kv = BlockManager::new(Config::new(12_881))?;
/// assert_eq!(kv.num_tokens(), 206_096);
///
/// let error = BlockManager::new(Config::new(0).block_size(0)).unwrap_err();
/// assert_eq!(error.problems().len(), 2);
/// # Ok::<(), kvkeep::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub(crate) num_blocks: u32,
    pub(crate) block_size: usize,
    pub(crate) verified: bool,
    pub(crate) remember_evicted: Option<u32>,
    pub(crate) max_retained_blocks: Option<u32>,
    pub(crate) max_sequences: usize,
}

impl Config {
    /// A pool of `num_blocks` blocks, everything else at its default.
    #[must_use]
    pub fn new(num_blocks: u32) -> Self {
        Config {
            num_blocks,
            block_size: 16,
            verified: true,
            remember_evicted: None,
            max_retained_blocks: None,
            max_sequences: MAX_SEQUENCES,
        }
    }

    /// Tokens per block.
    #[must_use]
    pub fn block_size(mut self, tokens: usize) -> Self {
        self.block_size = tokens;
        self
    }

    /// Trusts block hashes instead of comparing tokens on a hit, and keeps no tokens.
    ///
    /// Choose it only with a hash that resists whoever chooses the tokens, or with
    /// trusted input. A miss can then not be told from one below block granularity.
    #[must_use]
    pub fn hash_only(mut self) -> Self {
        self.verified = false;
        self
    }

    /// About how many evicted blocks to remember, so that a miss can say "evicted".
    #[must_use]
    pub fn remember_evicted(mut self, blocks: u32) -> Self {
        self.remember_evicted = Some(blocks);
        self
    }

    /// Most blocks that retention hints may hold above the default priority.
    #[must_use]
    pub fn max_retained_blocks(mut self, blocks: u32) -> Self {
        self.max_retained_blocks = Some(blocks);
        self
    }

    /// Most sequences at a time.
    #[must_use]
    pub fn max_sequences(mut self, sequences: usize) -> Self {
        self.max_sequences = sequences;
        self
    }

    /// Checks every field, and that the host grants the memory of the metadata: an
    /// allocation that fails later would abort the process. (A host that overcommits
    /// grants more than it has.)
    pub(crate) fn check(&self, digest_bytes: usize) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        if !(1..=MAX_BLOCKS).contains(&self.num_blocks) {
            problems.push(ConfigProblem::NumBlocks(self.num_blocks));
        }
        if !(1..=MAX_BLOCK_SIZE).contains(&self.block_size) {
            problems.push(ConfigProblem::BlockSize(self.block_size));
        }
        if self.max_retained_blocks.is_some_and(|blocks| blocks > self.num_blocks) {
            problems.push(ConfigProblem::MaxRetainedBlocks {
                asked: self.max_retained_blocks.unwrap_or_default(),
                num_blocks: self.num_blocks,
            });
        }
        if self.remember_evicted.is_some_and(|blocks| blocks > MAX_BLOCKS) {
            problems
                .push(ConfigProblem::RememberEvicted(self.remember_evicted.unwrap_or_default()));
        }
        if !(1..=MAX_SEQUENCES).contains(&self.max_sequences) {
            problems.push(ConfigProblem::MaxSequences(self.max_sequences));
        }
        let token_bytes = if self.verified { size_of::<u32>() * self.block_size } else { 0 };
        // Slot, hash, tokens, extra-key id, and the hash table at its largest.
        let bytes_per_block = size_of::<crate::slot::Slot>() + digest_bytes + token_bytes + 4 + 19;
        let remembered = self.remember_evicted.unwrap_or(self.num_blocks) as usize;
        let bytes = bytes_per_block
            .saturating_mul(self.num_blocks as usize)
            .saturating_add(remembered.saturating_mul(3));
        if problems.is_empty() && Vec::<u8>::new().try_reserve_exact(bytes).is_err() {
            problems.push(ConfigProblem::HostMemory { bytes });
        }
        if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
    }
}

/// Everything that is wrong with a [`Config`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<ConfigProblem>,
}

impl ConfigError {
    /// The problems, one per field.
    #[must_use]
    pub fn problems(&self) -> &[ConfigProblem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if n == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// One field of a [`Config`] that is out of range.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigProblem {
    /// `num_blocks`.
    NumBlocks(u32),
    /// `block_size`.
    BlockSize(usize),
    /// `max_retained_blocks`.
    MaxRetainedBlocks {
        /// What was asked for.
        asked: u32,
        /// The size of the pool.
        num_blocks: u32,
    },
    /// `remember_evicted`.
    RememberEvicted(u32),
    /// `max_sequences`.
    MaxSequences(usize),
    /// The metadata does not fit the memory of the host.
    HostMemory {
        /// Bytes that it takes.
        bytes: usize,
    },
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigProblem::NumBlocks(asked) => {
                write!(
                    f,
                    "num_blocks is {asked}; pass 1 to {MAX_BLOCKS} (`kvkeep plan` computes it)"
                )
            }
            ConfigProblem::BlockSize(asked) => {
                write!(f, "block_size is {asked} tokens; pass 1 to {MAX_BLOCK_SIZE}")
            }
            ConfigProblem::MaxRetainedBlocks { asked, num_blocks } => {
                write!(f, "max_retained_blocks is {asked}; pass at most num_blocks, {num_blocks}")
            }
            ConfigProblem::RememberEvicted(asked) => {
                write!(f, "remember_evicted is {asked}; pass at most {MAX_BLOCKS}")
            }
            ConfigProblem::MaxSequences(asked) => {
                write!(f, "max_sequences is {asked}; pass 1 to {MAX_SEQUENCES}")
            }
            ConfigProblem::HostMemory { bytes } => write!(
                f,
                "metadata takes {bytes} bytes of host memory, more than can be had; use fewer blocks, or hash-only mode"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_field_is_listed() {
        let config = Config::new(0)
            .block_size(MAX_BLOCK_SIZE + 1)
            .max_retained_blocks(1)
            .remember_evicted(u32::MAX)
            .max_sequences(0);
        let error = config.check(16).unwrap_err();
        assert_eq!(error.problems().len(), 5);
        assert_eq!(error.to_string().matches("pass").count(), 5);
        let widest =
            Config::new(MAX_BLOCKS).block_size(MAX_BLOCK_SIZE).max_sequences(MAX_SEQUENCES);
        let error = widest.check(16).unwrap_err();
        assert!(
            matches!(error.problems(), [ConfigProblem::HostMemory { bytes }] if bytes >> 48 == 2)
        );
    }
}
