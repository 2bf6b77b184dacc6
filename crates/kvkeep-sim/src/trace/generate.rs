//! Made-up traces: sessions of turns, shared system prompts and tools, one-shot requests.
//!
//! Sessions arrive at random, independently of each other (Poisson). Of 100, 25 are a single
//! request that shares nothing. The others start with the definitions of tools, which groups of
//! four system prompts share, then a system prompt; low-numbered prompts are the more popular, by
//! Zipf's law. A turn's prompt is all before it, answers included, and a new message. The
//! number of turns is geometric, the time between them log-normal (a sum of twelve uniform
//! numbers stands for the normal one).
//!
//! A seed names the same trace on every machine; lengths and times do not depend on the block
//! size. The beginning of a trace does not depend on how many requests are taken.
//!
//! Memory: the system prompts, and one session for each that waits for its next turn.

use super::{Request, Source};
use crate::{SplitMix64, fixed};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt,
    num::{NonZeroU16, NonZeroU32},
    ops::RangeInclusive,
};

/// Of 100 sessions, how many are one request that shares nothing.
const ONE_SHOT_PERCENT: u32 = 25;
/// System prompts that share their tools.
const PROMPTS_PER_TOOL_GROUP: usize = 4;
const TOOL_TOKENS: RangeInclusive<u32> = 512..=4_096;
const SYSTEM_TOKENS: RangeInclusive<u32> = 256..=2_048;
const USER_TOKENS: RangeInclusive<u32> = 16..=512;
const OUTPUT_TOKENS: RangeInclusive<u32> = 32..=512;
const ONE_SHOT_TOKENS: RangeInclusive<u32> = 64..=1_024;
/// A session ends before its prompt is longer.
const MAX_PROMPT_TOKENS: u32 = 131_072;

/// What to make up.
#[derive(Clone, Copy, Debug)]
pub struct GenerateOptions {
    /// Requests in all.
    pub requests: u64,
    /// Names the trace.
    pub seed: u64,
    /// Tokens per block.
    pub block_size: NonZeroU32,
    /// Arrivals of sessions, one-shot requests among them: above 0, at most a million.
    pub sessions_per_second: f64,
    /// Mean number of turns, at least 1.
    pub turns: f64,
    /// System prompts in use.
    pub system_prompts: NonZeroU16,
    /// Exponent of their popularity, from 0 (all alike) to 8.
    pub zipf: f64,
    /// Median time from one turn to the next, s: from 0 to a million.
    pub think_time: f64,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self {
            requests: 10_000,
            seed: 0,
            block_size: const { NonZeroU32::new(16).unwrap() },
            sessions_per_second: 1.0,
            turns: 5.0,
            system_prompts: const { NonZeroU16::new(64).unwrap() },
            zipf: 1.0,
            think_time: 30.0,
        }
    }
}

/// An option that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GenerateError {
    option: &'static str,
    found: f64,
    expected: &'static str,
}

impl fmt::Display for GenerateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, found {}", self.option, self.expected, self.found)
    }
}

impl std::error::Error for GenerateError {}

/// Gives the requests of a made-up trace.
pub struct Generate {
    random: SplitMix64,
    block_size: u32,
    requests: u64,
    requests_limit: u64,
    /// Mean µs between sessions, 32 bits after the point.
    arrival_us: u64,
    /// Of 2^32, how often a session goes on.
    another_turn: u32,
    think_ms: u64,
    prompts: Vec<Opening>,
    /// Sums of the popularity of all prompts up to each.
    popularity: Vec<u64>,
    next_id: u64,
    next_arrival_us: u64,
    sessions: u64,
    /// By the time of their next turn (ms) and their number.
    waiting: BTreeMap<(u64, u64), Session>,
}

/// Tools and a system prompt.
struct Opening {
    tokens: u32,
    /// Full blocks.
    ids: Vec<u64>,
}

/// A conversation.
struct Session {
    turn: u32,
    /// Everything said so far.
    tokens: u32,
    /// Full blocks of the last prompt.
    ids: Vec<u64>,
}

impl Generate {
    /// Makes up a trace.
    ///
    /// # Errors
    /// A number is out of its range.
    pub fn new(options: GenerateOptions) -> Result<Self, GenerateError> {
        let check = |option, found: f64, is_sound, expected| {
            if is_sound { Ok(found) } else { Err(GenerateError { option, found, expected }) }
        };
        let rate = options.sessions_per_second;
        check("sessions-per-second", rate, rate > 0.0 && rate <= 1e6, "above 0, at most 1000000")?;
        let turns = options.turns;
        check("turns", turns, (1.0..=1e6).contains(&turns), "1 to 1000000")?;
        let zipf = options.zipf;
        check("zipf", zipf, (0.0..=8.0).contains(&zipf), "0 to 8")?;
        let think_time = options.think_time;
        check("think-time", think_time, (0.0..=1e6).contains(&think_time), "0 to 1000000")?;
        let mut generate = Self {
            random: SplitMix64::new(options.seed),
            block_size: options.block_size.get(),
            requests: 0,
            requests_limit: options.requests,
            // A float beyond the integer becomes the largest: the next session never comes.
            arrival_us: (1e6 / rate * fixed::ONE as f64) as u64,
            another_turn: ((1.0 - 1.0 / turns) * fixed::ONE as f64) as u32,
            think_ms: (think_time * 1e3) as u64,
            prompts: Vec::new(),
            popularity: Vec::new(),
            next_id: 0,
            next_arrival_us: 0,
            sessions: 0,
            waiting: BTreeMap::new(),
        };
        generate.write_prompts(usize::from(options.system_prompts.get()), zipf);
        Ok(generate)
    }

