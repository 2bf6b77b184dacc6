//! What can go wrong in a subcommand, and its exit code.

use kvkeep::budget::{LayoutError, PlanError};
use kvkeep_sim::ReplayError;
use std::fmt;
use std::process::ExitCode;

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
}

impl Error {
    /// 1: sound input, but it does not fit. 2: the input has to change.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Plan(error) if !error.is_bad_input() => ExitCode::from(1),
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
