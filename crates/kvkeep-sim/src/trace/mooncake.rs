//! Reads kvkeep's own trace format, which is Mooncake's with a few optional fields.
//!
//! JSON Lines, one request a line: `timestamp` (ms), `input_length`, `output_length` and
//! `hash_ids`, one id for each 512 tokens of the prompt, the last of them perhaps covering
//! fewer. Optional: `block_size` (tokens per id where it is not 512, the same in all lines),
//! `session`, `turn` (from 0) and `category`. Other fields are ignored.
//!
//! The published traces are those of "Mooncake: Trading More Storage for Less Computation",
//! FAST 2025.

use super::{
    Input, LineProblem, Request, Source, TraceError,
    lines::{self, Lines, id_count, milliseconds, prompt_tokens, tokens},
};
use serde::Deserialize;
use std::num::NonZeroU32;

/// Prompt tokens per entry of `hash_ids` where a trace does not say.
pub const MOONCAKE_BLOCK_SIZE: u32 = 512;

/// The trace's fields; others are ignored.
#[derive(Deserialize)]
#[serde(expecting = "a JSON object with timestamp, input_length, output_length and hash_ids")]
struct Line {
    timestamp: f64,
    input_length: u64,
    output_length: u64,
    hash_ids: Vec<u64>,
    block_size: Option<u32>,
    session: Option<u64>,
    turn: Option<u32>,
    category: Option<u16>,
}

/// Streams the requests of a trace in this format.
pub struct Mooncake {
    lines: Lines,
    block_size: u32,
    /// What a line without `block_size` means.
    default_block_size: u32,
    /// The block size is in the first line, so it is read at once.
    first: Option<Line>,
}

impl Mooncake {
    /// Reads the first request of `input`. Lines without a `block_size` have ids of
    /// `block_size` tokens, 512 where that is not given.
    ///
    /// # Errors
    /// There is no first request, or it is malformed.
    pub fn new(input: Input, block_size: Option<NonZeroU32>) -> Result<Self, TraceError> {
        let mut lines = Lines::new(input);
        let first: Line = lines.next_json()?.ok_or_else(|| lines.no_requests())?;
        let default_block_size = block_size.map_or(MOONCAKE_BLOCK_SIZE, NonZeroU32::get);
        let block_size = first.block_size.unwrap_or(default_block_size);
        let block_size =
            lines::block_size("block_size", block_size).map_err(|problem| lines.error(problem))?;
        Ok(Self { lines, block_size, default_block_size, first: Some(first) })
    }

    fn take(&mut self, line: Line, request: &mut Request) -> Result<(), LineProblem> {
        let time_ms = milliseconds("timestamp", line.timestamp)?;
        request.input_tokens = prompt_tokens("input_length", line.input_length)?;
        request.output_tokens = tokens("output_length", line.output_length)?;
        let block_size = line.block_size.unwrap_or(self.default_block_size);
        if block_size != self.block_size {
            let why =
                format!("expected {} as in the first line, found {block_size}", self.block_size);
            return Err(LineProblem::field("block_size", why));
        }
        let ids = line.hash_ids.len();
        id_count("hash_ids", "input_length", ids, request.input_tokens, block_size)?;
        request.time_ms = self.lines.advance("timestamp", time_ms)?;
        request.blocks = line.hash_ids;
        request.session = line.session;
        request.turn = line.turn;
        request.category = line.category;
        Ok(())
    }
}

impl Source for Mooncake {
    type Error = TraceError;

    fn block_size(&self) -> u32 {
        self.block_size
    }

    fn read_next(&mut self, request: &mut Request) -> Result<bool, TraceError> {
        let line = match self.first.take() {
            Some(first) => Some(first),
            None => self.lines.next_json()?,
        };
        let Some(line) = line else { return Ok(false) };
        self.take(line, request).map_err(|problem| self.lines.error(problem))?;
        Ok(true)
    }

