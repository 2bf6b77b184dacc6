//! Why a trace cannot be read: what is wrong, in which file and line, and what to do.

use super::{Format, lines::MAX_LINE_BYTES};
use std::{fmt, io};

/// Why a trace gave no further request.
#[derive(Debug)]
#[non_exhaustive]
pub enum TraceError {
    /// The file or folder cannot be opened.
    Open {
        /// As it was named.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// Reading failed half-way.
    Read {
        /// As it was named.
        name: String,
        /// What the system, or the decompression, says.
        source: io::Error,
    },
    /// There is nothing in it.
    NoRequests {
        /// As it was named.
        name: String,
    },
    /// Its format cannot be told from its beginning.
    UnknownFormat {
        /// As it was named.
        name: String,
    },
    /// It cannot be read like this; says why and what to do.
    Unsuitable {
        /// As it was named.
        name: String,
        /// Why, and what to do.
        why: String,
    },
    /// A line is not what the format says.
    Line {
        /// As the file was named.
        name: String,
        /// Counts from 1.
        line: u64,
        /// What is wrong with it.
        problem: LineProblem,
    },
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { name, source } => write!(f, "{name}: cannot be opened: {source}"),
            Self::Read { name, source } => write!(f, "{name}: cannot be read: {source}"),
            Self::NoRequests { name } => write!(f, "{name}: the trace has no requests"),
            Self::UnknownFormat { name } => write!(
                f,
                "{name}: the format cannot be told from its beginning, which is no JSON object \
                 with the fields of a request; if it is one of {}, name the trace format",
                Format::ALL.map(Format::name).join(", ")
            ),
            Self::Unsuitable { name, why } => write!(f, "{name}: {why}"),
            Self::Line { name, line, problem } => write!(f, "{name}:{line}: {problem}"),
        }
    }
}

impl std::error::Error for TraceError {}

/// What is wrong with a line.
#[derive(Debug)]
#[non_exhaustive]
pub enum LineProblem {
    /// Longer than a line may be (64 MiB).
    TooLong,
    /// Not JSON, or a field is missing or of the wrong type.
    Json(serde_path_to_error::Error<serde_json::Error>),
    /// Something follows the object.
    AfterObject(serde_json::Error),
    /// A field has a value that makes no sense.
    Field {
        /// Its name.
        field: &'static str,
        /// What was expected and what was found.
        why: String,
    },
    /// Earlier than the request before it.
    TimeGoesBack {
        /// The time field.
        field: &'static str,
        /// The request before, ms.
        from_ms: u64,
        /// This one, ms.
        to_ms: u64,
    },
}

impl LineProblem {
    /// The field `field` has a value that makes no sense.
    pub(super) fn field(field: &'static str, why: impl Into<String>) -> Self {
        Self::Field { field, why: why.into() }
    }

    /// Where JSON of several lines is broken.
    pub(super) fn line_of_json(&self) -> u64 {
        match self {
            Self::Json(error) => error.inner().line() as u64,
            Self::AfterObject(error) => error.line() as u64,
            _ => 1,
        }
    }
}

impl fmt::Display for LineProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => {
                write!(f, "longer than {} MiB; is this a JSON Lines file?", MAX_LINE_BYTES >> 20)
            }
            Self::Json(error) => {
                // "." is the whole line, "?" a name that could not be read.
                let path = error.path().to_string();
                let field = match &*path {
                    "." | "?" => String::new(),
                    path => format!("{path}: "),
                };
                write!(f, "{field}{}", in_column(error.inner()))
            }
            Self::AfterObject(error) => write!(f, "{}", in_column(error)),
            Self::Field { field, why } => write!(f, "{field}: {why}"),
            Self::TimeGoesBack { field, from_ms, to_ms } => write!(
                f,
                "{field}: {to_ms} ms is before the {from_ms} ms of the request ahead of it; sort \
                 the trace by {field}"
            ),
        }
    }
}

/// The message of `error` with its column, but where the text ends. Its own text ends in "at
/// line 1", the line within the one line that was parsed, which would contradict the line
/// number in front.
fn in_column(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let message = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
    match error.is_eof() {
        true => format!("{message}; is the trace cut off?"),
        false => format!("{message} (column {column})"),
    }
}
