//! SHA-256 in vLLM's canonical-CBOR form, bit for bit.

use super::BlockHasher;
use super::sha256::{BLOCK_BYTES, SHORT_TOKENS, USUAL_TOKENS, blocks, digest_padded};
use crate::{ExtraKey, ExtraKeys};
use sha2::{Digest as _, Sha256};

/// vLLM's `sha256_cbor` block hash: SHA-256 over the canonical CBOR array
/// `[parent, [tokens], extra keys or null]`.
///
/// Hashes are equal to those of a vLLM (0.32 and 0.33) that runs with the same seed, so
/// KV can be exchanged with it. Extra keys are tagged arrays as in vLLM: `["lora", name,
/// source]`, `["mm", identifier, offset]`, `["cache_salt", salt]`; a custom key is
/// `[name, bytes]`. About 25 times the cost of [`Xxh3`](super::Xxh3), on
/// blocks that are published; hits do not hash.
#[derive(Clone, Copy, Debug)]
pub struct VllmSha256Cbor {
    root: [u8; 32],
}

/// What vLLM hashes into `NONE_HASH` where `PYTHONHASHSEED` is not set.
pub(super) const DEFAULT_SEED: &str = "vllm-none-hash";

impl Default for VllmSha256Cbor {
    fn default() -> Self {
        Self::with_seed(DEFAULT_SEED)
    }
}

impl VllmSha256Cbor {
    /// For a vLLM that runs with `PYTHONHASHSEED=seed`.
    #[must_use]
    pub fn with_seed(seed: &str) -> Self {
        let mut hash = CborHash::default();
        hash.text(seed);
        VllmSha256Cbor { root: hash.finish() }
    }

    /// For a vLLM with this `NONE_HASH`.
    #[must_use]
    pub fn with_none_hash(root: [u8; 32]) -> Self {
        VllmSha256Cbor { root }
    }

    /// [`hash`](BlockHasher::hash) that calls `meanwhile` between SHA-256's blocks, as
    /// [`VllmSha256::hash_meanwhile`](super::VllmSha256::hash_meanwhile) does.
    #[must_use]
    #[inline]
    pub fn hash_meanwhile(
        &self,
        parent: &[u8; 32],
        tokens: &[u32],
        extra: ExtraKeys<'_>,
        meanwhile: impl FnMut(),
    ) -> [u8; 32] {
        const USUAL: usize = blocks(short_bytes(USUAL_TOKENS));
        const SHORT: usize = blocks(short_bytes(SHORT_TOKENS));
        match tokens.len() {
            0..=USUAL_TOKENS if extra.is_empty() => hash_short::<USUAL>(parent, tokens, meanwhile),
            0..=SHORT_TOKENS if extra.is_empty() => hash_short::<SHORT>(parent, tokens, meanwhile),
            _ => hash_any(parent, tokens, extra),
        }
    }
}

impl BlockHasher for VllmSha256Cbor {
    type Digest = [u8; 32];

    fn root(&self, _block_size: usize) -> Self::Digest {
        self.root
    }

    #[inline]
    fn hash(&self, parent: &Self::Digest, tokens: &[u32], extra: ExtraKeys<'_>) -> Self::Digest {
        self.hash_meanwhile(parent, tokens, extra, || ())
    }
}

fn hash_any(parent: &[u8; 32], tokens: &[u32], extra: ExtraKeys<'_>) -> [u8; 32] {
    let mut hash = CborHash::default();
    hash.array(3);
    hash.bytes(parent);
    hash.array(tokens.len());
    tokens.iter().for_each(|&token| hash.int(i64::from(token)));
    if extra.is_empty() {
        hash.null();
    } else {
        hash.array(extra.iter().count());
        for key in extra.iter() {
            match key {
                ExtraKey::Adapter { name, source } => {
                    hash.array(3);
                    hash.text("lora");
                    hash.text(name);
                    hash.text(source);
                }
                ExtraKey::Media { identifier, offset } => {
                    hash.array(3);
                    hash.text("mm");
                    hash.text(identifier);
                    hash.int(offset);
                }
                ExtraKey::Salt(salt) => {
                    hash.array(2);
                    hash.text("cache_salt");
                    hash.text(salt);
                }
                ExtraKey::Custom { name, value } => {
                    hash.array(2);
                    hash.text(name);
                    hash.bytes(value);
                }
            }
        }
    }
    hash.finish()
}

