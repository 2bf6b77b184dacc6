//! What a block of some class and age is worth: learned from how long blocks like it waited
//! for their next use.
//!
//! For each class a life table over buckets of age: how many reached the bucket without a
//! new use, and how many were used in it. The hazard of a bucket is their quotient, pulled
//! towards that of the class's group while there is little to go by.
//!
//! The worth of keeping a block that is `a` old is the best rate at which keeping it can pay:
//! over all times `t` to give up, P(used before `t`) per expected time that it takes room
//! (the Gittins index of a job that ends with its use; Gittins 1979). Room is what evictions
//! trade, so the block with the lowest index goes. Where the hazard falls with age this is
//! LRU; where it rises, as after a question that takes a minute to read, it prefers what
//! has already waited.

use super::class::{CLASSES, Class, GROUPS};

/// Buckets of age: four per doubling.
pub(super) const BUCKETS: usize = 48;
/// Observations that a class's group counts for.
const PRIOR: f64 = 4.0;
/// When so many blocks of a class were observed, all its counts are halved: workloads
/// change.
const MEMORY: f64 = 4_096.0;

/// The bucket of an age.
pub(super) fn bucket_of(age: u64) -> usize {
    if age < 4 {
        return age as usize;
    }
    let doublings = age.ilog2() - 2;
    let quarter = (age >> doublings) & 3;
    (4 + doublings as usize * 4 + quarter as usize).min(BUCKETS - 1)
}

/// The smallest age of a bucket.
pub(super) fn bucket_start(bucket: usize) -> u64 {
    if bucket < 4 { bucket as u64 } else { (4 + bucket as u64 % 4) << (bucket / 4 - 1) }
}

/// Ages in a bucket; of the last one, as many as it starts with.
fn bucket_width(bucket: usize) -> f64 {
    if bucket + 1 < BUCKETS {
        (bucket_start(bucket + 1) - bucket_start(bucket)) as f64
    } else {
        bucket_start(bucket) as f64
    }
}

#[derive(Clone, Copy, Debug)]
struct LifeTable {
    /// Blocks that reached the bucket unused.
    reached: [f64; BUCKETS],
    /// Blocks that were used in it.
    used: [f64; BUCKETS],
}

impl LifeTable {
    const EMPTY: LifeTable = LifeTable { reached: [0.0; BUCKETS], used: [0.0; BUCKETS] };
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    tables: Vec<LifeTable>,
    worth: Vec<[f64; BUCKETS]>,
}

impl Model {
    pub(super) fn new() -> Self {
        let mut model =
            Model { tables: vec![LifeTable::EMPTY; CLASSES], worth: vec![[0.0; BUCKETS]; CLASSES] };
        model.learn();
        model
    }

    /// A block reached `bucket` unused.
    pub(super) fn reached(&mut self, class: Class, bucket: usize) {
        self.tables[class.index()].reached[bucket] += 1.0;
    }

    /// A block was used when it was in `bucket`.
    pub(super) fn used(&mut self, class: Class, bucket: usize) {
        self.tables[class.index()].used[bucket] += 1.0;
    }

    /// What a block is worth, per unit of time and block.
    pub(super) fn worth(&self, class: Class, bucket: usize) -> f64 {
        self.worth[class.index()][bucket]
    }

    /// Whether blocks of this class were observed.
    pub(super) fn knows(&self, class: Class) -> bool {
        self.tables[class.index()].reached[0] > 0.0
    }

    /// Works the observations into what blocks are worth. O(classes * buckets).
    pub(super) fn learn(&mut self) {
        for group in 0..GROUPS {
            let classes = Class::of_group(group);
            let mut whole = LifeTable::EMPTY;
            for table in &self.tables[classes.clone()] {
                for bucket in 0..BUCKETS {
                    whole.reached[bucket] += table.reached[bucket];
                    whole.used[bucket] += table.used[bucket];
                }
            }
            // Nothing is known at first: then all classes are worth the same, and age decides.
            let expected: [f64; BUCKETS] = std::array::from_fn(|bucket| {
                (whole.used[bucket] + 0.05) / (whole.reached[bucket] + 1.0)
            });
            let of_unseen = worth(&expected);
            for class in classes {
                let table = &mut self.tables[class];
                if table.reached[0] == 0.0 {
                    self.worth[class] = of_unseen;
                    continue;
                }
                let hazard = std::array::from_fn(|bucket| {
                    let (used, reached) = (table.used[bucket], table.reached[bucket]);
                    ((used + PRIOR * expected[bucket]) / (reached + PRIOR)).min(1.0)
                });
                self.worth[class] = worth(&hazard);
                if table.reached[0] > MEMORY {
                    table.reached.iter_mut().chain(&mut table.used).for_each(|n| *n /= 2.0);
                }
            }
        }
    }
}

