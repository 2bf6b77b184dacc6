//! What is wrong with a step, before anything changes.

use crate::sequence::Sequence;
use crate::{Advance, Error, SeqId};

impl<D: Copy> Sequence<D> {
    /// Whether a step of `tokens` can be opened once `appended` tokens are added and
    /// `committed` ones of the open step are committed.
    pub(crate) fn check_reserve(
        &self,
        id: SeqId,
        tokens: usize,
        (appended, committed): (usize, usize),
        block_size: usize,
    ) -> Result<(), Error> {
        if self.in_step() && committed == 0 {
            return Err(Error::StepOpen(id));
        }
        if tokens == 0 {
            return Err(Error::ZeroTokens);
        }
        if tokens > self.tokens_waiting() + appended - committed {
            let computed = self.tokens_computed(block_size) + committed;
            let needed = computed.saturating_add(tokens);
            let known = self.tokens_known(block_size) + appended;
            return Err(Error::UnknownTokens { needed, known });
        }
        Ok(())
    }

    /// Whether `tokens` of the open step can be committed once `appended` tokens are added.
    pub(crate) fn check_commit(
        &self,
        id: SeqId,
        tokens: usize,
        appended: usize,
        block_size: usize,
    ) -> Result<(), Error> {
        if !self.in_step() {
            return Err(Error::NoStep(id));
        }
        if tokens == 0 {
            return Err(Error::ZeroTokens);
        }
        let reserved = self.reserved_tokens;
        if tokens > reserved {
            return Err(Error::CommitTooLong { asked: tokens, reserved });
        }
        if tokens > self.tokens_waiting() + appended {
            let needed = self.tokens_computed(block_size) + tokens;
            let known = self.tokens_known(block_size) + appended;
            return Err(Error::UnknownTokens { needed, known });
        }
        Ok(())
    }

    /// Whether a sequence can do what a batch wants of it; there are blocks, or not.
    #[inline]
    pub(crate) fn check_advance(
        &self,
        one: &Advance<'_>,
        max_tokens: usize,
        block_size: usize,
    ) -> Result<(), Error> {
        let appended = one.append.len();
        let known = self.tokens_known(block_size);
        if appended > max_tokens - known {
            let tokens = known.saturating_add(appended);
            return Err(Error::TooLong { tokens, max: max_tokens });
        }
        if one.commit > 0 {
            self.check_commit(one.seq, one.commit, appended, block_size)?;
        }
        if one.reserve > 0 || one.lookahead > 0 {
            self.check_reserve(one.seq, one.reserve, (appended, one.commit), block_size)?;
        }
        Ok(())
    }
}
