//! MQ: queues by frequency, with expiry.

use super::history::History;
use super::segments::Segments;
use super::uses::Uses;
use super::{Access, CandidateHeap, EvictionPolicy, Inserted};
use crate::BlockId;

const QUEUES: usize = 8;
/// Evicted blocks that it remembers, and how long a block stays in its queue without a use,
/// counted in uses of any block; both in pools.
const REMEMBERED: usize = 4;
const LIFE: usize = 4;

/// Multi-Queue (Zhou, Philbin and Li, USENIX 2001): queue `k` holds the blocks with `2^k` to
/// `2^(k+1) - 1` uses, in LRU order, and the lowest queue goes first. A block that is not
/// used for a life falls to the end of the queue below. Counts of evicted blocks are remembered.
///
/// *Cost*: O(log n), amortised over the uses; 76 bytes per block, and about 200 for what it
/// remembers. *Not for* conversations of agents, whose next turn always comes soon: their
/// counts say how old a conversation is, not how likely to go on.
#[derive(Clone, Debug, Default)]
pub struct Mq {
    life: u64,
    /// Uses of any block.
    now: u64,
    uses: Uses,
    blocks: Vec<Block>,
    /// Uses of evicted blocks.
    history: History<u32>,
    queues: Segments<QUEUES>,
    candidates: CandidateHeap<(usize, u64)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Block {
    key: u64,
    expires: u64,
    /// Uses before it was evicted last.
    earlier: u32,
}

impl Mq {
    fn count(&self, block: BlockId) -> u32 {
        self.blocks[block.index()].earlier.saturating_add(self.uses.count(block))
    }

    /// The queue of a block that has just been used.
    fn queue(&mut self, block: BlockId) -> usize {
        self.now += 1;
        self.blocks[block.index()].expires = self.now + self.life;
        (self.count(block).max(1).ilog2() as usize).min(QUEUES - 1)
    }

    /// Lowers the oldest block of each queue, if its life is over.
    fn expire(&mut self) {
        for queue in 1..QUEUES {
            if let Some(oldest) = self.queues.oldest(queue)
                && self.blocks[oldest.index()].expires < self.now
            {
                self.blocks[oldest.index()].expires = self.now + self.life;
                self.queues.renew(oldest, queue - 1);
                self.uses.renew(oldest);
                if self.candidates.contains(oldest) {
                    self.offer(oldest);
                }
            }
        }
    }
}

impl EvictionPolicy for Mq {
    fn init(&mut self, num_blocks: usize) {
        self.life = num_blocks.saturating_mul(LIFE) as u64;
        self.uses = Uses::new(num_blocks);
        self.blocks = vec![Block::default(); num_blocks];
        self.history = History::new(num_blocks.saturating_mul(REMEMBERED));
        self.queues = Segments::new(num_blocks);
        self.candidates = CandidateHeap::new(num_blocks);
    }

    fn hit(&mut self, blocks: &[BlockId], _: &Access) {
        self.uses.hit(blocks);
        for &block in blocks.iter().rev() {
            let queue = self.queue(block);
            self.queues.renew(block, queue);
            self.expire();
        }
    }

    fn insert(&mut self, block: BlockId, inserted: &Inserted, _: &Access) {
        self.uses.insert(block, inserted);
        let earlier = self.history.take(inserted.key).unwrap_or(0);
        self.blocks[block.index()] = Block { key: inserted.key, expires: 0, earlier };
        let queue = self.queue(block);
        self.queues.push(block, queue);
        self.expire();
    }

    fn finish(&mut self, chain: &[BlockId], _: &Access) {
        self.uses.finish(chain);
    }

    fn offer(&mut self, block: BlockId) {
        let key = (self.queues.segment(block), self.uses.recency(block));
        self.candidates.insert(block, key);
    }

    fn retract(&mut self, block: BlockId) {
        self.candidates.remove(block);
    }

    fn victim(&mut self) -> Option<BlockId> {
        self.candidates.first()
    }

    fn remove(&mut self, block: BlockId) {
        self.candidates.remove(block);
        self.queues.remove(block);
        self.history.insert(self.blocks[block.index()].key, self.count(block));
    }

    fn clear(&mut self) {
        self.candidates.clear();
        self.queues.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evict::script::Script;

    #[test]
    fn queues_are_powers_of_two() {
        let mut script = Script::new(Mq::default(), 8);
        (0..3).for_each(|_| script.request(&[0])); // queue 1
        (0..2).for_each(|_| script.request(&[1])); // queue 1, later
        (0..4).for_each(|_| script.request(&[2])); // queue 2
        script.request(&[3]); // queue 0
        assert_eq!(script.evict_all(), [3, 0, 1, 2]);
    }

    #[test]
    fn counts_are_remembered() {
        let mut script = Script::new(Mq::default(), 8);
        script.request(&[0]);
        assert_eq!(script.evict(), 0);
        script.request(&[0]); // its second use: queue 1
        script.request(&[1]);
        assert_eq!(script.evict_all(), [1, 0]);
    }

    #[test]
    fn what_falls_is_the_newest_of_the_queue_below() {
        let mut script = Script::new(Mq::default(), 4); // a life of 16 uses
        (0..2).for_each(|_| script.request(&[0])); // queue 1 until use 2 + 16
        script.request(&[2]); // queue 0
        (0..15).for_each(|_| script.request(&[1])); // use 18
        script.request(&[3]); // use 19
        assert_eq!(script.evict_all(), [2, 0, 3, 1]);
    }

    #[test]
    fn a_life_without_use_costs_a_queue() {
        let mut script = Script::new(Mq::default(), 4); // a life of 16 uses
        (0..2).for_each(|_| script.request(&[0])); // queue 1 until use 2 + 16
        (0..16).for_each(|_| script.request(&[1])); // use 18
        assert_eq!(script.policy.queues.segment(BlockId(0)), 1);
        script.request(&[2]); // use 19
        assert_eq!(script.policy.queues.segment(BlockId(0)), 0);
        assert_eq!(script.evict_all(), [0, 2, 1]);
    }
}
