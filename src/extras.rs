//! Interned extra keys: a small id for each distinct set of framed bytes.
//!
//! Ids make the comparison on a hit one integer, and exact, since equal ids mean equal
//! bytes. Counted: sequences and published blocks hold references, and an entry nobody
//! holds is dropped, so client-chosen keys cannot pile up.

use crate::ExtraKeys;
use ahash::AHashMap;
use std::sync::Arc;

/// Id of a set of extra keys; 0 is the empty one.
pub(crate) type ExtraId = u32;

/// The id of "no extra keys"; never counted.
pub(crate) const NO_EXTRA: ExtraId = 0;

#[derive(Debug)]
struct Entry {
    framed: Arc<[u8]>,
    refs: u32,
}

#[derive(Debug)]
pub(crate) struct Extras {
    /// Entry `n` has id `n + 1`.
    entries: Vec<Entry>,
    ids: AHashMap<Arc<[u8]>, ExtraId>,
    unused: Vec<ExtraId>,
}

impl Extras {
    pub(crate) fn new() -> Self {
        Extras { entries: Vec::new(), ids: AHashMap::new(), unused: Vec::new() }
    }

    /// The id of these bytes, if anything holds them.
    pub(crate) fn lookup(&self, framed: &[u8]) -> Option<ExtraId> {
        if framed.is_empty() { Some(NO_EXTRA) } else { self.ids.get(framed).copied() }
    }

    /// The id of these bytes, with one more reference.
    pub(crate) fn acquire(&mut self, framed: &[u8]) -> ExtraId {
        if let Some(id) = self.lookup(framed) {
            self.add_ref(id);
            return id;
        }
        let entry = Entry { framed: framed.into(), refs: 1 };
        let id = match self.unused.pop() {
            Some(id) => id,
            None => self.entries.len() as ExtraId + 1,
        };
        self.ids.insert(Arc::clone(&entry.framed), id);
        match self.entries.get_mut(id as usize - 1) {
            Some(place) => *place = entry,
            None => self.entries.push(entry),
        }
        id
    }

    #[inline]
    pub(crate) fn add_ref(&mut self, id: ExtraId) {
        if id != NO_EXTRA {
            self.entries[id as usize - 1].refs += 1;
        }
    }

    #[inline]
    pub(crate) fn release(&mut self, id: ExtraId) {
        if id != NO_EXTRA {
            self.release_one(id);
        }
    }

    fn release_one(&mut self, id: ExtraId) {
        let entry = &mut self.entries[id as usize - 1];
        entry.refs -= 1;
        if entry.refs == 0 {
            let framed = std::mem::take(&mut entry.framed);
            self.ids.remove(&framed);
            self.unused.push(id);
        }
    }

    #[inline]
    pub(crate) fn keys(&self, id: ExtraId) -> ExtraKeys<'_> {
        match id {
            NO_EXTRA => ExtraKeys::default(),
            _ => ExtraKeys::new(&self.entries[id as usize - 1].framed),
        }
    }

    /// References to each id that is held, for `validate`.
    pub(crate) fn refs(&self) -> impl Iterator<Item = (ExtraId, u32)> + '_ {
        self.ids.values().map(|&id| (id, self.entries[id as usize - 1].refs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_lives_as_long_as_its_references() {
        let mut extras = Extras::new();
        assert_eq!(extras.acquire(b""), NO_EXTRA);
        let a = extras.acquire(b"a");
        let b = extras.acquire(b"b");
        assert_ne!(a, b);
        assert_eq!(extras.acquire(b"a"), a);
        extras.release(a);
        assert_eq!(extras.keys(a).as_bytes(), b"a");
        extras.release(a);
        assert_eq!(extras.lookup(b"a"), None);
        let c = extras.acquire(b"c");
        assert_eq!(c, a, "ids are reused");
        assert_eq!(extras.keys(b).as_bytes(), b"b");
        assert_eq!(extras.refs().count(), 2);
    }
}
