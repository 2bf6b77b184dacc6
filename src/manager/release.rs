//! The end of a sequence, and forks: references come and go here.

use super::BlockManager;
use crate::evict::EvictionPolicy;
use crate::hash::BlockHasher;
use crate::ids::NONE;
use crate::prefetch::prefetch;
use crate::retention::{DEFAULT_CLASS, Hint, MAX_HINTS, NEVER, Retention};
use crate::slot::Class;
use crate::{BlockId, Error, SeqId};
use std::ops::{Bound, RangeBounds};

/// Blocks between a released block and the prefetch of one further up.
const PREFETCH_BLOCKS: usize = 12;

/// Class and expiry of a block; the larger is evicted later.
#[derive(Clone, Copy, Debug)]
struct Rank {
    class: Class,
    expires_at: u64,
}

impl Rank {
    const LOWEST: Rank = Rank { class: 0, expires_at: 0 };

    fn max(self, other: Rank) -> Rank {
        Rank {
            class: self.class.max(other.class),
            expires_at: self.expires_at.max(other.expires_at),
        }
    }
}

impl<H: BlockHasher, P: EvictionPolicy> BlockManager<H, P> {
    /// Ends a sequence, at any point, inside a step as well. Published blocks that nobody
    /// else uses become cached, tail first; the others become free. O(blocks), and
    /// O(log n) for each of `n` blocks with a retention hint that expires.
    ///
    /// Its blocks may be handed out at once: see to it that the device does not write them
    /// any more, or that what it writes comes before the next owner's step.
    ///
    /// # Errors
    /// [`Error::UnknownSequence`], also for a second `free`.
    pub fn free(&mut self, id: SeqId) -> Result<(), Error> {
        if self.policy.watches() {
            self.tell_finish(id)?;
        }
        self.end(id)
    }

    /// Ends a sequence; the policy knows of it or shall not know.
    fn end(&mut self, id: SeqId) -> Result<(), Error> {
        if self.sequences.get(id)?.in_step() {
            self.revert(id)?;
        }
        let seq = self.sequences.get_mut(id)?;
        let current = seq.epoch == self.epoch;
        if current && let Some(digest) = &seq.next_digest {
            self.frontier.remove(H::fold(digest));
        }
        if !seq.extra.is_plain() {
            seq.extra.ids().for_each(|extra| self.index.extras.release(extra));
        }
        if !current {
            self.release_outdated(id)?;
        } else if !seq.hints.is_empty() || !seq.duplicates.is_empty() {
            self.release_ranked(id)?;
        } else {
            self.release_plain(id)?;
        }
        self.sequences.close(id);
        Ok(())
    }

    /// [`free`](Self::free), counted as a preemption. Bring the sequence back with
    /// [`readmit`](Self::readmit) and its tokens, which the engine keeps. Inside a step as
    /// well, with the same care for the device.
    ///
    /// # Errors
    /// [`Error::UnknownSequence`].
    pub fn preempt(&mut self, id: SeqId) -> Result<(), Error> {
        self.free(id)?;
        self.stats.preemptions += 1;
        Ok(())
    }

    /// Takes an admission back, as if it had never been counted: there was no room to
    /// start it, and it will be admitted again later. O(blocks).
    ///
    /// # Errors
    /// [`Error::Started`] if a step was committed since, or it was forked: free it instead.
    /// [`Error::UnknownSequence`].
    pub fn withdraw(&mut self, id: SeqId) -> Result<(), Error> {
        let seq = self.sequences.get(id)?;
        let counted = seq
            .counted
            .filter(|counted| counted.tokens_cached == seq.tokens_computed(self.block_size()))
            .ok_or(Error::Started(id))?;
        if seq.in_step() {
            self.revert(id)?;
            self.stats.reverted_steps -= 1;
        }
        self.stats.discount(counted);
        self.end(id)
    }

    /// Tells the policy what the sequence used, while its blocks are still in use.
    fn tell_finish(&mut self, id: SeqId) -> Result<(), Error> {
        let seq = self.sequences.get_mut(id)?;
        if seq.epoch != self.epoch {
            return Ok(());
        }
        seq.access.now_ms = self.now_ms;
        if !seq.granted {
            self.policy.hit(&seq.blocks, &seq.access);
        }
        self.chain.clear();
        let chain = (0..seq.full_blocks).map(|position| seq.chain_block(position));
        let published = chain.take_while(|&block| self.pool.slot(block).published());
        self.chain.extend(published.map(BlockId));
        self.policy.finish(&self.chain, &seq.access);
        Ok(())
    }

