//! The `kvkeep` command: plan KV cache memory, simulate prefix caching, choose
//! policies and sizes, look at traces, measure a server.
//!
//! One file per subcommand. Data goes to stdout, talk to stderr.

mod budget_args;
mod bytes;
mod deployment;
mod error;
mod format;
mod names;
mod output;
mod plan;
mod progress;
mod simulate;
mod sweep;
mod table;
mod trace;
mod trace_options;
mod validate;

use clap::{CommandFactory, Parser, Subcommand};
use std::process::ExitCode;

/// Plan KV cache memory and simulate prefix caching.
#[derive(Parser)]
#[command(name = "kvkeep", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Size the KV cache: blocks, tokens and concurrency, with the derivation
    Plan(Box<plan::Args>),
    /// Replay a workload through the block manager and report its hit rate
    Simulate(Box<simulate::Args>),
    /// Run a trace through eviction policies at many cache sizes: more memory, or a better policy?
    Sweep(Box<sweep::Args>),
    /// Look at traces, convert, sample and make them up
    Trace(Box<trace::Args>),
    /// Measure what prefix caching gives on a running server
    Validate(Box<validate::Args>),
    /// Print a shell completion script
    Completions {
        /// The shell to print for
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Plan(args) => plan::run(*args),
        Command::Simulate(args) => simulate::run(*args),
        Command::Sweep(args) => sweep::run(&args),
        Command::Trace(args) => trace::run(*args),
        Command::Validate(args) => validate::run(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "kvkeep", &mut script);
            output::print(&script)
        }
    }
}
