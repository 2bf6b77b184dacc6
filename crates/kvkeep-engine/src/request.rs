//! What the engine is asked for, and what it answers.

use crate::Sampling;
use kvkeep::Identity;

/// Most answers to one request.
pub const MAX_SAMPLES: usize = 16;

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Tokens to go on from.
    pub prompt: Vec<u32>,
    /// Most tokens of an answer, at least 1.
    pub max_new_tokens: usize,
    /// Answers wanted, 1 to [`MAX_SAMPLES`].
    pub samples: usize,
    /// How the tokens of the answers are chosen.
    pub sampling: Sampling,
    /// Whether an answer goes on behind the token that ends one.
    pub ignore_end: bool,
    /// What the KV depends on besides the tokens: the salt.
    pub identity: Identity,
}

/// Names a request for as long as the engine lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(crate) u64);

/// Why an answer has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It has as many tokens as were allowed.
    Length,
    /// The model ended it.
    Stop,
}

/// One token of one answer.
#[derive(Clone, Debug)]
pub struct Output {
    /// Whose answer.
    pub request: RequestId,
    /// Which of its answers.
    pub sample: usize,
    /// The token.
    pub token: u32,
    /// The logits it was chosen from.
    pub logits: Vec<f32>,
    /// Prompt tokens whose KV was there when the request was first admitted.
    pub tokens_cached: usize,
    /// Set on the last token.
    pub finish: Option<Finish>,
}

/// An answer in the making. The engine keeps the tokens: the manager does not give them
/// back, and a preempted job needs them to return.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) id: RequestId,
    pub(crate) sample: usize,
    pub(crate) tokens: Vec<u32>,
    /// Prompt and longest answer.
    pub(crate) max_tokens: usize,
    /// Answers still to be forked off, this one included.
    pub(crate) samples: usize,
    pub(crate) sampling: Sampling,
    pub(crate) ignore_end: bool,
    pub(crate) identity: Identity,
    /// Known once it has been admitted.
    pub(crate) tokens_cached: Option<usize>,
}
