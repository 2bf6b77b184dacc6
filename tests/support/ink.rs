//! What the KV of one token depends on, exactly: the epoch, every token up to it, and
//! the extra keys of every block up to it.
//!
//! Found by comparing, never by hashing: equal ink means equal history.

use super::who::{Key, Who};

/// The KV of one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ink(usize);

#[derive(Debug, PartialEq)]
struct Stroke {
    before: Option<Ink>,
    epoch: u64,
    token: u32,
    keys: Vec<Key>,
}

/// All ink that was ever used.
#[derive(Debug, Default)]
pub(crate) struct Inkwell {
    strokes: Vec<Stroke>,
    /// Those that follow each of them.
    after: Vec<Vec<Ink>>,
    /// Those that follow none.
    first: Vec<Ink>,
}

impl Inkwell {
    fn dip(&mut self, stroke: Stroke) -> Ink {
        let siblings = match stroke.before {
            Some(Ink(before)) => &mut self.after[before],
            None => &mut self.first,
        };
        if let Some(known) = siblings.iter().find(|ink| self.strokes[ink.0] == stroke) {
            return *known;
        }
        let ink = Ink(self.strokes.len());
        siblings.push(ink);
        self.strokes.push(stroke);
        self.after.push(Vec::new());
        ink
    }

    /// The ink of each of `tokens`, which follow the tokens in `written`.
    pub(crate) fn write(
        &mut self,
        written: &mut Vec<Ink>,
        tokens: &[u32],
        who: &Who,
        epoch: u64,
        block_size: usize,
    ) {
        for &token in tokens {
            let keys = who.keys(written.len() / block_size, block_size);
            let before = written.last().copied();
            written.push(self.dip(Stroke { before, epoch, token, keys }));
        }
    }
}
