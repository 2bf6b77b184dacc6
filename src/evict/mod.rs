//! Which cached block goes when memory is short.
//!
//! [`EvictionPolicy`] is the interface. A manager with any policy keeps the rules of
//! section 3.5 of `docs/design.md`, whatever the policy answers: it offers only blocks that
//! nobody uses and that no cached block needs, and evicts only what it offered.
//!
//! [`Lru`] is the default and costs nothing beside the manager's own lists.

mod guard;
mod heap;
mod lru;
mod policy;

pub(crate) use guard::Guard;
pub use heap::CandidateHeap;
pub use lru::Lru;
pub use policy::{Access, EvictionPolicy, Inserted};
