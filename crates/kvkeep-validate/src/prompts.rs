//! How a prompt is told to a server: as token ids, as text, or as a chat.
//!
//! A prompt is a list of token ids anyway. As text each stands for a word, so that prompts
//! share as many words as they would share tokens.

use serde_json::{Value, json};

/// A way to send prompts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prompts {
    /// Token ids, to `/v1/completions`: lengths are exact.
    #[default]
    Tokens,
    /// Words, to `/v1/completions`: about one token each.
    Text,
    /// Words, as a user's message to `/v1/chat/completions`.
    Chat,
}

/// The first token id that stands for a word; the 32 before it may be special.
pub(crate) const FIRST_TOKEN: u32 = 32;

/// Common words of four letters. Each is one token in the vocabularies GPT-2's, `p50k`,
/// `cl100k` and `o200k`, with a space before it and without; other large ones are alike.
pub(crate) const WORDS: [&str; 95] = [
    "this", "that", "with", "from", "have", "self", "will", "your", "more", "they", "data", "name",
    "true", "time", "over", "part", "work", "when", "been", "were", "year", "some", "said", "also",
    "than", "just", "them", "into", "what", "case", "only", "back", "then", "test", "make", "long",
    "form", "want", "size", "know", "hand", "most", "play", "help", "down", "even", "last", "high",
    "line", "here", "very", "call", "well", "view", "many", "good", "such", "much", "open", "next",
    "game", "each", "best", "same", "take", "free", "real", "head", "must", "week", "team", "fact",
    "home", "both", "life", "book", "full", "turn", "body", "keep", "come", "hard", "less", "sure",
    "rest", "cost", "done", "days", "able", "give", "four", "room", "once", "area", "kind",
];

impl Prompts {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tokens, Self::Text, Self::Chat];

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Text => "text",
            Self::Chat => "chat",
        }
    }

    /// What the prompt is counted in when it is sent.
    pub(crate) fn unit(self) -> &'static str {
        if self == Self::Tokens { "tokens" } else { "words" }
    }

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Tokens | Self::Text => "/v1/completions",
            Self::Chat => "/v1/chat/completions",
        }
    }

    /// The field of a request that has the prompt.
    pub(crate) fn field(self, prompt: &[u32]) -> (&'static str, Value) {
        match self {
            Self::Tokens => ("prompt", json!(prompt)),
            Self::Text => ("prompt", json!(text(prompt))),
            Self::Chat => ("messages", json!([{ "role": "user", "content": text(prompt) }])),
        }
    }

    /// What may help where a request is refused.
    pub(crate) fn advice(self, status: u16) -> Option<&'static str> {
        match (self, status) {
            (Self::Tokens, 400 | 404 | 405 | 415 | 422 | 500 | 501) => Some(
                "the prompts were token ids, which not every server takes; choose text or chat \
                 for prompts",
            ),
            (Self::Text, 404 | 405 | 501) => {
                Some("not every server completes text; choose chat for prompts")
            }
            _ => None,
        }
    }

    /// Whether a choice in a stream brings something of the answer. A chat may begin with the
    /// role alone, before anything is computed.
    pub(crate) fn is_token(self, choice: &Value) -> bool {
        if self != Self::Chat {
            return true;
        }
        let said = |(key, value): (&String, &Value)| {
            let is_empty = value.is_null() || value == "" || value.as_array() == Some(&Vec::new());
            key != "role" && !is_empty
        };
        let delta = choice.get("delta").and_then(Value::as_object);
        delta.is_some_and(|delta| delta.iter().any(said))
            || choice.get("finish_reason").is_some_and(|reason| !reason.is_null())
    }
}

fn text(prompt: &[u32]) -> String {
    let words = prompt.iter().map(|&token| {
        let word = token.wrapping_sub(FIRST_TOKEN) as usize % WORDS.len();
        WORDS[word]
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn words_are_different_and_as_long() {
        assert_eq!(WORDS.iter().collect::<HashSet<_>>().len(), WORDS.len());
        assert!(WORDS.iter().all(|word| word.len() == 4));
    }

    #[test]
    fn a_word_for_each_token() {
        assert_eq!(text(&[32, 33, 126, 32]), "this that kind this");
        assert_eq!(Prompts::Tokens.field(&[40, 41]), ("prompt", json!([40, 41])));
        assert_eq!(Prompts::Text.field(&[33]), ("prompt", json!("that")));
        let message = json!([{ "role": "user", "content": "that" }]);
        assert_eq!(Prompts::Chat.field(&[33]), ("messages", message));
    }

    #[test]
    fn a_role_is_no_token() {
        let of = |choice| Prompts::Chat.is_token(&choice);
        assert!(!of(json!({ "delta": { "role": "assistant", "content": "" } })));
        assert!(!of(json!({ "delta": { "role": "assistant", "tool_calls": [] } })));
        assert!(!of(json!({ "delta": {}, "finish_reason": null })));
        assert!(of(json!({ "delta": { "content": "a" } })));
        assert!(of(json!({ "delta": { "content": null, "reasoning_content": "a" } })));
        assert!(of(json!({ "delta": {}, "finish_reason": "length" })));
        assert!(Prompts::Text.is_token(&json!({ "text": "" })));
    }
}
