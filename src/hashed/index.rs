//! Which blocks have a key: a multimap in order of insertion.
//!
//! An *entry* is a block under one of its keys. A block's first key is its own entry, by
//! its id, with no allocation; the rare further ones come behind. The table leads to the
//! entry that got a key first, which leads to the others.

use super::BlockKey;
use super::chain::Chains;
use crate::table::Table;
use ahash::{AHashMap, RandomState};

#[derive(Debug)]
pub(super) struct Index {
    table: Table,
    chains: Chains,
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
            chains: Chains::default(),
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

    /// The entry that got this key first.
    #[inline]
    fn head(&self, hash: u32, key: &BlockKey) -> Option<u32> {
        self.table.find(hash, |entry| self.block_under(entry, key).is_some())
    }

    /// Places of the table that are taken.
    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.table.len()
    }

    /// The first of the blocks with this key. O(1) expected.
    #[inline]
    pub(super) fn find(&self, key: &BlockKey) -> Option<u32> {
        self.head(self.hash(key), key).and_then(|entry| self.block_under(entry, key))
    }

    /// Whether a block has this key. O(keys of the block).
    pub(super) fn contains(&self, key: &BlockKey, block: u32) -> bool {
        let first = self.first.get(block as usize).and_then(Option::as_ref);
        first == Some(key) || first.is_some() && self.further_keys(block).any(|own| own == *key)
    }

    /// All blocks with this key, in order of insertion. O(1) for each.
    pub(super) fn find_all(&self, key: &BlockKey) -> Vec<u32> {
        let head = self.head(self.hash(key), key).into_iter();
        let entries = head.flat_map(|head| self.chains.from(head));
        entries.filter_map(|entry| self.block_under(entry, key)).collect()
    }

    /// Whether a key has had several entries since it last had none.
    pub(super) fn was_shared(&self, key: &BlockKey) -> bool {
        self.head(self.hash(key), key).is_some_and(|head| self.chains.is_in_ring(head))
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

    /// Adds a key that the block does not have. O(1) expected, amortised.
    #[inline]
    pub(super) fn insert(&mut self, key: BlockKey, block: u32) {
        let hash = self.hash(&key);
        let head = self.head(hash, &key);
        let first = &mut self.first[block as usize];
        let entry = if first.is_none() {
            *first = Some(key);
            block
        } else {
            self.insert_further(key, block)
        };
        match head {
            None => self.table.insert(hash, entry),
            Some(head) => self.chains.append(head, entry),
        }
    }

    fn insert_further(&mut self, key: BlockKey, block: u32) -> u32 {
        let at = self.vacant.pop().unwrap_or(self.further.len() as u32);
        if at as usize == self.further.len() {
            self.further.push(None);
        }
        self.further[at as usize] = Some((key, block));
        let entry = self.first.len() as u32 + at;
        self.further_of.entry(block).or_default().push(entry);
        entry
    }

    /// Takes an entry, whose key is this, out of the table or its chain.
    #[inline]
    fn unlink(&mut self, key: &BlockKey, entry: u32) {
        let hash = self.hash(key);
        match self.chains.unlink(entry) {
            None => self.table.remove(hash, entry),
            // If it was the head, the one behind it is now.
            Some(next) => self.table.replace(hash, entry, next),
        }
    }

    /// Takes all keys off a block, the first one first.
    #[inline]
    pub(super) fn remove(&mut self, block: u32, mut gone: impl FnMut(BlockKey)) {
        let Some(key) = self.first[block as usize].take() else { return };
        self.unlink(&key, block);
        gone(key);
        if self.further_of.is_empty() {
            return;
        }
        for entry in self.further_of.remove(&block).unwrap_or_default() {
            let at = entry - self.first.len() as u32;
            if let Some((key, _)) = self.further[at as usize].take() {
                self.unlink(&key, entry);
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

    /// Says what is wrong with the table and the chains. O(entries), with allocations.
    pub(super) fn fault(&self) -> Option<String> {
        let (mut seen, mut keys) = (std::collections::HashSet::new(), 0);
        for key in self.keys() {
            keys += 1;
            let Some(head) = self.head(self.hash(&key), &key) else {
                return Some(format!("key {key:?} is not in the table"));
            };
            for entry in self.chains.from(head) {
                if self.block_under(entry, &key).is_none() || !self.chains.is_sound(entry) {
                    return Some(format!("entry {entry} is wrong in the chain of {key:?}"));
                }
                if !seen.insert(entry) {
                    return Some(format!("entry {entry} is in chains twice"));
                }
            }
        }
        if keys != self.table.len() {
            return Some(format!("{keys} keys, the table has {}", self.table.len()));
        }
        let first = self.first.iter().flatten().count();
        let entries = first + self.further.iter().flatten().count();
        (entries != seen.len()).then(|| format!("{entries} keys, the chains have {}", seen.len()))
    }
}
