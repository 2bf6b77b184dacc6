//! Requests of a trace: read one at a time ([`Source`]), or held in memory ([`Trace`]).

mod memory;
mod request;

pub use memory::{Entry, Trace};
pub use request::{Request, Source};
