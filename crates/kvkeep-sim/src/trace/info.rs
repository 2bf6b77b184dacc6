//! What a trace has in it, and what a cache that never evicts would find.
//!
//! Two rules for the infinite hit rate, since published figures use both:
//!
//! * *Blocks*: the leading blocks that came before, the partial last one counted as
//!   well, over all blocks.
//! * *Tokens*, as an engine does it: full blocks only, never the last prompt token, over all
//!   prompt tokens.
//!
//! The reuse distance of a block is the number of different blocks used since its last use,
//! itself included: an LRU cache of that many blocks, or more, still has it.
//!
//! Streams. Memory: TODO

use super::{Request, Source};
use crate::RecencyStack;
use ahash::{AHashMap, RandomState};
use hashbrown::{HashTable, hash_table::Entry};
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
    /// Different blocks, partial ones as well.
    pub distinct_blocks: u64,
    /// Of these, the ones that came full at least once: all that an engine ever caches.
    pub distinct_full_blocks: u64,
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
    /// Reuse distances of the leading blocks that came before.
    pub reuse_distances: Lengths,
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

/// What is known of a block that came before.
#[derive(Clone, Copy)]
struct Known {
    /// The number of the last request that used it.
    last_request: u32,
    /// Whether it came full: a partial block is of no use to an engine.
    is_full: bool,
}

/// All blocks so far, numbered in order of appearance.
struct Blocks {
    /// Numbers, found by their ids: a map from ids would hold each of them beside a number, in
    /// a table that is half empty.
    numbers: HashTable<u32>,
    ids: Vec<u64>,
    /// By number: the last request, and in the lowest bit whether the block came full.
    known: Vec<u32>,
    hashes: RandomState,
    stack: RecencyStack,
    /// The numbers of the blocks of the request at hand.
    chain: Vec<u32>,
}

impl Blocks {
    fn new() -> Self {
        Self {
            numbers: HashTable::new(),
            ids: Vec::new(),
            known: Vec::new(),
            hashes: RandomState::new(),
            stack: RecencyStack::new(0),
            chain: Vec::new(),
        }
    }

    /// Notes a use, and tells what was known before. A block that a request names twice is
    /// used once.
    fn use_block(&mut self, id: u64, now: Known) -> Option<Known> {
        let Self { numbers, ids, hashes, .. } = self;
        let found = numbers.entry(
            hashes.hash_one(id),
            |&number| ids[number as usize] == id,
            |&number| hashes.hash_one(ids[number as usize]),
        );
        let number = match found {
            Entry::Vacant(place) => {
                let number = ids.len() as u32;
                place.insert(number);
                ids.push(id);
                self.known.push(now.packed());
                self.stack.grow(number.saturating_add(1));
                self.chain.push(number);
                return None;
            }
            Entry::Occupied(place) => *place.get(),
        };
        let known = &mut self.known[number as usize];
        let before = Known::unpacked(*known);
        *known = Known { is_full: now.is_full || before.is_full, ..now }.packed();
        if before.last_request != now.last_request {
            self.chain.push(number);
        }
        Some(before)
    }
}

impl Known {
    fn packed(self) -> u32 {
        self.last_request << 1 | u32::from(self.is_full)
    }

    fn unpacked(known: u32) -> Self {
        Self { last_request: known >> 1, is_full: known & 1 == 1 }
    }
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
        let mut blocks = Blocks::new();
        let mut times_ms = Vec::new();
        let mut sessions: AHashMap<u64, u32> = AHashMap::new();
        let mut request = Request::default();
        let mut first_ms = None;
        while limit.is_none_or(|limit| info.requests < limit) && source.read_next(&mut request)? {
            let first_ms = *first_ms.get_or_insert(request.time_ms);
            info.duration_ms = request.time_ms.saturating_sub(first_ms);
            times_ms.push(request.time_ms);
            info.add(&request, &mut blocks, &times_ms);
            if let Some(session) = request.session {
                let requests = sessions.entry(session).or_default();
                *requests = requests.saturating_add(1);
            }
            progress(info.requests, source.fraction_read());
        }
        info.distinct_blocks = blocks.known.len() as u64;
        let full = blocks.known.iter().filter(|known| Known::unpacked(**known).is_full);
        info.distinct_full_blocks = full.count() as u64;
        info.sessions = sessions.len() as u64;
        for requests in sessions.into_values() {
            info.session_requests.add(requests);
        }
        Ok(info)
    }

    /// Adds the last request that `times_ms` has.
    fn add(&mut self, request: &Request, blocks: &mut Blocks, times_ms: &[u64]) {
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
        let last_request = times_ms.len() as u32 - 1;
        blocks.chain.clear();
        for (index, &id) in request.blocks.iter().enumerate() {
            let start = index as u64 * block_size;
            let tokens = block_size.min(input_tokens.saturating_sub(start));
            let is_full = tokens == block_size;
            let before = blocks.use_block(id, Known { last_request, is_full });
            match before {
                Some(before) => {
                    let last_ms = times_ms[before.last_request as usize];
                    age_ms = age_ms.min(request.time_ms.saturating_sub(last_ms));
                }
                None => self.distinct_tokens += tokens,
            }
            goes_on &= before.is_some();
            goes_on_full &= is_full && before.is_some_and(|before| before.is_full);
            found += u64::from(goes_on);
            found_full += u64::from(goes_on_full);
        }
        for distance in blocks.stack.distances(&blocks.chain) {
            self.reuse_distances.add(distance);
        }
        blocks.stack.push(&blocks.chain);
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
        let Info { reuse_distances, input_lengths, output_lengths, session_requests, .. } =
            info.clone();
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
                distinct_full_blocks: 3,
                // 1, 2 and 4 are full, 3 covers two tokens and 5 three.
                distinct_tokens: 17,
                blocks_found: 7,
                tokens_found: 16,
                reuse_within_10_s: 2,
                reuse_within_10_min: 3,
                reuse_distances,
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
        // Request 2: 1 2 3 stand in this order: 1, 2, 3. Request 3: 1, 2. Request 4: 1. Last: 1.
        let distances = &info.reuse_distances;
        assert_eq!(
            [0, 57, 58, 85, 86, 100].map(|p| distances.percentile(p)),
            [Some(1), Some(1), Some(2), Some(2), Some(3), Some(3)]
        );
        let none = Info::read(&mut List(Vec::new().into_iter()), None, |_, _| {}).unwrap();
        assert_eq!(none.input_lengths.percentile(50), None);
        // A block that is named twice is no reason to fall over.
        let twice = vec![request(0, &[1, 1, 1], 12, None); 9];
        let twice = Info::read(&mut List(twice.into_iter()), None, |_, _| {}).unwrap();
        assert_eq!(twice.reuse_distances.percentile(100), Some(1));
        assert_eq!(Info::read(&mut source(), Some(2), |_, _| {}).unwrap().requests, 2);
    }
}
