//! FLOP-aware eviction: recency plus what a hit saves.

use super::uses::Uses;
use super::{Access, CandidateHeap, EvictionPolicy, Inserted};
use crate::BlockId;

/// Weight of the age of the last victim in the usual age.
const AGE_SMOOTHING: f64 = 1.0 / 64.0;

/// Recency plus `alpha` times the FLOPs that a hit saves per byte (Marconi, Pan et al.,
/// MLSys 2025), both normalised to 0..1.
///
/// All blocks have one size, and attention makes the FLOPs of a block grow linearly with its
/// depth: normalised, they are its depth over the largest seen. Recency is normalised by the
/// usual age of a victim, in requests, so the deepest block outlives a first one by `alpha`
/// lives. The place of a block is fixed when it is offered, which keeps the order cheap.
///
/// *Cost*: O(log n); 36 bytes per block. *Not for* raising the hit rate: it keeps long
/// contexts at the expense of short ones, which pays where prefill is the bottleneck.
#[derive(Clone, Debug)]
pub struct FlopAware {
    alpha: f64,
    uses: Uses,
    /// Usual age of a victim, in requests.
    life: f64,
    deepest: u32,
    candidates: CandidateHeap<u64>,
}

impl Default for FlopAware {
    /// An alpha of 0.5.
    fn default() -> Self {
        FlopAware::with_alpha(0.5)
    }
}

impl FlopAware {
    /// `alpha` is the weight of FLOPs against recency; 0 is LRU. Negative and non-finite
    /// weights count as 0.
    #[must_use]
    pub fn with_alpha(alpha: f64) -> Self {
        FlopAware {
            alpha: if alpha.is_finite() { alpha.max(0.0) } else { 0.0 },
            uses: Uses::default(),
            life: 0.0,
            deepest: 0,
            candidates: CandidateHeap::default(),
        }
    }
}

impl EvictionPolicy for FlopAware {
    fn init(&mut self, num_blocks: usize) {
        self.uses = Uses::new(num_blocks);
        self.candidates = CandidateHeap::new(num_blocks);
    }

    fn hit(&mut self, blocks: &[BlockId], _: &Access) {
        self.uses.hit(blocks);
    }

    fn insert(&mut self, block: BlockId, inserted: &Inserted, _: &Access) {
        self.uses.insert(block, inserted);
        self.deepest = self.deepest.max(inserted.depth);
    }

    fn finish(&mut self, chain: &[BlockId], _: &Access) {
        self.uses.finish(chain);
    }

    fn offer(&mut self, block: BlockId) {
        let share = f64::from(self.uses.depth(block)) / f64::from(self.deepest.max(1));
        let bonus = self.alpha * self.life * share;
        // Whole requests, so that chains of one age stay in their order.
        self.candidates.insert(block, self.uses.recency_after(block, bonus as u64));
    }

    fn retract(&mut self, block: BlockId) {
        self.candidates.remove(block);
    }

    fn victim(&mut self) -> Option<BlockId> {
        self.candidates.first()
    }

    fn remove(&mut self, block: BlockId) {
        if self.candidates.remove(block) {
            self.life += AGE_SMOOTHING * (self.uses.age(block) as f64 - self.life);
        }
    }

    fn clear(&mut self) {
        self.candidates.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evict::script::Script;

    #[test]
    fn deep_blocks_outlive_first_ones_by_alpha_lives() {
        let order = |alpha| {
            let mut script = Script::new(FlopAware::with_alpha(alpha), 16);
            script.policy.life = 4.0;
            script.request(&[0, 1, 2]); // time 0; the deepest: 2
            (3..8).for_each(|id| script.request(&[id])); // times 1 to 5
            script.policy.life = 4.0;
            [script.evict(), script.evict(), script.evict()]
        };
        assert_eq!(order(0.0), [2, 1, 0]);
        // 2 is as if of time 0 + 0.5 * 4 = 2, and deeper than 4, which is.
        assert_eq!(order(0.5), [3, 2, 1]);
        assert_eq!(order(f64::NAN), order(0.0));
    }

    #[test]
    fn the_usual_age_follows_the_victims() {
        let mut script = Script::new(FlopAware::default(), 4);
        script.request(&[0]);
        script.request(&[1]);
        assert_eq!(script.evict(), 0);
        // Of age 2: two requests ended since it was used, its own among them.
        assert_eq!(script.policy.life, 2.0 / 64.0);
    }
}
