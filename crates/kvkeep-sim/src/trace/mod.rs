//! Requests of a trace: read one at a time ([`Source`]), or held in memory ([`Trace`]).
//!
//! [`open`] reads any format; one file per format says what it accepts.

mod agentic;
mod azure;
mod bailian;
mod chain;
mod chat;
mod dynamo;
mod error;
mod fresh;
mod generate;
mod info;
mod input;
mod lines;
mod lmcache;
mod memory;
mod mooncake;
mod names;
mod open;
mod request;
mod sample;
#[cfg(test)]
mod testing;
mod tokenizer;
mod tokens;
mod unordered;
mod write;

pub use agentic::{Agentic, DEFAULT_USERS};
pub use azure::Azure;
pub use bailian::Bailian;
pub use chat::Chat;
pub use dynamo::Dynamo;
pub use error::{LineProblem, TraceError};
pub use generate::{Generate, GenerateError, GenerateOptions};
pub use info::{Info, Lengths};
pub use input::Input;
pub use lmcache::LmCache;
pub use memory::{Entry, Trace};
pub use mooncake::{MOONCAKE_BLOCK_SIZE, Mooncake};
pub use open::{Format, OpenOptions, Opened, open};
pub use request::{Request, Source};
pub use sample::Sample;
pub use tokenizer::Encode;
pub use tokens::Tokens;
pub use write::{BlockSizeError, Output, Writer};
