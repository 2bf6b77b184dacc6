//! A trace line by line: bounded lines, their numbers, and what all line formats check.
//!
//! Blank lines are skipped and the last line may lack its newline. A trace without any
//! request is an error: a hit rate of nothing would be a made-up number.

use super::{Input, LineProblem, TraceError};
use serde::de::DeserializeOwned;
use std::io::{BufRead, Read};

/// The longest line that is read. A million-token prompt takes about 20 kB as ids and 8 MB
/// as tokens; this bound is for files that have no lines at all.
pub(super) const MAX_LINE_BYTES: u64 = 64 << 20;

/// The largest block of a trace, tokens.
pub(super) const MAX_BLOCK_SIZE: u32 = 65_536;

/// Reads lines, and knows where it is.
pub(super) struct Lines {
    input: Input,
    number: u64,
    line: Vec<u8>,
    last_ms: u64,
}

impl Lines {
    pub(super) fn new(input: Input) -> Self {
        Self { input, number: 0, line: Vec::new(), last_ms: 0 }
    }

    /// Reads the next line that is not blank; none at the end of the trace.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, TraceError> {
        loop {
            self.line.clear();
            let read = self
                .input
                .text()
                .take(MAX_LINE_BYTES + 1)
                .read_until(b'\n', &mut self.line)
                .map_err(|source| TraceError::Read { name: self.input.name().into(), source })?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            if read as u64 > MAX_LINE_BYTES {
                return Err(self.error(LineProblem::TooLong));
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some(&self.line));
            }
        }
    }

    /// Reads the next line as JSON.
    pub(super) fn next_json<T: DeserializeOwned>(&mut self) -> Result<Option<T>, TraceError> {
        match self.next()? {
            None => Ok(None),
            Some(line) => json(line).map(Some).map_err(|problem| self.error(problem)),
        }
    }

    /// `problem` in the line that was read last.
    pub(super) fn error(&self, problem: LineProblem) -> TraceError {
        TraceError::Line { name: self.input.name().into(), line: self.number, problem }
    }

    /// The error of a trace that ended without any request.
    pub(super) fn no_requests(&self) -> TraceError {
        TraceError::NoRequests { name: self.input.name().into() }
    }

    /// Lets time pass to `to_ms`, the value of `field`; it cannot go back.
    pub(super) fn advance(&mut self, field: &'static str, to_ms: u64) -> Result<u64, LineProblem> {
        if to_ms < self.last_ms {
            return Err(LineProblem::TimeGoesBack { field, from_ms: self.last_ms, to_ms });
        }
        self.last_ms = to_ms;
        Ok(to_ms)
    }

    /// Where time is.
    pub(super) fn last_ms(&self) -> u64 {
        self.last_ms
    }

    pub(super) fn fraction_read(&self) -> Option<f64> {
        self.input.fraction_read()
    }
}

/// Parses one JSON value that is the whole text.
pub(super) fn json<T: DeserializeOwned>(text: &[u8]) -> Result<T, LineProblem> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(LineProblem::Json)?;
    json.end().map_err(LineProblem::AfterObject)?;
    Ok(value)
}

/// Milliseconds from a number of milliseconds, fractions dropped.
pub(super) fn milliseconds(field: &'static str, found: f64) -> Result<u64, LineProblem> {
    // Whole milliseconds up to 2^53, so that the conversion is exact.
    if (0.0..=9_007_199_254_740_992.0).contains(&found) {
        return Ok(found as u64);
    }
    Err(LineProblem::field(field, format!("expected milliseconds from 0 to 2^53, found {found}")))
}

/// Milliseconds from a number of seconds, rounded: decimal seconds are rarely exact in binary.
pub(super) fn seconds(field: &'static str, found: f64) -> Result<u64, LineProblem> {
    let ms = (found * 1e3).round();
    if (0.0..=9_007_199_254_740_992.0).contains(&ms) {
        return Ok(ms as u64);
    }
    Err(LineProblem::field(field, format!("expected seconds from 0 to 2^53 / 1000, found {found}")))
}

/// The length of a prompt, which has at least one token.
pub(super) fn prompt_tokens(field: &'static str, found: u64) -> Result<u32, LineProblem> {
    if found == 0 {
        return Err(LineProblem::field(field, "expected at least one prompt token, found 0"));
    }
    tokens(field, found)
}

/// A number of tokens that fits 32 bits.
pub(super) fn tokens(field: &'static str, found: u64) -> Result<u32, LineProblem> {
    u32::try_from(found).map_err(|_| {
        LineProblem::field(field, format!("expected less than 2^32 tokens, found {found}"))
    })
}

/// Tokens per block. The bound is the library's: beyond it, a short line could stand for
/// more tokens than there is memory.
pub(super) fn block_size(field: &'static str, found: u32) -> Result<u32, LineProblem> {
    if (1..=MAX_BLOCK_SIZE).contains(&found) {
        return Ok(found);
    }
    let why = format!("expected 1 to {MAX_BLOCK_SIZE} tokens, found {found}");
    Err(LineProblem::field(field, why))
}

/// Checks that there is one id per block of the prompt, the last perhaps partial.
pub(super) fn id_count(
    field: &'static str,
    length_field: &'static str,
    found: usize,
    input_tokens: u32,
    block_size: u32,
) -> Result<(), LineProblem> {
    let expected = input_tokens.div_ceil(block_size);
    if found as u64 == u64::from(expected) {
        return Ok(());
    }
    let ids = if expected == 1 { "id" } else { "ids" };
    Err(LineProblem::field(
        field,
        format!(
            "expected {expected} {ids} of {block_size} tokens for {length_field} {input_tokens}, \
             found {found}"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn blank_lines_windows_newlines_and_a_missing_last_newline_are_fine() {
        let mut lines = Lines::new(Input::from_bytes("t", "\na\r\n  \n\nb").unwrap());
        assert_eq!(lines.next().unwrap(), Some(&b"a\r\n"[..]));
        assert_eq!(lines.next().unwrap(), Some(&b"b"[..]));
        let error = lines.error(LineProblem::field("x", "is wrong"));
        assert_eq!(error.to_string(), "t:5: x: is wrong");
        assert_eq!(lines.next().unwrap(), None);
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let input = Input::new("t".into(), Box::new(io::repeat(b' ')), None).unwrap();
        let message = Lines::new(input).next().unwrap_err().to_string();
        assert_eq!(message, "t:1: longer than 64 MiB; is this a JSON Lines file?");
    }

    #[test]
    fn time_does_not_go_back() {
        let mut lines = Lines::new(Input::from_bytes("t", "").unwrap());
        assert_eq!(lines.advance("timestamp", 5).unwrap(), 5);
        assert_eq!(lines.advance("timestamp", 5).unwrap(), 5);
        let message = lines.advance("timestamp", 4).unwrap_err().to_string();
        assert!(message.starts_with("timestamp: 4 ms is before the 5 ms"), "{message}");
    }

    #[test]
    fn seconds_are_rounded_and_milliseconds_cut() {
        assert_eq!(seconds("t", 61.114).unwrap(), 61_114);
        assert_eq!(milliseconds("t", 1.9).unwrap(), 1);
        for bad in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert!(seconds("t", bad).is_err());
            assert!(milliseconds("t", bad).is_err());
        }
    }
}
