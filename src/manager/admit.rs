//! Admission: look up, pin, and say why the hit ended.

use super::BlockManager;
use crate::evict::{Access, EvictionPolicy};
use crate::hash::BlockHasher;
use crate::ids::NONE;
use crate::pool::PinRun;
use crate::prefetch::prefetch;
use crate::prefix::{Found, PrefixIndex, Wanted};
use crate::sequence::ExtraPlan;
use crate::stats::Counted;
use crate::{BlockId, Error, Identity, MissReason, SeqId};

/// Answer of [`BlockManager::admit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the sequence holds blocks until it is freed"]
#[non_exhaustive]
pub struct Admission {
    /// The new sequence. [`free`](BlockManager::free) it at the end.
    pub seq: SeqId,
    /// Prompt tokens whose KV is there: whole blocks, never the last token. Their blocks
    /// are in the block table, pinned.
    pub tokens_cached: usize,
    /// Why the hit ended there.
    pub miss: MissReason,
    /// Further tokens that the next block shares with a cached one: what a smaller block
    /// size could have hit. Best effort; 0 in hash-only mode.
    pub tokens_partial: usize,
}

impl<H: BlockHasher, P: EvictionPolicy> BlockManager<H, P> {
    /// Starts a sequence: finds the longest cached prefix of `prompt`, pins it, and says
    /// why it ended. Takes no further blocks. O(prompt).
    ///
    /// Check requests when they arrive: prompt and longest output together must not exceed
    /// [`num_tokens`](Self::num_tokens), or the sequence cannot end. If there turns out to
    /// be no room for its first step, [`withdraw`](Self::withdraw) it, so that it counts
    /// once when it is admitted again.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`], [`Error::TooLong`] if the prompt can never fit the pool,
    /// [`Error::MediaBeyondPrompt`], [`Error::TooManySequences`].
    pub fn admit(&mut self, prompt: &[u32], identity: &Identity) -> Result<Admission, Error> {
        self.start(prompt, identity, Some)
    }

    /// [`admit`](Self::admit) for a sequence that was preempted: `tokens` are its prompt
    /// and the tokens generated so far, which the engine keeps. Counted apart, see
    /// [`Stats`](crate::Stats).
    ///
    /// # Errors
    /// As `admit`.
    pub fn readmit(&mut self, tokens: &[u32], identity: &Identity) -> Result<Admission, Error> {
        self.start(tokens, identity, |_| None)
    }

    /// Tokens that [`admit`](Self::admit) would find cached, without admitting: for
    /// routers and schedulers. Changes nothing. O(prompt).
    #[must_use]
    pub fn longest_prefix(&self, prompt: &[u32], identity: &Identity) -> usize {
        let block_size = self.block_size();
        let mut keys = Vec::new();
        let mut parent = NONE;
        let media_end = identity.media_end().unwrap_or(0);
        let mut extra = Some(crate::extras::NO_EXTRA);
        let hittable = hittable(prompt, block_size);
        for (position, tokens) in hittable.chunks_exact(block_size).enumerate() {
            // Blocks behind the first and all media have the keys of the one before.
            let start = position * block_size;
            if position <= 1 || start < media_end + block_size {
                identity.write_keys(start..start + block_size, &mut keys);
                extra = self.index.extras.lookup(&keys);
            }
            // Keys that nothing holds belong to no block.
            let Some(extra) = extra else { return position * block_size };
            match self.index.find(&self.pool.slots, Wanted { parent, tokens, extra }, None) {
                Found::Block(id) => parent = id,
                _ => return position * block_size,
            }
        }
        hittable.len()
    }

    /// Says what kind of work a request is and which turn of its conversation, for policies
    /// that ask. Before its first step; later it counts from then on. O(1).
    ///
    /// # Errors
    /// [`Error::UnknownSequence`].
    pub fn describe(&mut self, id: SeqId, category: u16, turn: Option<u32>) -> Result<(), Error> {
        let seq = self.sequences.get_mut(id)?;
        seq.access.category = category;
        seq.access.turn = turn;
        Ok(())
    }

    /// Starts a sequence, counted under the reason that `counts_as` makes of its miss.
    #[inline]
    fn start(
        &mut self,
        prompt: &[u32],
        identity: &Identity,
        counts_as: fn(MissReason) -> Option<MissReason>,
    ) -> Result<Admission, Error> {
        if prompt.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        if prompt.len() > self.num_tokens() {
            return Err(Error::TooLong { tokens: prompt.len(), max: self.num_tokens() });
        }
        if let Some(end) = identity.media_end().filter(|&end| end > prompt.len()) {
            return Err(Error::MediaBeyondPrompt { end, prompt_tokens: prompt.len() });
        }
        let block_size = self.block_size();
        let (id, seq) = self.sequences.open()?;
        seq.epoch = self.epoch;
        if !identity.is_empty() {
            plan_extras(&mut self.index, &mut seq.extra, identity, block_size);
        }

        let hittable = hittable(prompt, block_size);
        let verified = self.index.content.verified();
        let slots = &mut self.pool.slots;
        let mut pins = PinRun::new();
        let mut parent = NONE;
        let mut missed = None;
        seq.blocks.reserve(prompt.len().div_ceil(block_size));
        while let Some(tokens) = hittable.get(seq.blocks.len() * block_size..)
            && let Some(tokens) = tokens.get(..block_size)
        {
            let wanted = Wanted { parent, tokens, extra: seq.extra.at(seq.blocks.len()) };
            match self.index.find(slots, wanted, None) {
                Found::Block(found) => {
                    pins.pin(slots, found);
                    seq.blocks.push(BlockId(found));
                    parent = found;
                }
                other => {
                    missed = Some(other);
                    break;
                }
            }
            // Ahead of the walk, as `follow` does it.
            if !verified {
                let ahead = slots[parent as usize].ahead;
                prefetch(slots, ahead as usize);
                self.index.content.prefetch_digest(ahead);
            } else {
                let (extra, table) = (&seq.extra, &mut seq.blocks);
                parent = self.index.follow(slots, &mut pins, parent, hittable, extra, table);
            }
        }
        pins.finish(&mut self.pool);
        if parent != NONE {
            // Only the deepest block of the hit can have been a leaf.
            self.policy.retract(parent);
        }
        seq.access = Access { request: self.admissions, ..Access::default() };
        self.admissions += 1;

        let tokens_cached = seq.blocks.len() * block_size;
        seq.full_blocks = seq.blocks.len();
        seq.parent = parent;
        seq.push_tokens(&prompt[tokens_cached..]);
        let (miss, tokens_partial) = self.diagnose(id, missed)?;
        let counted = Counted { tokens: prompt.len(), tokens_cached, miss: counts_as(miss) };
        self.stats.count(counted);
        self.sequences.get_mut(id)?.counted = Some(counted);
        Ok(Admission { seq: id, tokens_cached, miss, tokens_partial })
    }

