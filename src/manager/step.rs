//! Steps: reserve slots, then commit what was written, or revert.

use super::BlockManager;
use super::admit::epoch_key;
use crate::evict::{EvictionPolicy, Inserted};
use crate::hash::BlockHasher;
use crate::ids::NONE;
use crate::prefix::{Found, Wanted};
use crate::{BlockId, Duplicate, Error, SeqId};

/// Blocks between a block and what its prefetch hints name. Enough to hide a miss of the
/// last-level cache behind the work on the blocks in between.
const HINT_BLOCKS: usize = 8;

/// Answer of [`BlockManager::reserve`]: an open step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// The first token of the step: its position in the sequence.
    pub first_token: usize,
    /// Entries of the block table that the step added: all from this one on are new.
    pub first_new_block: usize,
    /// Length of the block table now.
    pub num_blocks: usize,
    /// A page to copy before any KV of this step is written: the last block was shared.
    pub copy: Option<BlockCopy>,
}

/// A page that the engine has to copy, in full or its first `tokens` slots.
///
/// All copies of a batch of steps may run first, in any order: sources stay as they are
/// until the step is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockCopy {
    /// Block to read. It stays as it is until the step is closed.
    pub source: BlockId,
    /// Block to write: the new last entry of the block table.
    pub destination: BlockId,
    /// Slots that hold KV.
    pub tokens: usize,
}

/// Answer of [`BlockManager::commit`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Commit {
    /// Blocks that became visible.
    pub blocks_published: usize,
    /// Full blocks whose content was published by somebody else before; see
    /// [`duplicates`](BlockManager::duplicates).
    pub blocks_duplicate: usize,
}

impl<H: BlockHasher, P: EvictionPolicy> BlockManager<H, P> {
    /// Opens a step: slots for the next `tokens` known tokens. O(new blocks).
    ///
    /// On [`Error::OutOfBlocks`] preempt a sequence and ask again; tokens that were
    /// appended stay known and are not to be appended again.
    ///
    /// # Errors
    /// [`Error::OutOfBlocks`], [`Error::UnknownTokens`], [`Error::ZeroTokens`],
    /// [`Error::StepOpen`], [`Error::UnknownSequence`].
    #[inline]
    pub fn reserve(&mut self, seq: SeqId, tokens: usize) -> Result<Step, Error> {
        self.reserve_with_lookahead(seq, tokens, 0)
    }

    /// [`reserve`](Self::reserve) with slots for `lookahead_tokens` more, whose tokens
    /// need not be known yet: drafts of speculative decoding. Append the accepted ones and
    /// commit them; the slots of the others go back. Where there is no room for the
    /// lookahead, ask again without before preempting anybody.
    ///
    /// # Errors
    /// As `reserve`.
    #[inline]
    pub fn reserve_with_lookahead(
        &mut self,
        id: SeqId,
        tokens: usize,
        lookahead_tokens: usize,
    ) -> Result<Step, Error> {
        let block_size = self.config.block_size;
        // The common step of decoding: the slot is there, and nobody shares its block.
        if let Ok(seq) = self.sequences.get_mut(id)
            && !seq.in_step()
            && !seq.forked
            && (1..=seq.tokens_waiting()).contains(&tokens)
            && seq.tail_tokens > 0
            && (seq.tail_tokens + tokens).saturating_add(lookahead_tokens) <= block_size
        {
            seq.reserved_tokens = tokens + lookahead_tokens;
            let (first_token, num_blocks) = (seq.tokens_computed(block_size), seq.blocks.len());
            return Ok(Step { first_token, first_new_block: num_blocks, num_blocks, copy: None });
        }
        self.open_step(id, tokens, lookahead_tokens)
    }

