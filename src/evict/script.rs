//! Requests written out by hand, for the tests of policies.
//!
//! Contents are named by the block that holds them, which keeps scripts short: content 3
//! is in block 3 whenever it is resident, and has key 3.

use super::{Access, EvictionPolicy, Inserted};
use crate::BlockId;
use std::collections::BTreeSet;

pub(super) struct Script<P> {
    pub(super) policy: P,
    /// The parent of each resident block.
    resident: Vec<Option<Option<u32>>>,
    candidates: BTreeSet<u32>,
    requests: u64,
}

impl<P: EvictionPolicy> Script<P> {
    pub(super) fn new(mut policy: P, num_blocks: usize) -> Self {
        policy.init(num_blocks);
        let resident = vec![None; num_blocks];
        Script { policy, resident, candidates: BTreeSet::new(), requests: 0 }
    }

    /// A request for a chain of contents: hits what is there and computes the rest.
    pub(super) fn request(&mut self, chain: &[u32]) {
        self.describe(chain, 0, None);
    }

    pub(super) fn describe(&mut self, chain: &[u32], category: u16, turn: Option<u32>) {
        let access = Access { request: self.requests, now_ms: 0, category, turn };
        self.requests += 1;
        let blocks: Vec<_> = chain.iter().copied().map(BlockId).collect();
        let hit = chain.iter().take_while(|&&id| self.resident[id as usize].is_some()).count();
        if let Some(deepest) = hit.checked_sub(1) {
            if self.candidates.remove(&chain[deepest]) {
                self.policy.retract(blocks[deepest]);
            }
            self.policy.hit(&blocks[..hit], &access);
        }
        for at in hit..chain.len() {
            let parent = at.checked_sub(1).map(|at| chain[at]);
            assert!(self.resident[chain[at] as usize].replace(parent).is_none(), "resident");
            let parent = parent.map(BlockId);
            let inserted = Inserted { key: u64::from(chain[at]), parent, depth: at as u32 };
            self.policy.insert(blocks[at], &inserted, &access);
        }
        self.policy.finish(&blocks, &access);
        self.offer_leaf(chain[chain.len() - 1]);
    }

    fn offer_leaf(&mut self, id: u32) {
        if !self.resident.contains(&Some(Some(id))) && self.candidates.insert(id) {
            self.policy.offer(BlockId(id));
        }
    }

    /// Evicts the victim of the policy.
    pub(super) fn evict(&mut self) -> u32 {
        let id = self.policy.victim().expect("there are candidates").0;
        assert!(self.candidates.contains(&id), "{id} is no candidate");
        self.remove(id);
        id
    }

    /// Evicts a candidate that the policy was not asked for.
    pub(super) fn remove(&mut self, id: u32) {
        assert!(self.candidates.remove(&id), "{id} is no candidate");
        self.policy.remove(BlockId(id));
        if let Some(Some(parent)) = self.resident[id as usize].take() {
            self.offer_leaf(parent);
        }
    }

    pub(super) fn evict_all(&mut self) -> Vec<u32> {
        let mut order = Vec::new();
        while !self.candidates.is_empty() {
            order.push(self.evict());
        }
        assert_eq!(self.policy.victim(), None, "nothing is left");
        order
    }

    pub(super) fn clear(&mut self) {
        self.policy.clear();
        self.candidates.clear();
        self.resident.fill(None);
    }
}
