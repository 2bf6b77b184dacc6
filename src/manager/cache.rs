//! What concerns the whole cache: epochs, time, and a look at single blocks.

use super::BlockManager;
use crate::evict::EvictionPolicy;
use crate::hash::BlockHasher;
use crate::ids::NONE;
use crate::retention::{DEFAULT_CLASS, Retained};
use crate::tally::Tally;
use crate::{BlockId, Error};

/// State of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockState {
    /// No content.
    Free,
    /// Content that a hit can use and an eviction can take.
    Cached,
    /// In use by this many holders.
    InUse(u32),
}

impl<H: BlockHasher, P: EvictionPolicy> BlockManager<H, P> {
    /// Makes all cached content unreachable: weights were updated, an adapter was
    /// reloaded. O(1) in the number of blocks. Running sequences go on with their blocks;
    /// what they hold and what they still compute will not be shared. Returns the new
    /// epoch.
    pub fn invalidate_all(&mut self) -> u64 {
        self.epoch += 1;
        self.index.clear();
        self.pool.free_all_cached();
        self.policy.clear();
        self.frontier = Tally::default();
        self.retained = Retained::new();
        self.stats.invalidated_blocks += self.stats.resident_blocks();
        self.epoch
    }

    /// Tells the manager the time, in ms since any fixed point. Expires retention hints
    /// and counts residency. O(hints that expire), amortised O(log n) each.
    ///
    /// # Errors
    /// [`Error::TimeWentBack`].
    pub fn advance_time(&mut self, now_ms: u64) -> Result<(), Error> {
        let Some(passed_ms) = now_ms.checked_sub(self.now_ms) else {
            return Err(Error::TimeWentBack { passed_ms: now_ms, now_ms: self.now_ms });
        };
        let resident = self.stats.resident_blocks().saturating_mul(passed_ms);
        self.stats.resident_block_ms = self.stats.resident_block_ms.saturating_add(resident);
        self.now_ms = now_ms;
        while let Some(id) = self.retained.pop_expired(now_ms) {
            if self.pool.slot(id).refs() == 0 {
                self.pool.move_to(id, DEFAULT_CLASS);
                self.policy.offer_leaf(id, self.pool.slot(id));
            } else {
                self.pool.slot_mut(id).set_class(DEFAULT_CLASS);
            }
        }
        Ok(())
    }

    /// The epoch: how often [`invalidate_all`](Self::invalidate_all) was called. O(1).
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The state of a block; `None` if the pool has no such block. For debugging:
    /// O(blocks of its chain).
    #[must_use]
    pub fn block_state(&self, id: BlockId) -> Option<BlockState> {
        let slot = self.pool.slots[..self.num_blocks()].get(id.index())?;
        Some(match slot.refs() {
            0 if self.is_reachable(id.0) => BlockState::Cached,
            0 => BlockState::Free,
            refs => BlockState::InUse(refs),
        })
    }

    /// The block hash of a block that lookups can reach; `None` for any other. O(blocks
    /// of its chain).
    #[must_use]
    pub fn block_hash(&self, id: BlockId) -> Option<H::Digest> {
        let known = id.index() < self.num_blocks() && self.is_reachable(id.0);
        known.then(|| *self.index.content.digest(id.0))
    }

    /// Whether a lookup can get to this block. Content of an older epoch keeps its links
    /// until it is reused, but its first block is in no table.
    pub(super) fn is_reachable(&self, mut id: u32) -> bool {
        while self.pool.slot(id).published() && self.index.reaches(&self.pool.slots, id) {
            id = self.pool.slot(id).parent;
            if id == NONE {
                return true;
            }
        }
        false
    }

    /// The cached blocks in the order in which LRU evicts them: by retention priority, then by
    /// release. Another policy has its own order among blocks of the default priority.
    /// O(1) per block.
    pub fn eviction_order(&self) -> impl Iterator<Item = BlockId> + '_ {
        self.pool.eviction_order().map(|(id, _)| BlockId(id))
    }
}