    /// Opens a step in general.
    #[inline(never)]
    fn open_step(
        &mut self,
        id: SeqId,
        tokens: usize,
        lookahead_tokens: usize,
    ) -> Result<Step, Error> {
        let block_size = self.config.block_size;
        let seq = self.sequences.get_mut(id)?;
        seq.check_reserve(id, tokens, (0, 0), block_size)?;
        let first_token = seq.tokens_computed(block_size);
        let tail_tokens = seq.tail_tokens;
        let shared = seq
            .blocks
            .last()
            .copied()
            .filter(|last| tail_tokens > 0 && self.pool.slot(last.0).refs() > 1);
        let slots = (first_token + tokens).saturating_add(lookahead_tokens);
        let missing = slots.div_ceil(block_size) - seq.blocks.len();
        let needed = missing + usize::from(shared.is_some());
        let available = self.pool.available_blocks() as usize;
        if needed > available {
            return Err(Error::OutOfBlocks { needed, available });
        }
        seq.forked = false;
        seq.reserved_tokens = tokens + lookahead_tokens;
        if !seq.granted {
            seq.granted = true;
            if seq.epoch == self.epoch {
                seq.access.now_ms = self.now_ms;
                self.policy.hit(&seq.blocks, &seq.access);
            }
        }
        let mut table = std::mem::take(&mut seq.blocks);
        let first_new_block = table.len();
        self.take_blocks(needed, &mut table);
        let mut copy = None;
        if let Some(source) = shared {
            // The copy takes the place of the block that it was made of.
            let destination = table.swap_remove(first_new_block);
            table[first_new_block - 1] = destination;
            copy = Some(BlockCopy { source, destination, tokens: tail_tokens });
        }
        let num_blocks = table.len();
        let seq = self.sequences.get_mut(id)?;
        seq.blocks = table;
        if let Some(BlockCopy { source, .. }) = copy {
            seq.copied_from = source.0;
        }
        Ok(Step { first_token, first_new_block, num_blocks, copy })
    }

    /// Closes a step: the KV of the next `tokens` tokens is written. Full blocks become
    /// visible; blocks that the step reserved and did not fill go back. `tokens` may be
    /// fewer than reserved, or reach into the lookahead once the tokens are appended.
    /// O(full blocks), one hash each.
    ///
    /// # Errors
    /// [`Error::NoStep`], [`Error::CommitTooLong`], [`Error::UnknownTokens`],
    /// [`Error::ZeroTokens`], [`Error::UnknownSequence`].
    #[inline]
    pub fn commit(&mut self, id: SeqId, tokens: usize) -> Result<Commit, Error> {
        // The common step of decoding: no block filled up, none to give back.
        if let Ok(seq) = self.sequences.get_mut(id)
            && (1..=seq.reserved_tokens.min(seq.tokens_waiting())).contains(&tokens)
            && seq.tail_tokens + tokens < self.config.block_size
            && seq.blocks.len() == seq.full_blocks + 1
            && seq.copied_from == NONE
        {
            seq.tail_tokens += tokens;
            seq.reserved_tokens = 0;
            self.stats.committed_tokens += tokens as u64;
            return Ok(Commit::default());
        }
        self.close_step(id, tokens)
    }

    /// Closes a step in general.
    #[inline(never)]
    fn close_step(&mut self, id: SeqId, tokens: usize) -> Result<Commit, Error> {
        let block_size = self.config.block_size;
        let seq = self.sequences.get_mut(id)?;
        seq.check_commit(id, tokens, 0, block_size)?;
        seq.tail_tokens += tokens;
        seq.reserved_tokens = 0;
        self.stats.committed_tokens += tokens as u64;
        let copied_from = std::mem::replace(&mut seq.copied_from, NONE);
        let filled = seq.tail_tokens / block_size;
        let commit = if filled > 0 { self.settle(id, filled)? } else { Commit::default() };
        self.give_back_surplus(id)?;
        if copied_from != NONE {
            self.drop_private(copied_from);
        }
        Ok(commit)
    }

    /// Closes a step without its tokens: its blocks go back, a copied block is in place
    /// again. What the reservation evicted stays evicted, and tokens appended in the step
    /// stay known. O(new blocks).
    ///
    /// # Errors
    /// [`Error::NoStep`], [`Error::UnknownSequence`].
    pub fn revert(&mut self, id: SeqId) -> Result<(), Error> {
        let seq = self.sequences.get_mut(id)?;
        if !seq.in_step() {
            return Err(Error::NoStep(id));
        }
        seq.reserved_tokens = 0;
        let copied_from = std::mem::replace(&mut seq.copied_from, NONE);
        self.give_back_surplus(id)?;
        let seq = self.sequences.get_mut(id)?;
        if copied_from != NONE
            && let Some(last) = seq.blocks.last_mut()
        {
            seq.forked = true;
            let copy = std::mem::replace(last, BlockId(copied_from));
            self.drop_private(copy.0);
        }
        self.stats.reverted_steps += 1;
        Ok(())
    }

    /// Gives back the entries of a block table that hold no computed tokens, last first.
    fn give_back_surplus(&mut self, id: SeqId) -> Result<(), Error> {
        while let seq = self.sequences.get_mut(id)?
            && seq.blocks.len() > seq.blocks_computed()
            && let Some(block) = seq.blocks.pop()
        {
            self.drop_private(block.0);
        }
        Ok(())
    }

    /// Drops a reference to a block that is not published.
    pub(super) fn drop_private(&mut self, id: u32) {
        if self.pool.slot_mut(id).drop_ref() {
            self.pool.give_free(id);
        }
    }

