//! `kvkeep trace`: look at traces, convert them, take a part of one, make one up.
//!
//! One file per verb; the work itself is in `kvkeep_sim::trace`.

mod convert;
mod generate;
mod help;
mod info;
mod sample;

use kvkeep_sim::trace::{BlockSizeError, GenerateError, TraceError};
use std::{fmt, io, path::PathBuf, process::ExitCode};

#[derive(clap::Args)]
#[command(after_help = help::examples(), after_long_help = help::long())]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Say what is in a trace, and what an infinite cache would find
    Info(info::Args),
    /// Write a trace in kvkeep's format, with the same or larger blocks
    Convert(convert::Args),
    /// Make up a trace
    Generate(generate::Args),
    /// Keep a share of a trace's conversations
    Sample(sample::Args),
}

/// Runs the verb.
pub(crate) fn run(args: Args) -> ExitCode {
    let done = match args.command {
        Command::Info(args) => info::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Sample(args) => sample::run(&args),
    };
    match done {
        Ok(code) => code,
        // Whoever reads has seen enough and closed the pipe, such as `head`.
        Err(Failure::Write { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("error: {failure}");
            failure.exit_code()
        }
    }
}

/// Why a verb could not do its work.
#[derive(Debug)]
enum Failure {
    Trace(TraceError),
    BlockSize(BlockSizeError),
    Generate(GenerateError),
    Write {
        path: PathBuf,
        source: io::Error,
    },
    /// The output is one of the inputs.
    Overwrite(PathBuf),
    /// No conversation was kept.
    NothingKept,
}

impl Failure {
    /// 1: the output could not be written. 2: the input has to change.
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Write { .. } => ExitCode::from(1),
            _ => ExitCode::from(2),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trace(error) => error.fmt(f),
            Self::BlockSize(error) => error.fmt(f),
            Self::Generate(error) => write!(f, "--{error}"),
            Self::Write { path, source } if path.as_os_str() == "-" => {
                write!(f, "stdout: cannot be written: {source}")
            }
            Self::Write { path, source } => {
                write!(f, "{}: cannot be written: {source}", path.display())
            }
            Self::Overwrite(path) => {
                write!(f, "{}: is the trace that is read; write to another file", path.display())
            }
            Self::NothingKept => {
                f.write_str("no conversation was kept; raise --fraction or try another --seed")
            }
        }
    }
}

impl From<TraceError> for Failure {
    fn from(error: TraceError) -> Self {
        Self::Trace(error)
    }
}

impl From<GenerateError> for Failure {
    fn from(error: GenerateError) -> Self {
        Self::Generate(error)
    }
}
