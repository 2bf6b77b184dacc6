//! The prefix index: which published block continues a chain.
//!
//! The published blocks of an epoch form a forest. A block leads to its first child
//! directly; further children, and first blocks, are in a hash table. Most blocks of real
//! traffic have one child, so a hit walks links and compares tokens, and publishing or
//! evicting such a block touches no table.
//!
//! Owns invariants I3 to I5 together with the manager.

use crate::BlockId;
use crate::content::{Content, same_16};
use crate::extras::{ExtraId, Extras, NO_EXTRA};
use crate::hash::BlockHasher;
use crate::ids::NONE;
use crate::pool::PinRun;
use crate::prefetch::prefetch;
use crate::sequence::ExtraPlan;
use crate::slot::Slot;
use crate::table::Table;
use crate::tally::Tally;
use ahash::AHashMap;

/// Recently published first blocks that a miss is compared with, to see whether it
/// shared part of one.
const RECENT_ROOTS: usize = 8;

/// A block that somebody asks for: these tokens and extra keys, below `parent`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) parent: u32,
    pub(crate) tokens: &'a [u32],
    pub(crate) extra: ExtraId,
}

/// Answer of [`PrefixIndex::find`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found<D> {
    Block(u32),
    /// Not there. The hash, if it had to be computed.
    Nothing(Option<D>),
    /// A block with this hash and other content is there.
    Collision(D),
}

#[derive(Debug)]
pub(crate) struct PrefixIndex<H: BlockHasher> {
    hasher: H,
    root: H::Digest,
    pub(crate) content: Content<H::Digest>,
    pub(crate) extras: Extras,
    table: Table,
    /// A secret of this process. No result depends on it, only places in tables.
    keyed: ahash::RandomState,
    /// First blocks with extra keys, by a keyed hash of their tokens alone, counted.
    twins: Tally,
    /// That hash by block, in hash-only mode, where it cannot be computed again.
    twin_of: AHashMap<u32, u64>,
    recent_roots: [u32; RECENT_ROOTS],
    next_recent: usize,
}

impl<H: BlockHasher> PrefixIndex<H> {
    pub(crate) fn new(hasher: H, num_blocks: u32, block_size: usize, verified: bool) -> Self {
        let root = hasher.root(block_size);
        PrefixIndex {
            content: Content::new(num_blocks, block_size, verified, root),
            root,
            hasher,
            extras: Extras::new(),
            table: Table::new(),
            keyed: ahash::RandomState::new(),
            twins: Tally::default(),
            twin_of: AHashMap::new(),
            recent_roots: [NONE; RECENT_ROOTS],
            next_recent: 0,
        }
    }

    /// Forgets all blocks. The extra keys stay: blocks and sequences still hold them.
    pub(crate) fn clear(&mut self) {
        self.table = Table::new();
        self.twins = Tally::default();
        self.twin_of = AHashMap::new();
        self.recent_roots = [NONE; RECENT_ROOTS];
    }

    /// Number of blocks that only the table leads to.
    pub(crate) fn table_len(&self) -> usize {
        self.table.len()
    }

    #[inline]
    pub(crate) fn digest(&self, wanted: Wanted<'_>) -> H::Digest {
        let parent = match wanted.parent {
            NONE => &self.root,
            id => self.content.digest(id),
        };
        self.hasher.hash(parent, wanted.tokens, self.extras.keys(wanted.extra))
    }

    /// Position in the table: keyed, over the whole digest, so that whoever chooses tokens
    /// cannot choose positions.
    #[inline]
    fn table_hash(&self, digest: &H::Digest) -> u32 {
        self.keyed.hash_one(digest) as u32
    }

    /// Finds a published block. O(1): at most one hash and one probe, usually neither.
    /// `digest` if the caller has it.
    #[inline]
    pub(crate) fn find(
        &self,
        slots: &[Slot],
        wanted: Wanted<'_>,
        digest: Option<H::Digest>,
    ) -> Found<H::Digest> {
        if self.content.verified() {
            self.find_verified(slots, wanted, digest)
        } else {
            self.find_by_hash(slots, wanted, digest)
        }
    }

