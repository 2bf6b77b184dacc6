//! The state of one running sequence, and the slab that holds them.
//!
//! A slot of the slab keeps its vectors when its sequence ends, so in steady state
//! admitting and decoding allocate nothing.

use crate::evict::Access;
use crate::extras::{ExtraId, NO_EXTRA};
use crate::ids::NONE;
use crate::retention::{Hint, Retention};
use crate::stats::Counted;
use crate::{BlockId, Error, SeqId};

/// A full block of a sequence whose content another block has published already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Duplicate {
    /// Entry of the block table.
    pub position: usize,
    /// The published block with the same content. The sequence pins it too.
    pub published: BlockId,
}

/// The extra keys of a sequence's blocks, interned.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExtraPlan {
    /// Of the first block.
    pub(crate) first: ExtraId,
    /// Of all other blocks, but for those in `media`.
    pub(crate) rest: ExtraId,
    /// Of the blocks after the first that hold media, by position.
    pub(crate) media: Vec<(usize, ExtraId)>,
}

impl ExtraPlan {
    #[inline(always)]
    pub(crate) fn at(&self, position: usize) -> ExtraId {
        if position == 0 {
            return self.first;
        }
        if self.media.is_empty() {
            return self.rest;
        }
        match self.media.binary_search_by_key(&position, |&(at, _)| at) {
            Ok(found) => self.media[found].1,
            Err(_) => self.rest,
        }
    }

    /// Whether no block has extra keys.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.first | self.rest == NO_EXTRA && self.media.is_empty()
    }

    /// Every reference that the plan holds.
    pub(crate) fn ids(&self) -> impl Iterator<Item = ExtraId> + '_ {
        [self.first, self.rest].into_iter().chain(self.media.iter().map(|&(_, id)| id))
    }

    pub(crate) fn clear(&mut self) {
        self.first = NO_EXTRA;
        self.rest = NO_EXTRA;
        self.media.clear();
    }
}

/// What every step reads comes first, so that decoding touches few cache lines.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Sequence<D> {
    generation: u32,
    live: bool,
    /// The chain is broken (collision): full blocks stay private from here on.
    pub(crate) private: bool,
    /// Since a fork: the last block may be partial and shared.
    pub(crate) forked: bool,
    /// Seen already while a batch is checked; never set otherwise.
    pub(crate) in_batch: bool,
    /// Blocks whose tokens are all computed; commit has dealt with them.
    pub(crate) full_blocks: usize,
    /// Computed tokens of the block after those.
    pub(crate) tail_tokens: usize,
    /// Tokens of the open step, lookahead included; 0 if none is open.
    pub(crate) reserved_tokens: usize,
    /// The shared partial block that the last entry was copied from in the open step,
    /// which holds its reference; `NONE` if there is none.
    pub(crate) copied_from: u32,
    /// Where the next full block hangs: the last published block of the chain.
    pub(crate) parent: u32,
    /// Known tokens from the start of that block on, behind `pending_start`.
    pending: Vec<u32>,
    pending_start: usize,
    pub(crate) blocks: Vec<BlockId>,
    /// Hash of the next block to be published, once its tokens are known.
    pub(crate) next_digest: Option<D>,
    pub(crate) epoch: u64,
    /// Who it is, for the policy.
    pub(crate) access: Access,
    /// Whether a step was granted: the policy knows of it.
    pub(crate) granted: bool,
    /// What its admission added to the statistics; `None` for a fork and its parent.
    pub(crate) counted: Option<Counted>,
    pub(crate) extra: ExtraPlan,
    /// By position. Each pins its published block.
    pub(crate) duplicates: Vec<Duplicate>,
    pub(crate) hints: Vec<Hint>,
}

