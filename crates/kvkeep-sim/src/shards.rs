//! LRU's curve from a sample of the blocks, in bounded memory, while a trace streams by.
//!
//! SHARDS (Waldspurger et al., FAST 2015): a block is in the sample if the hash of its id is
//! below a threshold, so every use of it is seen or none. Distances and counts are scaled up
//! by the inverse of the rate. When the sample outgrows its memory the rate is halved.
//!
//! A few blocks (system prompts) can carry much of all hits, and whether the sample has them is
//! luck. Hence the error: the sample is cut into groups by further bits of the hash, and
//! what the curve does when each group in turn is left out gives its standard error
//! (jackknife).

use crate::accesses::Rule;
use crate::recency::RecencyStack;
use crate::trace::Request;
use ahash::AHashMap;

/// Groups of the sample, for the error.
const GROUPS: usize = 16;
/// Steps of the distance per doubling.
const STEPS: u64 = 64;

/// An estimate with its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The hit rate.
    pub rate: f64,
    /// One standard error.
    pub error: f64,
}

/// Estimates LRU's hit rate at every size from a sample of the blocks. No request is rejected, so
/// sizes below the longest one are too optimistic.
#[derive(Clone, Debug)]
pub struct Shards {
    rule: Rule,
    block_size: u32,
    max_blocks: u32,
    /// The sample is one block in `1 << halvings`.
    halvings: u32,
    /// Sampled ids, numbered.
    numbers: AHashMap<u64, u32>,
    stack: RecencyStack,
    groups: Vec<Group>,
    /// Uses of all blocks that may hit, sampled or not.
    uses: u64,
    /// What all prompts weigh, in the rule's unit.
    total: u64,
    /// Blocks of the longest request.
    longest: u32,
    chain: Vec<u32>,
}

/// What part of the sample has seen.
#[derive(Clone, Debug, Default)]
struct Group {
    /// Estimated uses that may hit, found or not.
    uses: f64,
    /// Estimated hits by step of the distance.
    hits: Vec<f64>,
}

impl Shards {
    /// An estimate for a trace with blocks of `block_size` tokens that tracks up to `max_blocks`
    /// of them, at least 1,024: about 40 bytes each. The sample starts with all blocks.
    #[must_use]
    pub fn new(rule: Rule, block_size: u32, max_blocks: u32) -> Shards {
        Shards {
            rule,
            block_size: block_size.max(1),
            max_blocks: max_blocks.max(1_024),
            halvings: 0,
            numbers: AHashMap::new(),
            stack: RecencyStack::new(0),
            groups: vec![Group::default(); GROUPS],
            uses: 0,
            total: 0,
            longest: 0,
            chain: Vec::new(),
        }
    }

    /// Takes the next request of the trace. O(blocks), and O(log n) for each that is in the
    /// sample.
    pub fn observe(&mut self, request: &Request) {
        let (kept, hittable) = self.rule.kept_and_hittable(
            request.input_tokens,
            request.blocks.len(),
            self.block_size,
        );
        self.uses += u64::from(hittable);
        self.total += self.rule.weight(request.input_tokens, kept);
        self.longest = self.longest.max(kept as u32);
        self.chain.clear();
        let weight = (1_u64 << self.halvings) as f64;
        let kept = (0..).zip(request.blocks[..kept].iter().map(|&id| (id, hash(id))));
        let sampled = kept.filter(|(_, (_, hash))| hash.leading_zeros() >= self.halvings);
        for (depth, (id, hash)) in sampled.clone() {
            let next = self.numbers.len() as u32;
            self.chain.push(*self.numbers.entry(id).or_insert(next));
            if depth < hittable {
                self.groups[group_of(hash)].uses += weight;
            }
        }
        self.stack.grow(self.numbers.len() as u32);
        let hits = sampled.zip(self.stack.distances(&self.chain));
        for ((_, (_, hash)), distance) in hits.take_while(|((depth, _), _)| *depth < hittable) {
            let step = step_of(u64::from(distance) << self.halvings);
            let hits = &mut self.groups[group_of(hash)].hits;
            if hits.len() <= step {
                hits.resize(step + 1, 0.0);
            }
            hits[step] += weight;
        }
        self.stack.push(&self.chain);
        while self.numbers.len() > self.max_blocks as usize {
            self.halve();
        }
    }

    /// Leaves out every second block of the sample.
    fn halve(&mut self) {
        self.halvings += 1;
        let mut renumbered = vec![None; self.numbers.len()];
        let mut kept = 0;
        let halvings = self.halvings;
        self.numbers.retain(|&id, number| {
            let keep = hash(id).leading_zeros() >= halvings;
            if keep {
                renumbered[*number as usize] = Some(kept);
                *number = kept;
                kept += 1;
            }
            keep
        });
        self.stack.renumber_blocks(kept, |block| renumbered[block as usize]);
    }

    /// The share of the blocks that is in the sample now.
    #[must_use]
    pub fn rate(&self) -> f64 {
        1.0 / (1_u64 << self.halvings) as f64
    }

    /// Different blocks of the trace so far, estimated.
    #[must_use]
    pub fn distinct_blocks(&self) -> u64 {
        (self.numbers.len() as u64) << self.halvings
    }

