//! Entries that share a key, in order of insertion.
//!
//! Only the *head* of a chain, the entry that got the key first, is in the table; the others
//! stand in a ring behind it. So any number of entries with one key takes one place there.
//! An entry that always was alone has no links, and without duplicates there is no array of them.
//! One that has outlived the others is a ring of its own.

use crate::ids::NONE;

#[derive(Clone, Copy, Debug)]
struct Link {
    prev: u32,
    next: u32,
}

const ALONE: Link = Link { prev: NONE, next: NONE };

#[derive(Debug, Default)]
pub(super) struct Chains {
    /// By entry, up to the greatest one that was ever in a chain.
    links: Vec<Link>,
}

impl Chains {
    #[inline]
    fn link(&self, entry: u32) -> Link {
        self.links.get(entry as usize).copied().unwrap_or(ALONE)
    }

    /// A chain from its head on.
    pub(super) fn from(&self, head: u32) -> impl Iterator<Item = u32> + '_ {
        std::iter::successors(Some(head), move |&entry| {
            let next = self.link(entry).next;
            (next != NONE && next != head).then_some(next)
        })
    }

    /// Whether the links of an entry and of its neighbours agree.
    pub(super) fn is_sound(&self, entry: u32) -> bool {
        let Link { prev, next } = self.link(entry);
        let alone = prev == NONE && next == NONE;
        alone || self.link(prev).next == entry && self.link(next).prev == entry
    }

    /// Whether an entry is in a ring, maybe as the last one.
    pub(super) fn is_in_ring(&self, entry: u32) -> bool {
        self.link(entry).next != NONE
    }

    /// Puts an entry that is alone at the end of a chain. O(1) amortised.
    #[cold]
    pub(super) fn append(&mut self, head: u32, entry: u32) {
        let needed = head.max(entry) as usize + 1;
        if self.links.len() < needed {
            self.links.resize(needed, ALONE);
        }
        let last = match self.link(head).prev {
            NONE => head,
            last => last,
        };
        self.links[entry as usize] = Link { prev: last, next: head };
        self.links[last as usize].next = entry;
        self.links[head as usize].prev = entry;
    }

    /// Takes an entry off its chain. The one behind it in the ring, or None if it was alone.
    #[inline]
    pub(super) fn unlink(&mut self, entry: u32) -> Option<u32> {
        let Link { prev, next } = self.link(entry);
        if next == NONE {
            return None;
        }
        self.links[prev as usize].next = next;
        self.links[next as usize].prev = prev;
        self.links[entry as usize] = ALONE;
        (next != entry).then_some(next)
    }
}