/// Most bytes of the CBOR of a block of so many tokens without extra keys, and what is
/// written beyond them.
const fn short_bytes(tokens: usize) -> usize {
    1 + 34 + 2 + 5 * tokens + 1
}

const HEAD_BYTES: usize = 9;

/// Major type and argument in the shortest form: bytes, the first of which count, the others
/// are zero, and how many count. A copy of fixed length is two moves, one of unknown length
/// a call.
#[inline(always)]
fn head(major: u8, argument: u64) -> ([u8; HEAD_BYTES], usize) {
    let (info, argument_bytes) = match argument {
        0..=23 => (argument as u8, 0),
        24..=0xff => (24, 1),
        0x100..=0xffff => (25, 2),
        0x1_0000..=0xffff_ffff => (26, 4),
        _ => (27, 8),
    };
    let mut head = [0; HEAD_BYTES];
    head[0] = major << 5 | info;
    let aligned = argument.checked_shl(64 - 8 * argument_bytes as u32).unwrap_or(0);
    head[1..].copy_from_slice(&aligned.to_be_bytes());
    (head, 1 + argument_bytes)
}

/// A token as `head` has it, in one word.
#[inline(always)]
fn token(value: u32) -> ([u8; 8], usize) {
    let word = u64::from(value);
    let (word, len) = match value {
        0..=23 => (word << 56, 1),
        24..=0xff => (24 << 56 | word << 48, 2),
        0x100..=0xffff => (25 << 56 | word << 40, 3),
        _ => (26 << 56 | word << 24, 5),
    };
    (word.to_be_bytes(), len)
}

/// A block of a few tokens without extra keys, put together in place, in room for `BLOCKS`
/// blocks of SHA-256.
#[inline]
fn hash_short<const BLOCKS: usize>(
    parent: &[u8; 32],
    tokens: &[u32],
    meanwhile: impl FnMut(),
) -> [u8; 32] {
    let mut message = [[0; BLOCK_BYTES]; BLOCKS];
    let bytes = message.as_flattened_mut();
    bytes[..3].copy_from_slice(&[0x83, 0x58, 32]);
    bytes[3..35].copy_from_slice(parent);
    let (array, used) = head(4, tokens.len() as u64);
    bytes[35..35 + HEAD_BYTES].copy_from_slice(&array);
    let mut len = 35 + used;
    for &value in tokens {
        let (word, used) = token(value);
        bytes[len..len + 8].copy_from_slice(&word);
        len += used;
    }
    bytes[len] = 0xf6;
    digest_padded(&mut message, len + 1, meanwhile)
}

/// CBOR (RFC 8949, shortest form) straight into SHA-256, through a buffer that takes a
/// block of 16 tokens whole: the hash function is slow on updates of a few bytes.
struct CborHash {
    sha: Sha256,
    buffer: [u8; BUFFER_BYTES],
    len: usize,
}

const BUFFER_BYTES: usize = 256;

impl Default for CborHash {
    fn default() -> Self {
        CborHash { sha: Sha256::new(), buffer: [0; BUFFER_BYTES], len: 0 }
    }
}

