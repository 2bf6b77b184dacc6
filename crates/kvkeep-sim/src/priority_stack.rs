//! The contents of caches of all sizes at once, where what is worth least goes.
//!
//! Mattson's stack algorithm for any order of eviction (1970): a cache of `c` blocks holds the
//! first `c` of the stack. A used block comes on top; the one that was there is carried down,
//! and at each place the better of it and the block there stays, until the place that the
//! used block left. Going place by place would take as long as the stack; a tree of minima
//! over the places (a segment tree) leads from one exchange to the next.

/// Not in the stack.
const ABSENT: u32 = u32::MAX;

/// Blocks with priorities; of two in a cache that is full the one with the lower goes.
#[derive(Clone, Debug)]
pub(crate) struct PriorityStack {
    /// From the top.
    blocks: Vec<u32>,
    /// By block.
    places: Vec<u32>,
    /// Priorities by place from `leaves` on, and above them the minimum of each pair.
    least: Vec<u64>,
    leaves: usize,
}

impl PriorityStack {
    /// An empty stack for blocks numbered below `num_blocks`.
    pub(crate) fn new(num_blocks: u32) -> Self {
        let leaves = (num_blocks as usize).next_power_of_two();
        PriorityStack {
            blocks: Vec::new(),
            places: vec![ABSENT; num_blocks as usize],
            least: vec![u64::MAX; 2 * leaves],
            leaves,
        }
    }

    /// Uses a block and gives it a priority. Returns its place before, from 1, if it was in
    /// the stack: every cache at least as large held it. O(log n) per exchange.
    pub(crate) fn push(&mut self, block: u32, priority: u64) -> Option<u32> {
        let place = self.places[block as usize];
        let (end, found) = if place == ABSENT {
            self.blocks.push(block);
            (self.blocks.len() - 1, None)
        } else {
            (place as usize, Some(place + 1))
        };
        let mut carried = (block, priority);
        let mut from = 0;
        while from < end {
            // What comes on top need not be better, it is there to stay.
            let at = if from == 0 { 0 } else { self.first_below(carried.1, from) };
            if at >= end {
                break;
            }
            carried = self.put(at, carried);
            from = at + 1;
        }
        self.put(end, carried);
        found
    }

    /// Gives a block of the stack another priority.
    pub(crate) fn set_priority(&mut self, block: u32, priority: u64) {
        let place = self.places[block as usize] as usize;
        self.put(place, (block, priority));
    }

    /// Puts a block in a place; returns what was there.
    fn put(&mut self, at: usize, (block, priority): (u32, u64)) -> (u32, u64) {
        let before = std::mem::replace(&mut self.blocks[at], block);
        self.places[block as usize] = at as u32;
        let mut node = self.leaves + at;
        let old = std::mem::replace(&mut self.least[node], priority);
        while node > 1 {
            let least = self.least[node].min(self.least[node ^ 1]);
            node /= 2;
            if std::mem::replace(&mut self.least[node], least) == least {
                break;
            }
        }
        (before, old)
    }

    /// The first place from `from` on with a priority below `priority`; beyond all where
    /// there is none.
    fn first_below(&self, priority: u64, from: usize) -> usize {
        let mut node = self.leaves + from;
        while self.least[node] >= priority {
            // Up while this is a right child, then to the right.
            while node % 2 == 1 {
                node /= 2;
                if node <= 1 {
                    return usize::MAX;
                }
            }
            node += 1;
        }
        while node < self.leaves {
            node = 2 * node + usize::from(self.least[2 * node] >= priority);
        }
        node - self.leaves
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn worked_by_hand() {
        let mut stack = PriorityStack::new(4);
        for (block, priority) in [(0, 5), (1, 2), (2, 9)] {
            assert_eq!(stack.push(block, priority), None);
        }
        // 0; 1 0; then 2 on top, and 0 is better than 1, which is carried down.
        assert_eq!(stack.blocks, [2, 0, 1]);
        // 1 comes up from the third place; 2 is better than 0.
        assert_eq!(stack.push(1, 7), Some(3));
        assert_eq!(stack.blocks, [1, 2, 0]);
        stack.set_priority(2, 1);
        assert_eq!(stack.push(3, 0), None);
        // 3 on top, 1 is better than 2 and stays behind it, 0 is better than 2.
        assert_eq!(stack.blocks, [3, 1, 0, 2]);
    }

    proptest! {
        /// Each prefix of the stack is what a cache of that size holds. Priorities differ, so
        /// that the order is total.
        #[test]
        fn it_holds_what_every_cache_holds(
            uses in prop::collection::vec((0_u32..12, 0_u64..1_000), 0..120),
        ) {
            let mut stack = PriorityStack::new(12);
            let mut caches: Vec<Vec<(u64, u32)>> = vec![Vec::new(); 13];
            for (turn, (block, priority)) in (0_u64..).zip(uses) {
                let priority = priority * 1_000 + turn;
                let found = stack.push(block, priority);
                for (size, cache) in caches.iter_mut().enumerate().skip(1) {
                    let held = cache.iter().position(|entry| entry.1 == block);
                    prop_assert_eq!(held.is_some(), found.is_some_and(|at| at as usize <= size));
                    match held {
                        Some(at) => drop(cache.remove(at)),
                        None if cache.len() == size => {
                            let least = cache.iter().enumerate().min_by_key(|entry| entry.1);
                            let least = least.unwrap().0;
                            cache.remove(least);
                        }
                        None => {}
                    }
                    cache.push((priority, block));
                    let mut expected: Vec<u32> = cache.iter().map(|entry| entry.1).collect();
                    let mut prefix = stack.blocks[..stack.blocks.len().min(size)].to_vec();
                    expected.sort_unstable();
                    prefix.sort_unstable();
                    prop_assert_eq!(prefix, expected);
                }
            }
        }
    }
}
