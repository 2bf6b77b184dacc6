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
        /// What may help.
        advice: Option<&'static str>,
    },
    /// Less arrived than was sent.
    Cut {
        /// The address asked.
        url: String,
        /// Length of the prompt.
        sent: usize,
        /// What it is counted in.
        unit: &'static str,
        /// Tokens that the server counted.
        arrived: u64,
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
                let question = if is_tls(error) {
                    "is it behind https, and does this system trust its certificate?"
                } else {
                    "is the server up, and the address right?"
                };
                write!(f, "{url}: {error}; {question}")
            }
            Self::Refused { url, status, message, advice } => {
                write!(f, "{url}: refused with status {status}: {message}")?;
                advice.map_or(Ok(()), |advice| write!(f, "; {advice}"))
            }
            Self::Cut { url, sent, unit, arrived } => write!(
                f,
                "{url}: {sent} {unit} were sent, {arrived} tokens arrived: the server cuts \
                 prompts; give it a longer context, or lower the scale"
            ),
            Self::Answer { url, problem } => {
                write!(f, "{url}: {problem}; is this an OpenAI-compatible server?")
            }
        }
    }
}

impl std::error::Error for Error {}

/// Whether there is a server, but no agreement on how to talk in secret.
fn is_tls(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => {
            error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some()
        }
        ureq::Error::Rustls(_) => true,
        _ => false,
    }
}
