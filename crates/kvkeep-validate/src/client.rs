//! One request, streamed and timed.

use crate::{ApiKey, Error, Prompts, tls};
use serde::Deserialize;
use serde_json::json;
use std::io::{BufRead, BufReader, Read};
use std::time::{Duration, Instant};

/// Tokens of each answer: enough to see that it streams.
const ANSWER_TOKENS: usize = 8;
/// How long a server may take for an answer.
const TIMEOUT: Duration = Duration::from_secs(600);
/// Most bytes of an answer that are read.
const MAX_ANSWER_BYTES: u64 = 16 << 20;
/// Most characters of a refusal that are shown.
const MAX_MESSAGE_CHARS: usize = 300;

/// A server and a model on it.
pub(crate) struct Client {
    agent: ureq::Agent,
    base: String,
    model: String,
    api_key: Option<ApiKey>,
    prompts: Prompts,
    /// Whether the server is asked to count at the end of a stream; some refuse that.
    asks_for_usage: bool,
}

/// What one request took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) first_token_ms: f64,
    /// To the end of the answer.
    pub(crate) total_ms: f64,
    /// Tokens of the prompt, where the server says so.
    pub(crate) prompt_tokens: Option<u64>,
    /// Prompt tokens that the server found cached, where it says so.
    pub(crate) cached_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Models {
    data: Vec<ModelCard>,
}

#[derive(Deserialize)]
struct ModelCard {
    id: String,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<serde_json::Value>,
    usage: Option<Usage>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u64>,
}

impl Client {
    /// Finds the server, and its first model unless one is named.
    pub(crate) fn connect(
        url: &str,
        model: Option<&str>,
        api_key: Option<&ApiKey>,
        prompts: Prompts,
    ) -> Result<Self, Error> {
        if !(url.starts_with("http://") || url.starts_with("https://")) {
            return Err(Error::Option { name: "url", rule: "must begin with http:// or https://" });
        }
        let base = url.trim_end_matches('/').trim_end_matches("/v1").to_owned();
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            .tls_config(tls::config(url)?)
            .build();
        let mut client = Client {
            agent: ureq::Agent::new_with_config(config),
            base,
            model: String::new(),
            api_key: api_key.cloned(),
            prompts,
            asks_for_usage: true,
        };
        client.model = match model {
            Some(model) => model.to_owned(),
            None => client.first_model()?,
        };
        Ok(client)
    }

    pub(crate) fn model(&self) -> &str {
        &self.model
    }

    fn first_model(&self) -> Result<String, Error> {
        let url = format!("{}/v1/models", self.base);
        let mut request = self.agent.get(&url);
        if let Some(key) = &self.api_key {
            request = request.header("authorization", key.header());
        }
        let body = self.body(&url, request.call(), |_| {
            Some("a server without a list needs the model's name")
        })?;
        let mut text = String::new();
        let read = body.take(MAX_ANSWER_BYTES).read_to_string(&mut text);
        read.map_err(|error| answer(&url, format!("the answer broke off: {error}")))?;
        let models: Models =
            serde_json::from_str(&text).map_err(|error| answer(&url, error.to_string()))?;
        let first = models.data.into_iter().next();
        first.map(|model| model.id).ok_or_else(|| answer(&url, "no model".to_owned()))
    }

    /// Sends a prompt and times its answer, from before the request is sent.
    pub(crate) fn complete(&mut self, prompt: &[u32]) -> Result<Timing, Error> {
        match self.try_complete(prompt) {
            Err(Error::Refused { message, .. })
                if self.asks_for_usage && message.contains("stream_options") =>
            {
                self.asks_for_usage = false;
                self.try_complete(prompt)
            }
            answered => answered,
        }
    }

    fn try_complete(&self, prompt: &[u32]) -> Result<Timing, Error> {
        let url = format!("{}{}", self.base, self.prompts.path());
        let (field, value) = self.prompts.field(prompt);
        let mut body = json!({ "model": self.model, "max_tokens": ANSWER_TOKENS, "stream": true });
        body[field] = value;
        if self.asks_for_usage {
            body["stream_options"] = json!({ "include_usage": true });
        }
        let body = body.to_string();
        let start = Instant::now();
        let mut request = self.agent.post(&url).header("content-type", "application/json");
        if let Some(key) = &self.api_key {
            request = request.header("authorization", key.header());
        }
        let body = self.body(&url, request.send(&body), |status| self.prompts.advice(status))?;
        let (mut first_token, mut end, mut usage) = (None, None, None);
        for line in BufReader::new(body.take(MAX_ANSWER_BYTES)).lines() {
            let line = match line {
                Ok(line) => line,
                Err(_) if end.is_some() => break,
                Err(error) => return Err(answer(&url, format!("the stream broke off: {error}"))),
            };
            let Some(data) = line.strip_prefix("data:").map(str::trim) else { continue };
            if data == "[DONE]" {
                // Read on: a connection that is read to its end serves the next request.
                end.get_or_insert_with(|| start.elapsed());
                continue;
            }
            let chunk: Chunk = serde_json::from_str(data)
                .map_err(|error| answer(&url, format!("an event of the stream: {error}")))?;
            if let Some(error) = chunk.error {
                let error = self.without_key(&format!("an error in the stream: {error}"));
                return Err(answer(&url, error));
            }
            if chunk.choices.iter().any(|choice| self.prompts.is_token(choice)) {
                first_token.get_or_insert_with(|| start.elapsed());
            }
            usage = chunk.usage.or(usage);
        }
        let total = end.unwrap_or_else(|| start.elapsed());
        let first_token =
            first_token.ok_or_else(|| answer(&url, "a stream without a token".to_owned()))?;
        // A server that does not count may say 0.
        let usage_tokens = usage.as_ref().and_then(|usage| usage.prompt_tokens);
        let prompt_tokens = usage_tokens.filter(|&tokens| tokens > 0);
        if let Some(arrived) = prompt_tokens.filter(|&tokens| tokens < prompt.len() as u64) {
            let (sent, unit) = (prompt.len(), self.prompts.unit());
            return Err(Error::Cut { url, sent, unit, arrived });
        }
        Ok(Timing {
            first_token_ms: first_token.as_secs_f64() * 1e3,
            total_ms: total.as_secs_f64() * 1e3,
            prompt_tokens,
            cached_tokens: usage
                .and_then(|usage| usage.prompt_tokens_details)
                .and_then(|details| details.cached_tokens),
        })
    }

    fn without_key(&self, text: &str) -> String {
        self.api_key.as_ref().map_or_else(|| text.to_owned(), |key| key.hidden_in(text))
    }

    fn body(
        &self,
        url: &str,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
        advice: impl Fn(u16) -> Option<&'static str>,
    ) -> Result<ureq::BodyReader<'static>, Error> {
        let response = response
            .map_err(|error| Error::Network { url: url.to_owned(), error: Box::new(error) })?;
        let status = response.status();
        let mut body = response.into_body().into_reader();
        if status.is_success() {
            return Ok(body);
        }
        let mut message = String::new();
        // What can be read of it is enough.
        drop(body.by_ref().take(1 << 16).read_to_string(&mut message));
        let message = self.without_key(message.trim()).chars().take(MAX_MESSAGE_CHARS).collect();
        let status = status.as_u16();
        let advice = match status {
            401 | 403 => Some("does it want an API key, or another one?"),
            _ => advice(status),
        };
        Err(Error::Refused { url: url.to_owned(), status, message, advice })
    }
}

fn answer(url: &str, problem: String) -> Error {
    Error::Answer { url: url.to_owned(), problem }
}
