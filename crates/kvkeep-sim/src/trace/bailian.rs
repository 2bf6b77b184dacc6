//! Reads Alibaba Cloud's Bailian usage traces: JSON Lines, one request a line.
//!
//! `chat_id`, `parent_chat_id` (-1 for none), `timestamp` (s), `input_length`,
//! `output_length`, `type`, `turn` (from 1) and `hash_ids`, one for each 16 tokens of the
//! prompt, with or without one for the partial last block. The session is the chat
//! at the root of the parents; to know it takes 16 bytes of memory or so per chat. The kinds in
//! `type` are numbered from 1 in order of appearance.
//!
//! "KVCache Cache in the Wild", USENIX ATC 2025.

use super::{
    Input, LineProblem, Request, Source, TraceError,
    fresh::FreshIds,
    lines::{Lines, id_count, prompt_tokens, seconds, tokens},
    names::Names,
};
use ahash::AHashMap;
use serde::Deserialize;

/// Tokens per id.
const BLOCK_SIZE: u32 = 16;

#[derive(Deserialize)]
#[serde(expecting = "a JSON object with chat_id, timestamp, input_length and hash_ids")]
struct Line {
    chat_id: i64,
    #[serde(default = "no_parent")]
    parent_chat_id: i64,
    timestamp: f64,
    input_length: u64,
    output_length: u64,
    #[serde(rename = "type")]
    kind: Option<String>,
    turn: Option<u32>,
    hash_ids: Vec<u64>,
}

fn no_parent() -> i64 {
    -1
}

/// Streams the requests of a trace in this format.
pub struct Bailian {
    lines: Lines,
    requests: u64,
    /// The root of each chat.
    roots: AHashMap<i64, i64>,
    kinds: Names,
    fresh: FreshIds,
}

impl Bailian {
    /// Reads `input`.
    #[must_use]
    pub fn new(input: Input) -> Self {
        Self {
            lines: Lines::new(input),
            requests: 0,
            roots: AHashMap::new(),
            kinds: Names::default(),
            fresh: FreshIds::new(),
        }
    }

    fn take(&mut self, line: Line, request: &mut Request) -> Result<(), LineProblem> {
        request.input_tokens = prompt_tokens("input_length", line.input_length)?;
        request.output_tokens = tokens("output_length", line.output_length)?;
        request.blocks = line.hash_ids;
        self.fresh.complete(&mut request.blocks, request.input_tokens, BLOCK_SIZE);
        let ids = request.blocks.len();
        id_count("hash_ids", "input_length", ids, request.input_tokens, BLOCK_SIZE)?;
        let time_ms = seconds("timestamp", line.timestamp)?;
        request.time_ms = self.lines.advance("timestamp", time_ms)?;
        let root = if line.parent_chat_id < 0 {
            line.chat_id
        } else {
            // A parent from before the trace's start is the root as far as is known.
            *self.roots.entry(line.parent_chat_id).or_insert(line.parent_chat_id)
        };
        self.roots.insert(line.chat_id, root);
        request.session = Some(root.cast_unsigned());
        request.turn = match line.turn {
            Some(0) => return Err(LineProblem::field("turn", "counts from 1, found 0")),
            turn => turn.map(|turn| turn - 1),
        };
        request.category = line.kind.map(|kind| self.kinds.category(&kind));
        Ok(())
    }
}

impl Source for Bailian {
    type Error = TraceError;

    fn block_size(&self) -> u32 {
        BLOCK_SIZE
    }

    fn read_next(&mut self, request: &mut Request) -> Result<bool, TraceError> {
        let Some(line) = self.lines.next_json()? else {
            return if self.requests == 0 { Err(self.lines.no_requests()) } else { Ok(false) };
        };
        self.take(line, request).map_err(|problem| self.lines.error(problem))?;
        self.requests += 1;
        Ok(true)
    }

    fn fraction_read(&self) -> Option<f64> {
        self.lines.fraction_read()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::testing::read_all;

    fn read(trace: &str) -> Result<Vec<Request>, String> {
        read_all(Bailian::new(Input::from_bytes("t", trace).unwrap()))
    }

    const CHAT: &str = r#"{"chat_id": 4, "parent_chat_id": -1, "timestamp": 0.5, "input_length": 17, "output_length": 3, "type": "text", "turn": 1, "hash_ids": [8, 9]}"#;

    #[test]
    fn a_session_is_the_root_of_its_chats() {
        let second = CHAT
            .replace("\"chat_id\": 4", "\"chat_id\": 5")
            .replace("-1", "4")
            .replace("\"turn\": 1", "\"turn\": 2")
            .replace("text", "search");
        let third = second.replace(": 5", ": 6").replace(": 4", ": 5");
        let of_before = second.replace(": 5", ": 7").replace(": 4", ": 3");
        let requests = read(&[CHAT, &second, &third, &of_before].join("\n")).unwrap();
        assert_eq!(
            requests[0],
            Request {
                time_ms: 500,
                input_tokens: 17,
                output_tokens: 3,
                blocks: vec![8, 9],
                session: Some(4),
                turn: Some(0),
                category: Some(1),
            }
        );
        let sessions: Vec<_> = requests.iter().map(|request| request.session).collect();
        assert_eq!(sessions, [Some(4), Some(4), Some(4), Some(3)]);
        assert_eq!((requests[1].turn, requests[1].category), (Some(1), Some(2)));
    }

    #[test]
    fn a_partial_block_without_id_gets_its_own() {
        let one = CHAT.replace("[8, 9]", "[8]");
        let requests = read(&format!("{one}\n{one}")).unwrap();
        assert_eq!(requests[0].blocks[0], requests[1].blocks[0]);
        assert_ne!(requests[0].blocks[1], requests[1].blocks[1]);
    }

    #[test]
    fn malformed_lines_are_named() {
        for (from, to, message) in [
            ("[8, 9]", "[]", "hash_ids: expected 2 ids of 16 tokens for input_length 17, found 0"),
            ("\"turn\": 1", "\"turn\": 0", "turn: counts from 1, found 0"),
            ("0.5", "0.4", "timestamp: 400 ms is before the 500 ms"),
            ("17", "0", "input_length: expected at least one prompt token, found 0"),
            ("\"chat_id\": 4, ", "", "missing field `chat_id`"),
        ] {
            let message = format!("t:2: {message}");
            let found = read(&format!("{CHAT}\n{}", CHAT.replace(from, to))).unwrap_err();
            assert!(found.starts_with(&message), "{found}");
        }
        assert_eq!(read("\n").unwrap_err(), "t: the trace has no requests");
    }
}
