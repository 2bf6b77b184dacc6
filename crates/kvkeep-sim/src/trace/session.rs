//! One coding-agent session: one JSON file, possibly compressed.
//!
//! `block_size`, and `requests` with `t` (s from the start of the session), `in`, `out`,
//! `hash_ids` (local to the session, full blocks only) and `api_time` (s). An entry that has
//! `requests` itself is a subagent; its requests count from its own `t`. (Files of
//! kv-cache-tester.)
//!
//! The partial last block of a prompt has no id in the file and gets one that no other request
//! has.

use super::{
    Input, LineProblem, TraceError,
    lines::{block_size, json, prompt_tokens, seconds, tokens},
};
use serde::Deserialize;
use std::{io::Read, path::Path};

/// Bits of a local id.
pub(super) const LOCAL_BITS: u32 = 40;
/// Set for partial blocks. Ids of a file are below it.
pub(super) const PARTIAL: u64 = 1 << (LOCAL_BITS - 1);
/// The longest session that is read.
const MAX_SESSION_BYTES: u64 = 256 << 20;

#[derive(Deserialize)]
#[serde(expecting = "a session: a JSON object with block_size and requests")]
struct SessionFile {
    block_size: u32,
    requests: Vec<EntryOfFile>,
}

/// A request, or a subagent with requests of its own.
#[derive(Deserialize)]
#[serde(expecting = "a request with t, in, out and hash_ids, or a subagent with t and requests")]
struct EntryOfFile {
    t: f64,
    #[serde(rename = "in")]
    input: Option<u64>,
    #[serde(rename = "out", default)]
    output: u64,
    hash_ids: Option<Vec<u64>>,
    #[serde(default)]
    api_time: f64,
    requests: Option<Vec<EntryOfFile>>,
}

/// A request of a session, times from its start.
pub(super) struct Call {
    pub(super) time_ms: u64,
    pub(super) answered_ms: u64,
    pub(super) input_tokens: u32,
    pub(super) output_tokens: u32,
    pub(super) hash_ids: Vec<u64>,
}

/// The block size of a session and its requests, those of subagents among them.
pub(super) fn read_session(path: &Path) -> Result<(u32, Vec<Call>), TraceError> {
    let mut input = Input::open(path)?;
    let mut text = Vec::new();
    let read = input.text().take(MAX_SESSION_BYTES + 1).read_to_end(&mut text);
    read.map_err(|source| TraceError::Read { name: input.name().into(), source })?;
    if text.len() as u64 > MAX_SESSION_BYTES {
        let mib = MAX_SESSION_BYTES >> 20;
        return Err(unsuitable(path, format!("longer than {mib} MiB; is this one session?")));
    }
    let session: SessionFile = json(&text).map_err(|problem| TraceError::Line {
        name: input.name().into(),
        line: problem.line_of_json(),
        problem,
    })?;
    let block_size = block_size("block_size", session.block_size)
        .map_err(|problem| unsuitable(path, problem.to_string()))?;
    let mut calls = Vec::new();
    flatten(session.requests, 0, block_size, &mut calls).map_err(|why| unsuitable(path, why))?;
    // Stable: what arrives at the same time keeps the file's order.
    calls.sort_by_key(|call| call.time_ms);
    for (number, call) in calls.iter_mut().enumerate() {
        if !call.input_tokens.is_multiple_of(block_size) {
            call.hash_ids.push(PARTIAL | number as u64);
        }
    }
    Ok((block_size, calls))
}

/// Collects the requests of a session, or of a subagent that started at `start_ms`. The
/// error says which entry.
fn flatten(
    entries: Vec<EntryOfFile>,
    start_ms: u64,
    block_size: u32,
    calls: &mut Vec<Call>,
) -> Result<(), String> {
    for (index, entry) in entries.into_iter().enumerate() {
        if let Some(requests) = entry.requests {
            let start_of_agent = seconds("t", entry.t).map(|t| start_ms.saturating_add(t));
            start_of_agent.map_err(|problem| format!("requests[{index}].{problem}")).and_then(
                |start_ms| {
                    flatten(requests, start_ms, block_size, calls)
                        .map_err(|why| format!("requests[{index}].{why}"))
                },
            )?;
        } else {
            let call = Call::new(entry, start_ms, block_size)
                .map_err(|problem| format!("requests[{index}].{problem}"))?;
            calls.push(call);
        }
    }
    Ok(())
}

impl Call {
    fn new(entry: EntryOfFile, start_ms: u64, block_size: u32) -> Result<Self, LineProblem> {
        let time_ms = start_ms.saturating_add(seconds("t", entry.t)?);
        let missing = |field| LineProblem::field(field, "missing");
        let input = entry.input.ok_or_else(|| missing("in"))?;
        let input_tokens = prompt_tokens("in", input)?;
        let hash_ids = entry.hash_ids.ok_or_else(|| missing("hash_ids"))?;
        let expected = (input_tokens / block_size) as usize;
        if hash_ids.len() != expected {
            let found = hash_ids.len();
            let why = format!(
                "expected {expected} full blocks of {block_size} tokens for in {input}, found \
                 {found}"
            );
            return Err(LineProblem::field("hash_ids", why));
        }
        if let Some(id) = hash_ids.iter().find(|&&id| id >= PARTIAL) {
            return Err(LineProblem::field("hash_ids", format!("expected below 2^39, found {id}")));
        }
        Ok(Self {
            time_ms,
            answered_ms: time_ms.saturating_add(seconds("api_time", entry.api_time)?),
            input_tokens,
            output_tokens: tokens("out", entry.output)?,
            hash_ids,
        })
    }
}

/// `path` cannot be read like this.
pub(super) fn unsuitable(path: &Path, why: String) -> TraceError {
    TraceError::Unsuitable { name: path.display().to_string(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.json");
        let message = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let Err(error) = read_session(&path) else { panic!("{text}") };
            error.to_string().replace(&path.display().to_string(), "s")
        };
        let inner = |inner: &str| {
            message(&format!(
                r#"{{"block_size": 4, "requests": [{{"t": 0, "requests": [{inner}]}}]}}"#
            ))
        };
        assert_eq!(
            inner(r#"{"t": 0, "in": 9, "hash_ids": [1]}"#),
            "s: requests[0].requests[0].hash_ids: expected 2 full blocks of 4 tokens for in 9, \
             found 1"
        );
        assert_eq!(inner(r#"{"t": 0, "in": 9}"#), "s: requests[0].requests[0].hash_ids: missing");
        assert!(inner(r#"{"t": -1, "in": 1}"#).starts_with("s: requests[0].requests[0].t: "));
        assert!(inner(r#"{"t": 0, "in": 4, "hash_ids": [549755813888]}"#).contains("below 2^39"));
        assert!(message("{\n\"block_size\": 4,\n}").starts_with("s:3: "));
        assert!(message(r#"{"block_size": 0, "requests": []}"#).contains("found 0"));
    }
}
