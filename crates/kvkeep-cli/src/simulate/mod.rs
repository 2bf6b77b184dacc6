//! `kvkeep simulate`: replay a workload through the block manager, report its hit rate.
//!
//! The replay is the simulator's. Here are its flags (`pool`, `help`) and its table (`report`).

mod help;
mod pool;
mod report;

use crate::{
    bytes::parse_count,
    error::Error,
    format::Format,
    names, output,
    progress::Progress,
    trace_options::{TraceOptions, say_that_stdin_is_not_read},
};
use kvkeep::evict::Kind;
use kvkeep_sim::simulate::{Report, SimulateError, Simulation};
use pool::PoolArgs;
use report::Table;
use std::{fmt, ops::ControlFlow, process::ExitCode};

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
    Replay(SimulateError),
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
        Format::Table => Table(report).to_string().into_bytes(),
        Format::Json => {
            let mut json = serde_json::to_vec_pretty(report).expect("a report is plain data");
            json.push(b'\n');
            json
        }
    }
}

/// Runs the replay that `args` describe.
fn simulate(args: Args) -> Result<Report, Failure> {
    let pool = args.pool.pool().map_err(Failure::Pool)?;
    if args.trace.is_none() && args.seed.is_none() {
        say_that_stdin_is_not_read();
    }
    let simulation = Simulation {
        trace: args.trace,
        reading: args.reading.options(),
        seed: args.seed.unwrap_or(0),
        pool,
        policy: args.policy,
        outputs: args.outputs,
        requests: args.requests,
    };
    let mut progress = Progress::start("replayed");
    let mut show = |requests, fraction| {
        progress.update(requests, fraction);
        ControlFlow::Continue(())
    };
    simulation.run(&mut show).map_err(Failure::Replay)
}
