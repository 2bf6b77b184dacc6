//! Block hashes: the chained name of a block's content.

mod chain;
#[cfg(feature = "sha256")]
mod sha256;
#[cfg(feature = "sha256")]
mod vllm;
#[cfg(feature = "sha256")]
mod vllm_pickle;
mod xxh3;

pub use chain::block_hashes;
#[cfg(feature = "sha256")]
pub use vllm::VllmSha256Cbor;
#[cfg(feature = "sha256")]
pub use vllm_pickle::VllmSha256;
pub use xxh3::Xxh3;

use crate::ExtraKeys;
use std::fmt::Debug;
use std::hash::Hash;

/// Computes block hashes.
///
/// The manager calls [`hash`](Self::hash) for blocks that it publishes or is about to, and
/// for the first and the first missing block of a lookup; a verified hit that follows a
/// chain compares tokens and hashes nothing. In hash-only mode every block of a lookup is
/// hashed.
///
/// In verified mode a poor hash costs hits, never correctness. In hash-only mode it must
/// resist whoever chooses the tokens: use SHA-256 there, or trusted input.
pub trait BlockHasher {
    /// A block hash.
    type Digest: Copy + Eq + Hash + Debug + AsRef<[u8]>;

    /// Stands for the parent of first blocks, in a manager with this block size (tokens).
    fn root(&self, block_size: usize) -> Self::Digest;

    /// The hash of the block with these tokens and extra keys below `parent`.
    fn hash(&self, parent: &Self::Digest, tokens: &[u32], extra: ExtraKeys<'_>) -> Self::Digest;

    /// 64 bits of a digest, for the memory of evictions and the like; equal digests give
    /// equal bits. The default takes its first 8 bytes.
    #[inline]
    fn fold(digest: &Self::Digest) -> u64 {
        let bytes = digest.as_ref();
        match bytes.first_chunk::<8>() {
            Some(head) => u64::from_le_bytes(*head),
            None => bytes.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)),
        }
    }
}
