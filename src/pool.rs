//! The blocks themselves: slots, the free list, and the cached lists.
//!
//! Owns invariant I1 (each block is free, cached or in use) and the counts. Knows
//! nothing of tokens, hashes or sequences. Everything here is O(1) per block.

use crate::ids::NONE;
use crate::recency::Recency;
use crate::slot::{Class, Slot};

#[derive(Debug)]
pub(crate) struct Pool {
    /// One slot per block, then the sentinels of the cached lists.
    pub(crate) slots: Vec<Slot>,
    recency: Recency,
    num_blocks: u32,
    free_head: u32,
    free_blocks: u32,
    cached_blocks: u32,
}

impl Pool {
    pub(crate) fn new(num_blocks: u32) -> Self {
        // Sized at once: growing by doubling would leave half of it unused.
        let mut slots = Vec::with_capacity(num_blocks as usize + crate::slot::CLASSES);
        slots.extend((0..num_blocks).map(|id| Slot::linked(NONE, id + 1)));
        if let Some(last) = slots.last_mut() {
            last.next = NONE;
        }
        let recency = Recency::new(&mut slots);
        Pool { slots, recency, num_blocks, free_head: 0, free_blocks: num_blocks, cached_blocks: 0 }
    }

    #[inline]
    pub(crate) fn free_blocks(&self) -> u32 {
        self.free_blocks
    }

    #[inline]
    pub(crate) fn cached_blocks(&self) -> u32 {
        self.cached_blocks
    }

    /// Blocks that a reservation can get: free ones and, by eviction, cached ones.
    #[inline]
    pub(crate) fn available_blocks(&self) -> u32 {
        self.free_blocks + self.cached_blocks
    }

    #[inline(always)]
    pub(crate) fn slot(&self, id: u32) -> &Slot {
        &self.slots[id as usize]
    }

    #[inline(always)]
    pub(crate) fn slot_mut(&mut self, id: u32) -> &mut Slot {
        &mut self.slots[id as usize]
    }

    /// Takes a free block, with one reference. Content of an older epoch may still be
    /// marked on it.
    #[inline]
    pub(crate) fn take_free(&mut self) -> Option<u32> {
        let id = self.free_head;
        let slot = self.slots[..self.num_blocks as usize].get_mut(id as usize)?;
        self.free_head = slot.next;
        self.free_blocks -= 1;
        slot.add_ref();
        Some(id)
    }

    /// Adds a reference to one block.
    #[inline]
    pub(crate) fn pin(&mut self, id: u32) {
        if self.slots[id as usize].add_ref() {
            self.take_cached(id);
        }
    }

    /// Takes a cached block out of its list: it is evicted, or came in use.
    #[inline]
    pub(crate) fn take_cached(&mut self, id: u32) {
        Recency::unlink_run(&mut self.slots, id, id);
        self.cached_blocks -= 1;
    }

    /// The least recently released block of the lowest class. The caller knows that a
    /// block is cached.
    #[inline]
    pub(crate) fn front(&mut self) -> u32 {
        self.recency.front(&self.slots).1
    }

    /// Puts a block that lost its last reference where the free ones are.
    #[inline]
    pub(crate) fn give_free(&mut self, id: u32) {
        debug_assert_eq!(self.slots[id as usize].refs(), 0);
        self.slots[id as usize].next = self.free_head;
        self.free_head = id;
        self.free_blocks += 1;
    }

    /// A cursor for releasing many blocks into one class.
    #[inline]
    pub(crate) fn release_run(&mut self, class: Class) -> ReleaseRun {
        ReleaseRun { tail: self.recency.tail(&self.slots, class), class, blocks: 0 }
    }

    /// Moves a cached block to the late end of `class`.
    pub(crate) fn move_to(&mut self, id: u32, class: Class) {
        Recency::unlink_run(&mut self.slots, id, id);
        self.slots[id as usize].set_class(class);
        self.recency.push(&mut self.slots, id, class);
    }

    /// Makes every cached block free, as it is. O(1) in the number of blocks.
    pub(crate) fn free_all_cached(&mut self) {
        if let Some((first, last)) = self.recency.take_all(&mut self.slots) {
            self.slots[last as usize].next = self.free_head;
            self.free_head = first;
            self.free_blocks += self.cached_blocks;
            self.cached_blocks = 0;
        }
    }

