//! Candidates by class and age, and the order in which they go.
//!
//! A cell is what is in one class and one bucket of age; all in it is worth the same, and
//! inside the oldest goes first. Worth changes with every tick, but slowly against the
//! ages that matter, so cells are put in order once in a while (a plan) and emptied one
//! after the other in between.

use super::class::{CLASSES, Class};
use super::model::{BUCKETS, Model, bucket_of, bucket_start};
use crate::BlockId;
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Victims that a plan has to be good for before a request's end makes it old.
const VICTIMS_PER_PLAN: usize = 16;

/// What orders the candidates of a class: older first, then by request, deeper first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) last_use: u64,
    pub(super) request: u64,
    pub(super) depth: Reverse<u32>,
    pub(super) block: BlockId,
}

impl Rank {
    /// Ahead of all ranks with this last use.
    const fn first_at(last_use: u64) -> Rank {
        Rank { last_use, request: 0, depth: Reverse(u32::MAX), block: BlockId(0) }
    }
}

/// Candidates of one class, last used within a span of time.
#[derive(Clone, Copy, Debug)]
struct Cell {
    worth: f64,
    class: Class,
    bucket: usize,
    from: u64,
    until: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Cells {
    classes: Vec<BTreeSet<Rank>>,
    candidates: usize,
    plan: Vec<Cell>,
    /// Cells at the start of the plan that are empty.
    done: usize,
    /// Victims found by the plan.
    found: usize,
    /// By class, where in the plan its cells are, oldest first.
    places: Vec<Vec<usize>>,
}

impl Cells {
    pub(super) fn new() -> Self {
        let classes = vec![BTreeSet::new(); CLASSES];
        Cells {
            classes,
            candidates: 0,
            plan: Vec::new(),
            done: 0,
            found: 0,
            places: vec![Vec::new(); CLASSES],
        }
    }

    /// O(log n).
    pub(super) fn insert(&mut self, class: Class, rank: Rank) {
        self.candidates += usize::from(self.classes[class.index()].insert(rank));
        if self.done > 0 {
            let places = &self.places[class.index()];
            let next = places.partition_point(|&at| self.plan[at].until < rank.last_use);
            match places.get(next) {
                Some(&at) if self.plan[at].from <= rank.last_use => self.done = self.done.min(at),
                _ => self.renew(),
            }
        }
    }

    /// O(log n).
    pub(super) fn remove(&mut self, class: Class, rank: &Rank) {
        self.candidates -= usize::from(self.classes[class.index()].remove(rank));
    }

    pub(super) fn clear(&mut self) {
        self.classes.iter_mut().for_each(BTreeSet::clear);
        self.candidates = 0;
        self.renew();
    }

    /// A request has ended: time has passed, and the plan is old if it was of use.
    pub(super) fn request_ends(&mut self) {
        if self.found >= VICTIMS_PER_PLAN {
            self.renew();
        }
    }

    /// Has the next victim be found by a new plan.
    fn renew(&mut self) {
        self.plan.clear();
        self.done = 0;
        self.found = 0;
    }

    /// The candidate that is worth least. O(log n), and a plan where one is due: O(log n) per
    /// cell that is not empty, of which there are at most `CLASSES * BUCKETS`.
    pub(super) fn least(&mut self, now: u64, model: &Model) -> Option<BlockId> {
        if self.candidates == 0 {
            return None;
        }
        loop {
            if self.done == self.plan.len() {
                self.make_plan(now, model);
            }
            let Cell { class, from, until, .. } = self.plan[self.done];
            let from = Rank::first_at(from);
            let first = self.classes[class.index()].range(from..).next();
            if let Some(first) = first.filter(|rank| rank.last_use <= until) {
                self.found += 1;
                return Some(first.block);
            }
            self.done += 1;
        }
    }

    /// Puts the cells in order, whatever is worth least first, the older among equals.
    fn make_plan(&mut self, now: u64, model: &Model) {
        self.renew();
        for (index, ranks) in self.classes.iter().enumerate() {
            let class = Class::at(index);
            // What will be released until the next plan is young.
            let young = ranks.is_empty() && model.knows(class);
            let mut next = if young { Some(now) } else { ranks.first().map(|rank| rank.last_use) };
            while let Some(last_use) = next {
                let bucket = bucket_of(now.saturating_sub(last_use));
                let from = match bucket + 1 {
                    BUCKETS => 0,
                    older => (now + 1).saturating_sub(bucket_start(older)),
                };
                let until = if bucket == 0 { u64::MAX } else { now - bucket_start(bucket) };
                let worth = model.worth(class, bucket);
                self.plan.push(Cell { worth, class, bucket, from, until });
                next = until.checked_add(1).map(|later| {
                    match ranks.range(Rank::first_at(later)..).next() {
                        Some(rank) => rank.last_use.min(now),
                        None => now,
                    }
                });
            }
        }
        self.plan.sort_by(|a, b| a.worth.total_cmp(&b.worth).then(b.bucket.cmp(&a.bucket)));
        self.places.iter_mut().for_each(Vec::clear);
        for (at, cell) in self.plan.iter().enumerate() {
            self.places[cell.class.index()].push(at);
        }
        for places in &mut self.places {
            places.sort_unstable_by_key(|&at| self.plan[at].until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rank(last_use: u64, id: u32) -> Rank {
        Rank { last_use, request: 0, depth: Reverse(0), block: BlockId(id) }
    }

    proptest! {
        /// Every candidate is found, whatever came after the plan, and none twice.
        #[test]
        fn all_come_out(
            before in prop::collection::vec((0_usize..CLASSES, 0_u64..5_000), 0..40),
            after in prop::collection::vec((0_usize..CLASSES, 0_u64..5_100), 0..40),
        ) {
            let mut cells = Cells::new();
            let model = Model::new();
            let mut left = std::collections::BTreeMap::new();
            let all = before.iter().chain(&after).zip(0..);
            for (&(class, last_use), id) in all {
                if id == before.len() as u32 {
                    cells.least(5_000, &model);
                }
                cells.insert(Class::at(class), rank(last_use, id));
                left.insert(id, (Class::at(class), last_use));
            }
            while let Some(block) = cells.least(5_100, &model) {
                let (class, last_use) = left.remove(&block.get()).unwrap();
                cells.remove(class, &rank(last_use, block.get()));
            }
            prop_assert!(left.is_empty());
        }
    }

    #[test]
    fn without_knowledge_the_oldest_goes() {
        let mut cells = Cells::new();
        let model = Model::new();
        for (id, class, last_use) in [(0, 3, 900), (1, 90, 10), (2, 3, 400), (3, 50, 10)] {
            cells.insert(Class::at(class), rank(last_use, id));
        }
        let mut order = Vec::new();
        while let Some(block) = cells.least(1_000, &model) {
            order.push(block.get());
            let place = [(3, 900), (90, 10), (3, 400), (50, 10)][block.index()];
            cells.remove(Class::at(place.0), &rank(place.1, block.get()));
        }
        assert_eq!(order, [3, 1, 2, 0]);
    }
}
