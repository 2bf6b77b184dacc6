//! The `kvkeep` command: plan KV cache memory, simulate prefix caching, choose
//! policies and sizes, look at traces, measure a server.
//!
//! One file per subcommand. Data goes to stdout, talk to stderr.

mod below_zero;
mod budget_args;
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

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};
use kvkeep_sim::amount as bytes;
use std::process::ExitCode;

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 it does not fit, or what was asked for could not be
written; 2 flags or files make no sense. --help after a command has examples.";

/// Plan KV cache memory and simulate prefix caching.
#[derive(Parser)]
#[command(name = "kvkeep", version, after_help = EXIT_CODES)]
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

/// The command line, or the end with what is wrong with it.
fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|mut error| {
        let args = output::command_line();
        if matches!(error.kind(), ErrorKind::UnknownArgument | ErrorKind::ValueValidation)
            && let Some((flag, value)) = below_zero::find(&args)
        {
            let message = format!("{flag} {value}: is below 0; pass a number from 0 up");
            Cli::command().error(ErrorKind::ValueValidation, message).exit()
        }
        if let Some(ContextValue::Strings(missing)) = error.get(ContextKind::InvalidArg)
            && error.kind() == ErrorKind::MissingRequiredArgument
            && missing.iter().any(|arg| arg.starts_with("<TRACE>"))
        {
            let tip = "name a file or folder, or - to read stdin".into();
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
        }
        error.exit()
    })
}

fn main() -> ExitCode {
    match parse().command {
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
