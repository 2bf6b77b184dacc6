//! `kvkeep trace generate`: a made-up trace.

use super::{Failure, convert::OutputArgs, help};
use crate::bytes::parse_count;
use kvkeep_sim::trace::{Generate, GenerateOptions};
use std::{
    convert::Infallible,
    num::{NonZeroU16, NonZeroU32},
    process::ExitCode,
};

#[derive(clap::Args)]
#[command(after_help = help::generate())]
pub(super) struct Args {
    /// Requests in all
    #[arg(long, value_name = "N", default_value_t = GenerateOptions::default().requests,
          value_parser = parse_count::<u64>)]
    requests: u64,
    /// Sessions that start per second; of 100, 25 are single requests that share nothing
    #[arg(long, value_name = "RATE", allow_negative_numbers = true,
          default_value_t = GenerateOptions::default().sessions_per_second)]
    sessions_per_second: f64,
    /// Turns of a session, mean of a geometric distribution
    #[arg(long, value_name = "MEAN", allow_negative_numbers = true,
          default_value_t = GenerateOptions::default().turns)]
    turns: f64,
    /// Seconds from one turn to the next, median of a log-normal distribution
    #[arg(long, value_name = "MEDIAN", allow_negative_numbers = true,
          default_value_t = GenerateOptions::default().think_time)]
    think_time: f64,
    /// System prompts in use; each four share their tools
    #[arg(long, value_name = "N", default_value_t = GenerateOptions::default().system_prompts)]
    system_prompts: NonZeroU16,
    /// Exponent of their popularity: 0 is all alike
    #[arg(long, value_name = "S", allow_negative_numbers = true,
          default_value_t = GenerateOptions::default().zipf)]
    zipf: f64,
    /// Names the trace
    #[arg(long, value_name = "SEED", default_value_t = GenerateOptions::default().seed)]
    seed: u64,
    /// Tokens per block
    #[arg(long, value_name = "TOKENS", default_value_t = GenerateOptions::default().block_size)]
    block_size: NonZeroU32,
    #[command(flatten)]
    output: OutputArgs,
}

/// Makes up a trace.
pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut generate = Generate::new(GenerateOptions {
        requests: args.requests,
        seed: args.seed,
        block_size: args.block_size,
        sessions_per_second: args.sessions_per_second,
        turns: args.turns,
        system_prompts: args.system_prompts,
        zipf: args.zipf,
        think_time: args.think_time,
    })?;
    args.output.write(&mut generate, None)?;
    Ok(ExitCode::SUCCESS)
}

impl From<Infallible> for Failure {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
