//! A map that counts holders by key: an entry lives as long as somebody holds it.

use ahash::AHashMap;
use std::collections::hash_map::Entry;

/// Holders by 64-bit key. A thousand holders of one key are one entry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally(AHashMap<u64, u32>);

impl Tally {
    #[inline]
    pub(crate) fn add(&mut self, key: u64) {
        *self.0.entry(key).or_default() += 1;
    }

    /// Takes one holder of `key` away.
    #[inline]
    pub(crate) fn remove(&mut self, key: u64) {
        if let Entry::Occupied(mut holders) = self.0.entry(key) {
            *holders.get_mut() -= 1;
            if *holders.get() == 0 {
                holders.remove();
            }
        }
    }

    #[inline]
    pub(crate) fn contains(&self, key: u64) -> bool {
        self.0.contains_key(&key)
    }

    /// Number of keys.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_lives_as_long_as_its_holders() {
        let mut tally = Tally::default();
        tally.add(7);
        tally.add(7);
        tally.remove(7);
        assert!(tally.contains(7));
        tally.remove(7);
        tally.remove(7);
        assert!(!tally.contains(7));
        assert_eq!(tally.len(), 0);
    }
}
