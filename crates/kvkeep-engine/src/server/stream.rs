//! Answers on their way out: as server-sent events, or collected.

use super::api::{Envelope, Usage, Whole};
use super::tokens::Decoder;
use super::worker::Piece;
use axum::response::sse::Event;
use futures_core::Stream;
use serde_json::Value;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc::UnboundedReceiver;

/// The answers to one request, token by token.
pub(super) struct Answers {
    envelope: Envelope,
    pieces: UnboundedReceiver<Piece>,
    decoders: Vec<Decoder>,
    /// Answers that have begun, by sample.
    begun: Vec<bool>,
    running: usize,
    usage: Usage,
}

impl Answers {
    pub(super) fn new(
        envelope: Envelope,
        pieces: UnboundedReceiver<Piece>,
        samples: usize,
        prompt_tokens: usize,
    ) -> Self {
        Answers {
            envelope,
            pieces,
            decoders: (0..samples).map(|_| Decoder::default()).collect(),
            begun: vec![false; samples],
            running: samples,
            usage: Usage { prompt_tokens, ..Usage::default() },
        }
    }

    /// Counts a token; the text that it completes.
    fn take(&mut self, piece: &Piece) -> String {
        self.usage.completion_tokens += 1;
        self.usage.cached_tokens = piece.tokens_cached;
        let decoder = &mut self.decoders[piece.sample];
        let mut text = decoder.push(piece.token);
        if piece.finish.is_some() {
            self.running -= 1;
            text += &decoder.flush();
        }
        text
    }

    /// All answers in one body; `None` if the engine stopped before their end.
    pub(super) async fn collect(mut self) -> Option<Value> {
        let mut answers: Vec<_> = self.decoders.iter().map(|_| Whole::default()).collect();
        while self.running > 0 {
            let piece = self.pieces.recv().await?;
            let text = self.take(&piece);
            let answer = &mut answers[piece.sample];
            answer.text += &text;
            answer.tokens.push(piece.token);
            answer.finish = piece.finish;
        }
        Some(self.envelope.whole(&answers, self.usage))
    }

    /// All answers as events.
    pub(super) fn events(self, include_usage: bool) -> Events {
        Events { answers: self, include_usage, last: VecDeque::new(), ended: false }
    }
}

/// A stream of events: one per token, then the usage if asked for, then `[DONE]`.
pub(super) struct Events {
    answers: Answers,
    include_usage: bool,
    /// What is to be sent behind the last token.
    last: VecDeque<String>,
    ended: bool,
}

impl Stream for Events {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(self.last.pop_front().map(|data| Ok(Event::default().data(data))));
        }
        let Some(piece) = ready!(self.answers.pieces.poll_recv(context)) else {
            // The engine has stopped: a stream without `[DONE]` is no whole answer.
            self.ended = true;
            return Poll::Ready(None);
        };
        let text = self.answers.take(&piece);
        let first = !std::mem::replace(&mut self.answers.begun[piece.sample], true);
        let chunk = self.answers.envelope.chunk(&piece, &text, first);
        if self.answers.running == 0 {
            self.ended = true;
            if self.include_usage {
                let usage = self.answers.envelope.usage_chunk(self.answers.usage).to_string();
                self.last.push_back(usage);
            }
            self.last.push_back("[DONE]".to_owned());
        }
        Poll::Ready(Some(Ok(Event::default().data(chunk.to_string()))))
    }
}