    #[inline(always)]
    fn find_verified(
        &self,
        slots: &[Slot],
        wanted: Wanted<'_>,
        digest: Option<H::Digest>,
    ) -> Found<H::Digest> {
        let Wanted { parent, tokens, extra } = wanted;
        let mut child = NONE;
        if parent != NONE {
            let slot = &slots[parent as usize];
            if slot.is_leaf() {
                return Found::Nothing(digest);
            }
            child = slot.child;
            if child != NONE && self.content.equals(child, tokens, extra) {
                debug_assert_eq!(slots[child as usize].parent, parent);
                return Found::Block(child);
            }
            if slot.more_children == 0 && digest.is_none() {
                return Found::Nothing(None);
            }
        }
        let digest = digest.unwrap_or_else(|| self.digest(wanted));
        if child != NONE && *self.content.digest(child) == digest {
            return Found::Collision(digest);
        }
        match self.in_table(&digest) {
            None => Found::Nothing(Some(digest)),
            Some(id)
                if slots[id as usize].parent == parent
                    && self.content.equals(id, tokens, extra) =>
            {
                Found::Block(id)
            }
            Some(_) => Found::Collision(digest),
        }
    }

    #[inline(always)]
    fn find_by_hash(
        &self,
        slots: &[Slot],
        wanted: Wanted<'_>,
        digest: Option<H::Digest>,
    ) -> Found<H::Digest> {
        let digest = digest.unwrap_or_else(|| self.digest(wanted));
        if wanted.parent != NONE {
            let slot = &slots[wanted.parent as usize];
            if slot.child != NONE && *self.content.digest(slot.child) == digest {
                return Found::Block(slot.child);
            }
            if slot.is_leaf() {
                return Found::Nothing(Some(digest));
            }
        }
        match self.in_table(&digest) {
            None => Found::Nothing(Some(digest)),
            // The hash is trusted, the chain is not: a hit pins ancestors as it goes.
            Some(id) if slots[id as usize].parent == wanted.parent => Found::Block(id),
            Some(_) => Found::Collision(digest),
        }
    }

    /// Follows first children down from `parent` while they hold what `wanted` yields,
    /// pins them and adds them to `table`. Returns the last one. Verified mode only.
    ///
    /// This is the hot loop of a hit: no hash, no probe, one comparison of tokens.
    #[inline]
    pub(crate) fn follow(
        &self,
        slots: &mut [Slot],
        pins: &mut PinRun,
        parent: u32,
        prompt: &[u32],
        extra: &ExtraPlan,
        table: &mut Vec<BlockId>,
    ) -> u32 {
        let content = &self.content;
        let block_size = content.block_size();
        let start = table.len();
        let prompt = &prompt[start * block_size..];
        let plain = content.is_plain() && extra.is_plain();
        let mut walk = Walk { slots, pins, content, at: parent };
        match content.tokens_by_16() {
            Some(store) if plain => walk.run(prompt.as_chunks().0, table, |child, tokens, _| {
                store.get(child as usize).is_some_and(|held| same_16(held, tokens))
            }),
            Some(store) => walk.run(prompt.as_chunks().0, table, |child, tokens, position| {
                store.get(child as usize).is_some_and(|held| same_16(held, tokens))
                    && content.extra(child) == extra.at(position)
            }),
            None => walk.run(prompt.chunks_exact(block_size), table, |child, tokens, position| {
                child != NONE && content.equals(child, tokens, extra.at(position))
            }),
        }
        walk.at
    }

    #[inline]
    fn in_table(&self, digest: &H::Digest) -> Option<u32> {
        self.table.find(self.table_hash(digest), |id| self.content.digest(id) == digest)
    }

    /// Publishes block `id` as `wanted`, which `find` did not find.
    #[inline]
    pub(crate) fn insert(
        &mut self,
        slots: &mut [Slot],
        id: u32,
        wanted: Wanted<'_>,
        digest: H::Digest,
    ) {
        let Wanted { parent, tokens, extra } = wanted;
        self.content.set(id, digest, tokens, extra);
        self.extras.add_ref(extra);
        let first_child = parent != NONE && slots[parent as usize].child == NONE;
        slots[id as usize].publish(parent, !first_child);
        if first_child {
            slots[parent as usize].child = id;
            return;
        }
        self.table.insert(self.table_hash(&digest), id);
        if parent != NONE {
            slots[parent as usize].more_children += 1;
            return;
        }
        self.recent_roots[self.next_recent] = id;
        self.next_recent = (self.next_recent + 1) % RECENT_ROOTS;
        if extra != NO_EXTRA {
            let twin = self.keyed.hash_one(tokens);
            self.twins.add(twin);
            if !self.content.verified() {
                self.twin_of.insert(id, twin);
            }
        }
    }

