//! Why a page has no address.

use super::page::PagePart;
use std::fmt;

/// Why an address does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PageError {
    /// The layout has no such pipeline stage.
    Stage {
        /// The stage asked for.
        stage: u32,
        /// Stages of the layout.
        stages: u32,
    },
    /// The arena exceeds 2^64 bytes.
    ArenaTooLarge {
        /// Blocks asked for.
        num_blocks: u32,
        /// Bytes of each.
        bytes_per_block: u64,
    },
    /// An index is not below its bound.
    OutOfBounds {
        /// Which index: `block`, `layer`, `slot` or `head`.
        index: &'static str,
        /// The index asked for.
        value: u32,
        /// The first index that does not exist.
        bound: u32,
    },
    /// Latent attention has no K and V, grouped attention has no latent vectors.
    NoSuchPart {
        /// The part asked for.
        part: PagePart,
    },
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stage { stage, stages } => {
                write!(f, "there is no pipeline stage {stage}; the layout has {stages}, from 0")
            }
            Self::ArenaTooLarge { num_blocks, bytes_per_block } => write!(
                f,
                "{num_blocks} blocks of {bytes_per_block} bytes exceed 2^64 bytes; lower num_blocks"
            ),
            Self::OutOfBounds { index, value, bound } => {
                write!(f, "{index} {value} is out of bounds; it must be below {bound}")
            }
            Self::NoSuchPart { part: PagePart::Latent } => {
                f.write_str("grouped attention has no latent part; ask for Key or Value")
            }
            Self::NoSuchPart { part } => {
                write!(f, "latent attention has no {part:?} part; ask for Latent")
            }
        }
    }
}

impl std::error::Error for PageError {}
