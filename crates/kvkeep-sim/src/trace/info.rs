//! What a trace has in it, and what a cache that never evicts would find.
//!
//! Two rules for the infinite hit rate, since published figures use both:
//!
//! * *Blocks*: the leading blocks that came before, the partial last one counted as
//!   well, over all blocks.
//! * *Tokens*, as an engine does it: full blocks only, never the last prompt token, over all
//!   prompt tokens.
//!
//! Streams. Memory: about 20 bytes per distinct block and per session, and the distinct
//! lengths of prompts and outputs.

use super::{Request, Source};
use ahash::AHashMap;
use std::collections::BTreeMap;

/// Reuse within so many ms counts as soon.
const SOON_MS: u64 = 10_000;
/// Reuse within so many ms counts as recent.
const RECENT_MS: u64 = 600_000;

/// The figures of a trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Info {
    /// Tokens per block.
    pub block_size: u32,
    /// Requests.
    pub requests: u64,
    /// From the first arrival to the last.
    pub duration_ms: u64,
    /// Tokens of all prompts.
    pub input_tokens: u64,
    /// Tokens of all outputs.
    pub output_tokens: u64,
    /// Blocks of all prompts, partial ones as well.
    pub blocks: u64,
    /// Different blocks.
    pub distinct_blocks: u64,
    /// Tokens that the different blocks cover: the working set.
    pub distinct_tokens: u64,
    /// Blocks that a cache that never evicts finds, by the first rule above.
    pub blocks_found: u64,
    /// Tokens that it finds, by the second rule above.
    pub tokens_found: u64,
    /// Requests with a block that was last used at most 10 s before.
    pub reuse_within_10_s: u64,
    /// Requests with a block that was last used at most 10 min before.
    pub reuse_within_10_min: u64,
    /// Prompt lengths.
    pub input_lengths: Lengths,
    /// Output lengths.
    pub output_lengths: Lengths,
    /// Sessions, where the trace says.
    pub sessions: u64,
    /// Requests per session.
    pub session_requests: Lengths,
}

/// How often each length occurs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lengths {
    counts: BTreeMap<u32, u64>,
    total: u64,
}

impl Lengths {
    fn add(&mut self, length: u32) {
        *self.counts.entry(length).or_default() += 1;
        self.total += 1;
    }

    /// The least length that is not exceeded by `percent` of 100 (nearest rank): 0 gives the
    /// shortest, 100 the longest. None where there are none.
    #[must_use]
    pub fn percentile(&self, percent: u8) -> Option<u32> {
        let rank = (u128::from(self.total) * u128::from(percent.min(100))).div_ceil(100).max(1);
        let mut passed = 0_u128;
        self.counts.iter().find_map(|(&length, &count)| {
            passed += u128::from(count);
            (passed >= rank).then_some(length)
        })
    }
}

/// A block that came before.
#[derive(Clone, Copy)]
struct Known {
    last_ms: u64,
    /// Whether it came full: a partial block is of no use to an engine.
    is_full: bool,
}

impl Info {
    /// Reads all of `source`, or its first `limit` requests, and calls `progress` after each
    /// one with their number and the share read.
    ///
    /// # Errors
    /// Those of `source`.
    pub fn read<S: Source + ?Sized>(
        source: &mut S,
        limit: Option<u64>,
        mut progress: impl FnMut(u64, Option<f64>),
    ) -> Result<Self, S::Error> {
        let mut info = Self { block_size: source.block_size(), ..Self::default() };
        let mut known: AHashMap<u64, Known> = AHashMap::new();
        let mut sessions: AHashMap<u64, u32> = AHashMap::new();
        let mut request = Request::default();
        let mut first_ms = None;
        while limit.is_none_or(|limit| info.requests < limit) && source.read_next(&mut request)? {
            let first_ms = *first_ms.get_or_insert(request.time_ms);
            info.duration_ms = request.time_ms.saturating_sub(first_ms);
            info.add(&request, &mut known);
            if let Some(session) = request.session {
                let requests = sessions.entry(session).or_default();
                *requests = requests.saturating_add(1);
            }
            progress(info.requests, source.fraction_read());
        }
        info.distinct_blocks = known.len() as u64;
        info.sessions = sessions.len() as u64;
        for requests in sessions.into_values() {
            info.session_requests.add(requests);
        }
        Ok(info)
    }

