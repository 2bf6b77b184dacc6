//! The built-in workload: conversations, shared system prompts, independent messages.
//!
//! Made to look like a chat service in the ways that matter to a prefix cache, and sized to
//! press on the pool of two 12.58 GiB GPUs. A seed names one sequence of requests, on every
//! platform and in every version that keeps the constants below; its beginning does not
//! depend on how many requests are taken.
//!
//! Content is new or repeated, never alike by chance: new content takes token ids that
//! nothing had before.

use super::workload::{Request, Workload, WorkloadError};
use crate::SplitMix64;
use std::{
    collections::BTreeMap,
    ops::{Range, RangeInclusive},
};

/// Requests when the command line does not say.
pub const DEFAULT_REQUESTS: u64 = 50_000;

/// System prompts in use. The lower-numbered are the more popular, linearly.
pub const SYSTEM_PROMPTS: u32 = 16;
/// Tokens of a system prompt.
pub const SYSTEM_TOKENS: RangeInclusive<u32> = 256..=2_048;
/// Of 100 arrivals, how many are a single message without a system prompt.
pub const INDEPENDENT_PERCENT: u32 = 50;
/// Tokens of an independent message.
pub const INDEPENDENT_TOKENS: RangeInclusive<u32> = 64..=1_024;
/// Turns of a conversation.
pub const TURNS: RangeInclusive<u32> = 1..=8;
/// New tokens that the user adds in a turn.
pub const USER_TOKENS: RangeInclusive<u32> = 16..=512;
/// Tokens of an output.
pub const OUTPUT_TOKENS: RangeInclusive<u32> = 32..=512;
/// From one turn of a conversation to the next.
pub const PAUSE_MS: RangeInclusive<u32> = 5_000..=180_000;
/// From one arrival (a conversation or an independent message) to the next.
pub const ARRIVAL_MS: RangeInclusive<u32> = 0..=2_000;

/// A conversation that waits for its next turn.
struct Conversation {
    /// Everything said so far, the system prompt first.
    history: Vec<u32>,
    /// At least one.
    turns_left: u32,
}

/// Gives the requests of the built-in workload in order of arrival.
pub(super) struct Conversations {
    random: SplitMix64,
    system_prompts: Vec<Range<u32>>,
    next_token: u32,
    next_arrival_ms: u64,
    /// By the time of their next turn. The arrival number keeps keys apart and the order
    /// among equal times fixed.
    waiting: BTreeMap<(u64, u64), Conversation>,
    arrivals: u64,
    requests: u64,
    requests_limit: u64,
}

impl Conversations {
    /// The first `requests_limit` requests of `seed`.
    pub(super) fn new(seed: u64, requests_limit: u64) -> Self {
        let mut random = SplitMix64::new(seed);
        let mut next_token = 0;
        let system_prompts = (0..SYSTEM_PROMPTS)
            .map(|_| {
                let start = next_token;
                next_token += random.within(&SYSTEM_TOKENS);
                start..next_token
            })
            .collect();
        Self {
            random,
            system_prompts,
            next_token,
            next_arrival_ms: 0,
            waiting: BTreeMap::new(),
            arrivals: 0,
            requests: 0,
            requests_limit,
        }
    }

    /// Content that nothing had before; its length is drawn from `tokens`.
    fn new_content(&mut self, tokens: &RangeInclusive<u32>) -> Result<Range<u32>, WorkloadError> {
        let start = self.next_token;
        self.next_token = start
            .checked_add(self.random.within(tokens))
            .ok_or(WorkloadError::BuiltInTooLong { requests: self.requests })?;
        Ok(start..self.next_token)
    }

    /// The system prompt of a new conversation.
    fn draw_system_prompt(&mut self) -> Range<u32> {
        // The smaller of two draws: popularity falls linearly with the number.
        let one = self.random.below(SYSTEM_PROMPTS);
        let other = self.random.below(SYSTEM_PROMPTS);
        self.system_prompts[one.min(other) as usize].clone()
    }

    /// Who speaks next: a waiting conversation, or whoever arrives before its time.
    fn next_speaker(&mut self) -> ((u64, u64), Speaker) {
        if let Some(entry) = self.waiting.first_entry()
            && entry.key().0 <= self.next_arrival_ms
        {
            let (key, conversation) = entry.remove_entry();
            return (key, Speaker::Conversation(conversation));
        }
        let key = (self.next_arrival_ms, self.arrivals);
        self.arrivals += 1;
        self.next_arrival_ms += u64::from(self.random.within(&ARRIVAL_MS));
        if self.random.chance(INDEPENDENT_PERCENT) {
            return (key, Speaker::Independent);
        }
        let history = self.draw_system_prompt().collect();
        let turns_left = self.random.within(&TURNS);
        (key, Speaker::Conversation(Conversation { history, turns_left }))
    }
}

/// Who sends a request.
enum Speaker {
    Conversation(Conversation),
    Independent,
}

