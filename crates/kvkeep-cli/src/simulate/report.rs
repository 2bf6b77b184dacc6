//! What a simulation found, as a table for people.
//!
//! The table carries the definition of the hit rate with it: a rate without its rule for
//! partial blocks and the last token cannot be compared.

use crate::table::{COUNT, LABEL, SHARE, grouped, percent, ratio, row, time_span};
use kvkeep_sim::simulate::Report;
use std::fmt;

/// A report as a table.
pub(crate) struct Table<'a>(pub(crate) &'a Report);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_head(f)?;
        writeln!(f)?;
        row(f, "Requests", &grouped(self.0.requests))?;
        row(f, "  rejected, larger than the pool", &grouped(self.0.rejected))?;
        row(f, "Prompt tokens", &grouped(self.0.prompt_tokens))?;
        row(f, "  found in the cache", &grouped(self.0.cached_tokens))?;
        row(f, "  computed", &grouped(self.computed_tokens()))?;
        if self.0.rejected > 0 {
            row(f, "  of rejected requests", &grouped(self.0.rejected_prompt_tokens))?;
        }
        if self.0.outputs {
            row(f, "Output tokens decoded", &grouped(self.0.decoded_tokens))?;
            row(f, "  outputs cut short by the pool", &grouped(self.0.outputs_cut_short))?;
        }
        row(f, "Evicted blocks", &grouped(self.0.evicted_blocks))?;
        writeln!(f)?;
        row(f, "Hit rate", &percent(self.0.hit_rate))?;
        row(f, "Hit rate of an infinite cache", &percent(self.0.infinite_hit_rate))?;
        writeln!(f)?;
        self.write_miss_reasons(f)?;
        writeln!(f)?;
        self.write_definition(f)?;
        writeln!(f)?;
        let speed = self.0.requests_per_second.map_or(0, |rate| rate.round() as u64);
        writeln!(
            f,
            "Took {:.2} s in the block manager ({} requests/s), {:.2} s in all.",
            self.0.replay_seconds,
            grouped(speed),
            self.0.wall_seconds
        )
    }
}

impl Table<'_> {
    fn computed_tokens(&self) -> u64 {
        self.0.prompt_tokens - self.0.cached_tokens - self.0.rejected_prompt_tokens
    }

    fn write_head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Workload  ")?;
        match (self.0.trace.as_deref(), self.0.seed) {
            (Some("-"), _) => f.write_str("stdin")?,
            (Some(trace), _) => f.write_str(trace)?,
            (None, Some(seed)) => write!(f, "built-in, seed {seed}")?,
            (None, None) => f.write_str("built-in")?,
        }
        writeln!(f, ", {} of requests", time_span(self.0.workload_seconds))?;
        let tokens = u64::from(self.0.blocks) * u64::from(self.0.block_size);
        write!(
            f,
            "Pool      {} blocks x {} tokens = {} tokens",
            grouped(self.0.blocks.into()),
            self.0.block_size,
            grouped(tokens)
        )?;
        if let (Some(bytes), Some(gpus)) = (self.0.bytes_per_gpu, self.0.gpus) {
            write!(f, ", {:.2} GiB on ", bytes as f64 / f64::from(1 << 30))?;
            match gpus {
                1 => f.write_str("one GPU")?,
                gpus => write!(f, "each of {gpus} GPUs")?,
            }
        }
        let work = if self.0.outputs { "prompts and outputs" } else { "prompts only" };
        writeln!(f, "\nReplay    {} policy, {work}, one request after another", self.0.policy)
    }

    fn write_miss_reasons(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<LABEL$}{:>COUNT$}{:>SHARE$}{:>COUNT$}{:>SHARE$}",
            "Why the hit ended", "requests", "share", "tokens computed", "share"
        )?;
        let admitted = self.0.requests - self.0.rejected;
        let mut rows: Vec<_> = self.0.miss_reasons.iter().zip(&self.0.missed_tokens).collect();
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
