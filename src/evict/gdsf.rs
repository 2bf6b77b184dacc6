//! GDSF: frequency times what it costs to compute the block again; and LFU-DA, where all cost
//! the same.

use super::uses::Uses;
use super::{Access, CandidateHeap, EvictionPolicy, Inserted};
use crate::BlockId;

/// Value of one use of a first block: costs in between are fractions of it.
const UNIT: f64 = 65_536.0;
/// Tokens of context over which attention costs about as much as the linear layers of a 32B
/// model.
const EVEN_TOKENS: f64 = 80_000.0;
/// Tokens per block of the default.
const BLOCK_SIZE: usize = 16;

/// Greedy-Dual-Size-Frequency (Cherkasova, 1998) with the cost of computing a block again
/// behind its prefix (RAGCache, Jin et al., 2024): `clock + uses * cost`, where the clock is
/// the value of the last victim.
///
/// All blocks have one size. The cost is `1 + ratio * depth`: attention reads the whole
/// prefix. LRU among equals.
///
/// *Cost*: O(log n); 56 bytes per block. *Not for* raising the hit rate: it weighs hits by
/// what they save. With contexts far below 1 / ratio blocks it is [LFU-DA](Gdsf::lfu_da).
#[derive(Clone, Debug)]
pub struct Gdsf {
    attention_ratio: f64,
    uses: Uses,
    values: Vec<u64>,
    clock: u64,
    candidates: CandidateHeap<(u64, u64)>,
}

impl Default for Gdsf {
    /// For blocks of 16 tokens of a 32B model: 1 / 5000.
    fn default() -> Self {
        Gdsf::for_block_size(BLOCK_SIZE)
    }
}

impl Gdsf {
    /// LFU-DA, least frequently used with dynamic aging (Arlitt et al., *Evaluating content
    /// management techniques for Web proxy caches*, 2000): all blocks cost the same.
    ///
    /// A use gives a block the value of its count plus that of the last victim, so that old
    /// counts are outgrown. *Not for* pools that hold a small part of the working set: before
    /// a second use it is LRU.
    #[must_use]
    pub fn lfu_da() -> Self {
        Gdsf::with_attention_ratio(0.0)
    }

    /// For blocks of so many tokens of a 32B model. 0 counts as 1.
    pub(super) fn for_block_size(tokens: usize) -> Self {
        Gdsf::with_attention_ratio(tokens.max(1) as f64 / EVEN_TOKENS)
    }

    /// `ratio` is what each block before a block adds to its cost, as a part of the cost of
    /// a first block: tokens per block over the tokens of context at which attention costs
    /// as much as the linear layers. Negative and non-finite ratios count as 0.
    #[must_use]
    pub fn with_attention_ratio(ratio: f64) -> Self {
        let attention_ratio = if ratio.is_finite() { ratio.max(0.0) } else { 0.0 };
        Gdsf {
            attention_ratio,
            uses: Uses::default(),
            values: Vec::new(),
            clock: 0,
            candidates: CandidateHeap::default(),
        }
    }

    fn revalue(&mut self, block: BlockId) {
        let cost = 1.0 + self.attention_ratio * f64::from(self.uses.depth(block));
        // Saturates.
        let value = (UNIT * cost * f64::from(self.uses.count(block))) as u64;
        self.values[block.index()] = self.clock.saturating_add(value);
    }
}

impl EvictionPolicy for Gdsf {
    fn init(&mut self, num_blocks: usize) {
        self.uses = Uses::new(num_blocks);
        self.values = vec![0; num_blocks];
        self.candidates = CandidateHeap::new(num_blocks);
    }

    fn hit(&mut self, blocks: &[BlockId], _: &Access) {
        self.uses.hit(blocks);
        blocks.iter().for_each(|&block| self.revalue(block));
    }

    fn insert(&mut self, block: BlockId, inserted: &Inserted, _: &Access) {
        self.uses.insert(block, inserted);
        self.revalue(block);
    }

    fn finish(&mut self, chain: &[BlockId], _: &Access) {
        self.uses.finish(chain);
    }

    fn offer(&mut self, block: BlockId) {
        let key = (self.values[block.index()], self.uses.recency(block));
        self.candidates.insert(block, key);
    }

    fn retract(&mut self, block: BlockId) {
        self.candidates.remove(block);
    }

    fn victim(&mut self) -> Option<BlockId> {
        let (value, _) = self.candidates.first_key()?;
        // A parent can be worth less than the victim that uncovered it.
        self.clock = self.clock.max(value);
        self.candidates.first()
    }

    fn remove(&mut self, block: BlockId) {
        self.candidates.remove(block);
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
    fn uses_times_cost_decide() {
        let mut script = Script::new(Gdsf::with_attention_ratio(1.0), 8);
        script.request(&[0, 1, 2]); // 1, 2 and 3 units
        script.request(&[3]); // 1 unit
        script.request(&[4]);
        script.request(&[4]); // 2 units
        // 3 (1), 4 (2), 2 (3); its parents are worth less than the clock by now.
        assert_eq!(script.evict_all(), [3, 4, 2, 1, 0]);
    }

    #[test]
    fn old_counts_are_outgrown() {
        let mut script = Script::new(Gdsf::lfu_da(), 8);
        (0..3).for_each(|_| script.request(&[0])); // 3 units
        script.request(&[1]);
        script.request(&[1]); // 2 units
        assert_eq!(script.evict(), 1); // clock: 2
        script.request(&[2]); // 3 units, younger than 0
        assert_eq!(script.evict_all(), [0, 2]);
    }

    #[test]
    fn a_context_costs_the_same_in_blocks_of_any_size() {
        // 80,000 tokens of context double the cost of a block.
        for (tokens, blocks) in [(0, 80_000.0), (1, 80_000.0), (16, 5_000.0), (512, 156.25)] {
            let ratio = Gdsf::for_block_size(tokens).attention_ratio;
            assert!((ratio * blocks - 1.0).abs() < 1e-12, "{tokens}: {ratio}");
        }
        assert_eq!(Gdsf::default().attention_ratio, 1.0 / 5000.0);
    }

    #[test]
    fn ratios_out_of_range_are_no_attention() {
        for ratio in [-1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Gdsf::with_attention_ratio(ratio).attention_ratio, 0.0);
        }
    }
}
