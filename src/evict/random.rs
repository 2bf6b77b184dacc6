//! Candidates drawn by chance: the control policy, and what the sampling policies draw from.
//!
//! The generator is seeded with a constant: equal calls give equal victims in every run.

use super::EvictionPolicy;
use crate::BlockId;
use crate::ids::NONE;

/// Evicts any candidate, with equal chances.
///
/// *Cost*: O(1); 8 bytes per block. *Not for* serving: it is the control that says how
/// much of a policy's score is due to the pool being a forest. Where it comes near the
/// policy in use, that policy's order is worth nothing.
#[derive(Clone, Debug, Default)]
pub struct Random {
    candidates: Lottery,
}

impl EvictionPolicy for Random {
    fn init(&mut self, num_blocks: usize) {
        self.candidates = Lottery::new(num_blocks);
    }

    fn offer(&mut self, block: BlockId) {
        self.candidates.insert(block);
    }

    fn retract(&mut self, block: BlockId) {
        self.candidates.remove(block);
    }

    fn victim(&mut self) -> Option<BlockId> {
        self.candidates.draw()
    }

    fn remove(&mut self, block: BlockId) {
        self.candidates.remove(block);
    }

    fn clear(&mut self) {
        self.candidates.clear();
    }
}

/// A set of blocks to draw from. Operations are O(1).
#[derive(Clone, Debug, Default)]
pub(super) struct Lottery {
    blocks: Vec<BlockId>,
    /// Index in `blocks` by block.
    places: Vec<u32>,
    random: SplitMix,
}

impl Lottery {
    pub(super) fn new(num_blocks: usize) -> Self {
        Lottery { places: vec![NONE; num_blocks], ..Lottery::default() }
    }

    pub(super) fn insert(&mut self, block: BlockId) {
        if !self.contains(block) {
            self.places[block.index()] = self.blocks.len() as u32;
            self.blocks.push(block);
        }
    }

    pub(super) fn remove(&mut self, block: BlockId) {
        if self.contains(block) {
            let at = self.places[block.index()];
            self.blocks.swap_remove(at as usize);
            if let Some(moved) = self.blocks.get(at as usize) {
                self.places[moved.index()] = at;
            }
        }
    }

    pub(super) fn draw(&mut self) -> Option<BlockId> {
        let at = self.random.below(self.blocks.len());
        self.blocks.get(at).copied()
    }

    /// The smallest by `rank` of `DRAWS` blocks, of all blocks where they are no more. All are
    /// drawn, and `prefetch` asks for what their ranks need, before the first is ranked: in a
    /// large pool each is a cache miss or more, and so they overlap.
    pub(super) fn least<const DRAWS: usize, R: PartialOrd>(
        &mut self,
        prefetch: impl Fn(BlockId),
        rank: impl Fn(BlockId) -> R,
    ) -> Option<BlockId> {
        let all = self.blocks.len() <= DRAWS;
        let mut drawn = [BlockId(NONE); DRAWS];
        let drawn = &mut drawn[..DRAWS.min(self.blocks.len())];
        for (draw, block) in drawn.iter_mut().enumerate() {
            *block = self.blocks[if all { draw } else { self.random.below(self.blocks.len()) }];
        }
        drawn.iter().for_each(|&block| prefetch(block));
        let mut least: Option<(R, BlockId)> = None;
        for &block in &*drawn {
            let rank = rank(block);
            if least.as_ref().is_none_or(|(lowest, _)| rank < *lowest) {
                least = Some((rank, block));
            }
        }
        least.map(|(_, block)| block)
    }

    /// O(1): a place counts only if the block is there.
    pub(super) fn clear(&mut self) {
        self.blocks.clear();
    }

    fn contains(&self, block: BlockId) -> bool {
        self.blocks.get(self.places[block.index()] as usize) == Some(&block)
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Clone, Debug, Default)]
pub(crate) struct SplitMix(u64);

impl SplitMix {
    pub(crate) const fn new(seed: u64) -> Self {
        SplitMix(seed)
    }

    /// A number below `bound`, or 0. Its bias, of `bound` in 2^32, does not matter here.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 32) as usize * bound) >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evict::script::Script;

    #[test]
    fn every_candidate_has_the_same_chance() {
        let mut lottery = Lottery::new(10);
        (0..10).for_each(|id| lottery.insert(BlockId(id)));
        lottery.remove(BlockId(3));
        let mut drawn = [0_u32; 10];
        for _ in 0..9_000 {
            drawn[lottery.draw().unwrap().index()] += 1;
        }
        assert_eq!(drawn[3], 0);
        // 1,000 each, standard deviation 30.
        assert!(drawn.iter().enumerate().all(|(id, &n)| id == 3 || (850..1150).contains(&n)));
    }

    #[test]
    fn the_least_of_few_is_exact_and_of_none_nothing() {
        let mut lottery = Lottery::new(100);
        assert_eq!(lottery.least::<4, _>(|_| (), BlockId::get), None);
        (20..24).for_each(|id| lottery.insert(BlockId(id)));
        assert_eq!(lottery.least::<4, _>(|_| (), BlockId::get), Some(BlockId(20)));
        lottery.clear();
        assert_eq!(lottery.draw(), None);
        lottery.insert(BlockId(22));
        assert_eq!(lottery.draw(), Some(BlockId(22)));
    }

    #[test]
    fn victims_are_leaves_and_the_same_in_every_run() {
        let order = || {
            let mut script = Script::new(Random::default(), 8);
            script.request(&[0, 1, 2]);
            script.request(&[0, 3, 4, 5]);
            script.request(&[6, 7]);
            script.evict_all()
        };
        assert_eq!(order().len(), 8);
        assert_eq!(order(), order());
    }
}
