//! Reproducible numbers: SplitMix64 (Steele, Lea, Flood 2014), by position.
//!
//! Every number is a function of a seed and its position, so weights and samples do not
//! depend on the order in which anybody asks for them.

/// A seed that nobody can foresee, for those who ask for none.
#[must_use]
pub(crate) fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(())
}

/// The `n`-th word of the stream of `seed`.
#[must_use]
pub(crate) fn word(seed: u64, n: u64) -> u64 {
    let word = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// The `n`-th number of the stream of `seed`, uniform over 2^24 values in [0, 1).
#[must_use]
pub(crate) fn unit(seed: u64, n: u64) -> f32 {
    (word(seed, n) >> 40) as f32 / (1_u32 << 24) as f32
}
