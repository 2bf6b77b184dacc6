//! What can go wrong with a [`HashedPool`](super::HashedPool).

use super::MAX_KEY_BYTES;
use crate::BlockId;
use std::fmt;

/// A call that a [`HashedPool`](super::HashedPool) refused; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashedPoolError {
    /// More blocks than are free or evictable.
    OutOfBlocks {
        /// Blocks asked for.
        needed: usize,
        /// Blocks in the queue.
        available: usize,
    },
    /// The pool has no block of this id.
    UnknownBlock(BlockId),
    /// A block that nobody holds was released.
    NotInUse(BlockId),
    /// A block that is handed out cannot leave the queue again.
    NotQueued(BlockId),
    /// A block in the queue cannot enter it again.
    Queued(BlockId),
    /// A key has no bytes or too many.
    KeyLength {
        /// Its length.
        bytes: usize,
    },
    /// A pool needs between 1 and 2^31 blocks.
    NumBlocks(usize),
}

impl fmt::Display for HashedPoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfBlocks { needed, available } => write!(
                f,
                "need {needed} blocks but only {available} are free or evictable; preempt a \
                 sequence or ask for fewer"
            ),
            Self::UnknownBlock(id) => write!(f, "the pool has no block {id}"),
            Self::NotInUse(id) => {
                write!(f, "block {id} is released, but nobody holds it; release it once")
            }
            Self::NotQueued(id) => write!(f, "block {id} is not in the queue of free blocks"),
            Self::Queued(id) => write!(f, "block {id} is in the queue of free blocks already"),
            Self::KeyLength { bytes } => {
                write!(f, "a key has {bytes} bytes; it takes 1 to {MAX_KEY_BYTES}")
            }
            Self::NumBlocks(blocks) => {
                write!(f, "a pool of {blocks} blocks; choose 1 to 2^31")
            }
        }
    }
}

impl std::error::Error for HashedPoolError {}
