//! What a made-up trace should be like.

use std::{
    fmt,
    num::{NonZeroU16, NonZeroU32},
};

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

impl GenerateOptions {
    /// Whether all numbers are in their ranges.
    pub(super) fn check(&self) -> Result<(), GenerateError> {
        let rate = self.sessions_per_second;
        let (turns, zipf, think_time) = (self.turns, self.zipf, self.think_time);
        for (option, found, is_sound, expected) in [
            (
                "sessions-per-second",
                rate,
                rate > 0.0 && rate <= 1e6,
                "a number above 0 and up to 1000000",
            ),
            ("turns", turns, (1.0..=1e6).contains(&turns), "1 to 1000000"),
            ("zipf", zipf, (0.0..=8.0).contains(&zipf), "0 to 8"),
            ("think-time", think_time, (0.0..=1e6).contains(&think_time), "0 to 1000000"),
        ] {
            if !is_sound {
                return Err(GenerateError { option, found, expected });
            }
        }
        Ok(())
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