impl<D: Copy> Sequence<D> {
    fn empty() -> Self {
        Sequence {
            generation: 0,
            live: false,
            private: false,
            forked: false,
            in_batch: false,
            full_blocks: 0,
            tail_tokens: 0,
            reserved_tokens: 0,
            copied_from: NONE,
            parent: NONE,
            pending: Vec::new(),
            pending_start: 0,
            blocks: Vec::new(),
            next_digest: None,
            epoch: 0,
            access: Access::default(),
            granted: false,
            counted: None,
            extra: ExtraPlan::default(),
            duplicates: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// Back to the empty state, vectors keep their capacity.
    fn reset(&mut self) {
        self.blocks.clear();
        self.duplicates.clear();
        self.hints.clear();
        self.pending.clear();
        self.pending_start = 0;
        self.full_blocks = 0;
        self.tail_tokens = 0;
        self.parent = NONE;
        self.private = false;
        self.forked = false;
        self.next_digest = None;
        self.counted = None;
        self.granted = false;
        self.reserved_tokens = 0;
        self.copied_from = NONE;
        self.extra.clear();
    }

    /// Tokens whose KV is there.
    #[inline]
    pub(crate) fn tokens_computed(&self, block_size: usize) -> usize {
        self.full_blocks * block_size + self.tail_tokens
    }

    /// Prompt and appended tokens.
    #[inline]
    pub(crate) fn tokens_known(&self, block_size: usize) -> usize {
        self.full_blocks * block_size + self.pending().len()
    }

    /// Whether a step is open.
    #[inline]
    pub(crate) fn in_step(&self) -> bool {
        self.reserved_tokens > 0
    }

    /// Known tokens that are not computed.
    #[inline]
    pub(crate) fn tokens_waiting(&self) -> usize {
        self.pending.len() - self.pending_start - self.tail_tokens
    }

    /// Blocks that the computed tokens take: the length of the table outside a step.
    #[inline]
    pub(crate) fn blocks_computed(&self) -> usize {
        self.full_blocks + usize::from(self.tail_tokens > 0)
    }

    /// Known tokens from the start of the first block that is not full and computed.
    #[inline]
    pub(crate) fn pending(&self) -> &[u32] {
        &self.pending[self.pending_start..]
    }

    #[inline]
    pub(crate) fn push_token(&mut self, token: u32) {
        self.pending.push(token);
    }

    #[inline]
    pub(crate) fn push_tokens(&mut self, tokens: &[u32]) {
        self.pending.extend_from_slice(tokens);
    }

    /// Drops the first `count` pending tokens: their block is full and computed.
    #[inline]
    pub(crate) fn drop_pending(&mut self, count: usize) {
        self.pending_start += count;
        // Move the rest to the front once it is the smaller part: amortised O(1).
        if self.pending_start * 2 >= self.pending.len() {
            self.pending.copy_within(self.pending_start.., 0);
            self.pending.truncate(self.pending.len() - self.pending_start);
            self.pending_start = 0;
        }
    }

    /// The published block that stands for an entry of the table: its duplicate's, or
    /// the entry itself.
    #[inline]
    pub(crate) fn chain_block(&self, position: usize) -> u32 {
        if !self.duplicates.is_empty()
            && let Ok(found) = self.duplicates.binary_search_by_key(&position, |d| d.position)
        {
            return self.duplicates[found].published.0;
        }
        self.blocks[position].0
    }

    /// The hint on a block; of overlapping ones the last one given.
    pub(crate) fn hint(&self, position: usize) -> Option<Retention> {
        let covers = |hint: &&Hint| hint.blocks.contains(&position);
        self.hints.iter().rfind(covers).map(|hint| hint.retention)
    }

    /// Copies everything but the generation from `other`.
    fn copy_from(&mut self, other: &Self) {
        self.blocks.clone_from(&other.blocks);
        self.duplicates.clone_from(&other.duplicates);
        self.hints.clone_from(&other.hints);
        self.pending.clear();
        self.pending.extend_from_slice(other.pending());
        self.pending_start = 0;
        self.full_blocks = other.full_blocks;
        self.tail_tokens = other.tail_tokens;
        self.parent = other.parent;
        self.private = other.private;
        self.next_digest = other.next_digest;
        self.forked = other.forked;
        self.epoch = other.epoch;
        self.access = other.access;
        self.granted = other.granted;
        self.extra.clone_from(&other.extra);
    }
}

#[derive(Debug)]
pub(crate) struct Sequences<D> {
    slots: Vec<Sequence<D>>,
    unused: Vec<u32>,
    max: usize,
}

impl<D: Copy> Sequences<D> {
    pub(crate) fn new(max: usize) -> Self {
        Sequences { slots: Vec::new(), unused: Vec::new(), max }
    }

    /// Number of running sequences.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.unused.len()
    }

    #[inline]
    pub(crate) fn get(&self, id: SeqId) -> Result<&Sequence<D>, Error> {
        self.slots
            .get(id.slot as usize)
            .filter(|seq| seq.generation == id.generation && seq.live)
            .ok_or(Error::UnknownSequence(id))
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: SeqId) -> Result<&mut Sequence<D>, Error> {
        self.slots
            .get_mut(id.slot as usize)
            .filter(|seq| seq.generation == id.generation && seq.live)
            .ok_or(Error::UnknownSequence(id))
    }

    /// A new, empty sequence.
    #[inline]
    pub(crate) fn open(&mut self) -> Result<(SeqId, &mut Sequence<D>), Error> {
        if self.len() >= self.max {
            return Err(Error::TooManySequences { max: self.max });
        }
        let slot = self.unused.pop().unwrap_or(self.slots.len() as u32);
        if slot as usize == self.slots.len() {
            self.slots.push(Sequence::empty());
        }
        let seq = &mut self.slots[slot as usize];
        seq.live = true;
        Ok((SeqId { slot, generation: seq.generation }, seq))
    }

    /// A new sequence in the state of `parent`, which has no open step.
    pub(crate) fn open_copy(&mut self, parent: SeqId) -> Result<(SeqId, &Sequence<D>), Error> {
        self.get(parent)?;
        let (id, _) = self.open()?;
        let forked = self.get_mut(parent)?;
        forked.forked = true;
        // The admission is that of two sequences now, and cannot be taken back.
        forked.counted = None;
        let mut copy = std::mem::replace(&mut self.slots[id.slot as usize], Sequence::empty());
        copy.copy_from(self.get(parent)?);
        let seq = &mut self.slots[id.slot as usize];
        *seq = copy;
        Ok((id, seq))
    }

    /// Ends a sequence. Its handle is void from here on.
    #[inline]
    pub(crate) fn close(&mut self, id: SeqId) {
        let seq = &mut self.slots[id.slot as usize];
        seq.reset();
        seq.live = false;
        seq.generation = seq.generation.wrapping_add(1);
        self.unused.push(id.slot);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (SeqId, &Sequence<D>)> {
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, seq)| seq.live)
            .map(|(slot, seq)| (SeqId { slot: slot as u32, generation: seq.generation }, seq))
    }
}