    fn add(&mut self, request: &Request, known: &mut AHashMap<u64, Known>) {
        let block_size = u64::from(self.block_size.max(1));
        let input_tokens = u64::from(request.input_tokens);
        self.requests += 1;
        self.input_tokens += input_tokens;
        self.output_tokens += u64::from(request.output_tokens);
        self.blocks += request.blocks.len() as u64;
        self.input_lengths.add(request.input_tokens);
        self.output_lengths.add(request.output_tokens);
        // How far the hit goes, by each rule, and the age of the youngest block found.
        let (mut found, mut found_full) = (0_u64, 0_u64);
        let (mut goes_on, mut goes_on_full) = (true, true);
        let mut age_ms = u64::MAX;
        for (index, &id) in request.blocks.iter().enumerate() {
            let start = index as u64 * block_size;
            let tokens = block_size.min(input_tokens.saturating_sub(start));
            let is_full = tokens == block_size;
            let now = Known { last_ms: request.time_ms, is_full };
            let before = known.insert(id, now);
            if let Some(before) = before {
                age_ms = age_ms.min(request.time_ms.saturating_sub(before.last_ms));
                if before.is_full && !is_full {
                    known.insert(id, Known { is_full: true, ..now });
                }
            } else {
                self.distinct_tokens += tokens;
            }
            goes_on &= before.is_some();
            goes_on_full &= is_full && before.is_some_and(|before| before.is_full);
            found += u64::from(goes_on);
            found_full += u64::from(goes_on_full);
        }
        self.blocks_found += found;
        // The last token is always computed, so its block is.
        let allowed = input_tokens.saturating_sub(1) / block_size;
        self.tokens_found += found_full.min(allowed) * block_size;
        self.reuse_within_10_s += u64::from(age_ms <= SOON_MS);
        self.reuse_within_10_min += u64::from(age_ms <= RECENT_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    struct List(std::vec::IntoIter<Request>);

    impl Source for List {
        type Error = Infallible;

        fn block_size(&self) -> u32 {
            4
        }

        fn read_next(&mut self, request: &mut Request) -> Result<bool, Infallible> {
            let next = self.0.next();
            let is_one = next.is_some();
            *request = next.unwrap_or_default();
            Ok(is_one)
        }
    }

    /// Blocks of 4 tokens.
    ///
    /// | s | ids | tokens | blocks found | tokens found | youngest block |
    /// |---|---|---|---|---|---|
    /// | 0 | 1 2 3 | 10 | 0 | 0 | |
    /// | 10 | 1 2 3 | 10 | 3 | 8 | 10 s |
    /// | 20.001 | 1 2 | 8 | 2 | 4: the last token is computed | 10.001 s |
    /// | 620.002 | 1 4 2 | 12 | 1: the hit ends at 4 | 4 | 600.001 s |
    /// | 620.002 | 5 | 3 | 0 | 0 | |
    /// | 620.002 | 5 | 3 | 1 | 0: not full | 0 s |
    #[test]
    fn every_count_by_hand() {
        let request = |time_ms, blocks: &[u64], input_tokens, session| Request {
            time_ms,
            input_tokens,
            output_tokens: 2,
            blocks: blocks.into(),
            session,
            ..Request::default()
        };
        let requests = [
            request(0, &[1, 2, 3], 10, Some(7)),
            request(10_000, &[1, 2, 3], 10, Some(7)),
            request(20_001, &[1, 2], 8, Some(8)),
            request(620_002, &[1, 4, 2], 12, None),
            request(620_002, &[5], 3, None),
            request(620_002, &[5], 3, None),
        ];
        let source = || List(Vec::from(requests.clone()).into_iter());
        let mut steps = 0;
        let info = Info::read(&mut source(), None, |requests, _| {
            steps += 1;
            assert_eq!(requests, steps);
        })
        .unwrap();
        let Info { input_lengths, output_lengths, session_requests, .. } = info.clone();
        assert_eq!(
            info,
            Info {
                block_size: 4,
                requests: 6,
                duration_ms: 620_002,
                input_tokens: 46,
                output_tokens: 12,
                blocks: 13,
                distinct_blocks: 5,
                // 1, 2 and 4 are full, 3 covers two tokens and 5 three.
                distinct_tokens: 17,
                blocks_found: 7,
                tokens_found: 16,
                reuse_within_10_s: 2,
                reuse_within_10_min: 3,
                input_lengths,
                output_lengths,
                sessions: 2,
                session_requests,
            }
        );
        assert_eq!(
            [0, 50, 51, 100].map(|p| info.input_lengths.percentile(p)),
            [Some(3), Some(8), Some(10), Some(12)]
        );
        assert_eq!(
            [0, 50, 51].map(|p| info.session_requests.percentile(p)),
            [Some(1), Some(1), Some(2)]
        );
        let none = Info::read(&mut List(Vec::new().into_iter()), None, |_, _| {}).unwrap();
        assert_eq!(none.input_lengths.percentile(50), None);
        assert_eq!(Info::read(&mut source(), Some(2), |_, _| {}).unwrap().requests, 2);
    }
}
