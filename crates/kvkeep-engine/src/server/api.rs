//! The bodies of requests and answers: OpenAI's, with vLLM's `cache_salt`, `ignore_eos`
//! and `token_ids`. Fields that this engine does not know are ignored.

use super::tokens;
use super::worker::Piece;
use crate::{Finish, Request, Sampling, random};
use kvkeep::Identity;
use serde::Deserialize;
use serde_json::{Value, json};

/// Tokens of an answer for which no bound is given.
const DEFAULT_MAX_TOKENS: usize = 16;

/// Which of the two endpoints.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    Completions,
    Chat,
}

/// What a client sends to either endpoint.
#[derive(Deserialize)]
pub(super) struct Body {
    pub(super) model: Option<String>,
    prompt: Option<Prompt>,
    messages: Option<Vec<Message>>,
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
    temperature: Option<f32>,
    seed: Option<u64>,
    n: Option<usize>,
    #[serde(default)]
    pub(super) stream: bool,
    stream_options: Option<StreamOptions>,
    cache_salt: Option<String>,
    #[serde(default)]
    ignore_eos: bool,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "`prompt` must be a string or a list of token ids")]
enum Prompt {
    Text(String),
    Tokens(Vec<u32>),
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: String,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

impl Body {
    /// Whether a stream ends with the usage.
    pub(super) fn include_usage(&self) -> bool {
        self.stream_options.as_ref().is_some_and(|options| options.include_usage)
    }

    /// The request; what is wrong with it is said for the client.
    pub(super) fn request(self, endpoint: Endpoint) -> Result<Request, String> {
        let prompt = match (endpoint, self.prompt, &self.messages) {
            (Endpoint::Completions, Some(Prompt::Text(text)), _) => tokens::encode(&text),
            (Endpoint::Completions, Some(Prompt::Tokens(tokens)), _) => tokens,
            (Endpoint::Completions, None, _) => {
                return Err("`prompt` is missing; pass a string or a list of token ids".into());
            }
            (Endpoint::Chat, _, Some(messages)) if !messages.is_empty() => tokens::encode_chat(
                messages.iter().map(|message| (message.role.as_str(), message.content.as_str())),
            ),
            (Endpoint::Chat, ..) => {
                return Err("`messages` is missing or empty; pass at least one".into());
            }
        };
        let temperature = self.temperature.unwrap_or(1.0);
        if !(0.0..=2.0).contains(&temperature) {
            return Err(format!("`temperature` is {temperature}; pass 0 to 2"));
        }
        let max_new_tokens =
            self.max_completion_tokens.or(self.max_tokens).unwrap_or(DEFAULT_MAX_TOKENS);
        if max_new_tokens == 0 {
            return Err("`max_tokens` is 0; pass at least 1".into());
        }
        let salt = self.cache_salt.unwrap_or_default();
        let identity =
            Identity::new().salt(&salt).map_err(|error| format!("`cache_salt`: {error}"))?;
        Ok(Request {
            prompt,
            max_new_tokens,
            samples: self.n.unwrap_or(1),
            sampling: Sampling { temperature, seed: self.seed.unwrap_or_else(random::seed) },
            ignore_end: self.ignore_eos,
            identity,
        })
    }
}

/// Tokens of a request, as clients are billed for them.
#[derive(Clone, Copy, Default)]
pub(super) struct Usage {
    pub(super) prompt_tokens: usize,
    pub(super) completion_tokens: usize,
    pub(super) cached_tokens: usize,
}

impl Usage {
    fn json(self) -> Value {
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": { "cached_tokens": self.cached_tokens },
        })
    }
}

/// What all bodies of one answer have in common.
pub(super) struct Envelope {
    pub(super) endpoint: Endpoint,
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) model: String,
}

impl Envelope {
    fn body(&self, object: &str, choices: &[Value], usage: Option<Usage>) -> Value {
        json!({
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": self.model,
            "choices": choices,
            "usage": usage.map(Usage::json),
        })
    }

    fn chunk_object(&self) -> &'static str {
        match self.endpoint {
            Endpoint::Completions => "text_completion",
            Endpoint::Chat => "chat.completion.chunk",
        }
    }

    /// One event of a stream: a token, and the text that it completes.
    pub(super) fn chunk(&self, piece: &Piece, text: &str, first: bool) -> Value {
        let mut choice = json!({
            "index": piece.sample,
            "token_ids": [piece.token],
            "finish_reason": piece.finish.map(finish_reason),
        });
        match self.endpoint {
            Endpoint::Completions => choice["text"] = text.into(),
            Endpoint::Chat => choice["delta"] = json!({ "content": text }),
        }
        if first && self.endpoint == Endpoint::Chat {
            choice["delta"]["role"] = "assistant".into();
        }
        self.body(self.chunk_object(), &[choice], None)
    }

    /// The last event of a stream whose client asked for the usage.
    pub(super) fn usage_chunk(&self, usage: Usage) -> Value {
        self.body(self.chunk_object(), &[], Some(usage))
    }

    /// The answer in one piece.
    pub(super) fn whole(&self, answers: &[Whole], usage: Usage) -> Value {
        let choices: Vec<_> = answers
            .iter()
            .enumerate()
            .map(|(index, answer)| {
                let mut choice = json!({
                    "index": index,
                    "token_ids": answer.tokens,
                    "finish_reason": answer.finish.map(finish_reason),
                });
                match self.endpoint {
                    Endpoint::Completions => choice["text"] = answer.text.as_str().into(),
                    Endpoint::Chat => {
                        choice["message"] = json!({ "role": "assistant", "content": answer.text });
                    }
                }
                choice
            })
            .collect();
        let object = match self.endpoint {
            Endpoint::Completions => "text_completion",
            Endpoint::Chat => "chat.completion",
        };
        self.body(object, &choices, Some(usage))
    }
}

/// One whole answer.
#[derive(Default)]
pub(super) struct Whole {
    pub(super) text: String,
    pub(super) tokens: Vec<u32>,
    pub(super) finish: Option<Finish>,
}

fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Length => "length",
        Finish::Stop => "stop",
    }
}

/// OpenAI's form of an error.
pub(super) fn error(status: u16, message: &str) -> Value {
    let kind = if status < 500 { "invalid_request_error" } else { "server_error" };
    json!({ "error": { "message": message, "type": kind, "param": null, "code": status } })
}
