//! Reads a trace in Mooncake's format: JSON Lines, one request a line.
//!
//! A line gives `timestamp` (ms), `input_length`, `output_length` and `hash_ids`: one id for
//! each 512 tokens of the prompt, the last of them perhaps covering fewer. The trace has no
//! tokens, so they are made up: the n-th distinct id stands for the tokens `512 * n ..`, and
//! different ids never share one. Outputs are unknown, so each takes tokens that nothing
//! else has, from the other end of the token space.
//!
//! Blank lines are skipped and the last line may lack its newline. A trace without any
//! request is an error: a hit rate of nothing would be a made-up number.

use super::workload::{Request, Workload, WorkloadError};
use serde::Deserialize;
use std::{
    collections::HashMap,
    fmt,
    io::{self, BufRead, Read},
};

/// Prompt tokens per entry of `hash_ids`.
pub(crate) const TOKENS_PER_ID: u64 = 512;

/// The longest line that is read. A million-token prompt takes about 20 kB; this bound is
/// for files that are no JSON Lines at all.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// The trace's fields; others are ignored.
#[derive(Deserialize)]
#[serde(expecting = "a JSON object with timestamp, input_length, output_length and hash_ids")]
struct Line {
    timestamp: f64,
    input_length: u64,
    output_length: u64,
    hash_ids: Vec<u64>,
}

/// Streams the requests of a trace.
pub(crate) struct MooncakeReader<R> {
    input: R,
    /// What to call the trace in messages.
    name: String,
    size_bytes: Option<u64>,
    bytes_read: u64,
    line_number: u64,
    requests: u64,
    line: Vec<u8>,
    /// Trace ids, numbered in order of appearance.
    ids: HashMap<u64, u32>,
    /// Output tokens are taken downwards from here.
    outputs_from: u32,
}

impl<R: BufRead> MooncakeReader<R> {
    /// Reads `input`, called `name` in messages; `size_bytes` serves `fraction_read`.
    pub(crate) fn new(input: R, name: String, size_bytes: Option<u64>) -> Self {
        Self {
            input,
            name,
            size_bytes,
            bytes_read: 0,
            line_number: 0,
            requests: 0,
            line: Vec::new(),
            ids: HashMap::new(),
            outputs_from: u32::MAX,
        }
    }

