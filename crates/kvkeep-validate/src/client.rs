//! One request, streamed and timed.

use crate::Error;
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
    authorization: Option<String>,
}

/// What one request took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) first_token_ms: f64,
    /// To the end of the answer.
    pub(crate) total_ms: f64,
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
    prompt_tokens: u64,
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
        api_key: Option<&str>,
    ) -> Result<Self, Error> {
        if !url.starts_with("http://") {
            return Err(Error::Option { name: "url", rule: "must begin with http://" });
        }
        let base = url.trim_end_matches('/').trim_end_matches("/v1").to_owned();
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            .build();
        let mut client = Client {
            agent: ureq::Agent::new_with_config(config),
            base,
            model: String::new(),
            authorization: api_key.map(|key| format!("Bearer {key}")),
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
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let body = self.body(&url, request.call())?;
        let mut text = String::new();
        let read = body.take(MAX_ANSWER_BYTES).read_to_string(&mut text);
        read.map_err(|error| answer(&url, format!("the answer broke off: {error}")))?;
        let models: Models =
            serde_json::from_str(&text).map_err(|error| answer(&url, error.to_string()))?;
        let first = models.data.into_iter().next();
        first.map(|model| model.id).ok_or_else(|| answer(&url, "no model".to_owned()))
    }

    /// Sends a prompt and times its answer, from before the request is sent.
    pub(crate) fn complete(&self, prompt: &[u32]) -> Result<Timing, Error> {
        let url = format!("{}/v1/completions", self.base);
        let body = json!({
            "model": self.model,
            "prompt": prompt,
            "max_tokens": ANSWER_TOKENS,
            "temperature": 0,
            "stream": true,
            "stream_options": { "include_usage": true },
        })
        .to_string();
        let start = Instant::now();
        let mut request = self.agent.post(&url).header("content-type", "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let body = self.body(&url, request.send(&body))?;
        let mut first_token = None;
        let mut usage = None;
        for line in BufReader::new(body.take(MAX_ANSWER_BYTES)).lines() {
            let line =
                line.map_err(|error| answer(&url, format!("the stream broke off: {error}")))?;
            let Some(data) = line.strip_prefix("data:").map(str::trim) else { continue };
            if data == "[DONE]" {
                break;
            }
            let chunk: Chunk = serde_json::from_str(data)
                .map_err(|error| answer(&url, format!("an event of the stream: {error}")))?;
            if let Some(error) = chunk.error {
                return Err(answer(&url, format!("an error in the stream: {error}")));
            }
            if !chunk.choices.is_empty() {
                first_token.get_or_insert_with(|| start.elapsed());
            }
            usage = chunk.usage.or(usage);
        }
        let total = start.elapsed();
        let first_token =
            first_token.ok_or_else(|| answer(&url, "a stream without a token".to_owned()))?;
        if let Some(usage) = &usage
            && usage.prompt_tokens < prompt.len() as u64
        {
            let problem =
                format!("{} tokens were sent, {} arrived", prompt.len(), usage.prompt_tokens);
            return Err(answer(&url, problem));
        }
        Ok(Timing {
            first_token_ms: first_token.as_secs_f64() * 1e3,
            total_ms: total.as_secs_f64() * 1e3,
            cached_tokens: usage
                .and_then(|usage| usage.prompt_tokens_details)
                .and_then(|details| details.cached_tokens),
        })
    }

    fn body(
        &self,
        url: &str,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<impl Read + use<>, Error> {
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
        let message = message.trim().chars().take(MAX_MESSAGE_CHARS).collect();
        Err(Error::Refused { url: url.to_owned(), status: status.as_u16(), message })
    }
}

fn answer(url: &str, problem: String) -> Error {
    Error::Answer { url: url.to_owned(), problem }
}
