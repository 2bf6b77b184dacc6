//! What the engine says about itself, in Prometheus' text format.

use crate::Engine;
use kvkeep::{Stats, Usage};
use std::fmt;
use std::time::Duration;

/// Upper bounds of the buckets of times, in seconds.
const BUCKETS_S: [f64; 12] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.8, 1.5, 3.0, 10.0, f64::INFINITY];

/// A histogram of times.
#[derive(Clone, Default)]
pub(crate) struct Times {
    counts: [u64; BUCKETS_S.len()],
    sum_s: f64,
}

impl Times {
    pub(crate) fn record(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        let bucket = BUCKETS_S.partition_point(|&bound| bound < seconds);
        self.counts[bucket.min(BUCKETS_S.len() - 1)] += 1;
        self.sum_s += seconds;
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, name: &str, help: &str) -> fmt::Result {
        writeln!(f, "# HELP {name} {help}\n# TYPE {name} histogram")?;
        let mut total = 0;
        for (bound, count) in BUCKETS_S.iter().zip(self.counts) {
            total += count;
            let bound = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
            writeln!(f, "{name}_bucket{{le=\"{bound}\"}} {total}")?;
        }
        writeln!(f, "{name}_sum {}\n{name}_count {total}", self.sum_s)
    }
}

/// The figures after a step.
#[derive(Clone, Default)]
pub(crate) struct Snapshot {
    stats: Stats,
    usage: Usage,
    waiting: usize,
    running: usize,
    tokens_generated: u64,
    pub(crate) requests_finished: u64,
    pub(crate) requests_aborted: u64,
    pub(crate) time_to_first_token: Times,
}

impl Snapshot {
    pub(crate) fn update(&mut self, engine: &Engine) {
        self.stats = *engine.kv().stats();
        self.usage = engine.kv().usage();
        (self.waiting, self.running) = engine.queue();
        self.tokens_generated = engine.tokens_generated();
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Snapshot { stats, usage, .. } = self;
        let mut one = |kind: &str, name: &str, help: &str, value: u64| {
            writeln!(
                f,
                "# HELP kvkeep_{name} {help}\n# TYPE kvkeep_{name} {kind}\nkvkeep_{name} {value}"
            )
        };
        for (name, help, value) in [
            ("prompt_tokens_total", "Prompt tokens admitted.", stats.prompt_tokens),
            ("prompt_tokens_cached_total", "Prompt tokens found cached.", stats.cached_tokens),
            ("computed_tokens_total", "Tokens whose KV was computed.", stats.committed_tokens),
            ("generated_tokens_total", "Tokens sampled.", self.tokens_generated),
            ("preemptions_total", "Answers that gave way.", stats.preemptions),
            ("evicted_blocks_total", "Cached blocks given up.", stats.evicted_blocks),
            ("published_blocks_total", "Blocks that became visible.", stats.published_blocks),
            ("requests_finished_total", "Requests served.", self.requests_finished),
            ("requests_aborted_total", "Requests whose client left.", self.requests_aborted),
        ] {
            one("counter", name, help, value)?;
        }
        for (name, help, value) in [
            ("requests_waiting", "Requests that wait, preempted answers as well.", self.waiting),
            ("answers_running", "Answers that hold blocks.", self.running),
        ] {
            one("gauge", name, help, value as u64)?;
        }
        writeln!(f, "# HELP kvkeep_blocks Blocks of the pool.\n# TYPE kvkeep_blocks gauge")?;
        for (state, blocks) in
            [("free", usage.free), ("cached", usage.cached), ("in_use", usage.in_use)]
        {
            writeln!(f, "kvkeep_blocks{{state=\"{state}\"}} {blocks}")?;
        }
        let help = "From the arrival of a request to its first token.";
        self.time_to_first_token.write(f, "kvkeep_time_to_first_token_seconds", help)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up() {
        let mut snapshot = Snapshot::default();
        for ms in [1, 5, 6, 800, 801, 60_000] {
            snapshot.time_to_first_token.record(Duration::from_millis(ms));
        }
        let text = snapshot.to_string();
        for line in [
            "kvkeep_time_to_first_token_seconds_bucket{le=\"0.005\"} 2",
            "kvkeep_time_to_first_token_seconds_bucket{le=\"0.01\"} 3",
            "kvkeep_time_to_first_token_seconds_bucket{le=\"0.8\"} 4",
            "kvkeep_time_to_first_token_seconds_bucket{le=\"1.5\"} 5",
            "kvkeep_time_to_first_token_seconds_bucket{le=\"+Inf\"} 6",
            "kvkeep_time_to_first_token_seconds_count 6",
            "kvkeep_blocks{state=\"free\"} 0",
            "kvkeep_preemptions_total 0",
        ] {
            assert!(text.lines().any(|written| written == line), "{line}\n{text}");
        }
    }
}
