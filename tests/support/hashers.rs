//! Hashers that collide on purpose. A verified manager must be right with any of them.

use kvkeep::ExtraKeys;
use kvkeep::hash::BlockHasher;

/// Every block has the same hash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Constant;

impl BlockHasher for Constant {
    type Digest = [u8; 1];

    fn root(&self, _: usize) -> [u8; 1] {
        [0]
    }

    fn hash(&self, _: &[u8; 1], _: &[u32], _: ExtraKeys<'_>) -> [u8; 1] {
        [0]
    }
}

/// A hash of `BITS` bits: some blocks collide, some do not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weak<const BITS: u32>;

impl<const BITS: u32> BlockHasher for Weak<BITS> {
    type Digest = [u8; 1];

    fn root(&self, _: usize) -> [u8; 1] {
        [0]
    }

    fn hash(&self, parent: &[u8; 1], tokens: &[u32], extra: ExtraKeys<'_>) -> [u8; 1] {
        let token_bytes = tokens.iter().flat_map(|token| token.to_le_bytes());
        let bytes = parent.iter().copied().chain(token_bytes).chain(extra.as_bytes().to_vec());
        let mixed = bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        [((mixed >> 29) & ((1 << BITS) - 1)) as u8]
    }
}
