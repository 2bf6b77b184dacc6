//! The thread that owns the engine: takes requests, makes steps, hands tokens out.
//!
//! A client that has gone has dropped the receiving end of its tokens; its request is
//! aborted before the next step.

use crate::metrics::Snapshot;
use crate::{Engine, Error, Finish, Request, RequestId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc as tokio_mpsc, oneshot};

/// Most requests that wait for their first token; more are told to come back.
const MAX_WAITING: usize = 256;

/// A token on its way to a client.
pub(super) struct Piece {
    pub(super) sample: usize,
    pub(super) token: u32,
    pub(super) tokens_cached: usize,
    pub(super) finish: Option<Finish>,
}

/// Why a request is not taken.
pub(super) enum Refusal {
    /// It makes no sense, or cannot be served at all.
    Bad(Error),
    /// Too many wait.
    Busy,
    /// The engine has stopped.
    Gone,
}

struct Submission {
    request: Request,
    arrived: Instant,
    pieces: tokio_mpsc::UnboundedSender<Piece>,
    accepted: oneshot::Sender<Result<(), Refusal>>,
    place: OwnedSemaphorePermit,
}

/// The way to the engine.
#[derive(Clone)]
pub(super) struct Handle {
    submissions: mpsc::Sender<Submission>,
    /// Places for those who wait, taken here: a step may take long.
    places: Arc<Semaphore>,
    snapshot: Arc<Mutex<Snapshot>>,
}

impl Handle {
    /// Hands a request in; its tokens come through the receiver. At most as many wait
    /// there as the answers have.
    pub(super) async fn submit(
        &self,
        request: Request,
    ) -> Result<tokio_mpsc::UnboundedReceiver<Piece>, Refusal> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Refusal::Busy)?;
        let (pieces, receiver) = tokio_mpsc::unbounded_channel();
        let (accepted, answer) = oneshot::channel();
        let submission = Submission { request, arrived: Instant::now(), pieces, accepted, place };
        self.submissions.send(submission).map_err(|_| Refusal::Gone)?;
        answer.await.map_err(|_| Refusal::Gone)??;
        Ok(receiver)
    }

    pub(super) fn metrics(&self) -> String {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).to_string()
    }
}

struct Client {
    arrived: Instant,
    pieces: tokio_mpsc::UnboundedSender<Piece>,
    /// Answers that have not ended.
    running: usize,
    /// Given back with the first token.
    place: Option<OwnedSemaphorePermit>,
}

/// The engine's side.
pub(super) struct Worker {
    engine: Engine,
    submissions: mpsc::Receiver<Submission>,
    clients: HashMap<RequestId, Client>,
    snapshot: Arc<Mutex<Snapshot>>,
}

/// A worker and the way to it.
pub(super) fn new(engine: Engine) -> (Handle, Worker) {
    let (sender, submissions) = mpsc::channel();
    let snapshot = Arc::new(Mutex::new(Snapshot::default()));
    let places = Arc::new(Semaphore::new(MAX_WAITING));
    let handle = Handle { submissions: sender, places, snapshot: Arc::clone(&snapshot) };
    (handle, Worker { engine, submissions, clients: HashMap::new(), snapshot })
}

impl Worker {
    /// Works until every handle is gone and every request has ended.
    pub(super) fn run(mut self) -> Result<(), Error> {
        self.publish();
        loop {
            if self.engine.is_idle() {
                let Ok(submission) = self.submissions.recv() else { return Ok(()) };
                self.accept(submission);
            }
            while let Ok(submission) = self.submissions.try_recv() {
                self.accept(submission);
            }
            self.drop_those_who_left()?;
            self.step()?;
        }
    }

    fn accept(&mut self, submission: Submission) {
        let Submission { request, arrived, pieces, accepted, place } = submission;
        let samples = request.samples;
        let answer = self.engine.submit(request).map_err(Refusal::Bad).map(|id| {
            let place = Some(place);
            self.clients.insert(id, Client { arrived, pieces, running: samples, place });
        });
        // Who does not hear the answer has gone, and is found out before the next step.
        drop(accepted.send(answer));
    }

    fn drop_those_who_left(&mut self) -> Result<(), Error> {
        let gone: Vec<_> = self
            .clients
            .iter()
            .filter(|(_, client)| client.pieces.is_closed())
            .map(|(&id, _)| id)
            .collect();
        for id in gone {
            self.clients.remove(&id);
            self.engine.abort(id)?;
            self.with_snapshot(|snapshot| {
                snapshot.update(&self.engine);
                snapshot.requests_aborted += 1;
            });
        }
        Ok(())
    }

    /// One step; the figures are up to date before a client hears of it.
    fn step(&mut self) -> Result<(), Error> {
        let outputs = self.engine.step()?;
        self.publish();
        for output in outputs {
            let Some(client) = self.clients.get_mut(&output.request) else { continue };
            let first = client.place.take().is_some();
            client.running -= usize::from(output.finish.is_some());
            let (ended, time) = (client.running == 0, client.arrived.elapsed());
            let pieces = client.pieces.clone();
            if ended {
                self.clients.remove(&output.request);
            }
            self.with_snapshot(|snapshot| {
                snapshot.requests_finished += u64::from(ended);
                if first {
                    snapshot.time_to_first_token.record(time);
                }
            });
            // Failing is leaving; see above.
            drop(pieces.send(Piece {
                sample: output.sample,
                token: output.token,
                tokens_cached: output.tokens_cached,
                finish: output.finish,
            }));
        }
        Ok(())
    }

    fn publish(&self) {
        self.with_snapshot(|snapshot| snapshot.update(&self.engine));
    }

    fn with_snapshot(&self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.snapshot.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EngineConfig, Model, PageConfig, PageDtype, Sampling, Shape, Weights};
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    #[test]
    fn those_who_wait_are_counted_while_the_engine_is_at_work() {
        let pages = PageConfig {
            num_blocks: 8,
            block_size: 4,
            dtype: PageDtype::F32,
            tensor_parallel_size: 1,
            order: kvkeep::budget::PageOrder::BlockFirst,
        };
        let config =
            EngineConfig { pages, tokens_per_step: 8, prefix_caching: true, poison: false };
        let model = Model::new(Shape::tiny(), Weights::Random(1)).unwrap();
        // The worker takes nothing: it is in a step.
        let (handle, _worker) = new(Engine::new(model, config).unwrap());
        let request = || Request {
            prompt: vec![1],
            max_new_tokens: 1,
            samples: 1,
            sampling: Sampling { temperature: 0.0, seed: 0 },
            ignore_end: false,
            identity: kvkeep::Identity::new(),
        };
        let mut context = Context::from_waker(Waker::noop());
        let mut waiting: Vec<_> =
            (0..MAX_WAITING).map(|_| Box::pin(handle.submit(request()))).collect();
        assert!(waiting.iter_mut().all(|one| one.as_mut().poll(&mut context).is_pending()));
        let one_more = pin!(handle.submit(request())).poll(&mut context);
        assert!(matches!(one_more, Poll::Ready(Err(Refusal::Busy))));
    }
}