    fn fraction_read(&self) -> Option<f64> {
        self.lines.fraction_read()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All requests, or the message of the first error.
    fn read(trace: impl Into<Vec<u8>>) -> Result<Vec<Request>, String> {
        let read = || {
            let mut reader = Mooncake::new(Input::from_bytes("t.jsonl", trace)?, None)?;
            let mut requests = Vec::new();
            let mut request = Request::default();
            while reader.read_next(&mut request)? {
                requests.push(request.clone());
            }
            Ok(requests)
        };
        read().map_err(|error: TraceError| error.to_string())
    }

    fn line(input_length: u64, output_length: u64, hash_ids: &[u64]) -> String {
        format!(
            r#"{{"timestamp": 5, "input_length": {input_length}, "output_length": {output_length}, "hash_ids": {hash_ids:?}}}"#
        )
    }

    #[test]
    fn ids_are_those_of_the_trace_and_nothing_is_kept_from_the_line_before() {
        let with_all = line(600, 9, &[u64::MAX, 2])
            .replace('}', r#", "session": 7, "turn": 1, "category": 3, "type": "chat"}"#);
        let requests = read(format!("{with_all}\n{}", line(2, 0, &[3]))).unwrap();
        let first = Request {
            time_ms: 5,
            input_tokens: 600,
            output_tokens: 9,
            blocks: vec![u64::MAX, 2],
            session: Some(7),
            turn: Some(1),
            category: Some(3),
        };
        let second = Request { time_ms: 5, input_tokens: 2, blocks: vec![3], ..Request::default() };
        assert_eq!(requests, [first, second]);
    }

    #[test]
    fn the_first_line_says_the_block_size_and_the_others_agree() {
        let coarse = line(600, 9, &[1]).replace('}', r#", "block_size": 1024}"#);
        let mut reader =
            Mooncake::new(Input::from_bytes("t", coarse.clone()).unwrap(), None).unwrap();
        assert_eq!(reader.block_size(), 1024);
        assert!(reader.read_next(&mut Request::default()).unwrap());
        assert_eq!(
            read(format!("{coarse}\n{}", line(600, 9, &[1, 2]))).unwrap_err(),
            "t.jsonl:2: block_size: expected 1024 as in the first line, found 512"
        );
        let zero = coarse.replace("1024", "0");
        assert_eq!(
            read(zero).unwrap_err(),
            "t.jsonl:1: block_size: expected 1 to 65536 tokens, found 0"
        );
    }

    #[test]
    fn a_trace_without_requests_is_an_error() {
        for empty in ["", "\n", " \n\n"] {
            assert_eq!(read(empty).unwrap_err(), "t.jsonl: the trace has no requests");
        }
    }

    #[test]
    fn the_message_names_file_line_and_field() {
        let good = line(1, 1, &[0]);
        let cases = [
            (
                line(1400, 1, &[1, 2]),
                "hash_ids: expected 3 ids of 512 tokens for input_length 1400, found 2",
            ),
            (
                line(512, 1, &[1, 2]),
                "hash_ids: expected 1 id of 512 tokens for input_length 512, found 2",
            ),
            (line(0, 1, &[]), "input_length: expected at least one prompt token, found 0"),
            (
                line(1 << 32, 1, &[]),
                "input_length: expected less than 2^32 tokens, found 4294967296",
            ),
            (
                good.replace("[0]", "[\"a\"]"),
                "hash_ids[0]: invalid type: string \"a\", expected u64",
            ),
            (good.replace("[0]", "[-1]"), "hash_ids[0]: invalid value: integer `-1`, expected u64"),
            (good.replace("hash_ids", "ids"), "missing field `hash_ids`"),
            (
                good.replace("\"output_length\": 1", "\"output_length\": null"),
                "output_length: invalid type: null, expected u64",
            ),
            (
                good.replace(": 5", ": -5"),
                "timestamp: expected milliseconds from 0 to 2^53, found -5",
            ),
            (
                good.replace(": 5", ": 4"),
                "timestamp: 4 ms is before the 5 ms of the request ahead of it; sort the trace \
                 by timestamp",
            ),
            (
                "17".into(),
                "invalid type: integer `17`, expected a JSON object with timestamp, \
                 input_length, output_length and hash_ids",
            ),
            (format!("{good}}}"), "trailing characters"),
            ("{\"timestamp\": 1,".into(), "EOF while parsing a value; is the trace cut off?"),
        ];
        for (bad, message) in cases {
            let found = read(format!("{good}\n\n{bad}\n{good}")).unwrap_err();
            let without_column = found.split(" (column").next();
            assert_eq!(without_column, Some(&*format!("t.jsonl:3: {message}")));
        }
    }

    #[test]
    fn the_column_is_given_and_counts_from_1() {
        assert_eq!(
            read("{\"timestamp\": true}").unwrap_err(),
            "t.jsonl:1: timestamp: invalid type: boolean `true`, expected f64 (column 18)"
        );
    }

    #[test]
    fn a_line_that_ends_too_early_is_perhaps_cut_off() {
        let message = read("{\"timestamp\": 1,").unwrap_err();
        assert!(message.ends_with("; is the trace cut off?"), "{message}");
    }

    #[test]
    fn text_that_is_not_utf8_is_a_line_error() {
        let trace = [line(1, 1, &[0]).as_bytes(), b"\n{\"\xff\": 1}\n"].concat();
        let message = read(trace).unwrap_err();
        assert!(message.starts_with("t.jsonl:2: invalid unicode"), "{message}");
    }
}
