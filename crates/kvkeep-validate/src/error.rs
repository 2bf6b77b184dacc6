//! Why there is no measurement.

use std::fmt;

/// Why a server cannot be measured.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An option is out of range.
    Option {
        /// Its name.
        name: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// The server cannot be reached, or the connection broke.
    Network {
        /// The address asked.
        url: String,
        /// Why.
        error: Box<ureq::Error>,
    },
    /// The server refused a request.
    Refused {
        /// The address asked.
        url: String,
        /// Its status.
        status: u16,
        /// What it said, shortened.
        message: String,
    },
    /// The answer is not what the API promises.
    Answer {
        /// The address asked.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option { name, rule } => write!(f, "{name}: {rule}"),
            Self::Network { url, error } => {
                write!(f, "{url}: {error}; is the server up, and the address right?")
            }
            Self::Refused { url, status, message } => {
                write!(f, "{url}: refused with status {status}: {message}")
            }
            Self::Answer { url, problem } => {
                write!(f, "{url}: {problem}; is this an OpenAI-compatible server?")
            }
        }
    }
}

impl std::error::Error for Error {}