    /// Releases a sequence of an older epoch: what nobody else uses is free.
    fn release_outdated(&mut self, id: SeqId) -> Result<(), Error> {
        let seq = self.sequences.get(id)?;
        let pinned = seq.duplicates.iter().map(|duplicate| duplicate.published);
        for block in seq.blocks.iter().copied().chain(pinned) {
            if self.pool.slot_mut(block.0).drop_ref() {
                self.pool.give_free(block.0);
            }
        }
        Ok(())
    }

    /// Releases a sequence without hints. Its blocks keep their classes, which already rank
    /// ancestors at least as high as descendants; used blocks are worth the default.
    fn release_plain(&mut self, id: SeqId) -> Result<(), Error> {
        let blocks = &self.sequences.get(id)?.blocks;
        let mut run = self.pool.release_run(DEFAULT_CLASS);
        for (position, &BlockId(block)) in blocks.iter().enumerate().rev() {
            if let Some(up) = position.checked_sub(PREFETCH_BLOCKS) {
                prefetch(&self.pool.slots, blocks[up].index());
            }
            let slot = self.pool.slot_mut(block);
            let last = slot.drop_ref();
            if slot.published() {
                let class = slot.class().max(DEFAULT_CLASS);
                slot.set_class(class);
                if last {
                    run.release(&mut self.pool, block, class);
                    self.policy.offer_leaf(block, self.pool.slot(block));
                }
            } else if last {
                self.pool.give_free(block);
            }
        }
        run.finish(&mut self.pool);
        Ok(())
    }

    /// Releases a sequence in general: hints, inherited ranks, duplicates.
    fn release_ranked(&mut self, id: SeqId) -> Result<(), Error> {
        let raise = self.may_raise(id)?;
        let mut run = self.pool.release_run(DEFAULT_CLASS);
        let (mut below, mut next) = (Rank::LOWEST, NONE);
        for position in (0..self.sequences.get(id)?.blocks.len()).rev() {
            let seq = self.sequences.get(id)?;
            let (own, block) = (seq.blocks[position].0, seq.chain_block(position));
            let hint =
                seq.hint(position).filter(|retention| raise || retention.class <= DEFAULT_CLASS);
            if own != block {
                self.drop_private(own);
            }
            let slot = self.pool.slot_mut(block);
            let last = slot.drop_ref();
            if !slot.published() {
                if last {
                    self.pool.give_free(block);
                }
                continue;
            }
            below = self.rank(block, next, hint).max(below);
            next = block;
            self.set_rank(block, below);
            if last {
                run.release(&mut self.pool, block, below.class);
                self.policy.offer_leaf(block, self.pool.slot(block));
            }
        }
        run.finish(&mut self.pool);
        Ok(())
    }

    /// Whether the hints of a sequence above the default priority fit the bound, counting
    /// the ancestors that they raise with them.
    fn may_raise(&mut self, id: SeqId) -> Result<bool, Error> {
        let seq = self.sequences.get(id)?;
        let raises = |position: &usize| {
            seq.hint(*position).is_some_and(|retention| retention.class > DEFAULT_CLASS)
        };
        let published = |position: usize| {
            Some(self.pool.slot(seq.chain_block(position))).filter(|slot| slot.published())
        };
        let Some(deepest) = (0..seq.blocks.len())
            .rev()
            .filter(|&position| published(position).is_some())
            .find(raises)
        else {
            return Ok(true);
        };
        let new = (0..=deepest)
            .filter_map(published)
            .filter(|slot| slot.class() <= DEFAULT_CLASS)
            .count();
        let max = self.config.max_retained_blocks.unwrap_or(self.config.num_blocks / 2);
        let fits = self.retained.len() + new <= max as usize;
        self.stats.refused_retentions += u64::from(!fits);
        Ok(fits)
    }

