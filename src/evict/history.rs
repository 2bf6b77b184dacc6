//! A bounded memory of what was evicted: the "ghost" of policies that learn from it.
//!
//! First in, first out. Entries that were taken or renewed leave a stale place in the
//! queue; those are dropped as the queue advances, or all at once when they prevail.

use ahash::AHashMap;
use std::collections::VecDeque;

/// Remembers a value for each of the last `capacity` keys. Operations are O(1), amortised;
/// memory grows with the entries: about 40 bytes each, and the value.
#[derive(Clone, Debug)]
pub(super) struct History<V> {
    capacity: usize,
    /// Value and place in the order of insertion.
    entries: AHashMap<u64, (V, u64)>,
    queue: VecDeque<(u64, u64)>,
    insertions: u64,
}

impl<V> Default for History<V> {
    /// Remembers nothing.
    fn default() -> Self {
        History::new(0)
    }
}

impl<V> History<V> {
    pub(super) fn new(capacity: usize) -> Self {
        let (entries, queue) = (AHashMap::new(), VecDeque::new());
        History { capacity, entries, queue, insertions: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Remembers `key`, which becomes the newest. The oldest is forgotten for it if need be.
    pub(super) fn insert(&mut self, key: u64, value: V) {
        if self.capacity == 0 {
            return;
        }
        self.insertions += 1;
        self.entries.insert(key, (value, self.insertions));
        self.queue.push_back((key, self.insertions));
        if self.entries.len() > self.capacity {
            self.forget_oldest();
        }
        if self.queue.len() > 2 * self.capacity + 64 {
            let entries = &self.entries;
            self.queue.retain(|(key, at)| entries.get(key).is_some_and(|entry| entry.1 == *at));
        }
    }

    /// Forgets `key` and returns its value.
    pub(super) fn take(&mut self, key: u64) -> Option<V> {
        self.entries.remove(&key).map(|(value, _)| value)
    }

    pub(super) fn forget_oldest(&mut self) {
        while let Some((key, at)) = self.queue.pop_front() {
            if self.entries.get(&key).is_some_and(|entry| entry.1 == at) {
                self.entries.remove(&key);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a list; few keys, so that many come again.
        #[test]
        fn it_remembers_the_last_ones(
            capacity in 0_usize..6,
            operations in prop::collection::vec((0_u64..10, 0_u8..8), 0..300)
        ) {
            let mut history = History::new(capacity);
            let mut list: Vec<(u64, usize)> = Vec::new();
            for (turn, (key, operation)) in operations.into_iter().enumerate() {
                match operation {
                    0..=4 => {
                        history.insert(key, turn);
                        list.retain(|entry| entry.0 != key);
                        list.push((key, turn));
                        if list.len() > capacity {
                            list.remove(0);
                        }
                    }
                    5 | 6 => {
                        let known = list.iter().find(|entry| entry.0 == key).map(|entry| entry.1);
                        list.retain(|entry| entry.0 != key);
                        prop_assert_eq!(history.take(key), known);
                    }
                    _ => {
                        history.forget_oldest();
                        if !list.is_empty() {
                            list.remove(0);
                        }
                    }
                }
                prop_assert_eq!(history.len(), list.len());
            }
        }
    }

    #[test]
    fn stale_places_do_not_pile_up() {
        let mut history = History::new(10);
        for turn in 0..10_000 {
            history.insert(turn % 3, ());
            history.take(turn % 2);
        }
        assert!(history.queue.len() <= 2 * 10 + 64);
    }
}
