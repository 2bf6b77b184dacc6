//! An OpenAI-compatible server around the engine.
//!
//! `POST /v1/completions`, `POST /v1/chat/completions`, `GET /v1/models`, `GET /health`,
//! `GET /metrics`. There is no authentication, so it listens on the loopback only.

mod api;
mod stream;
mod tokens;
mod worker;

use crate::{Engine, Error};
use api::{Body, Endpoint, Envelope};
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::sse::Sse;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use serde_json::json;
use std::fmt;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use stream::Answers;
use tokio::sync::watch;
use worker::{Handle, Refusal};

/// Largest body of a request: a prompt of some 500,000 token ids.
const MAX_BODY_BYTES: usize = 4 << 20;

/// How long clients may take to hear that the engine has failed.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the server ended before it was told to.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// The address is not of the loopback.
    NotLoopback(std::net::SocketAddr),
    /// The network refused.
    Network(std::io::Error),
    /// The engine failed.
    Engine(Error),
    /// The engine's thread panicked: a defect.
    Panicked,
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLoopback(address) => write!(
                f,
                "{address} can be reached from outside, and there is no authentication; use an address like 127.0.0.1:8000"
            ),
            Self::Network(error) => write!(f, "cannot serve: {error}"),
            Self::Engine(error) => write!(f, "the engine has stopped: {error}"),
            Self::Panicked => f.write_str("the engine has panicked"),
        }
    }
}

impl std::error::Error for ServeError {}

impl From<std::io::Error> for ServeError {
    fn from(error: std::io::Error) -> Self {
        Self::Network(error)
    }
}

#[derive(Clone)]
struct App {
    engine: Handle,
    model: Arc<str>,
    requests: Arc<AtomicU64>,
}

/// Serves `engine` as the model `name` until `shutdown` completes; requests that run then
/// are served to their end.
///
/// # Errors
/// [`ServeError`].
pub fn serve(
    engine: Engine,
    name: &str,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        return Err(ServeError::NotLoopback(address));
    }
    listener.set_nonblocking(true)?;
    let (handle, worker) = worker::new(engine);
    let (stopped, mut engine_stopped) = watch::channel(());
    let mut engine_gone = engine_stopped.clone();
    let thread = std::thread::spawn(move || {
        let end = worker.run();
        drop(stopped);
        end
    });
    let app = App { engine: handle, model: name.into(), requests: Arc::default() };
    let router = Router::new()
        .route("/v1/completions", post(completions))
        .route("/v1/chat/completions", post(chat))
        .route("/v1/models", get(models))
        .route("/health", get(async || "ok"))
        .route("/metrics", get(metrics))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(app);
    // The router holds the way to the engine; the engine stops once both are gone.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        // A token is a small packet, and waits for no other.
        let listener = tokio::net::TcpListener::from_std(listener)?
            .tap_io(|stream| drop(stream.set_nodelay(true)));
        let until = async move {
            tokio::select! {
                () = shutdown => {}
                _ = engine_stopped.changed() => {}
            }
        };
        let end = async {
            drop(engine_gone.changed().await);
            tokio::time::sleep(END_TIMEOUT).await;
        };
        tokio::select! {
            served = axum::serve(listener, router).with_graceful_shutdown(until) => served,
            () = end => Ok(()),
        }
    })?;
    drop(runtime);
    thread.join().map_err(|_| ServeError::Panicked)?.map_err(ServeError::Engine)
}

async fn completions(State(app): State<App>, body: Bytes) -> Response {
    app.answer(Endpoint::Completions, &body).await
}

async fn chat(State(app): State<App>, body: Bytes) -> Response {
    app.answer(Endpoint::Chat, &body).await
}

async fn models(State(app): State<App>) -> Response {
    let model = json!({ "id": &*app.model, "object": "model", "owned_by": "kvkeep" });
    Json(json!({ "object": "list", "data": [model] })).into_response()
}

async fn metrics(State(app): State<App>) -> Response {
    ([("content-type", "text/plain; version=0.0.4")], app.engine.metrics()).into_response()
}

impl App {
    async fn answer(self, endpoint: Endpoint, body: &[u8]) -> Response {
        let body: Body = match serde_json::from_slice(body) {
            Ok(body) => body,
            Err(error) => return refuse(StatusCode::BAD_REQUEST, &format!("body: {error}")),
        };
        if let Some(model) = &body.model
            && **model != *self.model
        {
            let message = format!("there is no model {model:?}; `/v1/models` has {:?}", self.model);
            return refuse(StatusCode::NOT_FOUND, &message);
        }
        let (streamed, include_usage) = (body.stream, body.include_usage());
        let request = match body.request(endpoint) {
            Ok(request) => request,
            Err(message) => return refuse(StatusCode::BAD_REQUEST, &message),
        };
        let (samples, prompt_tokens) = (request.samples, request.prompt.len());
        let pieces = match self.engine.submit(request).await {
            Ok(pieces) => pieces,
            Err(Refusal::Bad(error)) => {
                return refuse(StatusCode::BAD_REQUEST, &error.to_string());
            }
            Err(Refusal::Busy) => {
                return refuse(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "too many requests wait; come back later",
                );
            }
            Err(Refusal::Gone) => return gone(),
        };
        let envelope = Envelope {
            endpoint,
            id: format!("kvkeep-{}", self.requests.fetch_add(1, Ordering::Relaxed)),
            created: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            model: self.model.to_string(),
        };
        let answers = Answers::new(envelope, pieces, samples, prompt_tokens);
        if streamed {
            return Sse::new(answers.events(include_usage)).into_response();
        }
        answers.collect().await.map_or_else(gone, |whole| Json(whole).into_response())
    }
}

fn gone() -> Response {
    refuse(StatusCode::INTERNAL_SERVER_ERROR, "the engine has stopped; see its log")
}

fn refuse(status: StatusCode, message: &str) -> Response {
    (status, Json(api::error(status.as_u16(), message))).into_response()
}
