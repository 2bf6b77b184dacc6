//! Properties of identities and hits, of determinism, and of conservation.

mod support;

use kvkeep::hash::{BlockHasher, Xxh3};
use kvkeep::{BlockManager, Config, Error, ExtraKeys, Identity, IdentityError};
use proptest::prelude::*;
use support::ops::{Prompt, cases, sequences, setups};
use support::rig::Rig;

fn manager(num_blocks: u32, block_size: usize) -> BlockManager {
    BlockManager::new(Config::new(num_blocks).block_size(block_size)).expect("a good config")
}

/// Computes and frees a prompt; returns the tokens that hit.
fn serve(kv: &mut BlockManager, prompt: &[u32], identity: &Identity) -> Result<usize, Error> {
    let admission = kv.admit(prompt, identity)?;
    let missing = prompt.len() - admission.tokens_cached;
    let _ = kv.reserve(admission.seq, missing)?;
    kv.commit(admission.seq, missing)?;
    kv.free(admission.seq)?;
    Ok(admission.tokens_cached)
}

/// The parts of an identity, so that tests can tell which of two are equal.
#[derive(Clone, Debug, Default, PartialEq)]
struct Parts {
    salt: Option<String>,
    adapter: Option<(String, String)>,
    media: Vec<(String, usize, usize)>,
    custom: Vec<(String, Vec<u8>)>,
}

impl Parts {
    /// What an identity is documented to depend on, in blocks of `block_size`: a media item
    /// counts by identifier and start in each block that it overlaps, so its end counts by
    /// the last of them.
    fn as_documented(&self, block_size: usize) -> Parts {
        let mut parts = self.clone();
        for (_, start, tokens) in &mut parts.media {
            *tokens = (*start + *tokens).div_ceil(block_size);
        }
        parts
    }

    fn build(&self) -> Result<Identity, IdentityError> {
        let mut identity = Identity::new();
        if let Some(salt) = &self.salt {
            identity = identity.salt(salt)?;
        }
        if let Some((name, source)) = &self.adapter {
            identity = identity.adapter(name, source)?;
        }
        for (name, start, tokens) in &self.media {
            identity = identity.media(name, *start..start + tokens)?;
        }
        for (name, value) in &self.custom {
            identity = identity.custom(name, value)?;
        }
        Ok(identity)
    }
}

/// Parts of few letters, so that moving a letter from field to field makes another one.
fn parts() -> impl Strategy<Value = Parts> {
    let word = || "[ab]{0,2}";
    let adapter = prop::option::of((word(), word()));
    let media = prop::collection::vec((word(), 0..6usize, 1..3usize), 0..2);
    let custom = prop::collection::vec((word(), prop::collection::vec(97..99u8, 0..2)), 0..2);
    // An empty salt is no salt, by definition.
    let salt = prop::option::of("[ab]{1,2}");
    (salt, adapter, media, custom).prop_map(|(salt, adapter, media, custom)| Parts {
        salt,
        adapter,
        media,
        custom,
    })
}

