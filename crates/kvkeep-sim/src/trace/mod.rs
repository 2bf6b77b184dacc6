//! Requests of a trace: read one at a time ([`Source`]), or held in memory ([`Trace`]).

mod agentic;
mod error;
mod input;
mod lines;
mod memory;
mod mooncake;
mod request;

pub use agentic::{Agentic, DEFAULT_USERS};
pub use error::{LineProblem, TraceError};
pub use input::Input;
pub use memory::{Entry, Trace};
pub use mooncake::{MOONCAKE_BLOCK_SIZE, Mooncake};
pub use request::{Request, Source};
