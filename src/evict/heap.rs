//! Candidates in the order of a key.
//!
//! A 4-ary heap with the place of each block, so that any block can leave. Keys lie beside
//! the ids: one cache line holds the children that a step down compares.

use crate::BlockId;

/// "Not in the heap".
const ABSENT: u32 = u32::MAX;
const ARITY: usize = 4;

/// A priority queue of blocks: the smallest key first, among equal keys the block that was
/// inserted first.
///
/// Each operation is O(log n) in the blocks that are in it, `first` and `contains` O(1).
/// 4 bytes per block of the pool, and a key with 12 bytes for each block in it.
#[derive(Clone, Debug)]
pub struct CandidateHeap<K> {
    entries: Vec<Entry<K>>,
    /// Index in `entries` by block.
    places: Vec<u32>,
    insertions: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry<K> {
    key: K,
    /// Keeps equal keys in order.
    insertion: u64,
    id: u32,
}

impl<K: Ord + Copy> Entry<K> {
    #[inline(always)]
    fn precedes(&self, other: &Self) -> bool {
        (self.key, self.insertion) < (other.key, other.insertion)
    }
}

impl<K> Default for CandidateHeap<K> {
    /// A heap for a pool without blocks.
    fn default() -> Self {
        CandidateHeap { entries: Vec::new(), places: Vec::new(), insertions: 0 }
    }
}

impl<K: Ord + Copy> CandidateHeap<K> {
    /// An empty heap for a pool of `num_blocks` blocks.
    #[must_use]
    pub fn new(num_blocks: usize) -> Self {
        CandidateHeap { places: vec![ABSENT; num_blocks], ..Self::default() }
    }

    /// Blocks in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no block is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether `block` is in it.
    #[must_use]
    pub fn contains(&self, block: BlockId) -> bool {
        self.entries.get(self.places[block.index()] as usize).is_some_and(|e| e.id == block.0)
    }

    /// Puts `block` in, or gives it another key.
    pub fn insert(&mut self, block: BlockId, key: K) {
        self.remove(block);
        self.insertions += 1;
        let at = self.entries.len();
        self.entries.push(Entry { key, insertion: self.insertions, id: block.0 });
        self.up(at);
    }

    /// The block with the smallest key.
    #[must_use]
    pub fn first(&self) -> Option<BlockId> {
        self.entries.first().map(|entry| BlockId(entry.id))
    }

    /// The smallest key.
    #[must_use]
    pub fn first_key(&self) -> Option<K> {
        self.entries.first().map(|entry| entry.key)
    }

    /// Takes `block` out; whether it was in.
    pub fn remove(&mut self, block: BlockId) -> bool {
        if !self.contains(block) {
            return false;
        }
        let at = self.places[block.index()] as usize;
        self.places[block.index()] = ABSENT;
        let last = self.entries.len() - 1;
        self.entries.swap_remove(at);
        if at < last && !self.up(at) {
            self.down(at);
        }
        true
    }

    /// Empties it. O(1): places of blocks that are gone are told by the entries.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Moves the entry at `at` up to its place; whether it moved.
    fn up(&mut self, mut at: usize) -> bool {
        let entry = self.entries[at];
        let start = at;
        while at > 0 {
            let parent = (at - 1) / ARITY;
            if !entry.precedes(&self.entries[parent]) {
                break;
            }
            self.put(at, self.entries[parent]);
            at = parent;
        }
        self.put(at, entry);
        at != start
    }

    fn down(&mut self, mut at: usize) {
        let entry = self.entries[at];
        loop {
            let children = at * ARITY + 1..(at * ARITY + 1 + ARITY).min(self.entries.len());
            let Some(least) = children
                .reduce(|a, b| if self.entries[b].precedes(&self.entries[a]) { b } else { a })
            else {
                break;
            };
            if !self.entries[least].precedes(&entry) {
                break;
            }
            self.put(at, self.entries[least]);
            at = least;
        }
        self.put(at, entry);
    }

    #[inline(always)]
    fn put(&mut self, at: usize, entry: Entry<K>) {
        self.places[entry.id as usize] = at as u32;
        self.entries[at] = entry;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a sorted list, keys from a small range so that many are equal.
        #[test]
        fn it_orders_like_a_sorted_list(
            operations in prop::collection::vec((0_u32..24, 0_u8..6, 0_u8..8), 0..400)
        ) {
            let mut heap = CandidateHeap::new(24);
            let mut list: Vec<(u8, usize, u32)> = Vec::new();
            for (turn, (id, key, operation)) in operations.into_iter().enumerate() {
                match operation {
                    0..=4 => {
                        list.retain(|entry| entry.2 != id);
                        list.push((key, turn, id));
                        list.sort_unstable();
                        heap.insert(BlockId(id), key);
                    }
                    5 | 6 => {
                        let known = list.iter().any(|entry| entry.2 == id);
                        list.retain(|entry| entry.2 != id);
                        prop_assert_eq!(heap.remove(BlockId(id)), known);
                    }
                    _ if key == 0 => {
                        list.clear();
                        heap.clear();
                    }
                    _ => prop_assert_eq!(
                        heap.contains(BlockId(id)),
                        list.iter().any(|entry| entry.2 == id)
                    ),
                }
                prop_assert_eq!(heap.len(), list.len());
                prop_assert_eq!(heap.first(), list.first().map(|entry| BlockId(entry.2)));
                prop_assert_eq!(heap.first_key(), list.first().map(|entry| entry.0));
            }
        }
    }
}
