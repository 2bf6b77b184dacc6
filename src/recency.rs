//! The cached blocks in order of release, inside retention classes.
//!
//! This is LRU, the default policy, and the order that every other policy falls back to
//! and that hints are kept in. One doubly linked list per class, threaded through the slots, oldest release at the
//! front. Each list has a sentinel slot behind the pool's own, so linking and unlinking
//! have no special cases and no branches. All operations are O(1); the lowest non-empty
//! class is found in a bit set.
//!
//! Why a victim is always a leaf: a block's descendants are released before it and stand
//! in the same or a lower class, so they are in front of it.

use crate::ids::NONE;
use crate::slot::{CLASSES, Class, Slot};

#[derive(Debug)]
pub(crate) struct Recency {
    /// Slot index of the sentinel of class 0.
    first_sentinel: u32,
    /// Classes that may have blocks. A bit is cleared late, when a search finds nothing.
    maybe: u128,
}

impl Recency {
    /// Lists over the slots that `slots` holds now; appends the sentinels to it.
    pub(crate) fn new(slots: &mut Vec<Slot>) -> Self {
        let first_sentinel = slots.len() as u32;
        for class in 0..CLASSES as u32 {
            let id = first_sentinel + class;
            slots.push(Slot::linked(id, id));
        }
        Recency { first_sentinel, maybe: 0 }
    }

    #[inline]
    fn sentinel(&self, class: Class) -> u32 {
        self.first_sentinel + u32::from(class)
    }

    /// A cursor at the late end of `class`, to append released blocks one by one.
    #[inline]
    pub(crate) fn tail(&mut self, slots: &[Slot], class: Class) -> Tail {
        self.maybe |= 1 << class;
        let sentinel = self.sentinel(class);
        Tail { sentinel, last: slots[sentinel as usize].prev }
    }

    /// Appends one block to `class`.
    #[inline]
    pub(crate) fn push(&mut self, slots: &mut [Slot], id: u32, class: Class) {
        let mut tail = self.tail(slots, class);
        tail.append(slots, id);
        tail.finish(slots);
    }

    /// Takes the blocks from `front` to `back` out, which are linked in this order.
    #[inline]
    pub(crate) fn unlink_run(slots: &mut [Slot], front: u32, back: u32) {
        let prev = slots[front as usize].prev;
        let next = slots[back as usize].next;
        slots[prev as usize].next = next;
        slots[next as usize].prev = prev;
    }

    /// The lowest class with blocks: its sentinel and its first block, the next victim.
    /// `(NONE, NONE)` if no block is cached.
    #[inline]
    pub(crate) fn front(&mut self, slots: &[Slot]) -> (u32, u32) {
        while self.maybe != 0 {
            let sentinel = self.sentinel(self.maybe.trailing_zeros() as Class);
            let front = slots[sentinel as usize].next;
            if front != sentinel {
                return (sentinel, front);
            }
            self.maybe &= self.maybe - 1;
        }
        (NONE, NONE)
    }

    /// Empties all lists; returns the ends of their concatenation in eviction order.
    /// O(classes), whatever the number of blocks.
    pub(crate) fn take_all(&mut self, slots: &mut [Slot]) -> Option<(u32, u32)> {
        let mut joined: Option<(u32, u32)> = None;
        for class in 0..CLASSES as Class {
            let sentinel = self.sentinel(class);
            let Slot { next: front, prev: back, .. } = slots[sentinel as usize];
            if front == sentinel {
                continue;
            }
            joined = Some(match joined {
                None => (front, back),
                Some((first, last)) => {
                    slots[last as usize].next = front;
                    (first, back)
                }
            });
            slots[sentinel as usize].next = sentinel;
            slots[sentinel as usize].prev = sentinel;
        }
        self.maybe = 0;
        joined
    }

    /// All cached blocks in the order in which they would be evicted, with their class.
    pub(crate) fn iter<'a>(&'a self, slots: &'a [Slot]) -> impl Iterator<Item = (u32, Class)> + 'a {
        (0..CLASSES as Class).flat_map(move |class| {
            let sentinel = self.sentinel(class);
            let mut id = slots[sentinel as usize].next;
            std::iter::from_fn(move || {
                let here = id;
                (here != sentinel).then(|| {
                    id = slots[here as usize].next;
                    (here, class)
                })
            })
        })
    }
}

/// The late end of a list while blocks are appended to it.
#[derive(Debug)]
pub(crate) struct Tail {
    sentinel: u32,
    last: u32,
}

impl Tail {
    #[inline]
    pub(crate) fn append(&mut self, slots: &mut [Slot], id: u32) {
        slots[self.last as usize].next = id;
        slots[id as usize].prev = self.last;
        self.last = id;
    }

    /// Closes the list. Until then its end is loose.
    #[inline]
    pub(crate) fn finish(self, slots: &mut [Slot]) {
        slots[self.last as usize].next = self.sentinel;
        slots[self.sentinel as usize].prev = self.last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(blocks: usize) -> (Vec<Slot>, Recency) {
        let mut slots = vec![Slot::EMPTY; blocks];
        let lists = Recency::new(&mut slots);
        (slots, lists)
    }

    fn order(lists: &Recency, slots: &[Slot]) -> Vec<u32> {
        lists.iter(slots).map(|(id, _)| id).collect()
    }

    #[test]
    fn oldest_release_of_the_lowest_class_is_in_front() {
        let (mut slots, mut lists) = pool(5);
        for (id, class) in [(0, 36), (1, 36), (2, 0), (3, 101), (4, 36)] {
            lists.push(&mut slots, id, class);
        }
        assert_eq!(order(&lists, &slots), [2, 0, 1, 4, 3]);
        for expected in [2, 0, 1, 4, 3] {
            assert_eq!(lists.front(&slots).1, expected);
            Recency::unlink_run(&mut slots, expected, expected);
        }
        assert_eq!(lists.front(&slots), (NONE, NONE));
    }

    #[test]
    fn a_run_leaves_in_one_piece() {
        let (mut slots, mut lists) = pool(5);
        for id in 0..5 {
            lists.push(&mut slots, id, 36);
        }
        Recency::unlink_run(&mut slots, 1, 3);
        assert_eq!(order(&lists, &slots), [0, 4]);
    }

    #[test]
    fn take_all_joins_the_classes_in_eviction_order() {
        let (mut slots, mut lists) = pool(4);
        for (id, class) in [(0, 50), (1, 36), (2, 50), (3, 0)] {
            lists.push(&mut slots, id, class);
        }
        let (first, last) = lists.take_all(&mut slots).unwrap();
        let mut seen = vec![first];
        while *seen.last().unwrap() != last {
            seen.push(slots[*seen.last().unwrap() as usize].next);
        }
        assert_eq!(seen, [3, 1, 0, 2]);
        assert_eq!(lists.front(&slots), (NONE, NONE));
        assert_eq!(lists.take_all(&mut slots), None);
    }
}
