//! SHA-256 over Python's pickle of a block, as vLLM's default block hash has it.

use super::BlockHasher;
use super::sha256::{BLOCK_BYTES, SHORT_TOKENS, USUAL_TOKENS, blocks, digest_padded};
use crate::{ExtraKey, ExtraKeys};
use sha2::{Digest as _, Sha256};

/// vLLM's `sha256` block hash, its default: SHA-256 over the pickle (protocol 5) of the
/// tuple `(parent, (tokens...), extra keys or None)`.
///
/// Hashes are equal to those of a vLLM (0.32 and 0.33) on CPython that runs with the same
/// seed. Extra keys are tagged tuples: `("lora", name, source)`, `("mm", identifier, offset)`,
/// `("cache_salt", salt)`; a custom key is `(name, bytes)`.
///
/// A pickle writes an *object* once and refers to it later, so two equal strings are
/// written differently from one string twice. This writes the tags as one object each, as
/// they are in vLLM, and all other fields as objects of their own. Where fields of one
/// block share an object in vLLM (an adapter named by the very string that is its path),
/// the hashes differ.
#[derive(Clone, Copy, Debug)]
pub struct VllmSha256 {
    root: [u8; 32],
}

impl Default for VllmSha256 {
    fn default() -> Self {
        Self::with_seed(super::vllm::DEFAULT_SEED)
    }
}

impl VllmSha256 {
    /// For a vLLM that runs with `PYTHONHASHSEED=seed`.
    #[must_use]
    pub fn with_seed(seed: &str) -> Self {
        let mut pickle = Pickle::begin();
        pickle.object();
        pickle.text(seed);
        VllmSha256 { root: pickle.finish() }
    }

    /// For a vLLM with this `NONE_HASH`.
    #[must_use]
    pub fn with_none_hash(root: [u8; 32]) -> Self {
        VllmSha256 { root }
    }

    /// [`hash`](BlockHasher::hash) that calls `meanwhile` after each of SHA-256's blocks, of
    /// which a short block of tokens without extra keys takes a few; another calls nothing.
    /// Each waits for the one before it and leaves most of the processor idle: work that
    /// needs no result of the hash, such as reading the next tokens, costs little there.
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
            4..=USUAL_TOKENS if extra.is_empty() => hash_short::<USUAL>(parent, tokens, meanwhile),
            4..=SHORT_TOKENS if extra.is_empty() => hash_short::<SHORT>(parent, tokens, meanwhile),
            _ => hash_any(parent, tokens, extra),
        }
    }
}

impl BlockHasher for VllmSha256 {
    type Digest = [u8; 32];

    fn root(&self, _block_size: usize) -> Self::Digest {
        self.root
    }

    #[inline]
    fn hash(&self, parent: &Self::Digest, tokens: &[u32], extra: ExtraKeys<'_>) -> Self::Digest {
        self.hash_meanwhile(parent, tokens, extra, || ())
    }
}

const PROTO: [u8; 2] = [0x80, 5];
const FRAME: u8 = 0x95;
const FRAME_HEADER_BYTES: usize = 9;
const SHORT_BINBYTES: u8 = 0x43;
const BINBYTES: u8 = 0x42;
const SHORT_BINUNICODE: u8 = 0x8c;
const BINUNICODE: u8 = 0x58;
const BININT: u8 = 0x4a;
const BININT1: u8 = 0x4b;
const BININT2: u8 = 0x4d;
const LONG1: u8 = 0x8a;
const NONE: u8 = 0x4e;
const MARK: u8 = 0x28;
const TUPLE: u8 = 0x74;
/// Of one, two and three items.
const TUPLES: [u8; 3] = [0x85, 0x86, 0x87];
const MEMOIZE: u8 = 0x94;
const BINGET: u8 = 0x68;
const STOP: u8 = 0x2e;

/// A frame is closed at the first object that begins at or behind this many bytes.
const FRAME_BYTES: usize = 64 * 1024;

/// An integer: its bytes from the first on, and how many of them count.
#[inline(always)]
fn int(value: u32) -> ([u8; 8], usize) {
    let low = u64::from(value) << 8;
    let (word, len) = match value {
        0..=0xff => (low | u64::from(BININT1), 2),
        0x100..=0xffff => (low | u64::from(BININT2), 3),
        0x1_0000..=0x7fff_ffff => (low | u64::from(BININT), 5),
        // Five bytes, so that the sign stays positive.
        _ => (low << 8 | 5 << 8 | u64::from(LONG1), 7),
    };
    (word.to_le_bytes(), len)
}

/// Most bytes of the pickle of a block of so many tokens without extra keys.
const fn short_bytes(tokens: usize) -> usize {
    PROTO.len() + FRAME_HEADER_BYTES + 36 + 7 * tokens + 6
}

