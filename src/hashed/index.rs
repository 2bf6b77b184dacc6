//! Which blocks have a key: a multimap in order of insertion.
//!
//! An *entry* is a block under one of its keys. A block's first key is its own entry, by
//! its id, with no allocation; the rare further ones come behind.

use super::BlockKey;
use crate::table::Table;
use ahash::{AHashMap, RandomState};

#[derive(Debug)]
pub(super) struct Index {
    table: Table,
    /// A secret of this process: whoever chooses keys cannot choose places.
    keyed: RandomState,
    /// First keys, by block.
    first: Vec<Option<BlockKey>>,
    /// Further keys, by entry id less the number of blocks.
    further: Vec<Option<(BlockKey, u32)>>,
    vacant: Vec<u32>,
    /// The further entries of a block.
    further_of: AHashMap<u32, Vec<u32>>,
}

impl Index {
    pub(super) fn new(num_blocks: u32) -> Self {
        Index {
            table: Table::new(),
            keyed: RandomState::new(),
            first: vec![None; num_blocks as usize],
            further: Vec::new(),
            vacant: Vec::new(),
            further_of: AHashMap::new(),
        }
    }

    #[inline]
    fn hash(&self, key: &BlockKey) -> u32 {
        self.keyed.hash_one(key.as_bytes()) as u32
    }

    /// The block of an entry that has this key.
    #[inline]
    fn block_under(&self, entry: u32, key: &BlockKey) -> Option<u32> {
        match self.first.get(entry as usize) {
            Some(first) => (first.as_ref() == Some(key)).then_some(entry),
            None => self.further[entry as usize - self.first.len()]
                .and_then(|(own, block)| (own == *key).then_some(block)),
        }
    }

    /// The first of the blocks with this key. O(1) expected.
    #[inline]
    pub(super) fn find(&self, key: &BlockKey) -> Option<u32> {
        let entry = self.table.find(self.hash(key), |entry| self.block_under(entry, key).is_some());
        entry.and_then(|entry| self.block_under(entry, key))
    }

    pub(super) fn contains(&self, key: &BlockKey, block: u32) -> bool {
        let is_it = |entry| self.block_under(entry, key) == Some(block);
        self.table.find(self.hash(key), is_it).is_some()
    }

    /// All blocks with this key, in order of insertion.
    pub(super) fn find_all(&self, key: &BlockKey) -> Vec<u32> {
        let mut found = Vec::new();
        let _ = self.table.find(self.hash(key), |entry| {
            found.extend(self.block_under(entry, key));
            false
        });
        found
    }

    /// The first key of a block.
    #[inline]
    pub(super) fn key(&self, block: u32) -> Option<&BlockKey> {
        self.first[block as usize].as_ref()
    }

    /// The keys of a block after its first.
    pub(super) fn further_keys(&self, block: u32) -> impl Iterator<Item = BlockKey> + '_ {
        let entries = self.further_of.get(&block).into_iter().flatten();
        entries.filter_map(|&entry| {
            self.further[entry as usize - self.first.len()].map(|(key, _)| key)
        })
    }

    /// Blocks that have further keys.
    pub(super) fn with_further_keys(&self) -> impl Iterator<Item = u32> + '_ {
        self.further_of.keys().copied()
    }

    /// Adds a key that the block does not have.
    #[inline]
    pub(super) fn insert(&mut self, key: BlockKey, block: u32) {
        let hash = self.hash(&key);
        let first = &mut self.first[block as usize];
        if first.is_none() {
            *first = Some(key);
            self.table.insert(hash, block);
            return;
        }
        let at = self.vacant.pop().unwrap_or(self.further.len() as u32);
        if at as usize == self.further.len() {
            self.further.push(None);
        }
        self.further[at as usize] = Some((key, block));
        let entry = self.first.len() as u32 + at;
        self.further_of.entry(block).or_default().push(entry);
        self.table.insert(hash, entry);
    }

    /// Takes all keys off a block, the first one first.
    #[inline]
    pub(super) fn remove(&mut self, block: u32, mut gone: impl FnMut(BlockKey)) {
        let Some(key) = self.first[block as usize].take() else { return };
        self.table.remove(self.hash(&key), block);
        gone(key);
        if self.further_of.is_empty() {
            return;
        }
        for entry in self.further_of.remove(&block).unwrap_or_default() {
            let at = entry - self.first.len() as u32;
            if let Some((key, _)) = self.further[at as usize].take() {
                self.table.remove(self.hash(&key), entry);
                self.vacant.push(at);
                gone(key);
            }
        }
    }

    /// O(blocks).
    pub(super) fn clear(&mut self) {
        *self = Index { keyed: self.keyed.clone(), ..Index::new(self.first.len() as u32) };
    }

    /// The different keys. O(blocks): for tests and debugging.
    pub(super) fn keys(&self) -> impl Iterator<Item = BlockKey> {
        let first = self.first.iter().flatten();
        let further = self.further.iter().flatten().map(|(key, _)| key);
        first.chain(further).copied().collect::<std::collections::HashSet<_>>().into_iter()
    }

    /// Entries that the table has.
    pub(super) fn num_entries(&self) -> usize {
        self.table.len()
    }
}
