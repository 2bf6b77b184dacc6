//! Replays a workload through the block manager and reports its hit rate.
//!
//! One idea per file: where requests come from (`workload`, `from_trace`, `conversations`),
//! what they run through (`replay`, and `infinite` as the upper bound), and what is said about
//! it (`report`).

pub mod conversations;
mod from_trace;
mod infinite;
mod replay;
mod report;
mod workload;

pub use replay::SimulateError;
pub use report::Report;
pub use workload::WorkloadError;

use crate::trace::{self, OpenOptions};
use conversations::{Conversations, DEFAULT_REQUESTS};
use from_trace::FromTrace;
use kvkeep::budget::Budget;
use kvkeep::evict::Kind;
use replay::{Setup, replay};
use std::ops::ControlFlow;
use std::time::Instant;
use workload::Workload;

/// Told how many requests are done, and how much of the workload where that is known; says
/// whether to go on.
pub type OnRequest<'a> = &'a mut dyn FnMut(u64, Option<f64>) -> ControlFlow<()>;

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Simulation {
    /// A trace, as [`trace::open`] takes it; none for the built-in workload.
    pub trace: Option<String>,
    /// How to read the trace.
    pub reading: OpenOptions,
    /// Seed of the built-in workload.
    pub seed: u64,
    /// What to replay on.
    pub pool: Pool,
    /// Which cached block goes first.
    pub policy: Kind,
    /// Decode the outputs as well, one token at a time.
    pub outputs: bool,
    /// Stop after so many requests; none for the whole trace, or
    /// [`DEFAULT_REQUESTS`] of the built-in workload.
    pub requests: Option<u64>,
}

impl Simulation {
    /// Replays from an empty pool, one request after another.
    ///
    /// # Errors
    /// The trace cannot be read, there can be no such pool, or `on_request` says to stop.
    pub fn run(self, on_request: OnRequest<'_>) -> Result<Report, SimulateError> {
        let start = Instant::now();
        let mut workload: Box<dyn Workload> = match &self.trace {
            Some(trace) => {
                let opened = trace::open(&[trace], &self.reading).map_err(WorkloadError::from)?;
                Box::new(FromTrace::new(opened.source, trace))
            }
            None => {
                let requests = self.requests.unwrap_or(DEFAULT_REQUESTS);
                Box::new(Conversations::new(self.seed, requests))
            }
        };
        let setup = Setup {
            num_blocks: self.pool.num_blocks,
            block_size: self.pool.block_size,
            policy: self.policy,
            decode_outputs: self.outputs,
            requests_limit: self.requests,
        };
        let outcome = replay(workload.as_mut(), setup, on_request)?;
        Ok(Report::new(self, &outcome, start.elapsed()))
    }
}

/// The pool of a simulation.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    /// Blocks.
    pub num_blocks: u32,
    /// Tokens per block.
    pub block_size: u32,
    /// What the pool takes, where it was planned from memory.
    pub memory: Option<PoolMemory>,
}

/// The memory of a pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolMemory {
    /// Bytes on each GPU.
    pub bytes_per_gpu: u64,
    /// GPUs.
    pub gpus: usize,
}

impl Pool {
    /// The pool that a budget gives.
    #[must_use]
    pub fn planned(budget: &Budget) -> Pool {
        // The product is a part of the GPU's memory, which is counted in `u64` as well.
        let bytes_per_gpu = u64::from(budget.num_blocks) * budget.bytes_per_block_per_gpu;
        Pool {
            num_blocks: budget.num_blocks,
            block_size: budget.block_size,
            memory: Some(PoolMemory { bytes_per_gpu, gpus: budget.ranks.len() }),
        }
    }
}
