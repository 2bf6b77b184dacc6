//! What a replay found, as a table for people and as JSON for programs.
//!
//! Both print the same figures. The table carries the definition of the hit rate with it: a
//! rate without its rule for partial blocks and the last token cannot be compared.

use super::{pool::Pool, replay::Outcome};
use crate::table::{COUNT, LABEL, SHARE, grouped, percent, ratio, row, time_span};
use kvkeep::MissReason;
use serde::{Serialize, Serializer};
use std::{fmt, time::Duration};

/// The figures of one replay; the field names are the JSON keys.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    policy: &'static str,
    /// The trace as it was named; none for the built-in workload.
    trace: Option<String>,
    /// Of the built-in workload.
    seed: Option<u64>,
    /// From the first request to the last, by the workload's own clock.
    workload_seconds: f64,
    blocks: u32,
    block_size: u32,
    /// Where the pool was planned from memory.
    bytes_per_gpu: Option<u64>,
    gpus: Option<usize>,
    /// All requests, rejected ones included.
    requests: u64,
    rejected: u64,
    /// Of all requests, rejected ones included.
    prompt_tokens: u64,
    rejected_prompt_tokens: u64,
    cached_tokens: u64,
    /// `cached_tokens / prompt_tokens`; none where there is no request.
    hit_rate: Option<f64>,
    infinite_hit_rate: Option<f64>,
    evicted_blocks: u64,
    /// Requests by the reason why their hit ended.
    #[serde(serialize_with = "as_map")]
    miss_reasons: Vec<(MissReason, u64)>,
    /// Prompt tokens that were not found, by the same reasons.
    #[serde(serialize_with = "as_map")]
    missed_tokens: Vec<(MissReason, u64)>,
    /// Whether outputs were decoded as well.
    outputs: bool,
    decoded_tokens: u64,
    outputs_cut_short: u64,
    /// In the manager, without reading the workload.
    replay_seconds: f64,
    requests_per_second: Option<f64>,
    /// From start to end.
    wall_seconds: f64,
}

/// What was replayed, for the report's head.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) policy: &'static str,
    pub(crate) trace: Option<String>,
    pub(crate) seed: Option<u64>,
    pub(crate) pool: Pool,
    pub(crate) outputs: bool,
}

impl Report {
    /// The report of `outcome`, which took `wall_time` from start to end.
    pub(crate) fn new(subject: Subject, outcome: &Outcome, wall_time: Duration) -> Self {
        let rate = |tokens| ratio(tokens, outcome.prompt_tokens);
        let misses = || outcome.misses.iter();
        let replay_seconds = outcome.manager_time.as_secs_f64();
        Self {
            hit_rate: rate(outcome.cached_tokens),
            infinite_hit_rate: rate(outcome.infinite_cached_tokens),
            policy: subject.policy,
            trace: subject.trace,
            seed: subject.seed,
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

fn as_map<S: Serializer>(pairs: &[(MissReason, u64)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(pairs.iter().map(|(reason, count)| (reason.name(), count)))
}

/// The table.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_head(f)?;
        writeln!(f)?;
        row(f, "Requests", &grouped(self.requests))?;
        row(f, "  rejected, larger than the pool", &grouped(self.rejected))?;
        row(f, "Prompt tokens", &grouped(self.prompt_tokens))?;
        row(f, "  found in the cache", &grouped(self.cached_tokens))?;
        row(f, "  computed", &grouped(self.computed_tokens()))?;
        if self.rejected > 0 {
            row(f, "  of rejected requests", &grouped(self.rejected_prompt_tokens))?;
        }
        if self.outputs {
            row(f, "Output tokens decoded", &grouped(self.decoded_tokens))?;
            row(f, "  outputs cut short by the pool", &grouped(self.outputs_cut_short))?;
        }
        row(f, "Evicted blocks", &grouped(self.evicted_blocks))?;
        writeln!(f)?;
        row(f, "Hit rate", &percent(self.hit_rate))?;
        row(f, "Hit rate of an infinite cache", &percent(self.infinite_hit_rate))?;
        writeln!(f)?;
        self.write_miss_reasons(f)?;
        writeln!(f)?;
        self.write_definition(f)?;
        writeln!(f)?;
        let speed = self.requests_per_second.map_or(0, |rate| rate.round() as u64);
        writeln!(
            f,
            "Took {:.2} s in the block manager ({} requests/s), {:.2} s in all.",
            self.replay_seconds,
            grouped(speed),
            self.wall_seconds
        )
    }
}

impl Report {
    fn computed_tokens(&self) -> u64 {
        self.prompt_tokens - self.cached_tokens - self.rejected_prompt_tokens
    }

    fn write_head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Workload  ")?;
        match (self.trace.as_deref(), self.seed) {
            (Some("-"), _) => f.write_str("stdin")?,
            (Some(trace), _) => f.write_str(trace)?,
            (None, Some(seed)) => write!(f, "built-in, seed {seed}")?,
            (None, None) => f.write_str("built-in")?,
        }
        writeln!(f, ", {} of requests", time_span(self.workload_seconds))?;
        let tokens = u64::from(self.blocks) * u64::from(self.block_size);
        write!(
            f,
            "Pool      {} blocks x {} tokens = {} tokens",
            grouped(self.blocks.into()),
            self.block_size,
            grouped(tokens)
        )?;
        if let (Some(bytes), Some(gpus)) = (self.bytes_per_gpu, self.gpus) {
            write!(f, ", {:.2} GiB on ", bytes as f64 / f64::from(1 << 30))?;
            match gpus {
                1 => f.write_str("one GPU")?,
                gpus => write!(f, "each of {gpus} GPUs")?,
            }
        }
        let work = if self.outputs { "prompts and outputs" } else { "prompts only" };
        writeln!(f, "\nReplay    {} policy, {work}, one request after another", self.policy)
    }

    fn write_miss_reasons(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<LABEL$}{:>COUNT$}{:>SHARE$}{:>COUNT$}{:>SHARE$}",
            "Why the hit ended", "requests", "share", "tokens computed", "share"
        )?;
        let admitted = self.requests - self.rejected;
        let mut rows: Vec<_> = self.miss_reasons.iter().zip(&self.missed_tokens).collect();
        rows.retain(|((_, requests), _)| *requests > 0);
        rows.sort_by_key(|(_, (_, tokens))| std::cmp::Reverse(*tokens));
        for ((reason, requests), (_, tokens)) in rows {
            writeln!(
                f,
                "{:<LABEL$}{:>COUNT$}{:>SHARE$}{:>COUNT$}{:>SHARE$}",
                format!("  {}", reason.name().replace('_', " ")),
                grouped(*requests),
                percent(ratio(*requests, admitted)),
                grouped(*tokens),
                percent(ratio(*tokens, self.computed_tokens())),
            )?;
        }
        Ok(())
    }

    fn write_definition(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "Hit rate = prompt tokens found in the cache / prompt tokens of all requests; a\n\
             rejected request misses all of its own. A hit is the longest run of full blocks from\n\
             the start of the prompt; the last prompt token is always computed. The infinite cache\n\
             follows the same rule, rejects nothing and never evicts. Tokens computed: the whole\n\
             prompt after the hit, new content included.\n",
        )
    }
}
