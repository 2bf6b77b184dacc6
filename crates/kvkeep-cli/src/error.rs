//! What can go wrong in a subcommand, and its exit code.

use kvkeep::budget::{LayoutError, PlanError};
use kvkeep_sim::{ReplayError, trace::TraceError};
use std::path::PathBuf;
use std::process::ExitCode;
use std::{fmt, io};

/// A failed subcommand.
#[derive(Debug)]
pub(crate) enum Error {
    /// Flags or files that make no sense.
    Input(String),
    /// The layout contradicts itself.
    Layout(LayoutError),
    /// The budget cannot be computed, or does not fit.
    Plan(PlanError),
    /// A cache cannot be simulated.
    Replay(ReplayError),
    /// A file cannot be written.
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Error {
    /// 1: sound input, but it does not fit, or the answer has no place to go. 2: the input has to
    /// change.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Plan(error) if !error.is_bad_input() => ExitCode::from(1),
            Self::Write { .. } => ExitCode::from(1),
            _ => ExitCode::from(2),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(message) => f.write_str(message),
            Self::Layout(error) => error.fmt(f),
            Self::Plan(error) => error.fmt(f),
            Self::Replay(error) => error.fmt(f),
            Self::Write { path, source } => {
                write!(f, "{}: cannot be written: {source}", path.display())
            }
        }
    }
}

impl std::error::Error for Error {}

impl From<LayoutError> for Error {
    fn from(error: LayoutError) -> Self {
        Self::Layout(error)
    }
}

impl From<PlanError> for Error {
    fn from(error: PlanError) -> Self {
        Self::Plan(error)
    }
}

impl From<TraceError> for Error {
    fn from(error: TraceError) -> Self {
        Self::Input(error.to_string())
    }
}
