//! What a simulation found.

use super::{Simulation, replay::Outcome};
use kvkeep::MissReason;
use serde::{Serialize, Serializer};
use std::time::Duration;

/// The figures of one replay; the field names are the JSON keys.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Name of the policy.
    pub policy: &'static str,
    /// The trace as it was named; none for the built-in workload.
    pub trace: Option<String>,
    /// Of the built-in workload.
    pub seed: Option<u64>,
    /// From the first request to the last, by the workload's own clock.
    pub workload_seconds: f64,
    /// Blocks of the pool.
    pub blocks: u32,
    /// Tokens per block.
    pub block_size: u32,
    /// Bytes on each GPU, where the pool was planned from memory.
    pub bytes_per_gpu: Option<u64>,
    /// GPUs that the pool is spread over.
    pub gpus: Option<usize>,
    /// All requests, rejected ones included.
    pub requests: u64,
    /// Requests whose prompt is larger than the pool.
    pub rejected: u64,
    /// Of all requests, rejected ones included.
    pub prompt_tokens: u64,
    /// Of these, those of rejected requests.
    pub rejected_prompt_tokens: u64,
    /// Of these, those that were found.
    pub cached_tokens: u64,
    /// `cached_tokens / prompt_tokens`; none where there is no request.
    pub hit_rate: Option<f64>,
    /// The same of a cache that never evicts.
    pub infinite_hit_rate: Option<f64>,
    /// Blocks that were evicted.
    pub evicted_blocks: u64,
    /// Requests by the reason why their hit ended.
    #[serde(serialize_with = "as_map")]
    pub miss_reasons: Vec<(MissReason, u64)>,
    /// Prompt tokens that were not found, by the same reasons.
    #[serde(serialize_with = "as_map")]
    pub missed_tokens: Vec<(MissReason, u64)>,
    /// Whether outputs were decoded as well.
    pub outputs: bool,
    /// Output tokens whose KV was computed.
    pub decoded_tokens: u64,
    /// Requests whose output was cut off because it outgrew the pool.
    pub outputs_cut_short: u64,
    /// In the manager, without reading the workload.
    pub replay_seconds: f64,
    /// By that time.
    pub requests_per_second: Option<f64>,
    /// From start to end.
    pub wall_seconds: f64,
}

impl Report {
    /// The report of `outcome`, which took `wall_time` from start to end.
    pub(super) fn new(subject: Simulation, outcome: &Outcome, wall_time: Duration) -> Self {
        let rate = |tokens| ratio(tokens, outcome.prompt_tokens);
        let misses = || outcome.misses.iter();
        let replay_seconds = outcome.manager_time.as_secs_f64();
        Self {
            hit_rate: rate(outcome.cached_tokens),
            infinite_hit_rate: rate(outcome.infinite_cached_tokens),
            policy: subject.policy.name(),
            seed: subject.trace.is_none().then_some(subject.seed),
            trace: subject.trace,
            workload_seconds: outcome.span_ms as f64 / 1e3,
            blocks: subject.pool.num_blocks,
            block_size: subject.pool.block_size,
            bytes_per_gpu: subject.pool.memory.map(|memory| memory.bytes_per_gpu),
            gpus: subject.pool.memory.map(|memory| memory.gpus),
            requests: outcome.requests,
            rejected: outcome.rejected,
            prompt_tokens: outcome.prompt_tokens,
            rejected_prompt_tokens: outcome.rejected_prompt_tokens,
            cached_tokens: outcome.cached_tokens,
            evicted_blocks: outcome.evicted_blocks,
            miss_reasons: misses().map(|(reason, count)| (reason, count.requests)).collect(),
            missed_tokens: misses().map(|(reason, count)| (reason, count.tokens)).collect(),
            outputs: subject.outputs,
            decoded_tokens: outcome.decoded_tokens,
            outputs_cut_short: outcome.outputs_cut_short,
            replay_seconds,
            requests_per_second: (replay_seconds > 0.0)
                .then(|| outcome.requests as f64 / replay_seconds),
            wall_seconds: wall_time.as_secs_f64(),
        }
    }
}

/// `part / whole`, which nothing has of nothing.
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn as_map<S: Serializer>(pairs: &[(MissReason, u64)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(pairs.iter().map(|(reason, count)| (reason.name(), count)))
}
