//! `kvkeep trace sample`: a share of a trace's conversations.

use super::{Failure, convert::OutputArgs, help};
use crate::trace_options::TraceOptions;
use kvkeep_sim::trace::Sample;
use std::{path::PathBuf, process::ExitCode};

#[derive(clap::Args)]
#[command(after_help = help::sample())]
pub(super) struct Args {
    /// The trace, `-` for stdin; for agent sessions a folder or files
    #[arg(required = true)]
    trace: Vec<PathBuf>,
    /// Share of the conversations to keep, above 0 and up to 1
    #[arg(long, value_name = "SHARE", value_parser = fraction)]
    fraction: f64,
    /// Names which are kept
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    reading: TraceOptions,
}

/// Samples.
pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let source = args.reading.open(&args.trace)?.source;
    args.output.refuse_inputs(&args.trace)?;
    let mut sample = Sample::new(source, args.fraction, args.seed);
    if args.output.write(&mut sample, None)? == 0 {
        return Err(Failure::NothingKept);
    }
    Ok(ExitCode::SUCCESS)
}

fn fraction(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(fraction) if fraction > 0.0 && fraction <= 1.0 => Ok(fraction),
        _ => Err("expected a number above 0 and up to 1".into()),
    }
}
