//! Which cached block goes next.
//!
//! One policy per file. A policy sees blocks only while they are cached (reference
//! count 0, published): it is told of each release and of each pin, and asked for
//! victims. Sequences release tail first, which is what keeps every chain whole.

mod lru;

pub(crate) use lru::{Lru, Tail};
