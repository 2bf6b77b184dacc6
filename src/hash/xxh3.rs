//! xxh3-128 over framed fields: fast, the same in every process and language, and not
//! safe against chosen tokens, which is why hits are verified by default.

use super::BlockHasher;
use crate::ExtraKeys;
use xxhash_rust::xxh3::{self, xxh3_128};

/// The default hasher: xxh3-128, unseeded.
///
/// Byte-level specification, so that other programs can compute the same:
///
/// * root = `xxh3_128("kvkeep block 1" ‖ block_size as u32 LE)`
/// * hash = `xxh3_128(parent (16 bytes) ‖ tokens (u32 LE each) ‖ extra keys)`
/// * a digest's 16 bytes are the 128-bit result in little-endian order
/// * extra keys in the frames of [`ExtraKeys`]; none for most blocks
///
/// The block size in the root fixes where the tokens end, so the fields cannot be
/// confused.
///
/// ```
/// use kvkeep::hash::{BlockHasher, Xxh3};
/// use kvkeep::ExtraKeys;
///
/// let root = Xxh3.root(4);
/// let first = Xxh3.hash(&root, &[1, 2, 3, 4], ExtraKeys::default());
/// let second = Xxh3.hash(&first, &[1, 2, 3, 4], ExtraKeys::default());
/// assert_ne!(first, second);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Xxh3;

const DIGEST_BYTES: usize = 16;

/// Tokens that are turned to bytes at once.
const CHUNK_TOKENS: usize = 16;

#[inline(always)]
fn write_tokens(tokens: &[u32], bytes: &mut [u8]) {
    for (out, token) in bytes.chunks_exact_mut(4).zip(tokens) {
        out.copy_from_slice(&token.to_le_bytes());
    }
}

impl BlockHasher for Xxh3 {
    type Digest = [u8; DIGEST_BYTES];

    fn root(&self, block_size: usize) -> Self::Digest {
        let mut bytes = b"kvkeep block 1".to_vec();
        bytes.extend_from_slice(&(block_size as u32).to_le_bytes());
        xxh3_128(&bytes).to_le_bytes()
    }

    #[inline]
    fn hash(&self, parent: &Self::Digest, tokens: &[u32], extra: ExtraKeys<'_>) -> Self::Digest {
        // 16 tokens without extra keys are the common case, and one short message is much
        // cheaper than a stream.
        if tokens.len() == CHUNK_TOKENS && extra.is_empty() {
            let mut message = [0; DIGEST_BYTES + 4 * CHUNK_TOKENS];
            message[..DIGEST_BYTES].copy_from_slice(parent);
            write_tokens(tokens, &mut message[DIGEST_BYTES..]);
            return xxh3_128(&message).to_le_bytes();
        }
        let mut stream = xxh3::Xxh3::new();
        stream.update(parent);
        for chunk in tokens.chunks(CHUNK_TOKENS) {
            let mut bytes = [0; 4 * CHUNK_TOKENS];
            write_tokens(chunk, &mut bytes);
            stream.update(&bytes[..4 * chunk.len()]);
        }
        stream.update(extra.as_bytes());
        stream.digest128().to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The specification, word for word.
    fn reference(parent: &[u8; 16], tokens: &[u32], extra: &[u8]) -> [u8; 16] {
        let mut message = parent.to_vec();
        tokens.iter().for_each(|token| message.extend_from_slice(&token.to_le_bytes()));
        message.extend_from_slice(extra);
        xxh3_128(&message).to_le_bytes()
    }

    #[test]
    fn short_and_streamed_forms_follow_the_specification() {
        let parent = Xxh3.root(16);
        for len in [1, 15, 16, 17, 64, 512, 1000] {
            let tokens: Vec<u32> = (0..len).map(|n| n * 0x0010_1001).collect();
            for extra in [&b""[..], b"framed bytes"] {
                let hash = Xxh3.hash(&parent, &tokens, ExtraKeys::new(extra));
                assert_eq!(hash, reference(&parent, &tokens, extra), "{len} tokens");
            }
        }
    }

    /// Computed with the reference implementation of xxHash. A change here breaks everyone who exchanges hashes.
    #[test]
    fn golden_vectors() {
        let hex = |digest: [u8; 16]| digest.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let root = Xxh3.root(16);
        let tokens: Vec<u32> = (0..32).collect();
        let first = Xxh3.hash(&root, &tokens[..16], ExtraKeys::default());
        let second = Xxh3.hash(&first, &tokens[16..], ExtraKeys::new(&[3, 1, 0, 0, 0, b's']));
        assert_eq!(hex(root), "73312b1ee549e8ad5796d0186e7aec72");
        assert_eq!(hex(first), "ada127a89b67fb741189508e9a80796e");
        assert_eq!(hex(second), "b35751a9b0a833a429d5e58094f0ffb5");
    }
}