    fn write_prompts(&mut self, prompts: usize, zipf: f64) {
        let exponent = (zipf * fixed::ONE as f64) as u64;
        let mut tools = Opening { tokens: 0, ids: Vec::new() };
        let mut sum = 0;
        for number in 0..prompts {
            if number.is_multiple_of(PROMPTS_PER_TOOL_GROUP) {
                let tokens = self.random.within(&TOOL_TOKENS);
                tools = Opening { tokens, ids: Vec::new() };
                self.extend(&mut tools.ids, tokens);
            }
            let tokens = tools.tokens + self.random.within(&SYSTEM_TOKENS);
            let mut ids = tools.ids.clone();
            self.extend(&mut ids, tokens);
            self.prompts.push(Opening { tokens, ids });
            let rank = number as u64 + 1;
            let log = fixed::multiply(exponent, fixed::log2(rank));
            sum += fixed::exp2(-log.cast_signed()).max(1);
            self.popularity.push(sum);
        }
    }

    /// Adds new ids until all full blocks of `tokens` have one.
    fn extend(&mut self, ids: &mut Vec<u64>, tokens: u32) {
        while ids.len() < (tokens / self.block_size) as usize {
            ids.push(self.new_id());
        }
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// The next session to speak: one that waits, or whoever arrives before its time.
    fn next_speaker(&mut self) -> ((u64, u64), Option<Session>) {
        let arrival_ms = self.next_arrival_us / 1_000;
        if let Some(entry) = self.waiting.first_entry()
            && entry.key().0 <= arrival_ms
        {
            let (key, session) = entry.remove_entry();
            return (key, Some(session));
        }
        let key = (arrival_ms, self.sessions);
        self.sessions += 1;
        let pause = fixed::exponential(self.random.next_u32());
        let pause_us = (u128::from(pause) * u128::from(self.arrival_us)) >> 64;
        self.next_arrival_us = self.next_arrival_us.saturating_add(pause_us as u64);
        if self.random.chance(ONE_SHOT_PERCENT) {
            return (key, None);
        }
        let sum = self.popularity.last().copied().unwrap_or_default();
        let draw = ((u128::from(self.random.next_u64()) * u128::from(sum)) >> 64) as u64;
        let opening = &self.prompts[self.popularity.partition_point(|&end| end <= draw)];
        let ids = opening.ids.clone();
        (key, Some(Session { turn: 0, tokens: opening.tokens, ids }))
    }

    /// Median, times 2 to the power of a normal number.
    fn draw_think_ms(&mut self) -> u64 {
        let sum: u64 = (0..12).map(|_| u64::from(self.random.next_u32())).sum();
        let normal = sum.cast_signed() - (6 * fixed::ONE).cast_signed();
        fixed::multiply(fixed::exp2(normal), self.think_ms)
    }

    /// Takes a turn of `session`, and lets it wait for its next one.
    fn take_turn(
        &mut self,
        (time_ms, number): (u64, u64),
        mut session: Session,
        request: &mut Request,
    ) {
        session.tokens += self.random.within(&USER_TOKENS);
        self.write(&mut session, request);
        session.tokens += request.output_tokens;
        session.turn += 1;
        let goes_on = self.random.next_u32() < self.another_turn;
        let think_ms = self.draw_think_ms();
        if goes_on && session.tokens <= MAX_PROMPT_TOKENS - USER_TOKENS.end() {
            self.waiting.insert((time_ms.saturating_add(think_ms), number), session);
        }
    }

    /// Writes the prompt that ends where `session` does.
    fn write(&mut self, session: &mut Session, request: &mut Request) {
        self.extend(&mut session.ids, session.tokens);
        request.input_tokens = session.tokens;
        request.output_tokens = self.random.within(&OUTPUT_TOKENS);
        request.turn = Some(session.turn);
        request.blocks.clear();
        request.blocks.extend_from_slice(&session.ids);
        if !session.tokens.is_multiple_of(self.block_size) {
            request.blocks.push(self.new_id());
        }
    }
}

impl Source for Generate {
    type Error = Infallible;

    fn block_size(&self) -> u32 {
        self.block_size
    }