proptest! {
    #![proptest_config(cases(500))]

    /// All media lie in the first two blocks of four, so all parts count for the second;
    /// media that start in the second block leave the first one to be shared.
    #[test]
    fn identities_share_if_and_only_if_they_are_equal(a in parts(), b in parts()) {
        let mut kv = manager(16, 4);
        let prompt = [1; 9];
        let (first, second) = (a.build().expect("short"), b.build().expect("short"));
        serve(&mut kv, &prompt, &first).expect("room");
        prop_assert_eq!(kv.longest_prefix(&prompt, &first), 8);
        let hit = kv.longest_prefix(&prompt, &second);
        let equal = a.as_documented(4) == b.as_documented(4);
        prop_assert_eq!(hit == 8, equal, "{:?} after {:?}: {}", b, a, hit);
        let same_but_media = Parts { media: vec![], ..a.clone() } == Parts { media: vec![], ..b.clone() };
        let early = |parts: &Parts| -> Vec<_> {
            parts.media.iter().filter(|(_, start, _)| *start < 4).map(|m| (m.0.clone(), m.1)).collect()
        };
        prop_assert_eq!(hit >= 4, same_but_media && early(&a) == early(&b));
        // And the other way round.
        let mut kv = manager(16, 4);
        serve(&mut kv, &prompt, &second).expect("room");
        prop_assert_eq!(kv.longest_prefix(&prompt, &first), hit);
    }

    /// What hits for a prompt is the whole-block part of what it shares with the one
    /// that was served, without the last token.
    #[test]
    fn a_hit_is_the_shared_prefix_in_whole_blocks(
        block_size in 1..5usize,
        served in prop::collection::vec(0..2u32, 1..24),
        asked in prop::collection::vec(0..2u32, 1..24),
    ) {
        let mut kv = manager(32, block_size);
        serve(&mut kv, &served, &Identity::new()).expect("room");
        let shared = served.iter().zip(&asked).take_while(|(a, b)| a == b).count();
        let expected = shared.min(asked.len() - 1) / block_size * block_size;
        prop_assert_eq!(kv.longest_prefix(&asked, &Identity::new()), expected);
        prop_assert_eq!(serve(&mut kv, &asked, &Identity::new()), Ok(expected));
        // A longer prompt hits at least as much, by whole blocks.
        let mut last = 0;
        for tokens in 1..=asked.len() {
            let hit = kv.longest_prefix(&asked[..tokens], &Identity::new());
            prop_assert!(hit >= last && hit.is_multiple_of(block_size) && hit < tokens);
            last = hit;
        }
    }

    /// Two managers that get the same calls give the same answers, ids included.
    #[test]
    fn equal_calls_get_equal_answers(setup in setups(), ops in sequences(30)) {
        let mut rigs = [Rig::new(&setup, Xxh3, false), Rig::new(&setup, Xxh3, false)];
        for op in &ops {
            let [a, b] = rigs.each_mut().map(|rig| { rig.act(op); format!("{:?}", rig.model) });
            prop_assert_eq!(a, b);
        }
    }

    /// Whatever was running, after it ended every block is free or cached, and every
    /// block can be had.
    #[test]
    fn nothing_leaks(setup in setups(), ops in sequences(30)) {
        let mut rig = Rig::new(&setup, Xxh3, false);
        for op in &ops {
            rig.act(op);
        }
        rig.abort_all();
        let usage = rig.kv.usage();
        prop_assert_eq!((usage.available(), usage.sequences), (setup.num_blocks as usize, 0));
        let tokens = setup.num_blocks as usize * setup.block_size;
        rig.admit(&Prompt { stream: 0, tokens, flip: None }.to_tokens(1), 0, false);
        let missing = rig.model.seqs[0].known.len() - rig.model.seqs[0].computed;
        prop_assert!(rig.reserve(0, missing, 0));
        rig.commit(0, missing);
        rig.check();
        prop_assert_eq!(rig.kv.usage().in_use, setup.num_blocks as usize + rig.model.seqs[0].duplicates.len());
    }

    /// Changing any token or the parent changes the hash, and block sizes do not mix.
    #[test]
    fn a_hash_names_parent_and_tokens(
        tokens in prop::collection::vec(any::<u32>(), 1..40),
        at in any::<prop::sample::Index>(),
        bit in 0..32u32,
    ) {
        let none = ExtraKeys::default();
        let root = Xxh3.root(tokens.len());
        let hash = Xxh3.hash(&root, &tokens, none);
        prop_assert_eq!(hash, Xxh3.hash(&root, &tokens.clone(), none));
        let mut flipped = tokens.clone();
        flipped[at.index(tokens.len())] ^= 1 << bit;
        prop_assert_ne!(hash, Xxh3.hash(&root, &flipped, none));
        prop_assert_ne!(hash, Xxh3.hash(&hash, &tokens, none));
        prop_assert_ne!(hash, Xxh3.hash(&Xxh3.root(tokens.len() + 1), &tokens, none));
    }
}

/// The block hash of the manager is the chain of the hasher: root, then each block.
#[test]
fn the_manager_chains_hashes_as_documented() -> Result<(), Error> {
    let mut kv = manager(8, 2);
    let seq = kv.admit(&[1, 2, 3, 4, 5], &Identity::new())?.seq;
    let _ = kv.reserve(seq, 5)?;
    kv.commit(seq, 5)?;
    let none = ExtraKeys::default();
    let first = Xxh3.hash(&Xxh3.root(2), &[1, 2], none);
    let second = Xxh3.hash(&first, &[3, 4], none);
    let hashes: Vec<_> = kv.block_table(seq)?.iter().map(|&block| kv.block_hash(block)).collect();
    assert_eq!(hashes, [Some(first), Some(second), None]);
    Ok(())
}

/// The salt pair: a tenant does not see another's blocks, in either direction, and both
/// see their own.
#[test]
fn salts_isolate_in_both_directions() -> Result<(), Error> {
    let salted = |salt: &str| Identity::new().salt(salt).expect("short");
    let (a, b) = (salted("a"), salted("b"));
    let prompt = [1, 2, 3, 4, 5];
    for (first, second) in [(&a, &b), (&b, &a)] {
        let mut kv = manager(16, 2);
        assert_eq!(serve(&mut kv, &prompt, first)?, 0);
        assert_eq!(serve(&mut kv, &prompt, second)?, 0);
        assert_eq!(serve(&mut kv, &prompt, &Identity::new())?, 0);
        for identity in [first, second, &Identity::new()] {
            assert_eq!(serve(&mut kv, &prompt, identity)?, 4);
        }
    }
    Ok(())
}

/// Found by the property above: two lengths of one item that end in the same block. The
/// identifier names the content, which decides its length; an end in another block counts.
#[test]
fn the_length_of_a_media_item_counts_by_the_blocks_that_it_reaches() {
    let mut kv = manager(16, 4);
    let item = |tokens| Identity::new().media("image", tokens).expect("short");
    serve(&mut kv, &[1; 9], &item(1..3)).expect("room");
    assert_eq!(kv.longest_prefix(&[1; 9], &item(1..4)), 8);
    assert_eq!(kv.longest_prefix(&[1; 9], &item(1..5)), 4);
    assert_eq!(kv.longest_prefix(&[1; 9], &item(2..4)), 0);
}