/// By bucket of age: the best rate of uses per time that keeping a block can have. O(buckets).
///
/// From the last bucket back, each is followed by stretches of time that are kept through, once
/// they are begun, because their rate rises. A bucket is joined with the next stretch as long
/// as that has the higher rate.
fn worth(hazard: &[f64; BUCKETS]) -> [f64; BUCKETS] {
    struct Stretch {
        /// Expected, of a block that reaches its start.
        used: f64,
        time: f64,
        /// Chance to be there still at its end.
        waiting: f64,
    }
    let mut worth = [0.0; BUCKETS];
    let mut later: Vec<Stretch> = Vec::with_capacity(BUCKETS);
    for bucket in (0..BUCKETS).rev() {
        let used = hazard[bucket];
        // A use comes in the middle of the bucket.
        let time = (1.0 - used / 2.0) * bucket_width(bucket);
        let mut joined = Stretch { used, time, waiting: 1.0 - used };
        while let Some(next) =
            later.pop_if(|next| next.used * joined.time > joined.used * next.time)
        {
            joined.used += joined.waiting * next.used;
            joined.time += joined.waiting * next.time;
            joined.waiting *= next.waiting;
        }
        worth[bucket] = joined.used / joined.time;
        later.push(joined);
    }
    worth
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_follow_each_other() {
        for age in 0..20_000 {
            let bucket = bucket_of(age);
            assert!(bucket_start(bucket) <= age);
            assert!(bucket + 1 == BUCKETS || age < bucket_start(bucket + 1));
        }
        assert_eq!((bucket_of(4), bucket_of(8), bucket_of(9), bucket_of(10)), (4, 8, 8, 9));
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_certain_use_is_worth_more_the_nearer_it_is() {
        let mut hazard = [0.0; BUCKETS];
        hazard[8] = 1.0; // ages 8 and 9
        let worth = worth(&hazard);
        // At 8: one use in the middle of two units. At 4: after four more.
        assert_eq!((worth[8], worth[4], worth[9]), (1.0, 0.2, 0.0));
        assert!(worth[0] < worth[4]);
    }

    proptest! {
        /// Against the definition: the best over all times to give up.
        #[test]
        fn worth_is_the_best_rate(hazards in prop::collection::vec(0.0_f64..=1.0, BUCKETS)) {
            let hazard: [f64; BUCKETS] = hazards.try_into().unwrap();
            for (from, &worth) in worth(&hazard).iter().enumerate() {
                let (mut waiting, mut used, mut time, mut best) = (1.0, 0.0, 0.0, 0.0_f64);
                for bucket in from..BUCKETS {
                    used += waiting * hazard[bucket];
                    time += waiting * (1.0 - hazard[bucket] / 2.0) * bucket_width(bucket);
                    waiting *= 1.0 - hazard[bucket];
                    best = best.max(used / time);
                }
                prop_assert!((worth - best).abs() <= 1e-9 * best, "{from}: {worth} {best}");
            }
        }
    }

    #[test]
    fn a_constant_hazard_is_worth_the_same_at_any_age() {
        // Half of what waits is used in each unit of time: buckets 0 to 7 are one wide.
        let mut hazard = [0.0; BUCKETS];
        hazard[..8].fill(0.5);
        let worth = worth(&hazard);
        for worth in &worth[..8] {
            assert!((worth - 0.5 / 0.75).abs() < 1e-12, "{worth}");
        }
    }

    #[test]
    fn what_was_seen_decides_and_its_group_stands_in_where_little_was() {
        let mut model = Model::new();
        let mut classes = Class::of_group(1);
        let (seen, unseen) = (Class::at(classes.start), Class::at(classes.start + 1));
        let other = Class::at(classes.end);
        for _ in 0..100 {
            (0..=10).for_each(|bucket| model.reached(seen, bucket));
            model.used(seen, 10);
        }
        model.learn();
        assert!(model.worth(seen, 10) > 0.2);
        assert!(model.worth(unseen, 10) > 0.2);
        assert!(model.worth(other, 10) < 0.05);
        assert!(model.knows(seen) && !model.knows(unseen));
        assert!(classes.contains(&classes.clone().next_back().unwrap()), "{:?}", classes.next());
    }
}
