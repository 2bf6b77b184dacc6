//! Block ids of prompts that are known token by token: the chained hash of the library.

use kvkeep::{
    ExtraKeys,
    hash::{BlockHasher, Xxh3},
};
use std::num::NonZeroU32;

/// Tokens per block where nobody says.
pub(super) const BLOCK_SIZE: u32 = 16;

/// Writes one id for each block of `tokens`, the last perhaps partial: 64 bits of a hash over
/// the block and all before it.
pub(super) fn write_ids(tokens: &[u32], block_size: u32, blocks: &mut Vec<u64>) {
    blocks.clear();
    let block_size = block_size.max(1) as usize;
    let mut parent = Xxh3.root(block_size);
    for block in tokens.chunks(block_size) {
        parent = Xxh3.hash(&parent, block, ExtraKeys::default());
        blocks.push(Xxh3::fold(&parent));
    }
}

/// The caller's block size, or the default.
pub(super) fn block_size(given: Option<NonZeroU32>) -> u32 {
    given.map_or(BLOCK_SIZE, NonZeroU32::get)
}

#[cfg(test)]
mod tests {
    use super::write_ids;
    use proptest::prelude::*;

    proptest! {
        /// Ids are equal exactly up to where the tokens are, block by block.
        #[test]
        fn ids_are_equal_as_far_as_prompts_are(
            one in prop::collection::vec(0_u32..2, 1..40),
            other in prop::collection::vec(0_u32..2, 1..40),
            block_size in 1_u32..6,
        ) {
            let (mut ids, mut other_ids) = (Vec::new(), Vec::new());
            write_ids(&one, block_size, &mut ids);
            write_ids(&other, block_size, &mut other_ids);
            prop_assert_eq!(ids.len(), one.len().div_ceil(block_size as usize));
            for (index, (id, other_id)) in ids.iter().zip(&other_ids).enumerate() {
                let end = (index + 1) * block_size as usize;
                let same = one[..end.min(one.len())] == other[..end.min(other.len())];
                prop_assert_eq!(id == other_id, same);
            }
        }
    }
}
