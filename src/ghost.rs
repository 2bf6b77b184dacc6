//! A bounded memory of evicted blocks, to tell "evicted" from "never seen".
//!
//! Sets of 31 16-bit fingerprints and a cursor, one cache line each; the oldest of a set
//! is overwritten. About 2 bytes per remembered block.

use crate::prefetch::prefetch;

/// Fingerprints per set; the 32nd word is the cursor.
const WAYS: usize = 31;

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Set([u16; WAYS + 1]);

#[derive(Debug)]
pub(crate) struct Ghost {
    sets: Vec<Set>,
}

impl Ghost {
    /// Remembers about `blocks` evictions; 0 remembers none.
    pub(crate) fn new(blocks: usize) -> Self {
        Ghost { sets: vec![Set([0; WAYS + 1]); blocks.div_ceil(WAYS)] }
    }

    /// Set and fingerprint of a 64-bit hash. 0 marks an unused way.
    #[inline(always)]
    fn place(&self, hash: u64) -> (usize, u16) {
        let set = ((hash >> 32) * self.sets.len() as u64) >> 32;
        (set as usize, (hash as u16).max(1))
    }

    #[inline]
    pub(crate) fn insert(&mut self, hash: u64) {
        let (at, fingerprint) = self.place(hash);
        if let Some(Set(words)) = self.sets.get_mut(at) {
            let cursor = usize::from(words[WAYS]);
            words[cursor] = fingerprint;
            words[WAYS] = if cursor + 1 == WAYS { 0 } else { cursor as u16 + 1 };
        }
    }

    /// Asks for the line that `insert` of this hash writes.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        prefetch(&self.sets, self.place(hash).0);
    }

    #[inline]
    pub(crate) fn contains(&self, hash: u64) -> bool {
        let (at, fingerprint) = self.place(hash);
        self.sets.get(at).is_some_and(|Set(words)| words[..WAYS].contains(&fingerprint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spreads a counter over 64 bits (splitmix64's finaliser).
    fn spread(n: u64) -> u64 {
        let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    #[test]
    fn remembers_the_recent_and_forgets_the_old() {
        let mut ghost = Ghost::new(31_000);
        (0..100_000).for_each(|n| ghost.insert(spread(n)));
        let recent = (85_000..100_000).filter(|&n| ghost.contains(spread(n))).count();
        let old = (0..15_000).filter(|&n| ghost.contains(spread(n))).count();
        let never = (200_000..300_000).filter(|&n| ghost.contains(spread(n))).count();
        assert!(recent > 14_900, "{recent} of 15,000 recent ones");
        assert!(old < 100, "{old} of 15,000 old ones");
        assert!(never < 100, "{never} false positives in 100,000 (expected 47)");
    }

    #[test]
    fn no_capacity_remembers_nothing() {
        let mut ghost = Ghost::new(0);
        ghost.insert(1);
        assert!(!ghost.contains(1));
    }
}