/// A block of a few tokens without extra keys: one frame, put together in place, in room for
/// `BLOCKS` blocks of SHA-256.
#[inline]
fn hash_short<const BLOCKS: usize>(
    parent: &[u8; 32],
    tokens: &[u32],
    meanwhile: impl FnMut(),
) -> [u8; 32] {
    const HEAD: usize = PROTO.len() + FRAME_HEADER_BYTES;
    let mut message = [[0; BLOCK_BYTES]; BLOCKS];
    let bytes = message.as_flattened_mut();
    bytes[..2].copy_from_slice(&PROTO);
    bytes[2] = FRAME;
    bytes[HEAD] = SHORT_BINBYTES;
    bytes[HEAD + 1] = 32;
    bytes[HEAD + 2..HEAD + 34].copy_from_slice(parent);
    bytes[HEAD + 34] = MEMOIZE;
    bytes[HEAD + 35] = MARK;
    let mut len = HEAD + 36;
    for &token in tokens {
        // Always eight bytes, of which those that count stay; the others are zero.
        let (word, used) = int(token);
        bytes[len..len + 8].copy_from_slice(&word);
        len += used;
    }
    bytes[len..len + 6].copy_from_slice(&[TUPLE, MEMOIZE, NONE, TUPLES[2], MEMOIZE, STOP]);
    len += 6;
    bytes[3..HEAD].copy_from_slice(&((len - HEAD) as u64).to_le_bytes());
    digest_padded(&mut message, len, meanwhile)
}

fn hash_any(parent: &[u8; 32], tokens: &[u32], extra: ExtraKeys<'_>) -> [u8; 32] {
    let mut pickle = Pickle::begin();
    pickle.object(); // the tuple of three
    pickle.bytes(parent);
    pickle.object();
    pickle.tuple(tokens.len(), |pickle, at| pickle.int(tokens[at]));
    if extra.is_empty() {
        pickle.object();
        pickle.op(&[NONE]);
    } else {
        let keys: Vec<ExtraKey<'_>> = extra.iter().collect();
        let mut tags = Tags::default();
        pickle.object();
        pickle.tuple(keys.len(), |pickle, at| pickle.key(&keys[at], &mut tags));
    }
    pickle.op(&[TUPLES[2], MEMOIZE]);
    pickle.finish()
}

/// Where the tags stand in the memo, once they are there.
#[derive(Default)]
struct Tags {
    lora: Option<u8>,
    mm: Option<u8>,
    salt: Option<u8>,
}

/// Writes a pickle as CPython's own pickler does, frames included.
struct Pickle {
    bytes: Vec<u8>,
    /// Where the header of the open frame is.
    frame: Option<usize>,
    memoized: usize,
}

impl Pickle {
    fn begin() -> Self {
        Pickle { bytes: PROTO.to_vec(), frame: None, memoized: 0 }
    }

    /// An object begins here: frames end between objects.
    fn object(&mut self) {
        let full = |&at: &usize| self.bytes.len() - at - FRAME_HEADER_BYTES >= FRAME_BYTES;
        if let Some(at) = self.frame.filter(full) {
            self.close_frame(at);
        }
    }

    fn close_frame(&mut self, at: usize) {
        let len = self.bytes.len() - at - FRAME_HEADER_BYTES;
        if len < 4 {
            // Too short to be worth a header.
            self.bytes.drain(at..at + FRAME_HEADER_BYTES);
        } else {
            self.bytes[at + 1..at + FRAME_HEADER_BYTES]
                .copy_from_slice(&(len as u64).to_le_bytes());
        }
        self.frame = None;
    }

    fn op(&mut self, bytes: &[u8]) {
        if self.frame.is_none() {
            self.frame = Some(self.bytes.len());
            self.bytes.extend_from_slice(&[FRAME, 0, 0, 0, 0, 0, 0, 0, 0]);
        }
        self.bytes.extend_from_slice(bytes);
    }

    fn memoize(&mut self) {
        self.op(&[MEMOIZE]);
        self.memoized += 1;
    }

    /// A tuple of `len` items, all of them written by `item`.
    fn tuple(&mut self, len: usize, mut item: impl FnMut(&mut Self, usize)) {
        if len > TUPLES.len() {
            self.op(&[MARK]);
        }
        for at in 0..len {
            self.object();
            item(self, at);
        }
        match len.checked_sub(1) {
            // Nothing refers to the empty tuple: it is written out each time.
            None => return self.op(b")"),
            Some(more) => self.op(&[*TUPLES.get(more).unwrap_or(&TUPLE)]),
        }
        self.memoize();
    }

    fn int(&mut self, value: u32) {
        let (word, len) = int(value);
        self.op(&word[..len]);
    }