    /// Reads the next line that is not blank; `false` at the end of the trace.
    fn read_line(&mut self) -> Result<bool, TraceError> {
        loop {
            self.line.clear();
            let read = (&mut self.input)
                .take(MAX_LINE_BYTES + 1)
                .read_until(b'\n', &mut self.line)
                .map_err(|source| TraceError::Read { name: self.name.clone(), source })?;
            if read == 0 {
                return Ok(false);
            }
            self.line_number += 1;
            self.bytes_read += read as u64;
            if read as u64 > MAX_LINE_BYTES {
                return Err(self.line_error(LineProblem::TooLong));
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }

    fn parse_line(&self) -> Result<Line, LineProblem> {
        let mut json = serde_json::Deserializer::from_slice(&self.line);
        let line: Line = serde_path_to_error::deserialize(&mut json).map_err(LineProblem::Json)?;
        json.end().map_err(LineProblem::AfterObject)?;
        // Whole milliseconds up to 2^53, so that the conversion below is exact.
        if !(0.0..=9_007_199_254_740_992.0).contains(&line.timestamp) {
            return Err(LineProblem::Timestamp { found: line.timestamp });
        }
        if line.input_length == 0 {
            return Err(LineProblem::EmptyPrompt);
        }
        let expected = line.input_length.div_ceil(TOKENS_PER_ID);
        if line.hash_ids.len() as u64 != expected {
            return Err(LineProblem::IdCount {
                expected,
                input_length: line.input_length,
                found: line.hash_ids.len(),
            });
        }
        Ok(line)
    }

    /// Writes the tokens that the line's ids stand for.
    fn write_prompt(&mut self, line: &Line, prompt: &mut Vec<u32>) -> Result<(), LineProblem> {
        prompt.clear();
        let mut tokens_left = line.input_length;
        for &id in &line.hash_ids {
            let next = self.ids.len() as u64;
            if (next + 1) * TOKENS_PER_ID > u64::from(self.outputs_from)
                && !self.ids.contains_key(&id)
            {
                return Err(LineProblem::OutOfTokens { field: "hash_ids" });
            }
            // Both casts hold: the check above keeps every id's tokens below 2^32.
            let index = *self.ids.entry(id).or_insert(next as u32);
            let first = index * TOKENS_PER_ID as u32;
            let covered = tokens_left.min(TOKENS_PER_ID) as u32;
            prompt.extend(first..first + covered);
            tokens_left -= u64::from(covered);
        }
        Ok(())
    }

    /// Takes `length` tokens that no other output and no prompt has.
    fn take_output(&mut self, length: u64) -> Result<std::ops::Range<u32>, LineProblem> {
        let prompt_tokens_end = self.ids.len() as u64 * TOKENS_PER_ID;
        let start = u64::from(self.outputs_from)
            .checked_sub(length)
            .filter(|&start| start >= prompt_tokens_end)
            .ok_or(LineProblem::OutOfTokens { field: "output_length" })? as u32;
        let output = start..self.outputs_from;
        self.outputs_from = start;
        Ok(output)
    }

    fn line_error(&self, problem: LineProblem) -> TraceError {
        TraceError::Line { name: self.name.clone(), line: self.line_number, problem }
    }
}

impl<R: BufRead> Workload for MooncakeReader<R> {
    fn read_next(&mut self, request: &mut Request) -> Result<bool, WorkloadError> {
        if !self.read_line()? {
            if self.requests == 0 {
                return Err(TraceError::NoRequests { name: self.name.clone() }.into());
            }
            return Ok(false);
        }
        let line = self.parse_line().map_err(|problem| self.line_error(problem))?;
        self.write_prompt(&line, &mut request.prompt)
            .and_then(|()| self.take_output(line.output_length))
            .map(|output| request.output = output)
            .map_err(|problem| self.line_error(problem))?;
        request.timestamp_ms = line.timestamp as u64;
        self.requests += 1;
        Ok(true)
    }

    fn fraction_read(&self) -> Option<f64> {
        let size = self.size_bytes.filter(|&size| size > 0)?;
        Some((self.bytes_read as f64 / size as f64).min(1.0))
    }
}

/// Why a trace cannot be replayed.
#[derive(Debug)]
pub(crate) enum TraceError {
    /// The file cannot be opened.
    Open { name: String, source: io::Error },
    /// Reading failed half-way.
    Read { name: String, source: io::Error },
    /// There is nothing in it.
    NoRequests { name: String },
    /// A line is not what the format says; `line` counts from 1.
    Line { name: String, line: u64, problem: LineProblem },
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { name, source } => write!(f, "{name}: cannot be opened: {source}"),
            Self::Read { name, source } => write!(f, "{name}: cannot be read: {source}"),
            Self::NoRequests { name } => write!(f, "{name}: the trace has no requests"),
            Self::Line { name, line, problem } => write!(f, "{name}:{line}: {problem}"),
        }
    }
}

impl std::error::Error for TraceError {}