    /// Takes a published leaf out of the index and forgets its content. Returns its hash.
    #[inline]
    pub(crate) fn remove(&mut self, slots: &mut [Slot], id: u32) -> H::Digest {
        let slot = &slots[id as usize];
        debug_assert!(slot.published() && slot.is_leaf());
        let parent = slot.parent;
        let digest = *self.content.digest(id);
        if !slot.in_table() {
            slots[parent as usize].child = NONE;
        } else {
            self.table.remove(self.table_hash(&digest), id);
            if parent != NONE {
                slots[parent as usize].more_children -= 1;
            } else if self.content.extra(id) != NO_EXTRA {
                self.forget_twin(id);
            }
        }
        self.forget(slots, id);
        digest
    }

    /// Forgets the content of a block that the index does not know (any more).
    #[inline]
    pub(crate) fn forget(&mut self, slots: &mut [Slot], id: u32) {
        if !self.content.is_plain() {
            self.extras.release(self.content.extra(id));
        }
        slots[id as usize].unpublish();
    }

    fn forget_twin(&mut self, id: u32) {
        let twin = self
            .twin_of
            .remove(&id)
            .unwrap_or_else(|| self.keyed.hash_one(self.content.tokens(id)));
        self.twins.remove(twin);
    }

    /// Whether the same tokens are published at this place with other extra keys.
    /// Exact for first blocks, up to a 64-bit hash; further down it sees the first child,
    /// and the block without extra keys.
    pub(crate) fn differs_in_extra_keys(&self, slots: &[Slot], wanted: Wanted<'_>) -> bool {
        let Wanted { parent, tokens, extra } = wanted;
        if extra != NO_EXTRA {
            let plain = Wanted { extra: NO_EXTRA, ..wanted };
            if let Found::Block(_) = self.find(slots, plain, None) {
                return true;
            }
        }
        if parent == NONE {
            return self.twins.contains(self.keyed.hash_one(tokens));
        }
        let child = slots[parent as usize].child;
        child != NONE && self.content.verified() && self.content.tokens(child) == tokens
    }

    /// Leading tokens that `wanted` shares with a published block at this place that it
    /// does not equal; 0 in hash-only mode. Sees the first child, or for a first block
    /// the most recently published ones.
    pub(crate) fn tokens_shared(&self, slots: &[Slot], wanted: Wanted<'_>) -> usize {
        let Wanted { parent, tokens, extra } = wanted;
        let shared_with = |id: u32| {
            if id == NONE || self.content.extra(id) != extra {
                return 0;
            }
            self.content.tokens(id).iter().zip(tokens).take_while(|(a, b)| a == b).count()
        };
        match parent {
            NONE => {
                // Evicted ones are still named; what took their place may be a first block.
                let is_root = |id: &&u32| {
                    slots
                        .get(**id as usize)
                        .is_some_and(|slot| slot.published() && slot.parent == NONE)
                };
                let roots = self.recent_roots.iter().filter(is_root);
                roots.map(|&id| shared_with(id)).max().unwrap_or(0)
            }
            _ => shared_with(slots[parent as usize].child),
        }
    }

    /// Whether a lookup reaches published block `id` from its parent, for `validate`.
    pub(crate) fn reaches(&self, slots: &[Slot], id: u32) -> bool {
        let slot = &slots[id as usize];
        let child_of_parent = slot.parent != NONE && slots[slot.parent as usize].child == id;
        let in_table = self.in_table(self.content.digest(id)) == Some(id);
        child_of_parent != in_table && in_table == slot.in_table()
    }
}

/// A walk down a chain.
struct Walk<'a, D> {
    slots: &'a mut [Slot],
    pins: &'a mut PinRun,
    content: &'a Content<D>,
    at: u32,
}

impl<D: Copy + Eq> Walk<'_, D> {
    #[inline(always)]
    fn run<T>(
        &mut self,
        wanted: impl IntoIterator<Item = T>,
        table: &mut Vec<BlockId>,
        holds: impl Fn(u32, T, usize) -> bool,
    ) {
        for tokens in wanted {
            let child = self.slots[self.at as usize].child;
            if !holds(child, tokens, table.len()) {
                return;
            }
            // What lies a few blocks down the chain is on its way by the time the walk
            // gets there, wherever in memory it is.
            let ahead = self.slots[child as usize].ahead;
            prefetch(self.slots, ahead as usize);
            self.content.prefetch_tokens(ahead);
            self.pins.pin(self.slots, child);
            table.push(BlockId(child));
            self.at = child;
        }
    }
}