    fn read_next(&mut self, request: &mut Request) -> Result<bool, Infallible> {
        if self.requests == self.requests_limit {
            return Ok(false);
        }
        self.requests += 1;
        let (key, session) = self.next_speaker();
        request.time_ms = key.0;
        request.session = Some(key.1);
        if let Some(session) = session {
            request.category = Some(1);
            self.take_turn(key, session, request);
        } else {
            request.category = Some(2);
            let tokens = self.random.within(&ONE_SHOT_TOKENS);
            self.write(&mut Session { turn: 0, tokens, ids: Vec::new() }, request);
        }
        Ok(true)
    }

    fn fraction_read(&self) -> Option<f64> {
        (self.requests_limit > 0).then(|| self.requests as f64 / self.requests_limit as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::testing::read_all;
    use std::collections::{HashMap, HashSet};

    fn read(options: GenerateOptions) -> Vec<Request> {
        read_all(Generate::new(options).unwrap()).unwrap()
    }

    fn with(seed: u64, requests: u64) -> GenerateOptions {
        GenerateOptions { seed, requests, ..Default::default() }
    }

    #[test]
    fn a_seed_names_one_trace_and_a_shorter_one_is_its_beginning() {
        let long = read(with(7, 300));
        assert_eq!(long.len(), 300);
        assert_eq!(long[..40], read(with(7, 40)));
        assert_ne!(long[..40], read(with(8, 40)));
        assert!(read(with(7, 0)).is_empty());
    }

    /// Changing a constant or the order of draws changes what every seed means; this test
    /// is here to make that a decision.
    #[test]
    fn seed_0_is_pinned() {
        let mut fold = 0_u64;
        for request in read(with(0, 1_000)) {
            let numbers = [request.time_ms, request.output_tokens.into()];
            for number in numbers.into_iter().chain(request.blocks) {
                fold = (fold.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            }
        }
        assert_eq!(fold, PINNED);
    }

    #[test]
    fn lengths_and_times_do_not_depend_on_the_block_size() {
        let shape = |block_size| {
            let block_size = NonZeroU32::new(block_size).unwrap();
            let requests = read(GenerateOptions { block_size, ..with(3, 500) });
            requests.into_iter().map(|r| (r.time_ms, r.input_tokens, r.session)).collect::<Vec<_>>()
        };
        assert_eq!(shape(16), shape(512));
    }

    /// An id has one parent, is in one place only, and the next turn keeps all full blocks.
    #[test]
    fn ids_form_a_forest_and_turns_follow_each_other() {
        let requests = read(with(11, 3_000));
        let mut parents: HashMap<u64, Option<u64>> = HashMap::new();
        let mut last: HashMap<u64, Request> = HashMap::new();
        let mut openings: HashSet<u64> = HashSet::new();
        assert!(requests.is_sorted_by_key(|request| request.time_ms));
        for request in requests {
            let mut parent = None;
            for &id in &request.blocks {
                assert_eq!(*parents.entry(id).or_insert(parent), parent);
                parent = Some(id);
            }
            let session = request.session.unwrap();
            if request.category == Some(1) && request.turn == Some(0) {
                openings.insert(request.blocks[0]);
            }
            if let Some(before) = last.get(&session) {
                assert_eq!(request.turn, before.turn.map(|turn| turn + 1));
                assert!(request.input_tokens > before.input_tokens + before.output_tokens);
                let full = (before.input_tokens / 16) as usize;
                assert_eq!(request.blocks[..full], before.blocks[..full]);
                if let Some(partial) = before.blocks.get(full) {
                    assert!(!request.blocks.contains(partial));
                }
            } else {
                assert_eq!(request.turn, Some(0));
            }
            last.insert(session, request);
        }
        // 64 prompts, four to a group of tools; the rarest may not have come.
        assert!((12..=16).contains(&openings.len()), "{}", openings.len());
    }

    #[test]
    fn the_means_are_those_that_were_asked_for() {
        let requests = read(GenerateOptions { turns: 3.0, think_time: 1.0, ..with(5, 40_000) });
        let chats = requests.iter().filter(|r| r.category == Some(1));
        let starts = chats.clone().filter(|r| r.turn == Some(0)).count();
        let turns = chats.count() as f64 / starts as f64;
        assert!((2.9..3.1).contains(&turns), "{turns}");
        let singles = requests.iter().filter(|r| r.category == Some(2)).count();
        let share = singles as f64 / (singles + starts) as f64;
        assert!((0.24..0.26).contains(&share), "{share}");
        let rate = (singles + starts) as f64 * 1e3 / requests.last().unwrap().time_ms as f64;
        assert!((0.98..1.02).contains(&rate), "{rate}");
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let options = GenerateOptions { sessions_per_second: bad, ..Default::default() };
            let message = Generate::new(options).map(|_| ()).unwrap_err().to_string();
            assert!(message.starts_with("sessions-per-second: expected above 0"), "{message}");
        }
        assert!(Generate::new(GenerateOptions { turns: 0.9, ..Default::default() }).is_err());
        assert!(Generate::new(GenerateOptions { zipf: 9.0, ..Default::default() }).is_err());
        assert!(Generate::new(GenerateOptions { think_time: -1.0, ..Default::default() }).is_err());
    }

    const PINNED: u64 = 528_214_894_449_004_032;
}
