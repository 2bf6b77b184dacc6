//! Which cached block goes when memory is short.
//!
//! [`EvictionPolicy`] is the interface. A manager with any policy keeps the rules of
//! section 3.5 of `docs/design.md`, whatever the policy answers: it offers only blocks that
//! nobody uses and that no cached block needs, and evicts only what it offered.
//!
//! [`Lru`] is the default and costs nothing beside the manager's own lists. The other
//! policies each say where they come from, what they cost and when not to use them; [`Kind`]
//! names them for command lines.

mod adaptive;
mod adaptive_replacement;
mod clock;
mod fifo;
mod flop_aware;
mod gdsf;
mod guard;
mod heap;
mod history;
mod hyperbolic;
mod kind;
mod lfu;
mod lhd;
mod lirs;
mod lru;
mod lru_k;
mod mq;
mod policy;
mod priority;
mod random;
mod s3_fifo;
#[cfg(test)]
mod script;
mod segments;
mod sieve;
mod sketch;
mod slru;
mod tail_lru;
mod two_q;
mod uses;
mod w_tiny_lfu;
mod workload_aware;

pub use adaptive::Adaptive;
pub use adaptive_replacement::AdaptiveReplacement;
pub use clock::Clock;
pub use fifo::Fifo;
pub use flop_aware::FlopAware;
pub use gdsf::Gdsf;
pub(crate) use guard::Guard;
pub use heap::CandidateHeap;
pub use hyperbolic::Hyperbolic;
pub use kind::{Kind, UnknownPolicy};
pub use lfu::Lfu;
pub use lhd::Lhd;
pub use lirs::Lirs;
pub use lru::Lru;
pub use lru_k::LruK;
pub use mq::Mq;
pub use policy::{Access, EvictionPolicy, Inserted};
pub use priority::Priority;
pub use random::Random;
pub(crate) use random::SplitMix;
pub use s3_fifo::S3Fifo;
pub use sieve::Sieve;
pub use slru::Slru;
pub use tail_lru::TailLru;
pub use two_q::TwoQ;
pub use w_tiny_lfu::WTinyLfu;
pub use workload_aware::WorkloadAware;