impl Workload for Conversations {
    fn read_next(&mut self, request: &mut Request) -> Result<bool, WorkloadError> {
        if self.requests == self.requests_limit {
            return Ok(false);
        }
        let ((time_ms, arrival), speaker) = self.next_speaker();
        request.timestamp_ms = time_ms;
        request.prompt.clear();
        match speaker {
            Speaker::Independent => {
                request.prompt.extend(self.new_content(&INDEPENDENT_TOKENS)?);
                request.output = self.new_content(&OUTPUT_TOKENS)?;
            }
            Speaker::Conversation(mut conversation) => {
                conversation.history.extend(self.new_content(&USER_TOKENS)?);
                request.prompt.extend_from_slice(&conversation.history);
                request.output = self.new_content(&OUTPUT_TOKENS)?;
                conversation.history.extend(request.output.clone());
                conversation.turns_left -= 1;
                if conversation.turns_left > 0 {
                    let pause_ms = u64::from(self.random.within(&PAUSE_MS));
                    self.waiting.insert((time_ms + pause_ms, arrival), conversation);
                }
            }
        }
        self.requests += 1;
        Ok(true)
    }

    fn fraction_read(&self) -> Option<f64> {
        (self.requests_limit > 0).then(|| self.requests as f64 / self.requests_limit as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn read(seed: u64, requests: u64) -> Vec<Request> {
        let mut workload = Conversations::new(seed, requests);
        let mut read = Vec::new();
        loop {
            let mut request = Request::default();
            if !workload.read_next(&mut request).unwrap() {
                return read;
            }
            read.push(request);
        }
    }

    #[test]
    fn a_seed_names_one_workload_and_a_shorter_one_is_its_beginning() {
        let long = read(7, 300);
        assert_eq!(long.len(), 300);
        assert_eq!(long, read(7, 300));
        assert_eq!(long[..40], read(7, 40));
        assert_ne!(long[..40], read(8, 40));
        assert!(read(7, 0).is_empty());
    }

    /// Changing a constant or the order of draws changes what every seed means; this test
    /// is here to make that a decision.
    #[test]
    fn seed_0_is_pinned() {
        let mut fold = 0_u64;
        for request in read(0, 1_000) {
            let numbers = [request.timestamp_ms, request.output.end.into()];
            let tokens = request.prompt.iter().copied().map(u64::from);
            for number in numbers.into_iter().chain(tokens) {
                fold = (fold.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            }
        }
        assert_eq!(fold, PINNED);
    }

    #[test]
    fn time_never_goes_back_and_lengths_stay_in_their_ranges() {
        let requests = read(3, 2_000);
        let longest = SYSTEM_TOKENS.end() + TURNS.end() * (USER_TOKENS.end() + OUTPUT_TOKENS.end());
        for pair in requests.windows(2) {
            assert!(pair[0].timestamp_ms <= pair[1].timestamp_ms);
        }
        for request in &requests {
            assert!((64..=longest as usize).contains(&request.prompt.len()));
            assert!(OUTPUT_TOKENS.contains(&(request.output.len() as u32)));
        }
    }

    /// Every prompt is new, or a system prompt and new content, or an earlier prompt with
    /// its output and new content.
    #[test]
    fn a_turn_is_the_whole_history_and_new_content() {
        let requests = read(11, 1_000);
        let mut seen: HashSet<u32> = HashSet::new();
        let mut histories: HashSet<Vec<u32>> = HashSet::new();
        let (mut independent, mut first_turns, mut later_turns) = (0, 0, 0);
        for request in &requests {
            let new_from = request.prompt.iter().position(|token| !seen.contains(token));
            // First use of a system prompt: all of it is new.
            let (old, new) = request.prompt.split_at(new_from.unwrap());
            assert!(new.iter().all(|token| !seen.contains(token)));
            if histories.contains(old) {
                later_turns += 1;
            } else if old.is_empty() {
                independent += 1;
            } else {
                assert!(SYSTEM_TOKENS.contains(&(old.len() as u32)));
                first_turns += 1;
            }
            assert!(request.output.clone().all(|token| !seen.contains(&token)));
            seen.extend(request.prompt.iter().copied().chain(request.output.clone()));
            histories
                .insert(request.prompt.iter().copied().chain(request.output.clone()).collect());
        }
        // Every second arrival is a conversation; of 4.5 turns on average, but the last to
        // arrive have not had all of theirs.
        let arrivals = independent + first_turns;
        assert!((45..=55).contains(&(independent * 100 / arrivals)), "{independent}/{arrivals}");
        assert!((15..=35).contains(&(later_turns * 10 / first_turns)), "{later_turns}");
    }

    #[test]
    fn running_out_of_token_ids_is_an_error() {
        let mut workload = Conversations::new(0, 10);
        workload.next_token = u32::MAX - 100;
        let message = loop {
            match workload.read_next(&mut Request::default()) {
                Ok(more) => assert!(more),
                Err(error) => break error.to_string(),
            }
        };
        assert!(message.contains("ran out of token ids"), "{message}");
    }

    const PINNED: u64 = 14_838_909_515_178_570_540;
}
