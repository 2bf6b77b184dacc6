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
const REMEMBERED: usize = 4;
/// Releases of a class after which old ones count half.
const FADING: f64 = 4096.0;
/// Weight of the age of the last victim in the usual age.
const AGE_SMOOTHING: f64 = 1.0 / 256.0;

/// Workload-aware eviction (Wang et al., *KVCache cache in the wild*, USENIX ATC 2025): one
/// LRU queue per kind of work and turn. The head that is least likely to be used again
/// within the usual life of a block goes; of equal ones the deeper.
///
/// For each queue it learns the share of blocks that are used again at all, and how long
/// that takes, fitted by an exponential distribution; uses that come after the eviction
/// count, as far as it remembers them (four pools). Time counts requests. A caller that
/// knows it says category and turn ([`describe`](crate::BlockManager::describe)); otherwise
/// the turn is one more than that of the block which the request's first new block
/// continues. A block keeps the class it was computed in.
///
/// *Cost*: O(log n), and one comparison per class in use at each eviction, 256 at most; 64
/// bytes per block, about 30 for a candidate, and about 220 for what it remembers. *Not for* traffic whose turns and
/// categories behave alike: then it is LRU with noise.
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
    /// The request that computed it.
    request: u64,
    class: u8,
}

#[derive(Clone, Copy, Debug)]
struct Evicted {
    class: u8,
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
    /// The class of a block that is computed now.
    fn classify(&self, inserted: &Inserted, access: &Access) -> u8 {
        let turn =
            access.turn.map_or_else(|| self.derived_turn(inserted, access), |turn| turn as usize);
        let category = usize::from(access.category).min(CATEGORIES - 1);
        (category * TURNS + turn.min(TURNS - 1)) as u8
    }

    fn derived_turn(&self, inserted: &Inserted, access: &Access) -> usize {
        inserted.parent.map_or(0, |parent| {
            let parent = &self.blocks[parent.index()];
            let turn = usize::from(parent.class) % TURNS;
            turn + usize::from(parent.request != access.request)
        })
    }

    fn class(&mut self, block: BlockId) -> &mut Class {
        &mut self.classes[usize::from(self.blocks[block.index()].class)]
    }
}

impl EvictionPolicy for WorkloadAware {
    fn init(&mut self, num_blocks: usize) {
        self.uses = Uses::new(num_blocks);
        self.blocks = vec![Block::default(); num_blocks];
        self.history = History::new(num_blocks.saturating_mul(REMEMBERED));
    }

    fn hit(&mut self, blocks: &[BlockId], _: &Access) {
        for &block in blocks {
            let interval = self.uses.age(block);
            let class = self.class(block);
            class.use_again(interval);
            class.use_once();
        }
        self.uses.hit(blocks);
    }

    fn insert(&mut self, block: BlockId, inserted: &Inserted, access: &Access) {
        let class = self.classify(inserted, access);
        let needed = usize::from(class) + 1;
        if self.classes.len() < needed {
            self.classes.resize_with(needed, Class::default);
        }
        if let Some(evicted) = self.history.take(inserted.key) {
            let interval = self.uses.now().saturating_sub(evicted.last);
            self.classes[usize::from(evicted.class)].use_again(interval);
        }
        self.classes[usize::from(class)].use_once();
        self.blocks[block.index()] = Block { key: inserted.key, request: access.request, class };
        self.uses.insert(block, inserted);
    }

    fn finish(&mut self, chain: &[BlockId], _: &Access) {
        self.uses.finish(chain);
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
        let Block { key, class, .. } = self.blocks[block.index()];
        self.history.insert(key, Evicted { class, last: self.uses.last(block) });
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

    fn turn(script: &Script<WorkloadAware>, id: usize) -> usize {
        usize::from(script.policy.blocks[id].class) % TURNS
    }

    #[test]
    fn turns_are_derived_from_what_new_blocks_continue() {
        let mut script = Script::new(WorkloadAware::default(), 8);
        script.request(&[0, 1]); // turn 0
        script.request(&[0, 1, 2, 3]); // turn 1
        script.request(&[0, 4]); // another conversation behind 0: turn 1
        script.describe(&[0, 1, 2, 3, 5], 0, Some(7)); // said
        script.describe(&[6], 2, Some(99)); // clamped
        assert_eq!([0, 1, 2, 3, 4, 5, 6].map(|id| turn(&script, id)), [0, 0, 1, 1, 1, 7, 15]);
        assert_eq!(script.policy.blocks[6].class, 2 * 16 + 15);
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
        let class = &script.policy.classes[0];
        assert_eq!((class.uses, class.reuses, class.intervals), (10.0, 9.0, 9.0));
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
