//! LRU: the least recently released block goes first.

use super::EvictionPolicy;
use crate::BlockId;

/// Least recently used, in order of release: the default.
///
/// A request releases its blocks tail first, so among blocks of one age the deeper goes
/// first, and a chain goes from its end to its start. This is the order of the manager's own
/// lists; the policy itself is empty and free.
///
/// *Cost*: O(1) per block, and no memory. *Not for* pools so small that conversations are
/// evicted before their next turn: there, what has been used twice is worth more than what
/// has just been used (see [`LruK`](super::LruK)).
#[derive(Clone, Copy, Debug, Default)]
pub struct Lru;

impl EvictionPolicy for Lru {
    #[inline]
    fn init(&mut self, _: usize) {}

    #[inline]
    fn offer(&mut self, _: BlockId) {}

    #[inline]
    fn retract(&mut self, _: BlockId) {}

    #[inline]
    fn victim(&mut self) -> Option<BlockId> {
        None
    }

    #[inline]
    fn remove(&mut self, _: BlockId) {}

    #[inline]
    fn clear(&mut self) {}

    #[inline]
    fn is_recency(&self) -> bool {
        true
    }
}