    /// What a released block is worth by itself; `next` is the block below it in the
    /// released chain.
    ///
    /// Without a hint it keeps what it has, at least the default: it has just been used.
    /// A hint replaces what it has, unless other children hang on it, whose rank it
    /// carries.
    fn rank(&self, block: u32, next: u32, hint: Option<Retention>) -> Rank {
        let slot = self.pool.slot(block);
        let has = Rank { class: slot.class(), expires_at: self.retained.expires_at(block) };
        let Some(Retention { class, ttl_ms }) = hint else {
            return has.max(Rank { class: DEFAULT_CLASS, expires_at: 0 });
        };
        let expires_at = if ttl_ms == NEVER { NEVER } else { self.now_ms.saturating_add(ttl_ms) };
        let asked = Rank { class, expires_at: if class > DEFAULT_CLASS { expires_at } else { 0 } };
        let children = slot.more_children + u32::from(slot.child != NONE);
        if children > u32::from(next != NONE) { has.max(asked) } else { asked }
    }

    fn set_rank(&mut self, block: u32, rank: Rank) {
        let slot = self.pool.slot_mut(block);
        let had = slot.class();
        slot.set_class(rank.class);
        if rank.class > DEFAULT_CLASS {
            self.retained.set(block, rank.expires_at);
        } else if had > DEFAULT_CLASS {
            self.retained.remove(block);
        }
    }

    /// Says how long the blocks of a range of tokens are worth keeping once the sequence
    /// has released them; the range may reach beyond the tokens known now, `0..100` as well
    /// as `100..`. A block partly
    /// in the range counts as in it; of overlapping hints the last one counts. An
    /// ancestor is never evicted before its descendants, so it inherits their priority
    /// and expiry.
    ///
    /// Hints never wedge the pool: a retained block is evicted when nothing else is
    /// left, and at most `max_retained_blocks` stand above the default priority.
    ///
    /// # Errors
    /// [`Error::EmptyRange`], [`Error::TooManyHints`], [`Error::UnknownSequence`].
    pub fn retain(
        &mut self,
        id: SeqId,
        tokens: impl RangeBounds<usize>,
        retention: Retention,
    ) -> Result<(), Error> {
        let block_size = self.block_size();
        let seq = self.sequences.get_mut(id)?;
        let start = match tokens.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match tokens.end_bound() {
            Bound::Included(&last) => last.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => usize::MAX,
        };
        if start >= end {
            return Err(Error::EmptyRange { start, end });
        }
        if seq.hints.len() == MAX_HINTS {
            return Err(Error::TooManyHints { max: MAX_HINTS });
        }
        let blocks = start / block_size..end.div_ceil(block_size);
        seq.hints.push(Hint { blocks, retention });
        Ok(())
    }

    /// A second sequence in the same state: parallel samples, beams. It shares all
    /// blocks; the first to write into a shared last block gets a copy of it, see
    /// [`Step::copy`](crate::Step::copy). O(blocks).
    ///
    /// # Errors
    /// [`Error::StepOpen`], [`Error::TooManySequences`], [`Error::UnknownSequence`].
    pub fn fork(&mut self, parent: SeqId) -> Result<SeqId, Error> {
        if self.sequences.get(parent)?.in_step() {
            return Err(Error::StepOpen(parent));
        }
        let (id, seq) = self.sequences.open_copy(parent)?;
        let pinned = seq.duplicates.iter().map(|duplicate| duplicate.published);
        for block in seq.blocks.iter().copied().chain(pinned) {
            self.pool.slot_mut(block.0).add_ref();
        }
        seq.extra.ids().for_each(|extra| self.index.extras.add_ref(extra));
        if seq.epoch == self.epoch
            && let Some(digest) = &seq.next_digest
        {
            self.frontier.add(H::fold(digest));
        }
        Ok(id)
    }

    /// Puts the published block in the place of a private duplicate, which is dropped,
    /// and returns it. For engines that can swap pages between steps. O(duplicates behind
    /// it): adopt several last one first.
    ///
    /// # Errors
    /// [`Error::NotDuplicate`], [`Error::StepOpen`], [`Error::UnknownSequence`].
    pub fn adopt(&mut self, id: SeqId, position: usize) -> Result<BlockId, Error> {
        let seq = self.sequences.get_mut(id)?;
        if seq.in_step() {
            return Err(Error::StepOpen(id));
        }
        let found = seq
            .duplicates
            .binary_search_by_key(&position, |duplicate| duplicate.position)
            .map_err(|_| Error::NotDuplicate { position })?;
        let published = seq.duplicates.remove(found).published;
        let own = std::mem::replace(&mut seq.blocks[position], published);
        self.drop_private(own.0);
        Ok(published)
    }
}
