//! `kvkeep simulate`: replay a workload through the block manager, report its hit rate.
//!
//! One idea per file: where requests come from (`workload`, `mooncake`, `conversations`), what they run through (`pool`, `replay`, and `infinite` as the upper bound),
//! and what is said about it (`progress`, `report`, `help`).

mod conversations;
mod help;
mod infinite;
mod mooncake;
mod pool;
mod progress;
mod replay;
mod report;
mod workload;

use crate::{error::Error, format::Format, output};
use clap::ValueEnum;
use conversations::Conversations;
use mooncake::{MooncakeReader, TraceError};
use pool::PoolArgs;
use progress::Progress;
use replay::{ReplayError, Setup};
use report::{Report, Subject};
use std::{
    fmt,
    fs::File,
    io::{self, BufReader},
    process::ExitCode,
    time::Instant,
};
use workload::{Workload, WorkloadError};

/// Bytes read from a trace at once.
const READ_BUFFER_BYTES: usize = 1 << 16;

#[derive(clap::Args)]
#[command(after_help = help::EXAMPLES, after_long_help = help::long())]
pub(crate) struct Args {
    /// A trace in Mooncake's JSON Lines format, `-` for stdin [default: a built-in workload]
    trace: Option<String>,
    /// Which cached block goes first when memory is short
    #[arg(long, value_enum, default_value_t = Policy::Lru)]
    policy: Policy,
    /// Decode the outputs as well, one token at a time
    #[arg(long)]
    outputs: bool,
    #[arg(long, value_name = "N", help = help::requests(),
          value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// Seed of the built-in workload [default: 0]
    #[arg(long, value_name = "SEED", conflicts_with = "trace")]
    seed: Option<u64>,
    /// How to print the report
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    // Last, since the headings of its flags would run on.
    #[command(flatten)]
    pool: PoolArgs,
}

/// Eviction policies of the library.
#[derive(Clone, Copy, ValueEnum)]
enum Policy {
    /// The least recently released block without cached blocks below it
    Lru,
}

impl Policy {
    const fn name(self) -> &'static str {
        match self {
            Self::Lru => "lru",
        }
    }
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
        decode_outputs: args.outputs,
        requests_limit: args.requests,
    };
    let seed = args.trace.is_none().then(|| args.seed.unwrap_or(0));
    let mut workload: Box<dyn Workload> = match (&args.trace, seed) {
        (Some(trace), _) => {
            open_trace(trace).map_err(|error| Failure::Replay(WorkloadError::from(error).into()))?
        }
        (None, seed) => Box::new(Conversations::new(
            seed.unwrap_or(0),
            args.requests.unwrap_or(conversations::DEFAULT_REQUESTS),
        )),
    };
    let outcome = replay::replay(workload.as_mut(), setup, &mut Progress::start())
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

/// Opens a trace file, or stdin for `-`.
fn open_trace(path: &str) -> Result<Box<dyn Workload>, TraceError> {
    if path == "-" {
        return Ok(Box::new(MooncakeReader::new(io::stdin().lock(), "stdin".into(), None)));
    }
    let open = || {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        Ok((file, metadata))
    };
    let (file, metadata) =
        open().map_err(|source| TraceError::Open { name: path.into(), source })?;
    // A pipe has no size.
    let size_bytes = metadata.is_file().then_some(metadata.len());
    let input = BufReader::with_capacity(READ_BUFFER_BYTES, file);
    Ok(Box::new(MooncakeReader::new(input, path.into(), size_bytes)))
}
