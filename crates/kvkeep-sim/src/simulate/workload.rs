//! What a replay is fed: requests in order, each written into the same buffer.
//!
//! A trace holds more tokens than memory should, so a workload is never a list. It
//! overwrites one [`Request`] per call and keeps that request's allocation.

use crate::trace::TraceError;
use std::{fmt, ops::Range};

/// One request: a prompt to look up and compute, and the output that follows it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    /// When it arrived, in milliseconds from the start of the workload.
    pub(super) timestamp_ms: u64,
    /// The prompt's tokens, at least one.
    pub(super) prompt: Vec<u32>,
    /// The output's tokens, as a run of consecutive ids: no workload needs more, and a run
    /// costs nothing while outputs are ignored.
    pub(super) output: Range<u32>,
}

/// Requests in the order in which they are replayed.
pub(super) trait Workload {
    /// Overwrites `request` with the next one; `false` when there is none left.
    ///
    /// # Errors
    /// It cannot be read, or has too many tokens.
    fn read_next(&mut self, request: &mut Request) -> Result<bool, WorkloadError>;

    /// How much of the workload has been read, from 0 to 1, where its size is known.
    fn fraction_read(&self) -> Option<f64>;
}

/// Why a workload could not give its next request.
#[derive(Debug)]
#[non_exhaustive]
pub enum WorkloadError {
    /// The trace cannot be read, or a line of it is malformed.
    Trace(TraceError),
    /// The trace has more distinct tokens than a `u32` can name.
    TraceTooLong {
        /// The trace.
        name: String,
        /// The request that has one too many, from 1.
        request: u64,
    },
    /// The built-in workload has given out every token id.
    BuiltInTooLong {
        /// The requests that were given before.
        requests: u64,
    },
}

impl fmt::Display for WorkloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trace(error) => error.fmt(f),
            Self::TraceTooLong { name, request } => write!(
                f,
                "{name}: the distinct blocks and the outputs up to request {request} exceed 2^32 \
                 tokens; stop after fewer requests, or split the trace"
            ),
            Self::BuiltInTooLong { requests } => write!(
                f,
                "the built-in workload ran out of token ids after {requests} requests; \
                 ask for fewer"
            ),
        }
    }
}

impl std::error::Error for WorkloadError {}

impl From<TraceError> for WorkloadError {
    fn from(error: TraceError) -> Self {
        Self::Trace(error)
    }
}
