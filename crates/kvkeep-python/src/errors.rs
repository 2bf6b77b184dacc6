//! The library's errors as the exceptions of `kvkeep._errors`.
//!
//! The classes are plain Python, so that type checkers and pickles know them. Raising looks
//! them up by name: it is the rare way.

use kvkeep_sim::ReplayError;
use kvkeep_sim::simulate::{SimulateError, WorkloadError};
use kvkeep_sim::trace::TraceError;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// An error that has an exception.
pub(crate) trait Raise {
    /// The exception.
    fn raise(self) -> PyErr;
}

/// An exception of `kvkeep._errors` with its attributes.
pub(crate) struct Exception {
    class: &'static str,
    message: String,
    attributes: Vec<(&'static str, u64)>,
}

impl Exception {
    /// One without attributes.
    pub(crate) fn new(class: &'static str, message: impl ToString) -> Self {
        Exception { class, message: message.to_string(), attributes: Vec::new() }
    }

    /// The same with the message of an error that wraps it.
    pub(crate) fn saying(mut self, message: impl ToString) -> Self {
        self.message = message.to_string();
        self
    }

    /// Adds an attribute.
    pub(crate) fn with(mut self, name: &'static str, value: impl TryInto<u64>) -> Self {
        self.attributes.push((name, value.try_into().unwrap_or(u64::MAX)));
        self
    }

    fn build(&self, py: Python<'_>) -> PyResult<PyErr> {
        let class = py.import("kvkeep._errors")?.getattr(self.class)?;
        let exception = class.call1((PyString::new(py, &self.message),))?;
        for &(name, value) in &self.attributes {
            exception.setattr(name, value)?;
        }
        Ok(PyErr::from_value(exception))
    }
}

impl Raise for Exception {
    fn raise(self) -> PyErr {
        Python::attach(|py| self.build(py).unwrap_or_else(|error| error))
    }
}

/// The exception of a refused operation.
pub(crate) fn refused(error: &kvkeep::Error) -> Exception {
    use kvkeep::Error;
    let as_exception = |class| Exception::new(class, error);
    match *error {
        Error::EmptyPrompt => as_exception("EmptyPromptError"),
        Error::TooLong { tokens, max } => {
            as_exception("TooLongError").with("tokens", tokens).with("max", max)
        }
        Error::MediaBeyondPrompt { end, prompt_tokens } => as_exception("MediaBeyondPromptError")
            .with("end", end)
            .with("prompt_tokens", prompt_tokens),
        Error::TooManySequences { max } => as_exception("TooManySequencesError").with("max", max),
        Error::UnknownSequence(seq) => {
            as_exception("UnknownSequenceError").with("seq", seq.to_u64())
        }
        Error::StepOpen(seq) => as_exception("StepOpenError").with("seq", seq.to_u64()),
        Error::NoStep(seq) => as_exception("NoStepError").with("seq", seq.to_u64()),
        Error::TwiceInBatch(seq) => as_exception("TwiceInBatchError").with("seq", seq.to_u64()),
        Error::Started(seq) => as_exception("StartedError").with("seq", seq.to_u64()),
        Error::ZeroTokens => as_exception("ZeroTokensError"),
        Error::UnknownTokens { needed, known } => {
            as_exception("UnknownTokensError").with("needed", needed).with("known", known)
        }
        Error::CommitTooLong { asked, reserved } => {
            as_exception("CommitTooLongError").with("asked", asked).with("reserved", reserved)
        }
        Error::OutOfBlocks { needed, available } => {
            as_exception("OutOfBlocksError").with("needed", needed).with("available", available)
        }
        Error::NotDuplicate { position } => {
            as_exception("NotDuplicateError").with("position", position)
        }
        Error::TooManyHints { max } => as_exception("TooManyHintsError").with("max", max),
        Error::EmptyRange { start, end } => {
            as_exception("EmptyRangeError").with("start", start).with("end", end)
        }
        Error::PriorityTooHigh(priority) => {
            as_exception("PriorityTooHighError").with("priority", priority)
        }
        Error::TimeWentBack { passed_ms, now_ms } => {
            as_exception("TimeWentBackError").with("passed_ms", passed_ms).with("now_ms", now_ms)
        }
        _ => as_exception("KvkeepError"),
    }
}

impl Raise for kvkeep::Error {
    fn raise(self) -> PyErr {
        refused(&self).raise()
    }
}

impl Raise for TraceError {
    fn raise(self) -> PyErr {
        let exception = Exception::new("TraceError", &self);
        match self {
            TraceError::Line { line, .. } => exception.with("line", line).raise(),
            _ => exception.raise(),
        }
    }
}

impl Raise for SimulateError {
    fn raise(self) -> PyErr {
        match self {
            SimulateError::Workload(WorkloadError::Trace(error)) => error.raise(),
            SimulateError::Config(error) => error.raise(),
            SimulateError::Manager(error) => error.raise(),
            error => Exception::new("TraceError", error).raise(),
        }
    }
}

impl Raise for ReplayError {
    fn raise(self) -> PyErr {
        match self {
            ReplayError::Config(error) => error.raise(),
            ReplayError::Manager(error) => error.raise(),
            // Then something else is raised already.
            ReplayError::Stopped => Exception::new("KvkeepError", self).raise(),
        }
    }
}

macro_rules! without_attributes {
    ($($error:ty => $class:literal,)*) => {
        $(impl Raise for $error {
            fn raise(self) -> PyErr {
                Exception::new($class, self).raise()
            }
        })*
    };
}

without_attributes! {
    kvkeep::ConfigError => "ConfigError",
    kvkeep::IdentityError => "IdentityError",
    kvkeep::InvariantError => "InvariantError",
    kvkeep::evict::UnknownPolicy => "UnknownPolicyError",
    kvkeep_sim::UnknownPolicy => "UnknownPolicyError",
    kvkeep::budget::LayoutError => "LayoutError",
    kvkeep_sim::sweep::MemoryError => "LayoutError",
    kvkeep::budget::ParseKvDtypeError => "LayoutError",
    kvkeep::budget::PlanError => "PlanError",
    kvkeep::budget::PageError => "PageError",
}