    fn signed(&mut self, value: i64) {
        match (u32::try_from(value), i32::try_from(value)) {
            (Ok(value), _) => self.int(value),
            (_, Ok(value)) => {
                self.op(&[BININT]);
                self.op(&value.to_le_bytes());
            }
            _ => {
                // Two's complement in as few bytes as hold the sign.
                let bytes = value.to_le_bytes();
                let spare = if value < 0 { value.leading_ones() } else { value.leading_zeros() };
                let len = (64 - spare) as usize / 8 + 1;
                self.op(&[LONG1, len as u8]);
                self.op(bytes.get(..len).unwrap_or(&bytes));
            }
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.object();
        match u8::try_from(bytes.len()) {
            Ok(len) => self.op(&[SHORT_BINBYTES, len]),
            Err(_) => {
                self.op(&[BINBYTES]);
                self.op(&(bytes.len() as u32).to_le_bytes());
            }
        }
        self.op(bytes);
        self.memoize();
    }

    fn text(&mut self, text: &str) {
        match u8::try_from(text.len()) {
            Ok(len) => self.op(&[SHORT_BINUNICODE, len]),
            Err(_) => {
                self.op(&[BINUNICODE]);
                self.op(&(text.len() as u32).to_le_bytes());
            }
        }
        self.op(text.as_bytes());
        self.memoize();
    }

    /// A tag: the first time as text, later by its place in the memo.
    fn tag(&mut self, tag: &str, place: &mut Option<u8>) {
        self.object();
        if let Some(place) = *place {
            return self.op(&[BINGET, place]);
        }
        // Places above 255 are written out; no block has as many keys of one kind.
        *place = u8::try_from(self.memoized).ok();
        self.text(tag);
    }

    fn key(&mut self, key: &ExtraKey<'_>, tags: &mut Tags) {
        match key {
            ExtraKey::Adapter { name, source } => {
                self.tag("lora", &mut tags.lora);
                self.field(name);
                self.field(source);
                self.end_key(3);
            }
            ExtraKey::Media { identifier, offset } => {
                self.tag("mm", &mut tags.mm);
                self.field(identifier);
                self.object();
                self.signed(*offset);
                self.end_key(3);
            }
            ExtraKey::Salt(salt) => {
                self.tag("cache_salt", &mut tags.salt);
                self.field(salt);
                self.end_key(2);
            }
            ExtraKey::Custom { name, value } => {
                self.field(name);
                self.bytes(value);
                self.end_key(2);
            }
        }
    }

    fn field(&mut self, text: &str) {
        self.object();
        self.text(text);
    }

    fn end_key(&mut self, fields: usize) {
        self.op(&[TUPLES[fields - 1]]);
        self.memoize();
    }

    fn finish(mut self) -> [u8; 32] {
        self.op(&[STOP]);
        if let Some(at) = self.frame {
            self.close_frame(at);
        }
        Sha256::digest(&self.bytes).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;
    use std::ops::Range;

    fn hex(digest: &[u8]) -> String {
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Values computed with vLLM: tokens 0..15, then 16..31 with cache_salt "s".
    #[test]
    fn golden_vectors_of_vllm() {
        let hasher = VllmSha256::default();
        let tokens: Vec<u32> = (0..32).collect();
        let root = hasher.root(16);
        assert_eq!(hex(&root), "066b1e8987e027138e98701c46128929378935f9b6cd1549105ae6b4f0d71198");
        let first = hasher.hash(&root, &tokens[..16], ExtraKeys::default());
        assert_eq!(hex(&first), "fe8fa5dda3210d0ca2031e37cbe3b001186773cd1c710beb2d45fcb51d434798");
        let mut salt = Vec::new();
        let keys = Identity::new().salt("s").unwrap();
        let second = hasher.hash(&first, &tokens[16..], keys.extra_keys(0..16, &mut salt));
        assert_eq!(
            hex(&second),
            "5a0275df9a8b8a00bdb043b607cf47d1808256122df73284f6cc4ab88e6f62f0"
        );
    }

    const PARENT: [u8; 32] = {
        let mut parent = [0; 32];
        let mut at = 0;
        while at < 32 {
            parent[at] = at as u8;
            at += 1;
        }
        parent
    };

    /// Computed with CPython's `pickle` and `hashlib`: every width of integers, every kind of
    /// tuple, and one that takes two frames.
    #[test]
    fn lengths_and_widths_are_those_of_python() {
        let widths = [0, 1, 255, 256, 65535, 65536, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 151_643];
        for (len, expected) in [
            (0, "db2b72dac49b7beb72f1060b490ac820cb519db9d0f32f91d2660bb197596b00"),
            (1, "2ff3814561ea582c5d07d39085561dadba5cdf09043b3db65dcb493ea76f299d"),
            (2, "4c3ad0701839285ca02e45363e49d93d45da4fc1031c992781b64947674fc8b5"),
            (3, "a0fa1b15c89a0d742f522eb1602fd448e249dc3dae770914170d99474a545582"),
            (4, "1181a8c1aecc9d65bd08629b64db9f4ac53a9adfd80c407a4500e702649b942d"),
            (16, "e5b28063bbe2b355a859fb000eff51174a1f208455a9c2d0d3dac4b2a94a01f4"),
            (64, "cfb90c412466382c71ea2f2f3f2a33d9026ec0fdb3c2a003a30abd2eb1f98d96"),
            (65, "6a3c1e8dc3f382ca7dd58ecaf0462bbeee93c9722126ff2fd5879eb8edbac74d"),
            (20_000, "1916c17515101b4adaaf7dfdc455f11e43cbe3c84dabb69bc4cc3a4a5de9b48c"),
        ] {
            let tokens: Vec<u32> = widths.into_iter().cycle().take(len).collect();
            let hash = VllmSha256::default().hash(&PARENT, &tokens, ExtraKeys::default());
            assert_eq!(hex(&hash), expected, "{len} tokens");
            let long = hash_any(&PARENT, &tokens, ExtraKeys::default());
            assert_eq!(hash, long, "{len} tokens");
        }
    }

    /// Computed with CPython from vLLM's tagged tuples, the tag of one kind one object.
    #[test]
    fn extra_keys_are_those_of_python() {
        let identity = Identity::new;
        let check = |identity: Identity, block: Range<usize>, expected: &str| {
            let mut buffer = Vec::new();
            let keys = identity.extra_keys(block, &mut buffer);
            let tokens: Vec<u32> = (0..16).collect();
            let hash = VllmSha256::default().hash(&PARENT, &tokens, keys);
            assert_eq!(hex(&hash), expected, "{keys:?}");
        };
        check(
            identity().salt("tenant").unwrap(),
            0..16,
            "8759501403dd025bc7a88e586ac1b2ef2cc3dec2c2c8adf4bf9b1a131ced9c07",
        );
        check(
            identity().adapter("name", "/path").unwrap(),
            16..32,
            "a8d84bf444ad7358d6a4463f3e06ae32cde13a81856405860116e1bdea0adb04",
        );
        let two =
            identity().media("cat.png", 395..410).unwrap().media("dog.png", 700..800).unwrap();
        check(two, 400..1000, "fe0a4faa2613deb44642693cc59d57a1108d8d700dd6b632bd9d9385edff09be");
    }

    /// Wide offsets, long and non-ASCII text, bytes, and a tuple of five, which no block of
    /// an identity has all at once.
    #[test]
    fn all_kinds_of_keys_at_once() {
        let hash = |keys: &[ExtraKey<'_>]| {
            let mut framed = Vec::new();
            keys.iter().for_each(|key| key.write(&mut framed));
            let tokens: Vec<u32> = (0..16).collect();
            hex(&VllmSha256::default().hash(&PARENT, &tokens, ExtraKeys::new(&framed)))
        };
        let media = |identifier, offset| ExtraKey::Media { identifier, offset };
        let long = "c".repeat(300);
        let all = [
            ExtraKey::Adapter { name: "name", source: "/path" },
            media(&long, -70_000),
            media("ü.png", -1),
            ExtraKey::Salt("tenant"),
            ExtraKey::Custom { name: "prompt_embeds", value: &[0; 32] },
        ];
        assert_eq!(hash(&all), "f3e712c6962c103912cbf97fe64dd180383fc618c41b56d85d37ad1272b25141");
        let wide = [
            media("x1", -(1 << 31) - 1),
            media("x2", 1 << 31),
            media("x3", 1 << 39),
            media("x4", -(1 << 39)),
        ];
        assert_eq!(hash(&wide), "790c1637bf20fe4441e6d33a4783d584abfa0a3d5e98b0c889fbf56deae3d5a7");
    }

    /// What is put together in place hashes as the pickle that is written piece by piece.
    #[test]
    fn in_place_equals_the_plain_digest() {
        let widths = [0, 0xff, 0x100, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, u32::MAX];
        let check = |tokens: &[u32]| {
            let mut calls = 0;
            let hasher = VllmSha256::default();
            let hash = hasher.hash_meanwhile(&PARENT, tokens, ExtraKeys::default(), || calls += 1);
            let plain = hash_any(&PARENT, tokens, ExtraKeys::default());
            assert_eq!(hash, plain, "{tokens:?}");
            assert_eq!(calls > 0, (4..=SHORT_TOKENS).contains(&tokens.len()));
        };
        for len in 1..=SHORT_TOKENS + 1 {
            for first in 0..widths.len() {
                check(&vec![widths[first]; len]);
                let mixed: Vec<u32> = widths.into_iter().cycle().skip(first).take(len).collect();
                check(&mixed);
            }
        }
    }
}
