//! Retention hints: what a caller knows about reuse.
//!
//! A hint orders victims, it never protects one from eviction for good. This file owns
//! the hint type and the expiry of hints above the default priority; releasing
//! (`manager/release.rs`) applies them.

use crate::Error;
use crate::slot::Class;
use ahash::AHashMap;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Priority of blocks without a hint.
pub const DEFAULT_PRIORITY: u8 = 35;
/// Most hints of one sequence.
pub const MAX_HINTS: usize = 64;

pub(crate) const DEFAULT_CLASS: Class = class_of(DEFAULT_PRIORITY);
/// Expiry of a hint that does not expire.
pub(crate) const NEVER: u64 = u64::MAX;

const fn class_of(priority: u8) -> Class {
    priority + 1
}

/// A hint on how long a range of tokens is worth keeping, for
/// [`BlockManager::retain`](crate::BlockManager::retain).
///
/// Blocks of lower priority are evicted first, whatever their age; inside a priority the
/// least recently released goes first. Without a hint the priority is
/// [`DEFAULT_PRIORITY`].
///
/// ```
/// use kvkeep::Retention;
///
/// let system_prompt = Retention::priority(80)?.for_ms(600_000);
/// let scratch_pad = Retention::not_reused();
/// # let _ = (system_prompt, scratch_pad);
/// # Ok::<(), kvkeep::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    pub(crate) class: Class,
    pub(crate) ttl_ms: u64,
}

impl Retention {
    /// Priority 0 (goes first) to 100 (goes last).
    ///
    /// # Errors
    /// [`Error::PriorityTooHigh`].
    pub fn priority(priority: u8) -> Result<Self, Error> {
        if priority > 100 {
            return Err(Error::PriorityTooHigh(priority));
        }
        Ok(Retention { class: class_of(priority), ttl_ms: NEVER })
    }

    /// These tokens will not be asked for again: their blocks are first in line.
    #[must_use]
    pub const fn not_reused() -> Self {
        Retention { class: 0, ttl_ms: NEVER }
    }

    /// Limits a priority above the default to `ms` after the release of the block; then
    /// it falls back to the default, as if released at that moment. The manager notices in
    /// [`advance_time`](crate::BlockManager::advance_time). Priorities at or below the
    /// default do not expire.
    #[must_use]
    pub const fn for_ms(mut self, ms: u64) -> Self {
        self.ttl_ms = ms;
        self
    }
}

/// A hint on blocks `blocks` of a sequence.
#[derive(Clone, Debug)]
pub(crate) struct Hint {
    pub(crate) blocks: std::ops::Range<usize>,
    pub(crate) retention: Retention,
}

/// Blocks above the default priority, and when they fall back to it.
#[derive(Debug)]
pub(crate) struct Retained {
    /// Expiry and stamp by block.
    blocks: AHashMap<u32, (u64, u64)>,
    /// Expiry, stamp, block. Entries whose stamp is not the block's are out of date.
    queue: BinaryHeap<Reverse<(u64, u64, u32)>>,
    /// Counts settings: among equal expiries the block set last, the ancestor, is last.
    stamp: u64,
}

impl Retained {
    pub(crate) fn new() -> Self {
        Retained { blocks: AHashMap::new(), queue: BinaryHeap::new(), stamp: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// When the block falls back to the default; 0 if it is not above it.
    pub(crate) fn expires_at(&self, id: u32) -> u64 {
        self.blocks.get(&id).map_or(0, |&(expires_at, _)| expires_at)
    }

    /// Records a block above the default. O(log n), amortised.
    pub(crate) fn set(&mut self, id: u32, expires_at: u64) {
        self.stamp += 1;
        self.blocks.insert(id, (expires_at, self.stamp));
        if expires_at != NEVER {
            self.queue.push(Reverse((expires_at, self.stamp, id)));
        }
        // A block that is released often leaves an entry each time.
        if self.queue.len() > 2 * self.blocks.len() + 64 {
            let blocks = &self.blocks;
            self.queue.retain(|Reverse((_, stamp, id))| {
                blocks.get(id).is_some_and(|(_, current)| current == stamp)
            });
        }
    }

    pub(crate) fn remove(&mut self, id: u32) {
        self.blocks.remove(&id);
    }

    /// Takes out one block whose time is up at `now_ms`, descendants before ancestors.
    pub(crate) fn pop_expired(&mut self, now_ms: u64) -> Option<u32> {
        while let Some(&Reverse((expires_at, stamp, id))) = self.queue.peek() {
            if expires_at > now_ms {
                break;
            }
            self.queue.pop();
            if self.blocks.get(&id) == Some(&(expires_at, stamp)) {
                self.blocks.remove(&id);
                return Some(id);
            }
        }
        None
    }

    /// The blocks, for `validate`.
    pub(crate) fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        self.blocks.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_expire_in_order_and_only_by_their_last_setting() {
        let mut retained = Retained::new();
        retained.set(1, 10);
        retained.set(2, 10);
        retained.set(3, 5);
        retained.set(1, 20);
        retained.set(4, NEVER);
        retained.set(5, 5);
        retained.remove(5);
        assert_eq!(retained.expires_at(1), 20);
        let mut popped = |now| std::iter::from_fn(|| retained.pop_expired(now)).collect::<Vec<_>>();
        assert_eq!(popped(4), []);
        assert_eq!(popped(10), [3, 2]);
        assert_eq!(popped(u64::MAX - 1), [1]);
        assert_eq!(retained.len(), 1);
    }

    #[test]
    fn the_queue_stays_in_proportion_to_the_blocks() {
        let mut retained = Retained::new();
        for now in 0..10_000 {
            retained.set(now as u32 % 7, now + 1_000_000);
        }
        assert!(retained.queue.len() <= 2 * 7 + 64 + 1);
        assert_eq!(retained.len(), 7);
    }
}
