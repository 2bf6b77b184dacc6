//! LHD: the fewest hits to expect for the space and time that a block will still take.

use super::random::Lottery;
use super::uses::Uses;
use super::{Access, EvictionPolicy, Inserted};
use crate::BlockId;

/// Candidates compared for one eviction, as in the paper.
const DRAWS: usize = 32;
/// Blocks are told apart by their uses: 1, 2 to 3, 4 to 7, and so on.
const CLASSES: usize = 6;
/// Ages are exact up to `1 << STEP_BITS` requests; from there on each octave has as many
/// steps.
const STEP_BITS: u32 = 3;
const STEPS: usize = 1 << STEP_BITS;
const AGES: usize = 24 * STEPS;
/// What counts keep when densities are learned again, and the fewest events in between.
const DECAY: f64 = 0.9;
const PRIOR_WEIGHT: f64 = 0.01;
const MIN_EVENTS: usize = 1024;

/// Least hit density (Beckmann, Chen and Cidon, NSDI 2018): how often blocks of a class are
/// hit, and at what age they are hit or evicted, says how many hits one more request of
/// residence brings. Of 32 candidates drawn by chance the one with the least goes.
///
/// Age counts requests since the last use; the class is the number of uses. What is learned
/// fades, by a tenth with each pool of events.
///
/// *Cost*: O(1), but 32 reads all over memory per eviction, which overlap; 24 bytes per
/// block. *Not for* short runs: it has to see some pools of evictions first, and starts as
/// LRU by class.
#[derive(Clone, Debug, Default)]
pub struct Lhd {
    uses: Uses,
    candidates: Lottery,
    classes: Vec<Class>,
    events: usize,
    max_events: usize,
}

#[derive(Clone, Debug)]
struct Class {
    hits: [f64; AGES],
    evictions: [f64; AGES],
    density: [f64; AGES],
}

/// The step of an age.
fn step(age: u64) -> usize {
    let octave = (age >> STEP_BITS).checked_ilog2().map_or(0, |log| log + 1);
    let start = if octave == 0 { 0 } else { octave as usize * STEPS };
    let within = (age >> octave.saturating_sub(1)) as usize & (STEPS - 1);
    (start + within).min(AGES - 1)
}

/// Requests that pass within a step.
fn width(step: usize) -> f64 {
    let octave = step / STEPS;
    (1_u64 << octave.saturating_sub(1)) as f64
}

impl Class {
    /// Before anything is learned: LRU, and more uses are better.
    fn new(class: usize) -> Self {
        let density = std::array::from_fn(|step| f64::from(1 << class) / (step + 1) as f64);
        Class { hits: [0.0; AGES], evictions: [0.0; AGES], density }
    }

    /// From the largest age down: hits to come over residence to come. What is not known of
    /// a class, `all` classes say with little weight; what was never seen has no hits to come.
    fn learn(&mut self, all: &Class) {
        let (mut hits, mut events, mut residence) = (0.0, 0.0, 0.0);
        for step in (0..AGES).rev() {
            let hits_here = self.hits[step] + PRIOR_WEIGHT * all.hits[step];
            hits += hits_here;
            events += hits_here + self.evictions[step] + PRIOR_WEIGHT * all.evictions[step];
            residence += events * width(step);
            self.density[step] = if events > 0.0 { hits / residence } else { 0.0 };
            self.hits[step] *= DECAY;
            self.evictions[step] *= DECAY;
        }
    }
}

fn class(uses: &Uses, block: BlockId) -> usize {
    (uses.count(block).max(1).ilog2() as usize).min(CLASSES - 1)
}

impl Lhd {
    fn count_event(&mut self) {
        self.events += 1;
        if self.events == self.max_events {
            self.events = 0;
            let mut all = Class::new(0);
            for class in &self.classes {
                (0..AGES).for_each(|step| {
                    all.hits[step] += class.hits[step];
                    all.evictions[step] += class.evictions[step];
                });
            }
            self.classes.iter_mut().for_each(|class| class.learn(&all));
        }
    }
}

impl EvictionPolicy for Lhd {
    fn init(&mut self, num_blocks: usize) {
        self.uses = Uses::new(num_blocks);
        self.candidates = Lottery::new(num_blocks);
        self.classes = (0..CLASSES).map(Class::new).collect();
        self.max_events = num_blocks.max(MIN_EVENTS);
    }

    fn hit(&mut self, blocks: &[BlockId], _: &Access) {
        for &block in blocks {
            let class = class(&self.uses, block);
            self.classes[class].hits[step(self.uses.age(block))] += 1.0;
            self.count_event();
        }
        self.uses.hit(blocks);
    }

    fn insert(&mut self, block: BlockId, inserted: &Inserted, _: &Access) {
        self.uses.insert(block, inserted);
    }

    fn finish(&mut self, chain: &[BlockId], _: &Access) {
        self.uses.finish(chain);
    }

    fn offer(&mut self, block: BlockId) {
        self.candidates.insert(block);
    }

    fn retract(&mut self, block: BlockId) {
        self.candidates.remove(block);
    }

    fn victim(&mut self) -> Option<BlockId> {
        let (uses, classes) = (&self.uses, &self.classes);
        let rank = |block| {
            let class = class(uses, block);
            (classes[class].density[step(uses.age(block))], uses.recency(block))
        };
        self.candidates.least::<DRAWS, _>(|block| uses.prefetch(block), rank)
    }

    fn remove(&mut self, block: BlockId) {
        self.candidates.remove(block);
        let class = class(&self.uses, block);
        self.classes[class].evictions[step(self.uses.age(block))] += 1.0;
        self.count_event();
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
    fn steps_follow_each_other_and_cover_all_ages() {
        assert_eq!((0..10).map(step).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!([15, 16, 17, 18, 31, 32, 35, 36].map(step), [15, 16, 16, 17, 23, 24, 24, 25]);
        assert_eq!(step(u64::MAX), AGES - 1);
        // The widths add up to the first age of a step.
        let first = |at: usize| (0..at).map(width).sum::<f64>() as u64;
        assert!(
            (0..AGES).all(|at| step(first(at)) == at && (at == 0 || step(first(at) - 1) == at - 1))
        );
    }

    #[test]
    fn before_it_knows_anything_it_is_lru() {
        let mut script = Script::new(Lhd::default(), 8);
        script.request(&[0, 1]);
        script.request(&[2]);
        script.request(&[3]);
        assert_eq!(script.evict_all(), [1, 0, 2, 3]);
    }

    #[test]
    fn densities_are_hits_over_residence() {
        let mut class = Class::new(0);
        class.hits[1] = 3.0;
        class.evictions[3] = 1.0;
        class.learn(&Class::new(0));
        // Age 3: no hits. Age 2: none in 2 requests. Age 1: 3 in 1 + 1 + 4. Age 0: 3 in 10.
        assert_eq!(class.density[..4], [3.0 / 10.0, 3.0 / 6.0, 0.0, 0.0]);
        assert_eq!(class.hits[1], 3.0 * DECAY);
    }

    #[test]
    fn it_learns_what_is_never_hit() {
        let mut script = Script::new(Lhd::default(), 8);
        script.policy.max_events = 40;
        // 0 is asked for every fourth request, the others never again.
        for _ in 0..20 {
            script.request(&[0]);
            for id in 1..4 {
                script.request(&[id]);
                script.remove(id);
            }
        }
        script.request(&[0]);
        script.request(&[4]);
        // LRU would take 0, but its next use is near.
        assert_eq!(script.evict(), 4);
    }
}
