//! Workload-aware eviction: what each kind of work and turn has shown to be reused.

use super::history::History;
use super::uses::Uses;
use super::{Access, EvictionPolicy, Inserted};
use crate::BlockId;
use std::collections::BTreeSet;

/// Categories and turns told apart; higher ones count as the last.
const CATEGORIES: usize = 16;
const TURNS: usize = 16;
/// Evicted blocks that it remembers, in pools.
const REMEMBERED: usize = 8;
/// Uses of a class after which old ones count half.
const FADING: f64 = 65_536.0;
/// Content that came back is not of the request that computed it again.
const NOBODY: u64 = u64::MAX;
/// Weight of the age of the last victim in the usual age.
const AGE_SMOOTHING: f64 = 1.0 / 256.0;

/// Workload-aware eviction (Wang et al., *KVCache cache in the wild*, USENIX ATC 2025): one
/// LRU queue per kind of work and turn. The head that is least likely to be used again
/// within the usual life of a block goes; of equal ones the deeper.
///
/// For each queue it learns the share of blocks that are used again at all, and how long
/// that takes, fitted by an exponential distribution; uses that come after the eviction
/// count, as far as it remembers them (eight pools). Time counts requests. A block is in the
/// class of the last request that used it. A caller that knows it says category and turn
/// ([`describe`](crate::BlockManager::describe)); otherwise a request's turn is one more than
/// the turn that brought the deepest block which it did not bring itself.
///
/// *Cost*: O(log n), and one comparison per class in use at each eviction, 256 at most; O(n) at
/// the end of an epoch; 64 bytes per block, about 30 for a candidate, and about 450 for what it
/// remembers. *Not for* traffic whose turns and categories behave alike: then it is LRU with
/// noise.
#[derive(Clone, Debug, Default)]
pub struct WorkloadAware {
    uses: Uses,
    blocks: Vec<Block>,
    /// As far as they were seen.
    classes: Vec<Class>,
    history: History<Evicted>,
    /// Usual age of a victim.
    life: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Block {
    key: u64,
    /// The request that brought its content; `NOBODY` for content that came back.
    brought_by: u64,
    /// The turn of the request that brought it.
    turn: u32,
    /// Of the last request that used it and has ended.
    class: u8,
}

#[derive(Clone, Copy, Debug)]
struct Evicted {
    class: u8,
    turn: u32,
    last: u64,
}

/// One queue, and what is known of its blocks.
#[derive(Clone, Debug, Default)]
struct Class {
    /// By recency. (A heap for each class would need a place per block for each.)
    candidates: BTreeSet<(u64, BlockId)>,
    uses: f64,
    reuses: f64,
    /// Sum of the requests between a use and the next.
    intervals: f64,
}

impl Class {
    fn use_again(&mut self, interval: u64) {
        self.reuses += 1.0;
        self.intervals += interval as f64;
    }

    fn use_once(&mut self) {
        self.uses += 1.0;
        if self.uses > FADING {
            self.uses /= 2.0;
            self.reuses /= 2.0;
            self.intervals /= 2.0;
        }
    }

    /// Chance of a use within the next `life` requests of what was not used for `age`.
    fn chance(&self, age: u64, life: f64) -> f64 {
        // One reuse in two is assumed before anything is known.
        let share = (self.reuses + 1.0) / (self.uses + 2.0).max(self.reuses + 1.0);
        let interval = (self.intervals + 1.0) / (self.reuses + 1.0);
        let later = share * (-(age as f64) / interval).exp();
        later * (1.0 - (-life / interval).exp()) / (later + 1.0 - share).max(f64::MIN_POSITIVE)
    }
}

impl WorkloadAware {
    /// The class of what a request used, by its deepest block.
    fn classify(&self, deepest: BlockId, access: &Access) -> u8 {
        let turn = access.turn.unwrap_or_else(|| self.turn_after(deepest, access));
        let category = usize::from(access.category).min(CATEGORIES - 1);
        (category * TURNS + (turn as usize).min(TURNS - 1)) as u8
    }

    /// The turn of a request that continues `block`: one more than the turn that brought it,
    /// unless the request did so itself.
    fn turn_after(&self, block: BlockId, access: &Access) -> u32 {
        let Block { turn, brought_by, .. } = self.blocks[block.index()];
        turn.saturating_add(u32::from(brought_by != access.request))
    }

    fn class(&mut self, block: BlockId) -> &mut Class {
        &mut self.classes[usize::from(self.blocks[block.index()].class)]
    }
}

impl EvictionPolicy for WorkloadAware {
    fn init(&mut self, num_blocks: usize) {
        self.uses = Uses::new(num_blocks);
        self.classes = vec![Class::default()];
        self.blocks = vec![Block::default(); num_blocks];
        self.history = History::new(num_blocks.saturating_mul(REMEMBERED));
    }

    fn hit(&mut self, blocks: &[BlockId], _: &Access) {
        for &block in blocks {
            let interval = self.uses.age(block);
            self.class(block).use_again(interval);
        }
        self.uses.hit(blocks);
    }

    fn insert(&mut self, block: BlockId, inserted: &Inserted, access: &Access) {
        let (turn, brought_by) = match self.history.take(inserted.key) {
            Some(Evicted { class, turn, last }) => {
                let interval = self.uses.now().saturating_sub(last);
                self.classes[usize::from(class)].use_again(interval);
                (turn, NOBODY)
            }
            None => {
                let continued = inserted.parent.map(|parent| self.turn_after(parent, access));
                (access.turn.or(continued).unwrap_or(0), access.request)
            }
        };
        self.blocks[block.index()] = Block { key: inserted.key, brought_by, turn, class: 0 };
        self.uses.insert(block, inserted);
    }

