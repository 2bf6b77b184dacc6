//! A flat hash table from a block's hash to its id.
//!
//! It holds only what the chains themselves do not lead to: first blocks, and children
//! after the first. Open addressing with linear probing over 8-byte entries (32 hash
//! bits, 32 id bits); deletion shifts back, so there are no tombstones and a table under
//! churn never degrades. Callers compare the content behind an id; the table does not.
//! Entries of one hash stay in order of insertion.

use crate::ids::NONE;

const EMPTY: u64 = NONE as u64;

/// Smallest number of entries; a power of two, as all sizes are.
const MIN_CAPACITY: usize = 64;

#[derive(Debug)]
pub(crate) struct Table {
    entries: Vec<u64>,
    len: usize,
}

#[inline(always)]
fn hash_of(entry: u64) -> usize {
    (entry >> 32) as usize
}

impl Table {
    pub(crate) fn new() -> Self {
        Table { entries: vec![EMPTY; MIN_CAPACITY], len: 0 }
    }

    #[inline(always)]
    fn mask(&self) -> usize {
        self.entries.len() - 1
    }

    /// The first id under `hash` that `is_it` accepts. O(1) expected.
    #[inline]
    pub(crate) fn find(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mask = self.mask();
        let mut at = hash as usize & mask;
        loop {
            let entry = self.entries[at];
            if entry == EMPTY {
                return None;
            }
            if (entry >> 32) as u32 == hash && is_it(entry as u32) {
                return Some(entry as u32);
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds an entry. O(1) amortised: the table doubles when 7/8 full.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u32, id: u32) {
        if self.len + 1 > self.entries.len() / 8 * 7 {
            self.grow();
        }
        self.len += 1;
        self.place(u64::from(hash) << 32 | u64::from(id));
    }

    #[inline]
    fn place(&mut self, entry: u64) {
        let mask = self.mask();
        let mut at = hash_of(entry) & mask;
        while self.entries[at] != EMPTY {
            at = (at + 1) & mask;
        }
        self.entries[at] = entry;
    }

    #[cold]
    fn grow(&mut self) {
        let doubled = vec![EMPTY; self.entries.len() * 2];
        let mut old = std::mem::replace(&mut self.entries, doubled);
        // Start between two runs, so that a run which wraps around the end stays in order.
        let gap = old.iter().position(|&entry| entry == EMPTY).unwrap_or(0);
        old.rotate_left(gap);
        for entry in old.into_iter().filter(|&entry| entry != EMPTY) {
            self.place(entry);
        }
    }

    /// Removes the entry of `id`, which must be there.
    #[inline]
    pub(crate) fn remove(&mut self, hash: u32, id: u32) {
        let mask = self.mask();
        let wanted = u64::from(hash) << 32 | u64::from(id);
        let mut at = hash as usize & mask;
        while self.entries[at] != wanted {
            debug_assert_ne!(self.entries[at], EMPTY, "block {id} is not in the table");
            at = (at + 1) & mask;
        }
        self.len -= 1;
        // Close the gap: an entry may move back unless that puts it before its own place.
        let mut gap = at;
        loop {
            at = (at + 1) & mask;
            let entry = self.entries[at];
            if entry == EMPTY {
                break;
            }
            let distance = at.wrapping_sub(hash_of(entry)) & mask;
            if distance >= (at.wrapping_sub(gap) & mask) {
                self.entries[gap] = entry;
                gap = at;
            }
        }
        self.entries[gap] = EMPTY;
    }

    /// Puts `id` in the place of `old`, an id of the same hash, if that is there.
    pub(crate) fn replace(&mut self, hash: u32, old: u32, id: u32) {
        let mask = self.mask();
        let prefix = u64::from(hash) << 32;
        let mut at = hash as usize & mask;
        while self.entries[at] != EMPTY {
            if self.entries[at] == prefix | u64::from(old) {
                self.entries[at] = prefix | u64::from(id);
                return;
            }
            at = (at + 1) & mask;
        }
    }

    /// Number of entries.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Whatever comes and goes, and where the table wraps or grows: first come, first found.
    #[test]
    fn one_hash_keeps_the_order_of_insertion() {
        for hash in [0, 1, 61, u32::MAX] {
            let mut table = Table::new();
            // Neighbours that push the entries of `hash` around.
            (0..20).for_each(|id| table.insert(hash.wrapping_sub(3), 1000 + id));
            let mut order: Vec<u32> = (0..200).collect();
            for (at, &id) in order.iter().enumerate() {
                table.insert(hash, id);
                if at < 20 {
                    table.remove(hash.wrapping_sub(3), 1000 + at as u32);
                }
            }
            for gone in [0, 100, 7, 199] {
                table.remove(hash, gone);
                order.retain(|&id| id != gone);
            }
            table.insert(hash, 7);
            order.push(7);
            while !order.is_empty() {
                let first = table.find(hash, |_| true);
                assert_eq!(first, Some(order.remove(0)));
                first.into_iter().for_each(|id| table.remove(hash, id));
            }
        }
    }

    proptest! {
        /// Few distinct hashes, also some that wrap around the end of the table.
        #[test]
        fn agrees_with_a_set(ops in prop::collection::vec((any::<bool>(), 0u32..6, 0u32..40), 0..400)) {
            let hash = |h: u32| if h < 3 { h } else { u32::MAX - h };
            let (mut table, mut model) = (Table::new(), BTreeSet::new());
            for (insert, h, id) in ops {
                let id = id * 6 + h; // an id has one hash
                if insert && model.insert(id) {
                    table.insert(hash(h), id);
                } else if !insert && model.remove(&id) {
                    table.remove(hash(h), id);
                }
                prop_assert_eq!(table.len(), model.len());
                for id in 0..240 {
                    let found = table.find(hash(id % 6), |found| found == id);
                    prop_assert_eq!(found.is_some(), model.contains(&id));
                }
            }
        }
    }
}
