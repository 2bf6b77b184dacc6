//! Traces of LLM requests, and what a prefix cache makes of them.
//!
//! * [`trace`]: where requests come from.

mod fixed;
mod splitmix;
pub mod trace;

pub use splitmix::SplitMix64;
