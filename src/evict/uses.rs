//! When blocks were used last, how often, and how deep they lie.
//!
//! Time is counted in requests that have ended, so that it does not depend on a caller's
//! clock: what one request uses has one age. Of blocks of one age the deeper is the older,
//! as in the order of release.

use super::Inserted;
use crate::BlockId;
use crate::prefetch::prefetch;

/// Low bits of a recency that hold the depth. The 40 bits above it count requests.
const DEPTH_BITS: u32 = 24;
const MAX_DEPTH: u32 = (1 << DEPTH_BITS) - 1;

/// Uses of each block of a pool, 16 bytes each. An insertion is the first use, each hit
/// another one.
#[derive(Clone, Debug, Default)]
pub(super) struct Uses {
    now: u64,
    blocks: Vec<Use>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Use {
    last: u64,
    depth: u32,
    count: u32,
}

impl Uses {
    pub(super) fn new(num_blocks: usize) -> Self {
        Uses { now: 0, blocks: vec![Use::default(); num_blocks] }
    }

    /// Asks for what is known of a block.
    #[inline]
    pub(super) fn prefetch(&self, block: BlockId) {
        prefetch(&self.blocks, block.index());
    }

    /// Requests that have ended.
    #[inline]
    pub(super) fn now(&self) -> u64 {
        self.now
    }

    #[inline]
    pub(super) fn insert(&mut self, block: BlockId, inserted: &Inserted) {
        self.blocks[block.index()] = Use { last: self.now, depth: inserted.depth, count: 1 };
    }

    #[inline]
    pub(super) fn hit(&mut self, blocks: &[BlockId]) {
        for block in blocks {
            let uses = &mut self.blocks[block.index()];
            uses.last = self.now;
            uses.count = uses.count.saturating_add(1);
        }
    }

    /// A request ends: its blocks are as old as its end.
    #[inline]
    pub(super) fn finish(&mut self, chain: &[BlockId]) {
        for block in chain {
            self.blocks[block.index()].last = self.now;
        }
        self.now += 1;
    }

    /// Makes a block as old as what is used now, without a use: it enters a queue at its end.
    #[inline]
    pub(super) fn renew(&mut self, block: BlockId) {
        self.blocks[block.index()].last = self.now;
    }

    /// Requests that ended since the last use.
    #[inline]
    pub(super) fn age(&self, block: BlockId) -> u64 {
        self.now - self.blocks[block.index()].last
    }

    #[inline]
    pub(super) fn last(&self, block: BlockId) -> u64 {
        self.blocks[block.index()].last
    }

    #[inline]
    pub(super) fn count(&self, block: BlockId) -> u32 {
        self.blocks[block.index()].count
    }

    #[inline]
    pub(super) fn depth(&self, block: BlockId) -> u32 {
        self.blocks[block.index()].depth
    }

    /// LRU order as one number: smaller is older, and deeper at equal age.
    #[inline]
    pub(super) fn recency(&self, block: BlockId) -> u64 {
        self.recency_after(block, 0)
    }

    /// Recency as if the last use had been `later` requests later.
    #[inline]
    pub(super) fn recency_after(&self, block: BlockId, later: u64) -> u64 {
        let uses = self.blocks[block.index()];
        let last = uses.last.saturating_add(later).min(u64::MAX >> DEPTH_BITS);
        (last << DEPTH_BITS) | u64::from(MAX_DEPTH - uses.depth.min(MAX_DEPTH))
    }
}