    /// Blocks of the longest request so far that are cached.
    #[must_use]
    pub fn longest_request(&self) -> u32 {
        self.longest
    }

    /// The hit rate of LRU at a size in blocks.
    #[must_use]
    pub fn estimate(&self, blocks: u64) -> Estimate {
        if self.total == 0 {
            return Estimate { rate: 0.0, error: 0.0 };
        }
        let end = step_of(blocks) + 1;
        let hits: Vec<f64> = self
            .groups
            .iter()
            .map(|group| group.hits[..end.min(group.hits.len())].iter().sum())
            .collect();
        let (all_hits, all_uses) =
            (hits.iter().sum::<f64>(), self.groups.iter().map(|group| group.uses).sum::<f64>());
        // What the sample lacks or has too many of are uses of hot blocks, which hit at any
        // size (the paper's SHARDS-adj).
        let weight = self.rule.weight_of_block(self.block_size) as f64;
        let rate_of = |hits: f64, uses: f64, share: f64| {
            let hits = hits + self.uses as f64 * share - uses;
            (hits * weight / (self.total as f64 * share)).clamp(0.0, 1.0)
        };
        let rate = rate_of(all_hits, all_uses, 1.0);
        if self.halvings == 0 {
            return Estimate { rate, error: 0.0 };
        }
        let share = (GROUPS - 1) as f64 / GROUPS as f64;
        let without = self
            .groups
            .iter()
            .zip(&hits)
            .map(|(group, hits)| rate_of(all_hits - hits, all_uses - group.uses, share));
        let spread: f64 = without.map(|other| (other - rate) * (other - rate)).sum();
        Estimate { rate, error: (spread * share).sqrt() }
    }
}

/// Spreads ids over 64 bits (the finisher of SplitMix64).
fn hash(id: u64) -> u64 {
    let mut mixed = id.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The threshold looks at the high bits, the group at the low ones.
fn group_of(hash: u64) -> usize {
    hash as usize % GROUPS
}

/// The step of a distance: exact below `STEPS`, then `STEPS` steps per doubling. A step is
/// named by the largest distance in it.
fn step_of(distance: u64) -> usize {
    let below = distance.max(1) - 1;
    if below < STEPS {
        return below as usize;
    }
    let doublings = u64::from(below.ilog2() - STEPS.ilog2());
    (doublings * STEPS + (below >> doublings)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accesses::Accesses;
    use crate::curve::Curve;
    use crate::trace::{Source, Trace};

    #[test]
    fn steps_rise_with_the_distance() {
        let mut last = 0;
        for distance in 1..100_000 {
            let step = step_of(distance);
            assert!(step == last || step == last + 1, "{distance}");
            last = step;
        }
        assert_eq!((step_of(1), step_of(64), step_of(65), step_of(129)), (0, 63, 64, 128));
    }

    /// Conversations of growing length over 2,000 users, seeded.
    struct Conversations(u64, Vec<Vec<u64>>);

    impl Source for Conversations {
        type Error = std::convert::Infallible;

        fn block_size(&self) -> u32 {
            4
        }

        fn read_next(&mut self, request: &mut Request) -> Result<bool, Self::Error> {
            self.0 += 1;
            let draw = hash(self.0);
            // Popular users come more often.
            let user = ((draw % 2_000) * (draw >> 32) % 2_000) as usize % 2_000;
            let history = &mut self.1[user];
            if history.len() > 60 {
                history.clear();
            }
            let new = (0..1 + draw % 7).map(|n| (self.0 << 8) | n);
            history.extend(new);
            request.blocks.clone_from(history);
            // The last block is full or not.
            request.input_tokens = history.len() as u32 * 4 - (draw >> 20) as u32 % 4;
            Ok(self.0 < 40_000)
        }
    }

    #[test]
    fn the_estimate_is_near_the_exact_curve_and_knows_how_near() {
        let source = || Conversations(0, vec![Vec::new(); 2_000]);
        let trace = Trace::read(&mut source()).unwrap();
        let cases = [(u32::MAX, 0.004), (20_000, 0.01), (4_000, 0.03)];
        let both = [Rule::Engine, Rule::Blocks];
        for (rule, (max_blocks, most_off)) in both.into_iter().flat_map(|r| cases.map(|c| (r, c))) {
            let exact = Curve::lru(&Accesses::new(&trace, rule));
            let mut shards = Shards::new(rule, 4, max_blocks);
            let (mut source, mut request) = (source(), Request::default());
            while source.read_next(&mut request).unwrap() {
                shards.observe(&request);
            }
            assert!(shards.numbers.len() <= max_blocks as usize);
            assert_eq!(shards.rate() < 1.0, max_blocks < u32::MAX);
            for size in [300, 1_000, 3_000, 10_000, 30_000, 100_000] {
                let Estimate { rate, error } = shards.estimate(size);
                let off = (rate - exact.rate(size as u32)).abs();
                assert!(off <= most_off, "{rule}, {max_blocks} at {size}: {off}");
                assert!(off <= 4.0 * error + 0.004, "{max_blocks} at {size}: {off}, {error}");
                assert_eq!(error == 0.0, max_blocks == u32::MAX);
            }
        }
    }
}