    /// Cached blocks with their class, next victim first.
    pub(crate) fn eviction_order(&self) -> impl Iterator<Item = (u32, Class)> + '_ {
        self.recency.iter(&self.slots)
    }

    /// Free blocks, next one to be used first.
    pub(crate) fn free_list(&self) -> impl Iterator<Item = u32> + '_ {
        let mut id = self.free_head;
        std::iter::from_fn(move || {
            let here = id;
            (here != NONE).then(|| {
                id = self.slots[here as usize].next;
                here
            })
        })
    }
}

/// Blocks of a hit being pinned, in chain order.
///
/// Blocks that were released together lie together in the cached list, in reverse; they
/// leave it as one run, with two writes for the run instead of two for each block.
#[derive(Debug)]
pub(crate) struct PinRun {
    /// Ends of the run in list order; `NONE` while there is none.
    front: u32,
    back: u32,
    /// What lies before `front` in the list.
    before: u32,
    blocks: u32,
}

impl PinRun {
    pub(crate) fn new() -> Self {
        PinRun { front: NONE, back: NONE, before: NONE, blocks: 0 }
    }

    #[inline(always)]
    pub(crate) fn pin(&mut self, slots: &mut [Slot], id: u32) {
        let slot = &mut slots[id as usize];
        if !slot.add_ref() {
            return;
        }
        self.blocks += 1;
        let before = std::mem::replace(&mut self.before, slot.prev);
        let front = std::mem::replace(&mut self.front, id);
        if before != id {
            if front != NONE {
                Recency::unlink_run(slots, front, self.back);
            }
            self.back = id;
        }
    }

    #[inline]
    pub(crate) fn finish(self, pool: &mut Pool) {
        if self.front != NONE {
            Recency::unlink_run(&mut pool.slots, self.front, self.back);
        }
        pool.cached_blocks -= self.blocks;
    }
}

/// Blocks being evicted, one after the other. The list they come from is closed once for
/// all of them.
#[derive(Debug)]
#[must_use = "the list stays open until `finish`"]
pub(crate) struct Victims {
    /// Next block to evict; its list's sentinel if there is none in this class.
    front: u32,
    sentinel: u32,
    blocks: u32,
}

impl Victims {
    pub(crate) fn new() -> Self {
        Victims { front: NONE, sentinel: NONE, blocks: 0 }
    }

    /// The next victim. The caller knows that a block is cached.
    #[inline(always)]
    pub(crate) fn next(&mut self, pool: &mut Pool) -> u32 {
        if self.front == self.sentinel {
            self.close(pool);
            (self.sentinel, self.front) = pool.recency.front(&pool.slots);
        }
        let id = self.front;
        self.front = pool.slots[id as usize].next;
        self.blocks += 1;
        id
    }

    fn close(&self, pool: &mut Pool) {
        if self.sentinel != NONE {
            pool.slots[self.sentinel as usize].next = self.front;
            pool.slots[self.front as usize].prev = self.sentinel;
        }
    }

    /// Closes the list. Returns the block that comes next, or a sentinel.
    #[inline]
    pub(crate) fn finish(self, pool: &mut Pool) -> u32 {
        self.close(pool);
        pool.cached_blocks -= self.blocks;
        self.front
    }
}

/// Blocks being released, tail first, into one class after the other.
#[derive(Debug)]
#[must_use = "the list stays open until `finish`"]
pub(crate) struct ReleaseRun {
    tail: crate::recency::Tail,
    class: Class,
    blocks: u32,
}

impl ReleaseRun {
    #[inline(always)]
    pub(crate) fn release(&mut self, pool: &mut Pool, id: u32, class: Class) {
        if class != self.class {
            let next = pool.recency.tail(&pool.slots, class);
            std::mem::replace(&mut self.tail, next).finish(&mut pool.slots);
            self.class = class;
        }
        self.tail.append(&mut pool.slots, id);
        self.blocks += 1;
    }

    #[inline]
    pub(crate) fn finish(self, pool: &mut Pool) {
        self.tail.finish(&mut pool.slots);
        pool.cached_blocks += self.blocks;
    }
}