    /// Says why the hit of a sequence ended, and enters its next block in the frontier.
    fn diagnose(
        &mut self,
        id: SeqId,
        missed: Option<Found<H::Digest>>,
    ) -> Result<(MissReason, usize), Error> {
        let block_size = self.block_size();
        let seq = self.sequences.get(id)?;
        let extra = seq.extra.at(seq.blocks.len());
        let Some(tokens) = seq.pending().get(..block_size) else {
            // The last token would not hit with smaller blocks either.
            let tokens = &seq.pending()[..seq.pending().len() - 1];
            let rest = Wanted { parent: seq.parent, tokens, extra };
            let tokens_partial = self.index.tokens_shared(&self.pool.slots, rest);
            return Ok((MissReason::BelowBlockGranularity, tokens_partial));
        };
        let wanted = Wanted { parent: seq.parent, tokens, extra };
        // A walk that saw no other child did not need the hash; from here on it is.
        let (found, digest) = match missed {
            Some(Found::Nothing(Some(digest))) => (Found::Nothing(None), digest),
            Some(Found::Collision(digest)) => (Found::Collision(digest), digest),
            _ => {
                let digest = self.index.digest(wanted);
                (self.index.find(&self.pool.slots, wanted, Some(digest)), digest)
            }
        };
        let (reason, tokens_partial) = match found {
            // The last block, which was not looked up.
            Found::Block(_) => (MissReason::LastToken, 0),
            Found::Collision(_) => (MissReason::Collision, 0),
            Found::Nothing(_) => self.explain(wanted, &digest),
        };
        self.frontier.add(H::fold(&digest));
        self.sequences.get_mut(id)?.next_digest = Some(digest);
        Ok((reason, tokens_partial))
    }

    /// Why a full block that could have hit is not there.
    fn explain(&self, wanted: Wanted<'_>, digest: &H::Digest) -> (MissReason, usize) {
        let shared = self.index.tokens_shared(&self.pool.slots, wanted);
        let reason = if self.frontier.contains(H::fold(digest)) {
            MissReason::NotCommitted
        } else if self.ghost.contains(self.ghost_hash(digest)) {
            MissReason::Evicted
        } else if self.index.differs_in_extra_keys(&self.pool.slots, wanted) {
            MissReason::DifferentExtraKeys
        } else if shared > 0 {
            MissReason::BelowBlockGranularity
        } else {
            MissReason::NeverSeen
        };
        (reason, shared)
    }

    /// The key of a block of this epoch in the memory of evictions.
    #[inline]
    pub(super) fn ghost_hash(&self, digest: &H::Digest) -> u64 {
        epoch_key::<H>(digest, self.epoch)
    }
}

/// Names content across evictions: equal content of different epochs has different keys.
#[inline]
pub(super) fn epoch_key<H: BlockHasher>(digest: &H::Digest, epoch: u64) -> u64 {
    H::fold(digest).wrapping_add(epoch.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// The part of a prompt that may hit: full blocks, without the one that holds the last
/// token.
#[inline]
fn hittable(prompt: &[u32], block_size: usize) -> &[u32] {
    &prompt[..prompt.len().saturating_sub(1) / block_size * block_size]
}

/// Interns the extra keys of all blocks of a sequence with this identity.
fn plan_extras<H: BlockHasher>(
    index: &mut PrefixIndex<H>,
    plan: &mut ExtraPlan,
    identity: &Identity,
    block_size: usize,
) {
    let mut keys = Vec::new();
    let mut acquire = |position: usize| {
        let start = position * block_size;
        identity.write_keys(start..start + block_size, &mut keys);
        index.extras.acquire(&keys)
    };
    plan.first = acquire(0);
    // A block beyond all media has the keys that every later block has.
    plan.rest = acquire(identity.media_end().unwrap_or(0).div_ceil(block_size).max(1));
    for range in identity.media_ranges() {
        let from = (range.start / block_size).max(plan.media.last().map_or(1, |&(at, _)| at + 1));
        for position in from..range.end.div_ceil(block_size) {
            plan.media.push((position, acquire(position)));
        }
    }
}
