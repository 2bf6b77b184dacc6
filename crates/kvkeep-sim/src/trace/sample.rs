//! A part of a trace: a share of its conversations, each whole.
//!
//! A conversation is a session, where the trace says. Elsewhere it is found by its prompts: a
//! request goes on with the conversation of an earlier one if it contains all full blocks of that
//! one's prompt, the last of which that one was the first to have; of several, with
//! the one whose prompt was longest. So a shared system prompt joins nothing, unless a prompt is no
//! more than it. Whether a conversation is kept depends on its name and the seed alone,
//! so it works while the trace streams. Times stay as they are.
//!
//! Memory: with sessions none, else 8 to 24 bytes per distinct block.

use super::{Request, Source};
use crate::SplitMix64;
use ahash::{AHashMap, AHashSet};

/// Gives the requests of a share of the conversations of another source.
pub struct Sample<S> {
    source: S,
    /// Of 2^64 names of conversations, how many are kept.
    keep_below: u128,
    seed: u64,
    lineages: Lineages,
}

impl<S: Source> Sample<S> {
    /// Keeps `fraction` (0 to 1) of the conversations of `source`; `seed` names which.
    pub fn new(source: S, fraction: f64, seed: u64) -> Self {
        // 2^64 as a float is exact; products below it are cut to integers.
        let keep_below = (fraction.clamp(0.0, 1.0) * 18_446_744_073_709_551_616.0) as u128;
        Self { source, keep_below, seed, lineages: Lineages::default() }
    }

    fn is_kept(&mut self, request: &Request) -> bool {
        let name = match request.session {
            Some(session) => session,
            None => self.lineages.name(request, self.source.block_size()),
        };
        // The name is mixed first, so that neighbouring names and seeds have nothing to do
        // with each other.
        let mixed = SplitMix64::new(name).next_u64() ^ self.seed;
        u128::from(SplitMix64::new(mixed).next_u64()) < self.keep_below
    }
}

impl<S: Source> Source for Sample<S> {
    type Error = S::Error;

    fn block_size(&self) -> u32 {
        self.source.block_size()
    }

    fn read_next(&mut self, request: &mut Request) -> Result<bool, S::Error> {
        while self.source.read_next(request)? {
            if self.is_kept(request) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn fraction_read(&self) -> Option<f64> {
        self.source.fraction_read()
    }
}

/// Which conversation a request goes on with.
#[derive(Default)]
struct Lineages {
    seen: AHashSet<u64>,
    /// Last full blocks of prompts, with the name of the conversation.
    ends: AHashMap<u64, u64>,
    requests: u64,
}

impl Lineages {
    /// The name of the request's conversation: the number of its first request.
    fn name(&mut self, request: &Request, block_size: u32) -> u64 {
        let full = &request.blocks
            [..request.blocks.len().min((request.input_tokens / block_size) as usize)];
        let known = full.iter().rev().find_map(|block| self.ends.get(block));
        let name = known.copied().unwrap_or(self.requests);
        self.requests += 1;
        if let Some(last) = full.last()
            && !self.seen.contains(last)
        {
            self.ends.insert(*last, name);
        }
        self.seen.extend(full);
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Generate, GenerateOptions, testing::read_all};
    use std::collections::HashSet;

    fn generated() -> Generate {
        Generate::new(GenerateOptions { requests: 4_000, ..Default::default() }).unwrap()
    }

    /// Hides the sessions of a source.
    struct Nameless<S>(S);

    impl<S: Source> Source for Nameless<S> {
        type Error = S::Error;

        fn block_size(&self) -> u32 {
            self.0.block_size()
        }

        fn read_next(&mut self, request: &mut Request) -> Result<bool, S::Error> {
            let more = self.0.read_next(request)?;
            request.session = None;
            Ok(more)
        }
    }

    #[test]
    fn conversations_are_kept_whole_or_not_at_all() {
        let all = read_all(generated()).unwrap();
        let some = read_all(Sample::new(generated(), 0.3, 1)).unwrap();
        let kept: HashSet<_> = some.iter().map(|request| request.session).collect();
        let sessions: HashSet<_> = all.iter().map(|request| request.session).collect();
        let share = kept.len() as f64 / sessions.len() as f64;
        assert!((0.25..0.35).contains(&share), "{share}");
        let expected: Vec<_> = all.into_iter().filter(|r| kept.contains(&r.session)).collect();
        assert_eq!(some, expected);
        let other: HashSet<_> = read_all(Sample::new(generated(), 0.3, 2))
            .unwrap()
            .iter()
            .map(|request| request.session)
            .collect();
        assert_ne!(kept, other);
    }

    #[test]
    fn the_ends_are_all_and_nothing() {
        assert_eq!(read_all(Sample::new(generated(), 1.0, 0)), read_all(generated()));
        assert!(read_all(Sample::new(generated(), 0.0, 0)).unwrap().is_empty());
    }

    /// Prompts alone tell the sessions of a made-up trace apart, and join none.
    #[test]
    fn without_sessions_prompts_tell_conversations() {
        let mut lineages = Lineages::default();
        let mut pairs = HashSet::new();
        for request in read_all(generated()).unwrap() {
            pairs.insert((request.session, lineages.name(&request, 16)));
        }
        let sessions: HashSet<_> = pairs.iter().map(|pair| pair.0).collect();
        let names: HashSet<_> = pairs.iter().map(|pair| pair.1).collect();
        assert_eq!((sessions.len(), names.len()), (pairs.len(), pairs.len()));
        let some = read_all(Sample::new(Nameless(generated()), 0.5, 0)).unwrap();
        assert!((1_000..3_000).contains(&some.len()), "{}", some.len());
    }

    /// | prompt (blocks of 4, last one partial) | conversation | why |
    /// |---|---|---|
    /// | 1 2 (3) | 0 | the first |
    /// | 1 2 4 (5) | 0 | has 1 2 |
    /// | 1 (6) | 2 | ends in 1, which is not its own |
    /// | 1 7 (8) | 3 | nothing but 1 is known, where nothing of its own ended |
    /// | 1 2 4 (9) | 0 | the same prompt up to its last block |
    /// | (10) | 5 | no full block |
    #[test]
    fn conversations_by_hand() {
        let mut lineages = Lineages::default();
        let names = [&[1, 2, 3][..], &[1, 2, 4, 5], &[1, 6], &[1, 7, 8], &[1, 2, 4, 9], &[10]].map(
            |blocks| {
                let input_tokens = blocks.len() as u32 * 4 - 1;
                let blocks = blocks.to_vec();
                lineages.name(&Request { input_tokens, blocks, ..Request::default() }, 4)
            },
        );
        assert_eq!(names, [0, 0, 2, 3, 0, 5]);
    }
}