/// What is wrong with a line.
#[derive(Debug)]
pub(crate) enum LineProblem {
    /// Longer than [`MAX_LINE_BYTES`].
    TooLong,
    /// Not JSON, or a field is missing or of the wrong type.
    Json(serde_path_to_error::Error<serde_json::Error>),
    /// Something follows the object.
    AfterObject(serde_json::Error),
    /// Negative, or beyond what whole milliseconds can say.
    Timestamp { found: f64 },
    /// A prompt of no tokens: there is nothing to look up or to compute.
    EmptyPrompt,
    /// The ids do not cover the prompt, or cover more than the prompt.
    IdCount { expected: u64, input_length: u64, found: usize },
    /// More distinct tokens than a `u32` can name.
    OutOfTokens { field: &'static str },
}

impl fmt::Display for LineProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => {
                write!(f, "longer than {} MiB; is this a JSON Lines file?", MAX_LINE_BYTES >> 20)
            }
            Self::Json(error) => {
                // "." is the whole line, "?" a name that could not be read.
                let path = error.path().to_string();
                let field = match &*path {
                    "." | "?" => String::new(),
                    path => format!("{path}: "),
                };
                write!(f, "{field}{}", in_column(error.inner()))
            }
            Self::AfterObject(error) => write!(f, "{}", in_column(error)),
            Self::Timestamp { found } => {
                write!(f, "timestamp: expected milliseconds from 0 to 2^53, found {found}")
            }
            Self::EmptyPrompt => {
                write!(f, "input_length: expected at least one prompt token, found 0")
            }
            Self::IdCount { expected, input_length, found } => write!(
                f,
                "hash_ids: expected {expected} {} of {TOKENS_PER_ID} tokens for input_length \
                 {input_length}, found {found}",
                if *expected == 1 { "id" } else { "ids" }
            ),
            Self::OutOfTokens { field } => write!(
                f,
                "{field}: the distinct ids and the outputs up to this line exceed 2^32 tokens; \
                 stop earlier with --requests, or split the trace"
            ),
        }
    }
}

