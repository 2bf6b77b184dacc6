//! What the sequences of a batch do between two forward passes, in one call.
//!
//! For engines that pay for every call, as those in other languages do. Everything that
//! can be wrong with a batch is checked before anything changes.

use super::{BlockManager, Step};
use crate::evict::EvictionPolicy;
use crate::hash::BlockHasher;
use crate::{Error, SeqId};
use std::fmt;

/// What one sequence does between two forward passes; see [`BlockManager::advance`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advance<'a> {
    /// The sequence.
    pub seq: SeqId,
    /// Tokens to add: the sampled one, or accepted drafts before it.
    pub append: &'a [u32],
    /// Tokens to commit of the open step; 0 if none is open.
    pub commit: usize,
    /// Tokens of the next step; 0 to open none.
    pub reserve: usize,
    /// Slots for so many more in the next step.
    pub lookahead: usize,
}

/// Answer of [`BlockManager::advance`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Advanced {
    /// Sequences, from the first of the batch on, whose next step is granted.
    pub granted: usize,
    /// Why the next one's is not: [`Error::OutOfBlocks`].
    pub refused: Option<Error>,
    /// Blocks that became visible.
    pub blocks_published: usize,
    /// Full blocks whose content was published by somebody else before.
    pub blocks_duplicate: usize,
}

/// What is wrong with a batch. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchError {
    /// Which of its sequences, from 0.
    pub index: usize,
    /// What is wrong there.
    pub error: Error,
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sequence {} of the batch: {}", self.index, self.error)
    }
}

impl std::error::Error for BatchError {}

impl<H: BlockHasher, P: EvictionPolicy> BlockManager<H, P> {
    /// Goes from one forward pass to the next with all sequences of a batch: appends,
    /// commits the open steps, then opens the next ones. The same as
    /// [`extend`](Self::extend) and [`commit`](Self::commit) for each, then
    /// [`reserve_with_lookahead`](Self::reserve_with_lookahead) for each. `steps` is
    /// replaced by the steps that were granted; where `reserve` is 0, by an empty one.
    /// O(sequences + new blocks + full blocks).
    ///
    /// Memory can run out on the way. Then the sequences ahead of
    /// [`granted`](Advanced::granted) have their steps, and the others have appended and
    /// committed only: preempt some and call again for the rest, with nothing to append and
    /// nothing to commit.
    ///
    /// ```
    /// use kvkeep::{Advance, BlockManager, Config, Identity};
    ///
    /// let mut kv = BlockManager::new(Config::new(64))?;
    /// let seq = kv.admit(&[1, 2, 3], &Identity::default())?.seq;
    /// let mut steps = Vec::new();
    /// let prefill = Advance { seq, append: &[], commit: 0, reserve: 3, lookahead: 0 };
    /// kv.advance(&[prefill], &mut steps)?;
    /// // ... the engine writes the KV of 3 tokens and samples 42 ...
    /// let decode = Advance { seq, append: &[42], commit: 3, reserve: 1, lookahead: 0 };
    /// let advanced = kv.advance(&[decode], &mut steps)?;
    /// assert_eq!((advanced.granted, steps[0].first_token), (1, 3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`BatchError`] with the first sequence for which one of these calls would fail for
    /// another reason than [`Error::OutOfBlocks`], or that is there twice
    /// ([`Error::TwiceInBatch`]).
    pub fn advance(
        &mut self,
        batch: &[Advance<'_>],
        steps: &mut Vec<Step>,
    ) -> Result<Advanced, BatchError> {
        steps.clear();
        self.check_batch(batch)?;
        let mut advanced = Advanced::default();
        for (index, one) in batch.iter().enumerate() {
            self.close(one, &mut advanced).map_err(|error| BatchError { index, error })?;
        }
        for (index, one) in batch.iter().enumerate() {
            match self.open(one) {
                Ok(step) => steps.push(step),
                Err(error @ Error::OutOfBlocks { .. }) => {
                    advanced.refused = Some(error);
                    break;
                }
                Err(error) => return Err(BatchError { index, error }),
            }
        }
        advanced.granted = steps.len();
        Ok(advanced)
    }

    /// Checks all sequences of a batch. Those that were seen are marked meanwhile.
    fn check_batch(&mut self, batch: &[Advance<'_>]) -> Result<(), BatchError> {
        let (max, block_size) = (self.num_tokens(), self.block_size());
        let mut checked = Ok(());
        let mut marked = 0;
        for (index, one) in batch.iter().enumerate() {
            let check = |seq: &mut crate::sequence::Sequence<_>| {
                if seq.in_batch {
                    return Err(Error::TwiceInBatch(one.seq));
                }
                seq.check_advance(one, max, block_size)?;
                seq.in_batch = true;
                Ok(())
            };
            checked = self.sequences.get_mut(one.seq).and_then(check);
            if checked.is_err() {
                break;
            }
            marked = index + 1;
        }
        for one in &batch[..marked] {
            if let Ok(seq) = self.sequences.get_mut(one.seq) {
                seq.in_batch = false;
            }
        }
        checked.map_err(|error| BatchError { index: marked, error })
    }

    #[inline]
    fn close(&mut self, one: &Advance<'_>, advanced: &mut Advanced) -> Result<(), Error> {
        match *one.append {
            [] => {}
            [token] => self.append(one.seq, token)?,
            _ => self.extend(one.seq, one.append)?,
        }
        if one.commit > 0 {
            let commit = self.commit(one.seq, one.commit)?;
            advanced.blocks_published += commit.blocks_published;
            advanced.blocks_duplicate += commit.blocks_duplicate;
        }
        Ok(())
    }

    #[inline]
    fn open(&mut self, one: &Advance<'_>) -> Result<Step, Error> {
        if one.reserve > 0 {
            return self.reserve_with_lookahead(one.seq, one.reserve, one.lookahead);
        }
        let block_size = self.block_size();
        let seq = self.sequences.get(one.seq)?;
        let (first_token, num_blocks) = (seq.tokens_computed(block_size), seq.blocks.len());
        Ok(Step { first_token, first_new_block: num_blocks, num_blocks, copy: None })
    }
}
