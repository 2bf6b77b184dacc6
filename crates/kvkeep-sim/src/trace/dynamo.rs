//! Reads NVIDIA Dynamo's request trace, `dynamo.request.trace.v1`: JSON Lines, one event a line.
//!
//! A request is an event with `event_type` `request_end` whose `request` has `replay`
//! (`trace_block_size`, `input_length`, `input_sequence_hashes`). All other events are
//! skipped. The session is `agent_context.session_id`, numbered in order of appearance.
//!
//! Events are logged when a request ends; they are put into the order of
//! `request_received_ms` among the next 4,096 requests. One that is later than that is an
//! error.

use super::{
    Input, LineProblem, Request, TraceError,
    lines::{block_size, id_count, prompt_tokens, tokens},
    names::Names,
    unordered::{Log, Unordered},
};
use serde::Deserialize;

/// One line.
#[derive(Deserialize)]
#[serde(expecting = "a JSON object with an event")]
pub struct Line {
    event: Event,
}

#[derive(Deserialize)]
struct Event {
    event_type: String,
    agent_context: Option<AgentContext>,
    request: Option<EndedRequest>,
}

#[derive(Deserialize)]
struct AgentContext {
    session_id: Option<String>,
}

#[derive(Deserialize)]
struct EndedRequest {
    #[serde(default)]
    output_tokens: u64,
    request_received_ms: Option<u64>,
    replay: Option<Replay>,
}

#[derive(Deserialize)]
struct Replay {
    trace_block_size: u32,
    input_length: u64,
    input_sequence_hashes: Vec<u64>,
}

/// Streams the requests of a trace in this format.
pub type Dynamo = Unordered<Events>;

/// What is known from the events so far.
pub struct Events {
    /// 0 before the first request.
    block_size: u32,
    sessions: Names,
}

impl Dynamo {
    /// Reads the first requests of `input`.
    ///
    /// # Errors
    /// There is no request, or one of the first is malformed.
    pub fn new(input: Input) -> Result<Self, TraceError> {
        Self::open(input, Events { block_size: 0, sessions: Names::default() })
    }
}

impl Log for Events {
    type Line = Line;

    const TIME_FIELD: &'static str = "request_received_ms";

    fn block_size(&self) -> u32 {
        self.block_size
    }

    /// The request that ended, if the event says so.
    fn request(&mut self, Line { event }: Line) -> Result<Option<Request>, LineProblem> {
        let Some(EndedRequest { output_tokens, request_received_ms, replay: Some(replay) }) =
            event.request.filter(|_| event.event_type == "request_end")
        else {
            return Ok(None);
        };
        let size = block_size("trace_block_size", replay.trace_block_size)?;
        if self.block_size == 0 {
            self.block_size = size;
        } else if self.block_size != size {
            let why = format!("expected {} as in the first request, found {size}", self.block_size);
            return Err(LineProblem::field("trace_block_size", why));
        }
        let input_tokens = prompt_tokens("input_length", replay.input_length)?;
        let ids = replay.input_sequence_hashes.len();
        id_count("input_sequence_hashes", "input_length", ids, input_tokens, self.block_size)?;
        let session = event.agent_context.and_then(|context| context.session_id);
        Ok(Some(Request {
            time_ms: request_received_ms
                .ok_or_else(|| LineProblem::field("request_received_ms", "missing"))?,
            input_tokens,
            output_tokens: tokens("output_tokens", output_tokens)?,
            blocks: replay.input_sequence_hashes,
            session: session.map(|session| self.sessions.number(&session)),
            turn: None,
            category: None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::testing::read_all;

    fn read(trace: &str) -> Result<Vec<Request>, String> {
        let dynamo = Dynamo::new(Input::from_bytes("t", trace).unwrap());
        read_all(dynamo.map_err(|error| error.to_string())?)
    }

    fn ended(received_ms: u64, session: &str, hashes: &str) -> String {
        format!(
            r#"{{"timestamp": 1, "event": {{"event_type": "request_end", "agent_context": {{"session_id": "{session}"}}, "request": {{"output_tokens": 3, "request_received_ms": {received_ms}, "replay": {{"trace_block_size": 16, "input_length": 17, "input_sequence_hashes": {hashes}}}}}}}}}"#
        )
    }

    #[test]
    fn requests_are_ordered_by_arrival_and_other_events_skipped() {
        let tool = r#"{"event": {"event_type": "tool_start", "tool": {}}}"#;
        let no_replay = r#"{"event": {"event_type": "request_end", "request": {}}}"#;
        let trace = [tool, &ended(9, "a", "[1, 2]"), no_replay, &ended(4, "b", "[1, 3]")];
        let requests = read(&trace.join("\n")).unwrap();
        let found: Vec<_> =
            requests.iter().map(|r| (r.time_ms, r.session, r.blocks.as_slice())).collect();
        assert_eq!(found, [(4, Some(1), &[1, 3][..]), (9, Some(0), &[1, 2][..])]);
        assert_eq!(read(tool).unwrap_err(), "t: the trace has no requests");
    }

    #[test]
    fn malformed_lines_are_named() {
        let good = ended(9, "a", "[1, 2]");
        for (from, to, message) in [
            (": 16", ": 32", "trace_block_size: expected 16 as in the first request, found 32"),
            ("[1, 2]", "[1]", "input_sequence_hashes: expected 2 ids of 16 tokens"),
            ("[1, 2]", "[-1]", "event.request.replay.input_sequence_hashes[0]: invalid value"),
            ("\"request_received_ms\": 9, ", "", "request_received_ms: missing"),
            ("\"event_type\": \"request_end\", ", "", "event: missing field `event_type`"),
        ] {
            let found = read(&format!("{good}\n{}", good.replace(from, to))).unwrap_err();
            assert!(found.starts_with(&format!("t:2: {message}")), "{found}");
        }
    }
}