    /// Publishes the next `filled` blocks, which have become full, or finds out that they
    /// stay private. Advances the frontier.
    fn settle(&mut self, id: SeqId, filled: usize) -> Result<Commit, Error> {
        let block_size = self.config.block_size;
        let mut commit = Commit::default();
        let seq = self.sequences.get_mut(id)?;
        let first = seq.full_blocks;
        seq.full_blocks += filled;
        seq.tail_tokens -= filled * block_size;
        if seq.private || seq.epoch != self.epoch {
            seq.drop_pending(filled * block_size);
            return Ok(commit);
        }
        let mut known_digest = seq.next_digest.take();
        if let Some(digest) = &known_digest {
            self.frontier.remove(H::fold(digest));
        }
        for position in first..first + filled {
            let tokens = &seq.pending()[(position - first) * block_size..][..block_size];
            let wanted = Wanted { parent: seq.parent, tokens, extra: seq.extra.at(position) };
            let digest = known_digest.take().unwrap_or_else(|| self.index.digest(wanted));
            let own = seq.blocks[position];
            match self.index.find(&self.pool.slots, wanted, Some(digest)) {
                Found::Nothing(_) => {
                    self.index.insert(&mut self.pool.slots, own.0, wanted, digest);
                    let up = seq.blocks[position.saturating_sub(HINT_BLOCKS)].0;
                    self.pool.slot_mut(own.0).behind = up;
                    self.pool.slot_mut(up).ahead = own.0;
                    if self.policy.watches() {
                        let inserted = Inserted {
                            key: epoch_key::<H>(&digest, self.epoch),
                            parent: (seq.parent != NONE).then_some(BlockId(seq.parent)),
                            depth: position as u32,
                        };
                        seq.access.now_ms = self.now_ms;
                        self.policy.insert(own, &inserted, &seq.access);
                    }
                    seq.parent = own.0;
                    commit.blocks_published += 1;
                }
                Found::Block(published) => {
                    self.pool.pin(published);
                    self.policy.retract(published);
                    seq.duplicates.push(Duplicate { position, published: BlockId(published) });
                    seq.parent = published;
                    commit.blocks_duplicate += 1;
                }
                Found::Collision(_) => {
                    seq.private = true;
                    self.stats.collisions += 1;
                    break;
                }
            }
        }
        seq.drop_pending(filled * block_size);
        self.enter_frontier(id)?;
        self.stats.published_blocks += commit.blocks_published as u64;
        self.stats.duplicate_blocks += commit.blocks_duplicate as u64;
        Ok(commit)
    }

    /// Adds a token to a sequence: sampled, or accepted from a draft. Its KV is computed
    /// in a later step, or was in this one. O(1), no allocation in steady state.
    ///
    /// **These must be the tokens whose KV the engine writes.** Blocks are named by them:
    /// a rejected draft that is appended and committed puts wrong KV under a right name,
    /// and no verification can notice.
    ///
    /// # Errors
    /// [`Error::TooLong`] if the pool could not hold the sequence,
    /// [`Error::UnknownSequence`].
    #[inline]
    pub fn append(&mut self, id: SeqId, token: u32) -> Result<(), Error> {
        let max = self.num_tokens();
        let seq = self.sequences.get_mut(id)?;
        let known = seq.tokens_known(self.config.block_size);
        if known >= max {
            return Err(Error::TooLong { tokens: known + 1, max });
        }
        seq.push_token(token);
        if seq.pending().len() == self.config.block_size {
            self.enter_frontier(id)?;
        }
        Ok(())
    }

    /// Adds several tokens to a sequence: accepted drafts, or the user's next turn.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn extend(&mut self, id: SeqId, tokens: &[u32]) -> Result<(), Error> {
        let max = self.num_tokens();
        let seq = self.sequences.get_mut(id)?;
        let known = seq.tokens_known(self.config.block_size);
        if tokens.len() > max - known {
            return Err(Error::TooLong { tokens: known.saturating_add(tokens.len()), max });
        }
        seq.push_tokens(tokens);
        self.enter_frontier(id)
    }

    /// Enters a sequence's next block in the frontier, once its tokens are known.
    fn enter_frontier(&mut self, id: SeqId) -> Result<(), Error> {
        let seq = self.sequences.get_mut(id)?;
        if seq.private || seq.epoch != self.epoch || seq.next_digest.is_some() {
            return Ok(());
        }
        if let Some(tokens) = seq.pending().get(..self.config.block_size) {
            let extra = seq.extra.at(seq.full_blocks);
            let digest = self.index.digest(Wanted { parent: seq.parent, tokens, extra });
            seq.next_digest = Some(digest);
            self.frontier.add(H::fold(&digest));
        }
        Ok(())
    }
}
