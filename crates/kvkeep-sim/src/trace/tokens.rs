//! Reads plain prompts as token ids: JSON Lines, one request a line.
//!
//! `tokens` or `prompt_token_ids` (the prompt, ids below 2^32). Optional: `timestamp` (ms;
//! without it, the time of the line before, from 0), `output_tokens` (a number, or the list
//! itself, of which the length counts), `session`, `turn` (from 0) and `category`. Others
//! are ignored. Block ids are chained hashes of the tokens.

use super::{
    Input, LineProblem, Request, Source, TraceError, chain,
    lines::{Lines, milliseconds, prompt_tokens, tokens},
};
use serde::{Deserialize, Deserializer, de};
use std::{fmt, num::NonZeroU32};

#[derive(Deserialize)]
#[serde(expecting = "a JSON object with tokens or prompt_token_ids")]
struct Line {
    #[serde(alias = "prompt_token_ids")]
    tokens: Vec<u32>,
    timestamp: Option<f64>,
    #[serde(default)]
    output_tokens: Length,
    session: Option<u64>,
    turn: Option<u32>,
    category: Option<u16>,
}

/// Streams the requests of a trace in this format.
pub struct Tokens {
    lines: Lines,
    requests: u64,
    block_size: u32,
}

impl Tokens {
    /// Reads `input` and cuts prompts into blocks of `block_size` tokens, 16 where that is
    /// not given.
    #[must_use]
    pub fn new(input: Input, block_size: Option<NonZeroU32>) -> Self {
        Self { lines: Lines::new(input), requests: 0, block_size: chain::block_size(block_size) }
    }

    fn take(&mut self, line: &Line, request: &mut Request) -> Result<(), LineProblem> {
        request.input_tokens = prompt_tokens("tokens", line.tokens.len() as u64)?;
        request.output_tokens = tokens("output_tokens", line.output_tokens.0)?;
        chain::write_ids(&line.tokens, self.block_size, &mut request.blocks);
        let time_ms = match line.timestamp {
            Some(found) => milliseconds("timestamp", found)?,
            None => self.lines.last_ms(),
        };
        request.time_ms = self.lines.advance("timestamp", time_ms)?;
        request.session = line.session;
        request.turn = line.turn;
        request.category = line.category;
        Ok(())
    }
}

impl Source for Tokens {
    type Error = TraceError;

    fn block_size(&self) -> u32 {
        self.block_size
    }

    fn read_next(&mut self, request: &mut Request) -> Result<bool, TraceError> {
        let Some(line) = self.lines.next_json()? else {
            return if self.requests == 0 { Err(self.lines.no_requests()) } else { Ok(false) };
        };
        self.take(&line, request).map_err(|problem| self.lines.error(problem))?;
        self.requests += 1;
        Ok(true)
    }

    fn fraction_read(&self) -> Option<f64> {
        self.lines.fraction_read()
    }
}

/// A number, or the length of a list of numbers.
#[derive(Default)]
struct Length(u64);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Length;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of tokens or a list of token ids")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Length, E> {
                Ok(Length(number))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Length, A::Error> {
                let mut length = 0;
                while list.next_element::<u32>()?.is_some() {
                    length += 1;
                }
                Ok(Length(length))
            }
        }
        from.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::testing::read_all;

    fn read(trace: &str) -> Result<Vec<Request>, String> {
        let input = Input::from_bytes("t", trace).unwrap();
        read_all(Tokens::new(input, NonZeroU32::new(2)))
    }

    #[test]
    fn both_spellings_and_the_optional_fields() {
        let requests = read(
            r#"{"tokens": [1, 2, 3], "timestamp": 7, "output_tokens": 5, "session": 9, "turn": 1}
               {"prompt_token_ids": [1, 2, 4], "output_tokens": [8, 8]}"#,
        )
        .unwrap();
        assert_eq!((requests[0].time_ms, requests[1].time_ms), (7, 7));
        assert_eq!((requests[0].output_tokens, requests[1].output_tokens), (5, 2));
        assert_eq!((requests[0].session, requests[0].turn), (Some(9), Some(1)));
        assert_eq!(requests[0].blocks[0], requests[1].blocks[0]);
        assert_ne!(requests[0].blocks[1], requests[1].blocks[1]);
    }

    #[test]
    fn malformed_lines_are_named() {
        let good = r#"{"tokens": [1], "timestamp": 3}"#;
        for (bad, message) in [
            (r#"{"tokens": []}"#, "tokens: expected at least one prompt token, found 0"),
            (r#"{"tokens": [-1]}"#, "tokens[0]: invalid value"),
            (r#"{"timestamp": 3}"#, "missing field `tokens`"),
            (r#"{"tokens": [1], "timestamp": 2}"#, "timestamp: 2 ms is before the 3 ms"),
            (r#"{"tokens": [1], "output_tokens": "a"}"#, "output_tokens: invalid type: string"),
        ] {
            let found = read(&format!("{good}\n{bad}")).unwrap_err();
            assert!(found.starts_with(&format!("t:2: {message}")), "{found}");
        }
    }
}
