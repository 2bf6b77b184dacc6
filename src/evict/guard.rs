//! Stands between the manager and a policy: whatever the policy answers, only a candidate
//! is evicted.
//!
//! Owns the set of candidates. One stamp per block, which counts for one epoch only, so
//! that the epoch ends in O(1).

use super::{Access, EvictionPolicy, Inserted};
use crate::BlockId;
use crate::retention::DEFAULT_CLASS;
use crate::slot::Slot;

#[derive(Debug)]
pub(crate) struct Guard<P> {
    policy: P,
    /// What the policy said of itself. A field, since the policy may be behind a pointer.
    watches: bool,
    /// Per block the epoch in which it is a candidate; empty for plain LRU.
    offered: Vec<u32>,
    /// From 1; 0 is "no candidate".
    epoch: u32,
    num_offered: u32,
}

impl<P: EvictionPolicy> Guard<P> {
    pub(crate) fn new(mut policy: P, num_blocks: u32) -> Self {
        policy.init(num_blocks as usize);
        let watches = !policy.is_recency();
        let offered = if watches { num_blocks as usize } else { 0 };
        Guard { policy, watches, offered: vec![0; offered], epoch: 1, num_offered: 0 }
    }

    pub(crate) fn policy(&self) -> &P {
        &self.policy
    }

    /// Whether the policy is told anything at all.
    #[inline(always)]
    pub(crate) fn watches(&self) -> bool {
        // The second part is for the compiler, which then knows that `Lru` does not.
        self.watches && !self.policy.is_recency()
    }

    #[inline]
    pub(crate) fn hit(&mut self, blocks: &[BlockId], access: &Access) {
        if self.watches() && !blocks.is_empty() {
            self.policy.hit(blocks, access);
        }
    }

    #[inline]
    pub(crate) fn insert(&mut self, block: BlockId, inserted: &Inserted, access: &Access) {
        self.policy.insert(block, inserted, access);
    }

    pub(crate) fn finish(&mut self, chain: &[BlockId], access: &Access) {
        self.policy.finish(chain, access);
    }

    #[inline]
    pub(crate) fn is_offered(&self, id: u32) -> bool {
        self.offered.get(id as usize) == Some(&self.epoch)
    }

    /// Candidates now.
    pub(crate) fn num_offered(&self) -> u32 {
        self.num_offered
    }

    /// Offers a cached block, if the policy has to order it and no block continues it.
    #[inline(always)]
    pub(crate) fn offer_leaf(&mut self, id: u32, slot: &Slot) {
        if self.watches() && slot.class() == DEFAULT_CLASS && slot.is_leaf() {
            self.offer(id);
        }
    }

    pub(crate) fn offer(&mut self, id: u32) {
        if let Some(stamp) = self.offered.get_mut(id as usize) {
            debug_assert!(*stamp != self.epoch, "a candidate is offered again");
            *stamp = self.epoch;
            self.num_offered += 1;
            self.policy.offer(BlockId(id));
        }
    }

    /// A block came in use; it may have been a candidate.
    #[inline]
    pub(crate) fn retract(&mut self, id: u32) {
        if self.withdraw(id) {
            self.policy.retract(BlockId(id));
        }
    }

    #[inline]
    pub(crate) fn remove(&mut self, id: u32) {
        if self.watches() {
            self.withdraw(id);
            self.policy.remove(BlockId(id));
        }
    }

    /// Takes a block out of the candidates; whether it was one.
    #[inline]
    fn withdraw(&mut self, id: u32) -> bool {
        let found = self.offered.get_mut(id as usize).filter(|stamp| **stamp == self.epoch);
        let was = found.map(|stamp| *stamp = 0).is_some();
        self.num_offered -= u32::from(was);
        was
    }

    /// The policy's choice, if it is a candidate.
    #[inline]
    pub(crate) fn victim(&mut self) -> Option<u32> {
        self.policy.victim().map(|block| block.0).filter(|&id| self.is_offered(id))
    }

    pub(crate) fn clear(&mut self) {
        if self.watches() {
            self.num_offered = 0;
            self.epoch = self.epoch.checked_add(1).unwrap_or_else(|| {
                // After 2^32 epochs old stamps could count again.
                self.offered.fill(0);
                1
            });
            self.policy.clear();
        }
    }
}
