//! LIRS: keep what has a short time between its last two uses.

use super::history::History;
use super::segments::Segments;
use super::uses::Uses;
use super::{Access, CandidateHeap, EvictionPolicy, Inserted};
use crate::BlockId;

/// Segment of the blocks with low inter-reference recency; those with high recency are in
/// the other.
const LOW: usize = 0;
const HIGH: usize = 1;
/// Part of the pool for blocks with high inter-reference recency, in percent; as in the
/// paper.
const HIGH_PERCENT: usize = 1;
/// Evicted blocks that it remembers, in pools. (The paper sets no bound.)
const REMEMBERED: usize = 2;

/// LIRS, low inter-reference recency set (Jiang and Zhang, SIGMETRICS 2002): 99 % of the
/// pool are for blocks that were used twice within a short time, as compared to the others
/// there. All others pass through a queue of 1 %, and go first.
///
/// The paper's stack is not kept: what is in it is what was used after the oldest block of
/// low recency, which comparing two ages tells.
///
/// *Cost*: O(log n), amortised; 76 bytes per block, and about 100 for what it remembers.
/// *Not for* conversations: their first turns have to pass the queue of 1 % before a second
/// one can show that they are used at all.
#[derive(Clone, Debug, Default)]
pub struct Lirs {
    max_low: usize,
    uses: Uses,
    keys: Vec<u64>,
    /// Recency as of the time when a block lost its low inter-reference recency, 0 if it did not.
    demoted: Vec<u64>,
    segments: Segments<2>,
    /// Recency of evicted blocks.
    history: History<u64>,
    candidates: CandidateHeap<(bool, u64)>,
}

impl Lirs {
    /// Whether a use that long ago is still in the paper's stack.
    fn in_stack(&self, recency: u64) -> bool {
        self.segments.oldest(LOW).is_some_and(|oldest| recency >= self.uses.recency(oldest))
    }

    /// Makes room among the blocks of low recency.
    fn demote(&mut self) {
        while self.segments.len(LOW) > self.max_low
            && let Some(oldest) = self.segments.oldest(LOW)
        {
            self.segments.renew(oldest, HIGH);
            self.demoted[oldest.index()] = self.uses.recency_after(oldest, self.uses.age(oldest));
            if self.candidates.contains(oldest) {
                self.offer(oldest);
            }
        }
    }
}

impl EvictionPolicy for Lirs {
    fn init(&mut self, num_blocks: usize) {
        self.max_low = num_blocks - (num_blocks * HIGH_PERCENT / 100).max(1).min(num_blocks);
        self.uses = Uses::new(num_blocks);
        self.keys = vec![0; num_blocks];
        self.demoted = vec![0; num_blocks];
        self.segments = Segments::new(num_blocks);
        self.history = History::new(num_blocks.saturating_mul(REMEMBERED));
        self.candidates = CandidateHeap::new(num_blocks);
    }

    fn hit(&mut self, blocks: &[BlockId], _: &Access) {
        // The deepest is the oldest.
        for &block in blocks.iter().rev() {
            let low =
                self.segments.segment(block) == LOW || self.in_stack(self.uses.recency(block));
            self.uses.hit(&[block]);
            self.segments.renew(block, if low { LOW } else { HIGH });
        }
        self.demote();
    }

    fn insert(&mut self, block: BlockId, inserted: &Inserted, _: &Access) {
        let known = self.history.take(inserted.key);
        let low = self.segments.len(LOW) < self.max_low
            || known.is_some_and(|recency| self.in_stack(recency));
        self.uses.insert(block, inserted);
        self.keys[block.index()] = inserted.key;
        self.demoted[block.index()] = 0;
        self.segments.push(block, if low { LOW } else { HIGH });
        self.demote();
    }

    fn finish(&mut self, chain: &[BlockId], _: &Access) {
        self.uses.finish(chain);
        // Blocks were computed from the first on; the deepest shall be the oldest.
        for &block in chain.iter().rev() {
            self.segments.renew(block, self.segments.segment(block));
        }
    }

    fn offer(&mut self, block: BlockId) {
        let low = self.segments.segment(block) == LOW;
        // What was demoted goes to the end of the queue, whenever it was used.
        let place = self.uses.recency(block).max(self.demoted[block.index()]);
        self.candidates.insert(block, (low, place));
    }

    fn retract(&mut self, block: BlockId) {
        self.candidates.remove(block);
    }

    fn victim(&mut self) -> Option<BlockId> {
        self.candidates.first()
    }

    fn remove(&mut self, block: BlockId) {
        self.candidates.remove(block);
        self.segments.remove(block);
        self.history.insert(self.keys[block.index()], self.uses.recency(block));
    }

    fn clear(&mut self) {
        self.candidates.clear();
        self.segments.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evict::script::Script;

    #[test]
    fn two_uses_close_together_take_a_place() {
        let mut script = Script::new(Lirs::default(), 4); // 3 of low recency
        (0..3).for_each(|id| script.request(&[id])); // low
        script.request(&[3]); // high
        assert_eq!(script.evict(), 3);
        // Used after 0 was: it takes the place of 0.
        script.request(&[3]);
        assert_eq!(script.policy.segments.segment(BlockId(0)), HIGH);
        assert_eq!(script.evict_all(), [0, 1, 2, 3]);
    }

    #[test]
    fn what_lost_its_place_goes_to_the_end_of_the_queue() {
        let mut script = Script::new(Lirs::default(), 8);
        script.policy.max_low = 3;
        (0..5).for_each(|id| script.request(&[id])); // 3 and 4 are high
        script.request(&[4]); // takes the place of 0
        assert_eq!(script.evict_all(), [3, 0, 1, 2, 4]);
    }

    #[test]
    fn two_uses_far_apart_do_not() {
        let mut script = Script::new(Lirs::default(), 4);
        (0..4).for_each(|id| script.request(&[id]));
        assert_eq!(script.evict(), 3);
        (0..3).for_each(|id| script.request(&[id])); // all after the use of 3
        script.request(&[3]);
        assert_eq!(script.policy.segments.segment(BlockId(3)), HIGH);
        assert_eq!(script.evict_all(), [3, 0, 1, 2]);
    }
}
