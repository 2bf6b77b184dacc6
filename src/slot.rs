//! The bookkeeping of one block: 32 bytes, two to a cache line.
//!
//! Tokens and hashes lie in arrays of their own ([`crate::content`]): pinning and
//! releasing touch only this.

use crate::ids::NONE;

/// Retention class of a block, in eviction order: 0 is "will not be reused",
/// `1 + p` is priority `p` (0 to 100).
pub(crate) type Class = u8;

/// Number of retention classes.
pub(crate) const CLASSES: usize = 102;

const REF_BITS: u32 = 20;
const REF_MASK: u32 = (1 << REF_BITS) - 1;
const CLASS_MASK: u32 = 0x7f << REF_BITS;
const PUBLISHED: u32 = 1 << 27;
const IN_TABLE: u32 = 1 << 28;

/// Most references to one block. Every sequence holds at most two (table and pinned
/// duplicate, or table and copy source), so this bounds the number of sequences.
pub(crate) const MAX_REFS: u32 = REF_MASK;

/// Links and counters of one block. All links are block ids, `NONE` where there is none;
/// `prev` and `next` may also name the sentinel slot of a list (see [`crate::evict`]).
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
pub(crate) struct Slot {
    /// Reference count, retention class and flags, packed.
    bits: u32,
    /// The block before this one in its chain; `NONE` for the first.
    pub(crate) parent: u32,
    /// One published child, reached without the table.
    pub(crate) child: u32,
    /// Number of further published children; those are in the table.
    pub(crate) more_children: u32,
    /// Neighbour on the side that is evicted earlier.
    pub(crate) prev: u32,
    /// Neighbour on the side that is evicted later; also links the free list.
    pub(crate) next: u32,
    /// Hint for prefetching: a descendant a few blocks down the chain.
    pub(crate) ahead: u32,
    /// Hint for prefetching: the ancestor a few blocks up the chain.
    pub(crate) behind: u32,
}

impl Slot {
    pub(crate) const EMPTY: Slot = Slot {
        bits: 0,
        parent: NONE,
        child: NONE,
        more_children: 0,
        prev: NONE,
        next: NONE,
        ahead: NONE,
        behind: NONE,
    };

    /// An empty slot with these links.
    pub(crate) const fn linked(prev: u32, next: u32) -> Slot {
        Slot { prev, next, ..Slot::EMPTY }
    }

    #[inline(always)]
    pub(crate) fn refs(&self) -> u32 {
        self.bits & REF_MASK
    }

    /// Adds a reference; returns whether it is the first.
    #[inline(always)]
    pub(crate) fn add_ref(&mut self) -> bool {
        debug_assert!(self.refs() < MAX_REFS);
        let first = self.refs() == 0;
        self.bits += 1;
        first
    }

    /// Drops a reference; returns whether it was the last.
    #[inline(always)]
    pub(crate) fn drop_ref(&mut self) -> bool {
        debug_assert!(self.refs() > 0);
        self.bits -= 1;
        self.refs() == 0
    }

    #[inline(always)]
    pub(crate) fn class(&self) -> Class {
        ((self.bits & CLASS_MASK) >> REF_BITS) as Class
    }

    #[inline(always)]
    pub(crate) fn set_class(&mut self, class: Class) {
        debug_assert!(usize::from(class) < CLASSES);
        self.bits = (self.bits & !CLASS_MASK) | (u32::from(class) << REF_BITS);
    }

    /// Whether the content is final. Lookups can reach it, unless its epoch is over.
    #[inline(always)]
    pub(crate) fn published(&self) -> bool {
        self.bits & PUBLISHED != 0
    }

    /// Whether the table, not the parent's `child`, leads here.
    #[inline(always)]
    pub(crate) fn in_table(&self) -> bool {
        self.bits & IN_TABLE != 0
    }

    /// Marks the content as final, in the lowest class until it is released.
    #[inline(always)]
    pub(crate) fn publish(&mut self, parent: u32, in_table: bool) {
        debug_assert!(!self.published());
        self.bits = self.refs() | PUBLISHED | if in_table { IN_TABLE } else { 0 };
        self.parent = parent;
        self.child = NONE;
        self.more_children = 0;
        self.ahead = NONE;
    }

    /// Forgets the content; the reference count stays.
    #[inline(always)]
    pub(crate) fn unpublish(&mut self) {
        self.bits = self.refs();
    }

    /// Whether published children hang below it.
    #[inline(always)]
    pub(crate) fn is_leaf(&self) -> bool {
        self.child == NONE && self.more_children == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_half_a_cache_line() {
        assert_eq!(size_of::<Slot>(), 32);
    }

    #[test]
    fn packed_fields_do_not_touch_each_other() {
        let mut slot = Slot::EMPTY;
        assert!(slot.add_ref());
        slot.publish(7, true);
        slot.set_class(101);
        assert!(!slot.add_ref());
        assert_eq!((slot.refs(), slot.class(), slot.published()), (2, 101, true));
        slot.set_class(0);
        assert!(!slot.drop_ref());
        assert!(slot.drop_ref());
        assert_eq!((slot.refs(), slot.class(), slot.in_table()), (0, 0, true));
        slot.set_class(36);
        slot.unpublish();
        assert_eq!(
            (slot.refs(), slot.class(), slot.published(), slot.in_table()),
            (0, 0, false, false)
        );
    }
}
