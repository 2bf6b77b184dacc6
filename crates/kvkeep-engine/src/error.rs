//! What can go wrong in the engine, and what to do about it.

use kvkeep::budget::{LayoutError, PageError};
use std::fmt;
use std::path::PathBuf;

/// Why the engine cannot be built, or a step cannot be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A field of the model's shape breaks a rule.
    Shape {
        /// The field, as `config.json` calls it.
        field: &'static str,
        /// Its value.
        value: usize,
        /// What it must be.
        rule: &'static str,
    },
    /// A file cannot be read.
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A `config.json` is not one, or of another architecture.
    Json {
        /// Its path.
        path: PathBuf,
        /// Where and why.
        error: serde_json::Error,
    },
    /// A folder of weights has no tensor of this name, or one of another shape.
    Weight {
        /// The tensor.
        name: String,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
        /// The shape found; `None` if there is no such tensor.
        found: Option<Vec<usize>>,
    },
    /// The host does not grant the memory of the pages.
    Memory {
        /// Bytes that one rank's pages take.
        bytes: u64,
    },
    /// A prompt has a token that the model does not know.
    UnknownToken {
        /// The token.
        token: u32,
        /// Tokens that the model knows: 0 up to this.
        vocab: usize,
    },
    /// A request asks for too many parallel answers, or none.
    Samples {
        /// Answers asked for.
        asked: usize,
        /// The bound.
        max: usize,
    },
    /// The budget of tokens per step is 0.
    NoTokensPerStep,
    /// A row of logits has an infinity or a NaN: a page was read that holds no KV.
    NotFinite {
        /// Position of the token whose logits they are.
        position: usize,
    },
    /// The block manager refused.
    Kv(kvkeep::Error),
    /// The pool cannot be built.
    Pool(kvkeep::ConfigError),
    /// The KV layout contradicts itself.
    Layout(LayoutError),
    /// A page has no address.
    Page(PageError),
    /// The tensor library refused.
    Tensor(candle_core::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape { field, value, rule } => write!(f, "{field} is {value}; {rule}"),
            Self::File { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Json { path, error } => {
                write!(f, "{}: {error}; a Qwen3 `config.json` is wanted", path.display())
            }
            Self::Weight { name, expected, found: None } => write!(
                f,
                "no tensor {name} of shape {expected:?} in the model's safetensors files; add the missing file"
            ),
            Self::Weight { name, expected, found: Some(found) } => write!(
                f,
                "tensor {name} has shape {found:?}, config.json asks for {expected:?}; take both from the same model"
            ),
            Self::Memory { bytes } => {
                write!(
                    f,
                    "{bytes} bytes of KV pages are more than the host grants; use fewer blocks"
                )
            }
            Self::UnknownToken { token, vocab } => {
                write!(f, "token {token} is not in the vocabulary; pass 0 to {}", vocab - 1)
            }
            Self::Samples { asked, max } => {
                write!(f, "{asked} answers were asked for; ask for 1 to {max}")
            }
            Self::NoTokensPerStep => {
                f.write_str("a step of 0 tokens computes nothing; allow 1 or more")
            }
            Self::NotFinite { position } => write!(
                f,
                "the logits at token {position} are not finite: the weights overflow, or a page without KV was read"
            ),
            Self::Kv(error) => error.fmt(f),
            Self::Pool(error) => error.fmt(f),
            Self::Layout(error) => error.fmt(f),
            Self::Page(error) => error.fmt(f),
            Self::Tensor(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<kvkeep::Error> for Error {
    fn from(error: kvkeep::Error) -> Self {
        Self::Kv(error)
    }
}

impl From<kvkeep::ConfigError> for Error {
    fn from(error: kvkeep::ConfigError) -> Self {
        Self::Pool(error)
    }
}

impl From<LayoutError> for Error {
    fn from(error: LayoutError) -> Self {
        Self::Layout(error)
    }
}

impl From<PageError> for Error {
    fn from(error: PageError) -> Self {
        Self::Page(error)
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Tensor(error)
    }
}