    fn finish(&mut self, chain: &[BlockId], access: &Access) {
        self.uses.finish(chain);
        let Some(&deepest) = chain.last() else { return };
        let class = self.classify(deepest, access);
        let seen = self.classes.len().max(usize::from(class) + 1);
        self.classes.resize_with(seen, Class::default);
        for &block in chain {
            self.blocks[block.index()].class = class;
            self.classes[usize::from(class)].use_once();
        }
    }

    fn offer(&mut self, block: BlockId) {
        let recency = self.uses.recency(block);
        self.class(block).candidates.insert((recency, block));
    }

    fn retract(&mut self, block: BlockId) {
        let recency = self.uses.recency(block);
        self.class(block).candidates.remove(&(recency, block));
    }

    fn victim(&mut self) -> Option<BlockId> {
        let heads = self.classes.iter().filter_map(|class| {
            let &(_, head) = class.candidates.first()?;
            let chance = class.chance(self.uses.age(head), self.life.max(1.0));
            Some((chance, self.uses.depth(head), head))
        });
        let first = |a: &(f64, u32, BlockId), b: &(f64, u32, BlockId)| {
            a.0.total_cmp(&b.0).then(b.1.cmp(&a.1))
        };
        heads.min_by(first).map(|(_, _, head)| head)
    }

    fn remove(&mut self, block: BlockId) {
        self.retract(block);
        let Block { key, class, turn, .. } = self.blocks[block.index()];
        self.history.insert(key, Evicted { class, turn, last: self.uses.last(block) });
        self.life += AGE_SMOOTHING * (self.uses.age(block) as f64 - self.life);
    }

    fn clear(&mut self) {
        self.classes.iter_mut().for_each(|class| class.candidates.clear());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evict::script::Script;

    #[test]
    fn turns_are_derived_from_what_new_blocks_continue() {
        let mut script = Script::new(WorkloadAware::default(), 8);
        script.request(&[0, 1]); // turn 0
        script.request(&[0, 1, 2, 3]); // turn 1
        script.request(&[0, 4]); // another conversation behind 0: turn 1
        script.describe(&[0, 1, 2, 3, 5], 0, Some(7)); // said
        script.describe(&[6], 2, Some(99)); // clamped
        let turns = script.policy.blocks.iter().map(|block| block.turn);
        assert_eq!(turns.collect::<Vec<_>>(), [0, 0, 1, 1, 1, 7, 99, 0]);
        let classes = script.policy.blocks.iter().map(|block| block.class);
        assert_eq!(classes.collect::<Vec<_>>(), [7, 7, 7, 7, 1, 7, 2 * 16 + 15, 0]);
    }

    #[test]
    fn conversations_that_come_back_go_on_with_their_turns() {
        let mut script = Script::new(WorkloadAware::default(), 8);
        script.request(&[0, 1]); // turn 0
        script.request(&[0, 1, 2]); // turn 1
        script.evict_all();
        script.request(&[0, 1, 2, 3]); // turn 2
        assert_eq!([0, 1, 2, 3].map(|id| script.policy.blocks[id].turn), [0, 0, 1, 2]);
        script.request(&[0, 1, 2, 3]); // again: counts as turn 3
        assert_eq!([0, 1, 2, 3].map(|id| script.policy.blocks[id].class), [3; 4]);
    }

    #[test]
    fn the_class_that_is_not_reused_goes_first() {
        let mut script = Script::new(WorkloadAware::default(), 8);
        for _ in 0..10 {
            script.describe(&[0], 1, None); // reused each time
            script.describe(&[1], 2, None); // never: it is evicted, and others come
            script.remove(1);
            script.policy.history.take(1);
        }
        script.describe(&[2], 1, None);
        script.describe(&[3, 4], 2, None);
        // LRU would begin with 0.
        assert_eq!([script.evict(), script.evict()], [4, 3]);
    }

    #[test]
    fn uses_after_the_eviction_count() {
        let mut script = Script::new(WorkloadAware::default(), 8);
        for _ in 0..10 {
            script.request(&[0]);
            script.remove(0);
        }
        // Turn 0 was one use, which the first repetition showed to be reused; all others
        // count as turn 1.
        let counts = |class: &Class| (class.uses, class.reuses, class.intervals);
        assert_eq!(counts(&script.policy.classes[0]), (1.0, 1.0, 1.0));
        assert_eq!(counts(&script.policy.classes[1]), (9.0, 8.0, 8.0));
    }

    #[test]
    fn chances_by_hand() {
        // Half are reused, after 10 requests on average; with one in two assumed before:
        // share 6/12, interval (50 + 1)/6 = 8.5.
        let class = Class { uses: 10.0, reuses: 5.0, intervals: 50.0, ..Class::default() };
        let soon = 1.0 - (-1.0_f64 / 8.5).exp();
        assert!((class.chance(0, 1.0) - 0.5 * soon).abs() < 1e-12);
        // What was not used for long is hardly of the half that will be.
        assert!(class.chance(85, 1.0) < 1e-4 * class.chance(0, 1.0) * 2.0);
        assert!(Class::default().chance(u64::MAX, f64::MAX).is_finite());
    }
}
