//! `kvkeep trace info`: the figures of a trace, as a table and as JSON.

use super::{Failure, help};
use crate::{
    bytes::parse_count,
    format::Format,
    output,
    progress::Progress,
    table::{COUNT, LABEL, grouped, percent, ratio, row, time_span},
    trace_options::TraceOptions,
};
use kvkeep_sim::trace::{self, Info, Lengths, Opened};
use serde::Serialize;
use std::{fmt, path::PathBuf, process::ExitCode};

#[derive(clap::Args)]
#[command(after_help = help::info())]
pub(super) struct Args {
    /// The trace, `-` for stdin; for agent sessions a folder or files
    #[arg(required = true)]
    trace: Vec<PathBuf>,
    /// Stop after N requests
    #[arg(long, value_name = "N", value_parser = parse_count::<u64>)]
    requests: Option<u64>,
    /// How to print the figures
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    reading: TraceOptions,
}

/// Reads and prints.
pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let Opened { format, mut source } = args.reading.open(&args.trace)?;
    let mut progress = Progress::start("read");
    let info = Info::read(&mut source, args.requests, |requests, fraction| {
        progress.update(requests, fraction);
    })?;
    drop(progress);
    let figures = Figures::new(format, &info);
    let answer = match args.format {
        Format::Table => figures.to_string().into_bytes(),
        Format::Json => {
            let mut json = serde_json::to_vec_pretty(&figures).expect("figures are plain data");
            json.push(b'\n');
            json
        }
    };
    Ok(output::print(&answer))
}

/// What is printed; the field names are the JSON keys.
#[derive(Serialize)]
struct Figures {
    format: &'static str,
    /// Whether the trace says which prompts share a prefix.
    has_prefixes: bool,
    block_size: u32,
    requests: u64,
    /// From the first arrival to the last.
    seconds: f64,
    sessions: Option<u64>,
    prompt_tokens: u64,
    output_tokens: u64,
    blocks: u64,
    /// The working set by sweep's rule `blocks`.
    distinct_blocks: u64,
    /// The working set by sweep's rule `engine`.
    distinct_full_blocks: u64,
    distinct_tokens: u64,
    /// Found blocks / blocks, partial ones as well.
    infinite_block_hit_rate: Option<f64>,
    /// Found tokens / prompt tokens, full blocks only and never the last token.
    infinite_hit_rate: Option<f64>,
    reuse_within_10_s: Option<f64>,
    reuse_within_10_min: Option<f64>,
    prompt_length: Percentiles,
    output_length: Percentiles,
    requests_per_session: Percentiles,
    reuse_distance_blocks: Percentiles,
}

/// Nearest rank; all null where there are none.
#[derive(Serialize)]
struct Percentiles {
    min: Option<u32>,
    p50: Option<u32>,
    p90: Option<u32>,
    p99: Option<u32>,
    max: Option<u32>,
}

impl Percentiles {
    fn of(lengths: &Lengths) -> Self {
        let [min, p50, p90, p99, max] = [0, 50, 90, 99, 100].map(|at| lengths.percentile(at));
        Self { min, p50, p90, p99, max }
    }
}

impl Figures {
    fn new(format: trace::Format, info: &Info) -> Self {
        Self {
            format: format.name(),
            has_prefixes: format.has_prefixes(),
            block_size: info.block_size,
            requests: info.requests,
            seconds: info.duration_ms as f64 / 1e3,
            sessions: (info.sessions > 0).then_some(info.sessions),
            prompt_tokens: info.input_tokens,
            output_tokens: info.output_tokens,
            blocks: info.blocks,
            distinct_blocks: info.distinct_blocks,
            distinct_full_blocks: info.distinct_full_blocks,
            distinct_tokens: info.distinct_tokens,
            infinite_block_hit_rate: ratio(info.blocks_found, info.blocks),
            infinite_hit_rate: ratio(info.tokens_found, info.input_tokens),
            reuse_within_10_s: ratio(info.reuse_within_10_s, info.requests),
            reuse_within_10_min: ratio(info.reuse_within_10_min, info.requests),
            prompt_length: Percentiles::of(&info.input_lengths),
            output_length: Percentiles::of(&info.output_lengths),
            requests_per_session: Percentiles::of(&info.session_requests),
            reuse_distance_blocks: Percentiles::of(&info.reuse_distances),
        }
    }
}

/// The table.
impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Format    {}, blocks of {} tokens", self.format, self.block_size)?;
        if !self.has_prefixes {
            writeln!(f, "          lengths only: every block is its own, so nothing can hit")?;
        }
        writeln!(f)?;
        row(f, "Requests", &grouped(self.requests))?;
        row(f, "  time from first to last", &time_span(self.seconds))?;
        row(f, "  sessions", &self.sessions.map_or_else(|| "unknown".into(), grouped))?;
        row(f, "Prompt tokens", &grouped(self.prompt_tokens))?;
        row(f, "Output tokens", &grouped(self.output_tokens))?;
        row(f, "Blocks of prompts", &grouped(self.blocks))?;
        row(f, "Working set, full blocks", &grouped(self.distinct_full_blocks))?;
        row(f, "  with partial blocks", &grouped(self.distinct_blocks))?;
        row(f, "  those in tokens", &grouped(self.distinct_tokens))?;
        writeln!(f)?;
        row(f, "Infinite hit rate, tokens", &percent(self.infinite_hit_rate))?;
        row(f, "Infinite hit rate, blocks", &percent(self.infinite_block_hit_rate))?;
        writeln!(f, "Requests with a block last used")?;
        row(f, "  at most 10 s before", &percent(self.reuse_within_10_s))?;
        row(f, "  at most 10 min before", &percent(self.reuse_within_10_min))?;
        writeln!(f)?;
        write!(f, "{:<LABEL$}", "")?;
        for head in ["min", "median", "90 %", "99 %", "max"] {
            write!(f, "{head:>COUNT$}")?;
        }
        writeln!(f)?;
        for (label, percentiles) in [
            ("Prompt tokens", &self.prompt_length),
            ("Output tokens", &self.output_length),
            ("Requests per session", &self.requests_per_session),
            ("Reuse distance, blocks", &self.reuse_distance_blocks),
        ] {
            let Percentiles { min, p50, p90, p99, max } = *percentiles;
            write!(f, "{label:<LABEL$}")?;
            for figure in [min, p50, p90, p99, max] {
                let figure = figure.map_or_else(|| "n/a".into(), |figure| grouped(figure.into()));
                write!(f, "{figure:>COUNT$}")?;
            }
            writeln!(f)?;
        }
        f.write_str(
            "\nWorking set: different blocks. Engines cache full ones, which sweep counts by its rule\n\
             `engine`; by its rule `blocks` it counts the partial last blocks of prompts as well.\n\
             Infinite hit rate: of a cache that never evicts. Tokens: what an engine finds, full\n\
             blocks from the start of the prompt and never its last token, of all prompt tokens.\n\
             Blocks: leading blocks that came before, partial ones as well, of all blocks.\n\
             Reuse distance: different blocks used since a found block's last use, itself counted.\n",
        )
    }
}
