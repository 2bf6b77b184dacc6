//! Reads chat transcripts: JSON Lines, one request a line, as sent to an OpenAI-like service.
//!
//! `messages`: each with `role` and `content`, which is a string, a list of parts of type
//! `text`, or null. Optional: `timestamp` (ms; without it, the time of the line before, from 0),
//! `output_tokens`, `session`, `turn` (from 0). Others are ignored, tools as well.
//!
//! A message is written as `<|role|>`, newline, content, newline, and the prompt ends in
//! `<|assistant|>`, newline. A last message of the assistant is the output: its tokens count as
//! the output and it is no part of the prompt. Messages are tokenized one by one, so that
//! equal messages are equal tokens whatever follows. This is no model's own template, but as long.

use super::{
    Input, LineProblem, Request, Source, TraceError, chain,
    lines::{Lines, milliseconds, prompt_tokens, tokens},
    tokenizer::Encode,
};
use serde::Deserialize;
use std::num::NonZeroU32;

#[derive(Deserialize)]
#[serde(expecting = "a JSON object with messages")]
struct Line {
    messages: Vec<Message>,
    timestamp: Option<f64>,
    output_tokens: Option<u64>,
    session: Option<u64>,
    turn: Option<u32>,
}

#[derive(Deserialize)]
#[serde(expecting = "a message with role and content")]
struct Message {
    role: String,
    #[serde(default)]
    content: Option<Content>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a string or a list of parts with type and text")]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

/// Streams the requests of a trace in this format.
pub struct Chat {
    lines: Lines,
    requests: u64,
    encode: Encode,
    block_size: u32,
    prompt: Vec<u32>,
}

impl Chat {
    /// Reads `input`, tokenizes with `encode` and cuts prompts into blocks of `block_size`
    /// tokens, 16 where that is not given.
    #[must_use]
    pub fn new(input: Input, encode: Encode, block_size: Option<NonZeroU32>) -> Self {
        let block_size = chain::block_size(block_size);
        Self { lines: Lines::new(input), requests: 0, encode, block_size, prompt: Vec::new() }
    }

    fn take(&mut self, mut line: Line, request: &mut Request) -> Result<(), LineProblem> {
        let answer = line.messages.pop_if(|last| last.role == "assistant");
        if line.messages.is_empty() {
            return Err(LineProblem::field(
                "messages",
                "expected one before the answer, found none",
            ));
        }
        self.prompt.clear();
        for message in &line.messages {
            let text = format!("<|{}|>\n{}\n", message.role, text(message.content.as_ref())?);
            self.prompt.extend(self.tokens(&text)?);
        }
        self.prompt.extend(self.tokens("<|assistant|>\n")?);
        let output = match (line.output_tokens, answer) {
            (Some(output), _) => output,
            (None, Some(answer)) => self.tokens(&text(answer.content.as_ref())?)?.len() as u64,
            (None, None) => 0,
        };
        request.input_tokens = prompt_tokens("messages", self.prompt.len() as u64)?;
        request.output_tokens = tokens("output_tokens", output)?;
        chain::write_ids(&self.prompt, self.block_size, &mut request.blocks);
        let time_ms = match line.timestamp {
            Some(found) => milliseconds("timestamp", found)?,
            None => self.lines.last_ms(),
        };
        request.time_ms = self.lines.advance("timestamp", time_ms)?;
        request.session = line.session;
        request.turn = line.turn;
        request.category = None;
        Ok(())
    }

    fn tokens(&self, text: &str) -> Result<Vec<u32>, LineProblem> {
        (self.encode)(text).map_err(|why| LineProblem::field("messages", why))
    }
}

/// The text of a message.
fn text(content: Option<&Content>) -> Result<String, LineProblem> {
    match content {
        None => Ok(String::new()),
        Some(Content::Text(text)) => Ok(text.clone()),
        Some(Content::Parts(parts)) => parts
            .iter()
            .map(|part| match &part.text {
                Some(text) if part.kind == "text" => Ok(text.as_str()),
                _ => {
                    let why = format!("only parts of type text have tokens, found {:?}", part.kind);
                    Err(LineProblem::field("content", why))
                }
            })
            .collect(),
    }
}

impl Source for Chat {
    type Error = TraceError;

    fn block_size(&self) -> u32 {
        self.block_size
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

    /// A byte is a token here.
    fn read(trace: &str) -> Result<Vec<Request>, String> {
        let input = Input::from_bytes("t", trace).unwrap();
        let encode: Encode = Box::new(|text| Ok(text.bytes().map(u32::from).collect()));
        read_all(Chat::new(input, encode, NonZeroU32::new(4)))
    }

    /// "<|user|>\nhi\n" is 12 bytes, "<|assistant|>\n" 14, "<|assistant|>\nho\n" 17.
    #[test]
    fn the_next_turn_starts_with_the_one_before_and_its_answer() {
        let requests = read(
            r#"{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}], "timestamp": 5}
               {"messages": [{"role": "user", "content": [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]}, {"role": "assistant", "content": "ho"}, {"role": "user", "content": null}], "output_tokens": 9}"#,
        )
        .unwrap();
        let lengths: Vec<_> = requests.iter().map(|r| (r.input_tokens, r.output_tokens)).collect();
        assert_eq!(lengths, [(26, 2), (12 + 17 + 10 + 14, 9)]);
        assert_eq!(requests[0].blocks[..6], requests[1].blocks[..6]);
        assert_ne!(requests[0].blocks[6], requests[1].blocks[6]);
        assert_eq!(requests[1].time_ms, 5);
    }

    #[test]
    fn malformed_lines_are_named() {
        let good = r#"{"messages": [{"role": "user", "content": "hi"}]}"#;
        for (from, to, message) in [
            (r#""content": "hi""#, r#""content": 3"#, "messages[0].content: a string or a list"),
            (r#""role": "user", "#, "", "messages[0]: missing field `role`"),
            ("user", "assistant", "messages: expected one before the answer, found none"),
            (r#""hi""#, r#"[{"type": "image_url"}]"#, "content: only parts of type text"),
        ] {
            let found = read(&format!("{good}\n{}", good.replace(from, to))).unwrap_err();
            assert!(found.starts_with(&format!("t:2: {message}")), "{found}");
        }
    }
}
