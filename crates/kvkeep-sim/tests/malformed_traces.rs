//! Damaged traces are errors or other traces, never panics, in any format.

use kvkeep_sim::trace::{
    Azure, Bailian, Chat, Dynamo, Info, Input, LmCache, Mooncake, Source, Tokens, TraceError,
};
use proptest::prelude::*;

/// A reader of a format, and two lines of it.
type Case = (fn(Input) -> Result<Info, TraceError>, &'static str);

fn info(mut source: impl Source<Error = TraceError>) -> Result<Info, TraceError> {
    Info::read(&mut source, None, |_, _| {})
}

const CASES: [Case; 7] = [
    (
        |input| info(Mooncake::new(input, None)?),
        r#"{"timestamp": 1, "input_length": 40, "output_length": 2, "hash_ids": [1, 2, 3], "block_size": 16, "session": 3, "turn": 0, "category": 1}
{"timestamp": 2, "input_length": 16, "output_length": 2, "hash_ids": [1], "block_size": 16}
"#,
    ),
    (
        |input| info(Bailian::new(input)),
        r#"{"chat_id": 1, "parent_chat_id": -1, "timestamp": 0.5, "input_length": 17, "output_length": 1, "type": "text", "turn": 1, "hash_ids": [1, 2]}
{"chat_id": 2, "parent_chat_id": 1, "timestamp": 0.75, "input_length": 17, "output_length": 1, "type": "text", "turn": 2, "hash_ids": [1]}
"#,
    ),
    (
        |input| info(Dynamo::new(input)?),
        r#"{"event": {"event_type": "request_end", "agent_context": {"session_id": "a"}, "request": {"output_tokens": 1, "request_received_ms": 9, "replay": {"trace_block_size": 16, "input_length": 17, "input_sequence_hashes": [1, 2]}}}}
{"event": {"event_type": "request_end", "request": {"output_tokens": 1, "request_received_ms": 8, "replay": {"trace_block_size": 16, "input_length": 16, "input_sequence_hashes": [1]}}}}
"#,
    ),
    (
        |input| info(LmCache::new(input, None)?),
        r#"{"timestamp": 100.5, "chunk_size": 256, "seq_len": 300, "chunk_hashes": ["0xa1"]}
{"timestamp": 100.25, "chunk_size": 256, "seq_len": 512, "chunk_hashes": ["0xa1", 7]}
"#,
    ),
    (
        |input| info(Tokens::new(input, None)),
        r#"{"timestamp": 0, "tokens": [1, 2, 3], "output_tokens": 2, "session": 1}
{"timestamp": 10, "prompt_token_ids": [1, 2, 3], "output_tokens": [5]}
"#,
    ),
    (
        |input| {
            let encode = |text: &str| Ok(text.bytes().map(u32::from).collect());
            info(Chat::new(input, Box::new(encode), None))
        },
        r#"{"timestamp": 0, "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}
{"timestamp": 5, "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]}
"#,
    ),
    (
        |input| info(Azure::new(input, None)?),
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,33,10\n2023-11-16 18:17:05.9799600,16,4\n",
    ),
];

#[test]
fn the_undamaged_traces_have_two_requests() {
    for (read, text) in CASES {
        let info = read(Input::from_bytes("t", text).expect("plain text")).expect("sound");
        assert_eq!(info.requests, 2, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Bytes are replaced by ones that matter to the formats, left out, or said twice.
    #[test]
    fn damage_never_panics(
        case in 0..CASES.len(),
        damage in prop::collection::vec(
            (any::<prop::sample::Index>(), 0..4_u8, prop::sample::select(&b"0918-.,:e\"[]{}\n\\x\xff"[..])),
            1..6,
        ),
    ) {
        let (read, text) = CASES[case];
        let mut text = text.as_bytes().to_vec();
        for (place, kind, byte) in damage {
            let at = place.index(text.len());
            match kind {
                0 => text[at] = byte,
                1 => text.insert(at, byte),
                2 => drop(text.remove(at)),
                _ => text.extend_from_within(at..),
            }
        }
        let Ok(input) = Input::from_bytes("t", text) else { return Ok(()) };
        match read(input) {
            Ok(info) => prop_assert!(info.tokens_found < info.input_tokens),
            Err(error) => prop_assert!(error.to_string().starts_with("t:"), "{}", error),
        }
    }
}
