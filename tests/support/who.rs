//! Identities as the tests think of them, and the extra keys that design.md 3.2 gives
//! each block of a sequence with such an identity.

use kvkeep::Identity;
use std::ops::Range;

/// One extra key of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Salt(&'static str),
    Adapter(&'static str),
    Media(&'static str, i64),
    Custom(u8),
}

/// What a sequence's KV depends on besides its tokens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Who {
    salt: Option<&'static str>,
    adapter: Option<&'static str>,
    media: Vec<(&'static str, Range<usize>)>,
    custom: Option<u8>,
}

/// Number of different [`Who::nth`].
pub(crate) const KINDS: u8 = 10;

impl Who {
    /// A few identities that differ in one thing or two. Small numbers are simple, so
    /// that failing cases shrink to no identity. Media take `scale` times their tokens.
    pub(crate) fn nth(n: u8, scale: usize) -> Who {
        let mut who = Who::default();
        match n {
            1 => who.salt = Some("a"),
            2 => who.salt = Some("b"),
            3 => who.adapter = Some("a"),
            4 => who.media = vec![("image", 0..1)],
            5 => who.media = vec![("image", 3..5)],
            6 => who.media = vec![("image", 5..7)],
            7 => who.custom = Some(7),
            8 => (who.salt, who.adapter) = (Some("a"), Some("a")),
            9 => who.media = vec![("image", 1..3), ("picture", 3..6), ("sound", 7..8)],
            _ => {}
        }
        for (_, tokens) in &mut who.media {
            *tokens = tokens.start * scale..tokens.end * scale;
        }
        who
    }

    /// The same for the library.
    pub(crate) fn identity(&self) -> Identity {
        let mut identity = Identity::new();
        if let Some(salt) = self.salt {
            identity = identity.salt(salt).expect("short");
        }
        if let Some(adapter) = self.adapter {
            identity = identity.adapter(adapter, "/weights").expect("short");
        }
        for (name, tokens) in &self.media {
            identity = identity.media(name, tokens.clone()).expect("short");
        }
        if let Some(value) = self.custom {
            identity = identity.custom("test", &[value]).expect("short");
        }
        identity
    }

    /// End of the last media item, in tokens.
    pub(crate) fn media_end(&self) -> usize {
        self.media.iter().map(|(_, tokens)| tokens.end).max().unwrap_or(0)
    }

    /// The extra keys of block `position`: salt and custom keys in the first block, the
    /// adapter in every block, media in each block that they overlap.
    pub(crate) fn keys(&self, position: usize, block_size: usize) -> Vec<Key> {
        let block = position * block_size..(position + 1) * block_size;
        let overlapping = |tokens: &Range<usize>| block.clone().any(|at| tokens.contains(&at));
        let media =
            self.media.iter().filter(|(_, tokens)| overlapping(tokens)).map(
                |&(name, ref tokens)| Key::Media(name, tokens.start as i64 - block.start as i64),
            );
        let first = position == 0;
        self.adapter
            .map(Key::Adapter)
            .into_iter()
            .chain(media)
            .chain(self.salt.filter(|_| first).map(Key::Salt))
            .chain(self.custom.filter(|_| first).map(Key::Custom))
            .collect()
    }
}
