//! SplitMix64, the generator of made-up workloads.
//!
//! Written down here rather than taken from a crate because a seed has to name the same
//! workload for ever: crates for random numbers keep the right to change their sampling.
//! Integers only, so that every platform agrees. Not for secrets.
//!
//! Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014.

use std::ops::RangeInclusive;

/// A stream of random numbers, given by its seed.
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// The stream of `seed`. Every seed is as good as any other.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// 64 random bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 32 random bits.
    pub const fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    /// A number from `0..limit`, `limit` above 0. Scales 32 random bits; the bias, at most
    /// `limit / 2^32`, does not matter to a workload.
    pub fn below(&mut self, limit: u32) -> u32 {
        (((self.next_u64() >> 32) * u64::from(limit)) >> 32) as u32
    }

    /// A number from `range`, both ends included; its start where it is empty.
    pub fn within(&mut self, range: &RangeInclusive<u32>) -> u32 {
        let numbers = u64::from(range.end().saturating_sub(*range.start())) + 1;
        range.start() + (((self.next_u64() >> 32) * numbers) >> 32) as u32
    }

    /// True in `percent` of 100 draws.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }
}

#[cfg(test)]
mod tests {
    use super::SplitMix64;

    #[test]
    fn matches_the_published_reference_values() {
        let mut random = SplitMix64::new(1_234_567);
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(expected.map(|_| random.next_u64()), expected);
    }

    #[test]
    fn draws_reach_both_ends_and_nothing_beyond() {
        let mut random = SplitMix64::new(0);
        let mut seen = [0_u32; 4];
        for _ in 0..400 {
            seen[random.within(&(0..=3)) as usize] += 1;
        }
        assert!(seen.iter().all(|&count| (60..=140).contains(&count)), "{seen:?}");
        assert_eq!(random.within(&(7..=7)), 7);
        assert!((0..64).any(|_| random.within(&(0..=u32::MAX)) > u32::MAX / 2));
        assert!(!random.chance(0));
        assert!(random.chance(100));
    }
}
