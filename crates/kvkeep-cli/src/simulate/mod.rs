//! `kvkeep simulate`: replay a workload through the block manager, report its hit rate.
//!
//! One idea per file: where requests come from (`workload`, `from_trace`, `conversations`),
//! what they run through (`pool`, `replay`, and `infinite` as the upper bound), and what is said about it (`report`, `help`).

mod conversations;
mod from_trace;
mod help;
mod infinite;
mod pool;
mod replay;
mod report;
mod workload;

use crate::{
    bytes::parse_count,
    error::Error,
    format::Format,
    names, output,
    progress::Progress,
    trace_options::{TraceOptions, say_that_stdin_is_not_read},
};
use conversations::Conversations;
use from_trace::FromTrace;
use kvkeep::evict::Kind;
use pool::PoolArgs;
use replay::{ReplayError, Setup};
use report::{Report, Subject};
use std::{fmt, process::ExitCode, time::Instant};
use workload::{Workload, WorkloadError};

#[derive(clap::Args)]
#[command(after_help = help::EXAMPLES, after_long_help = help::long())]
pub(crate) struct Args {
    /// A trace, or a folder of agent sessions; `-` for stdin [default: a built-in workload]
    trace: Option<String>,
    /// Which cached block goes first when memory is short: `kvkeep sweep` compares them
    #[arg(long, value_name = "NAME", value_parser = policy, default_value_t = Kind::Lru)]
    policy: Kind,
    /// Decode the outputs as well, one token at a time
    #[arg(long)]
    outputs: bool,
    #[arg(long, value_name = "N", help = help::requests(), value_parser = parse_count::<u64>)]
    requests: Option<u64>,
    /// Seed of the built-in workload, whatever stdin is [default: 0]
    #[arg(long, value_name = "SEED", conflicts_with = "trace")]
    seed: Option<u64>,
    /// How to print the report
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    // Last, since the headings of their flags would run on.
    #[command(flatten)]
    pool: PoolArgs,
    #[command(flatten)]
    reading: TraceOptions,
}

fn policy(name: &str) -> Result<Kind, String> {
    name.parse()
        .map_err(|_| names::unknown("policy", name, Kind::ALL.iter().map(|kind| kind.name())))
}

/// Replays and prints.
pub(crate) fn run(args: Args) -> ExitCode {
    let format = args.format;
    let report = match simulate(args) {
        Ok(report) => report,
        Err(failure) => {
            eprintln!("error: {failure}");
            return failure.exit_code();
        }
    };
    output::print(&render(&report, format))
}

/// Why there is no report.
enum Failure {
    Pool(Error),
    Replay(ReplayError),
}

impl Failure {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Pool(error) => error.exit_code(),
            Self::Replay(_) => ExitCode::from(2),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pool(error) => error.fmt(f),
            Self::Replay(error) => error.fmt(f),
        }
    }
}

fn render(report: &Report, format: Format) -> Vec<u8> {
    match format {
        Format::Table => report.to_string().into_bytes(),
        Format::Json => {
            let mut json = serde_json::to_vec_pretty(report).expect("a report is plain data");
            json.push(b'\n');
            json
        }
    }
}

/// Runs the replay that `args` describe.
fn simulate(args: Args) -> Result<Report, Failure> {
    let start = Instant::now();
    let pool = args.pool.pool().map_err(Failure::Pool)?;
    let setup = Setup {
        num_blocks: pool.num_blocks,
        block_size: pool.block_size,
        policy: args.policy,
        decode_outputs: args.outputs,
        requests_limit: args.requests,
    };
    if args.trace.is_none() && args.seed.is_none() {
        say_that_stdin_is_not_read();
    }
    let seed = args.trace.is_none().then(|| args.seed.unwrap_or(0));
    let mut workload: Box<dyn Workload> = match (&args.trace, seed) {
        (Some(trace), _) => {
            let source = args.reading.open(&[trace]);
            let source =
                source.map_err(|error| Failure::Replay(WorkloadError::from(error).into()))?;
            Box::new(FromTrace::new(source, trace))
        }
        (None, seed) => Box::new(Conversations::new(
            seed.unwrap_or(0),
            args.requests.unwrap_or(conversations::DEFAULT_REQUESTS),
        )),
    };
    let outcome = replay::replay(workload.as_mut(), setup, &mut Progress::start("replayed"))
        .map_err(Failure::Replay)?;
    let subject = Subject {
        policy: args.policy.name(),
        trace: args.trace,
        seed,
        pool,
        outputs: args.outputs,
    };
    Ok(Report::new(subject, &outcome, start.elapsed()))
}