/// The message of `error` with its column. Its own text ends in "at line 1", the line within
/// the one line that was parsed, which would contradict the line number in front.
fn in_column(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    match text.strip_suffix(&format!(" at line {line} column {column}")) {
        Some(message) => format!("{message} (column {column})"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests as (timestamp, prompt, output), or the message of the first error.
    fn read(trace: &str) -> Result<Vec<Request>, String> {
        let mut reader = MooncakeReader::new(trace.as_bytes(), "t.jsonl".into(), None);
        let mut requests = Vec::new();
        loop {
            let mut request = Request::default();
            match reader.read_next(&mut request) {
                Ok(true) => requests.push(request),
                Ok(false) => return Ok(requests),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    fn line(input_length: u64, output_length: u64, hash_ids: &[u64]) -> String {
        format!(
            r#"{{"timestamp": 5, "input_length": {input_length}, "output_length": {output_length}, "hash_ids": {hash_ids:?}}}"#
        )
    }

    #[test]
    fn ids_are_numbered_in_order_of_appearance_and_the_last_is_partial() {
        let trace = format!("{}\n{}\n", line(514, 3, &[900, 7]), line(1024, 2, &[900, 8]));
        let requests = read(&trace).unwrap();
        assert_eq!(requests.len(), 2);
        assert_eq!(requests[0].timestamp_ms, 5);
        assert_eq!(requests[0].prompt, (0..514).collect::<Vec<u32>>());
        // Id 8 is the third: its tokens start at 2 * 512.
        assert_eq!(requests[1].prompt, (0..512).chain(1024..1536).collect::<Vec<u32>>());
        let top = u32::MAX;
        assert_eq!(requests[0].output, top - 3..top);
        assert_eq!(requests[1].output, top - 5..top - 3);
    }

    #[test]
    fn a_buffer_that_is_used_again_keeps_nothing() {
        let trace = format!("{}\n{}", line(600, 9, &[1, 2]), line(2, 0, &[3]));
        let mut reader = MooncakeReader::new(trace.as_bytes(), "t".into(), None);
        let mut request = Request::default();
        assert!(reader.read_next(&mut request).unwrap());
        assert!(reader.read_next(&mut request).unwrap());
        assert_eq!(request.prompt, [1024, 1025]);
        assert!(request.output.is_empty());
        assert!(!reader.read_next(&mut request).unwrap());
    }

    #[test]
    fn blank_lines_windows_newlines_and_a_missing_last_newline_are_fine() {
        let trace = format!("\n{}\r\n  \n\n{}", line(1, 1, &[0]), line(1, 1, &[0]));
        assert_eq!(read(&trace).unwrap().len(), 2);
    }

    #[test]
    fn a_trace_without_requests_is_an_error() {
        for empty in ["", "\n", " \n\n"] {
            assert_eq!(read(empty).unwrap_err(), "t.jsonl: the trace has no requests");
        }
    }

    #[test]
    fn other_fields_and_fractional_milliseconds_are_accepted() {
        let trace = r#"{"type": "chat", "timestamp": 1.9e3, "input_length": 1,
            "output_length": 0, "hash_ids": [18446744073709551615]}"#
            .replace('\n', " ");
        let requests = read(&trace).unwrap();
        assert_eq!((requests[0].timestamp_ms, requests[0].prompt.as_slice()), (1900, &[0][..]));
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
                "17".into(),
                "invalid type: integer `17`, expected a JSON object with timestamp, \
                 input_length, output_length and hash_ids",
            ),
            (format!("{good}}}"), "trailing characters"),
            ("{\"timestamp\": 1,".into(), "EOF while parsing a value"),
        ];
        for (bad, message) in cases {
            let found = read(&format!("{good}\n\n{bad}\n{good}")).unwrap_err();
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
    fn text_that_is_not_utf8_is_a_line_error() {
        let trace = [line(1, 1, &[0]).as_bytes(), b"\n{\"\xff\": 1}\n"].concat();
        let mut reader = MooncakeReader::new(trace.as_slice(), "t".into(), None);
        let mut request = Request::default();
        assert!(reader.read_next(&mut request).unwrap());
        let message = reader.read_next(&mut request).unwrap_err().to_string();
        assert!(message.starts_with("t:2: invalid unicode"), "{message}");
    }

    #[test]
    fn tokens_that_do_not_fit_u32_are_refused_not_shared() {
        let message = |field| {
            format!(
                "t.jsonl:2: {field}: the distinct ids and the outputs up to this line exceed \
                 2^32 tokens; stop earlier with --requests, or split the trace"
            )
        };
        // All but the tokens of two ids go to the first output.
        let rest = u64::from(u32::MAX) - 2 * 512;
        let full = line(1, rest, &[1]);
        assert!(read(&format!("{full}\n{}", line(513, 0, &[1, 2]))).is_ok());
        assert_eq!(
            read(&format!("{full}\n{}", line(1025, 0, &[1, 2, 3]))).unwrap_err(),
            message("hash_ids")
        );
        assert!(read(&format!("{full}\n{}", line(1, 512, &[1]))).is_ok());
        assert_eq!(
            read(&format!("{full}\n{}", line(1, 513, &[1]))).unwrap_err(),
            message("output_length")
        );
        assert_eq!(
            read(&format!("{full}\n{}", line(1, u64::MAX, &[1]))).unwrap_err(),
            message("output_length")
        );
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let endless = io::repeat(b' ');
        let mut reader = MooncakeReader::new(io::BufReader::new(endless), "t".into(), None);
        let message = reader.read_next(&mut Request::default()).unwrap_err().to_string();
        assert_eq!(message, "t:1: longer than 64 MiB; is this a JSON Lines file?");
    }

    #[test]
    fn the_fraction_counts_bytes() {
        let trace = format!("{}\n{}\n", line(1, 1, &[0]), line(1, 1, &[0]));
        let size = Some(trace.len() as u64);
        let mut reader = MooncakeReader::new(trace.as_bytes(), "t".into(), size);
        let mut request = Request::default();
        assert_eq!(reader.fraction_read(), Some(0.0));
        reader.read_next(&mut request).unwrap();
        assert_eq!(reader.fraction_read(), Some(0.5));
    }
}