impl CborHash {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        if self.len + bytes.len() > BUFFER_BYTES {
            self.flush();
            if bytes.len() > BUFFER_BYTES {
                self.sha.update(bytes);
                return;
            }
        }
        self.buffer[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    #[inline]
    fn head(&mut self, major: u8, argument: u64) {
        if self.len + HEAD_BYTES > BUFFER_BYTES {
            self.flush();
        }
        let (head, len) = head(major, argument);
        self.buffer[self.len..self.len + HEAD_BYTES].copy_from_slice(&head);
        self.len += len;
    }

    fn flush(&mut self) {
        self.sha.update(&self.buffer[..self.len]);
        self.len = 0;
    }

    #[inline]
    fn int(&mut self, value: i64) {
        if value < 0 { self.head(1, !value as u64) } else { self.head(0, value as u64) }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.head(2, bytes.len() as u64);
        self.write(bytes);
    }

    fn text(&mut self, text: &str) {
        self.head(3, text.len() as u64);
        self.write(text.as_bytes());
    }

    fn array(&mut self, len: usize) {
        self.head(4, len as u64);
    }

    fn null(&mut self) {
        self.write(&[0xf6]);
    }

    fn finish(mut self) -> [u8; 32] {
        self.flush();
        self.sha.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;

    fn hex(digest: &[u8]) -> String {
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Values computed with vLLM: tokens 0..15, then 16..31 with cache_salt "s".
    #[test]
    fn golden_vectors_of_vllm() {
        let hasher = VllmSha256Cbor::default();
        let tokens: Vec<u32> = (0..32).collect();
        let root = hasher.root(16);
        assert_eq!(hex(&root), "9bd96a485ad84efdafb72ee48a1d7a69bcead0f8f0433173941b276b9581eef0");
        let first = hasher.hash(&root, &tokens[..16], ExtraKeys::default());
        assert_eq!(hex(&first), "dc918a88b139e5afe60b88eda27508d4aee16c10fdc354791efea06206ac0749");
        let mut salt = Vec::new();
        Identity::new().salt("s").unwrap().write_keys(0..16, &mut salt);
        let second = hasher.hash(&first, &tokens[16..], ExtraKeys::new(&salt));
        assert_eq!(
            hex(&second),
            "065b62c51978a20f8c9b85eb4c8b38801b239bf56fc69a2cef78bd3533856955"
        );
    }

    /// RFC 8949, appendix A.
    #[test]
    fn integers_are_in_the_shortest_form() {
        for (value, bytes) in [
            (0, "00"),
            (23, "17"),
            (24, "1818"),
            (100, "1864"),
            (1000, "1903e8"),
            (1_000_000, "1a000f4240"),
            (1_000_000_000_000, "1b000000e8d4a51000"),
            (-1, "20"),
            (-100, "3863"),
            (-1000, "3903e7"),
        ] {
            let mut hash = CborHash::default();
            hash.int(value);
            assert_eq!(hex(&hash.buffer[..hash.len]), bytes, "{value}");
        }
    }

    /// Whatever the lengths, the bytes reach the hash in order.
    #[test]
    fn the_buffer_neither_loses_nor_reorders() {
        for len in [0, 255, 256, 257, 1000] {
            let text = "x".repeat(len);
            let (mut hash, mut plain) = (CborHash::default(), Sha256::new());
            for part in [&text[..], "y", &text[..], "z"] {
                hash.write(part.as_bytes());
                plain.update(part.as_bytes());
            }
            assert_eq!(hash.finish(), <[u8; 32]>::from(plain.finalize()), "{len}");
        }
    }

    /// What is put together in place hashes as the CBOR that is written piece by piece.
    #[test]
    fn in_place_equals_the_plain_digest() {
        let widths = [0, 23, 24, 0xff, 0x100, 0xffff, 0x1_0000, u32::MAX];
        let parent = [0xa5; 32];
        let check = |tokens: &[u32]| {
            let mut calls = 0;
            let hasher = VllmSha256Cbor::default();
            let hash = hasher.hash_meanwhile(&parent, tokens, ExtraKeys::default(), || calls += 1);
            let plain = hash_any(&parent, tokens, ExtraKeys::default());
            assert_eq!(hash, plain, "{tokens:?}");
            assert_eq!(calls > 0, tokens.len() <= SHORT_TOKENS);
        };
        for len in 0..=SHORT_TOKENS + 1 {
            for first in 0..widths.len() {
                check(&vec![widths[first]; len]);
                let mixed: Vec<u32> = widths.into_iter().cycle().skip(first).take(len).collect();
                check(&mixed);
            }
        }
    }
}
