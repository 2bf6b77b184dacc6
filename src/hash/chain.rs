//! The hashes of all blocks of a prompt, without a manager.

use super::BlockHasher;
use crate::{ExtraKeys, Identity};
use std::num::NonZeroUsize;

/// The block hashes of a prompt, in order: the names that a manager with this hasher and
/// block size (tokens) gives to its blocks. Tokens at the end that fill no block have none.
/// O(tokens).
///
/// For routers and key-value stores that name blocks as the engines do.
///
/// ```
/// use kvkeep::hash::{Xxh3, block_hashes};
/// use kvkeep::{BlockManager, Config, Identity};
/// use std::num::NonZeroUsize;
///
/// let prompt: Vec<u32> = (0..40).collect();
/// let block_size = NonZeroUsize::new(16).unwrap();
/// let hashes = block_hashes(&Xxh3, block_size, &prompt, &Identity::default());
/// assert_eq!(hashes.len(), 2);
///
/// let mut kv = BlockManager::new(Config::new(64))?;
/// let seq = kv.admit(&prompt, &Identity::default())?.seq;
/// kv.reserve(seq, 40)?;
/// kv.commit(seq, 40)?;
/// assert_eq!(kv.block_hash(kv.block_table(seq)?[1]), Some(hashes[1]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn block_hashes<H: BlockHasher>(
    hasher: &H,
    block_size: NonZeroUsize,
    tokens: &[u32],
    identity: &Identity,
) -> Vec<H::Digest> {
    let block_size = block_size.get();
    let mut parent = hasher.root(block_size);
    let mut keys = Vec::new();
    let blocks = tokens.chunks_exact(block_size).enumerate();
    blocks
        .map(|(position, tokens)| {
            let start = position * block_size;
            identity.write_keys(start..start + block_size, &mut keys);
            parent = hasher.hash(&parent, tokens, ExtraKeys::new(&keys));
            parent
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Xxh3;
    use crate::{BlockManager, Config};
    use proptest::prelude::*;

    fn identity(salt: bool, adapter: bool, media: Option<(usize, usize)>) -> Identity {
        let mut identity = Identity::new();
        if salt {
            identity = identity.salt("tenant").unwrap();
        }
        if adapter {
            identity = identity.adapter("sql", "/adapters/sql").unwrap();
        }
        if let Some((start, tokens)) = media {
            identity = identity.media("picture", start..start + tokens).unwrap();
        }
        identity
    }

    proptest! {
        /// The names are those of the manager, whatever the blocks depend on.
        #[test]
        fn a_manager_gives_the_same_names(
            tokens in prop::collection::vec(0_u32..9, 1..60),
            block_size in 1_usize..9,
            salt: bool,
            adapter: bool,
            media in prop::option::of((0_usize..50, 1_usize..20)),
        ) {
            let media = media.filter(|(start, items)| start + items <= tokens.len());
            let identity = identity(salt, adapter, media);
            let size = NonZeroUsize::new(block_size).unwrap();
            let hashes = block_hashes(&Xxh3, size, &tokens, &identity);

            let mut kv = BlockManager::new(Config::new(64).block_size(block_size)).unwrap();
            let seq = kv.admit(&tokens, &identity).unwrap().seq;
            kv.reserve(seq, tokens.len()).unwrap();
            kv.commit(seq, tokens.len()).unwrap();
            let table = kv.block_table(seq).unwrap().to_vec();
            let names: Vec<_> = table.iter().filter_map(|&block| kv.block_hash(block)).collect();
            prop_assert_eq!(names, hashes);
        }
    }
}
