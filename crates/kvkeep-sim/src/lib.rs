//! Traces of LLM requests, and what a prefix cache makes of them.
//!
//! * [`trace`]: where requests come from.
//! * [`Accesses`]: what a cache sees of a trace, by one of two rules.
//! * [`simulate`]: prompts and outputs of a trace, or of a built-in workload, through the
//!   block manager.
//! * [`replay`]: the library's block manager, with any policy, fed from a trace.
//! * [`Opt`]: the best that any policy can do.
//! * [`Curve`]: LRU, or the optimum, at every size at once.
//! * [`Sweep`]: policies times sizes.
//! * [`Shards`]: the same from a sample, while a trace streams by.

mod accesses;
pub mod amount;
mod curve;
pub mod deployment;
mod fixed;
mod opt;
mod parallel;
mod priority_stack;
mod recency;
mod replay;
mod shards;
pub mod simulate;
mod splitmix;
pub mod sweep;
pub mod trace;

pub use accesses::{Accesses, Rule};
pub use curve::Curve;
pub use opt::Opt;
pub use recency::RecencyStack;
pub use replay::{Hits, ReplayError, replay};
pub use shards::{Estimate, Shards};
pub use splitmix::SplitMix64;
pub use sweep::{Needed, OnProgress, Policy, Row, Sweep, UnknownPolicy};
