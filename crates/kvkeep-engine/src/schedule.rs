//! Who computes what in a step: elders first, then those who wait, within a budget of
//! tokens. Whoever cannot get blocks makes the youngest give way.

use crate::engine::{Engine, Running};
use kvkeep::{Error as KvError, Step};

/// What a running job does in this step: an open step of its sequence.
pub(crate) struct Work {
    /// Index among the running.
    pub(crate) at: usize,
    pub(crate) tokens: usize,
    pub(crate) step: Step,
}

impl Engine {
    /// Opens a step for everybody who has something to compute and gets blocks for it.
    pub(crate) fn plan_batch(&mut self) -> Result<Vec<Work>, KvError> {
        let mut budget_tokens = self.config.tokens_per_step;
        let mut batch = Vec::new();
        let preemptions = self.kv.stats().preemptions;
        let mut at = 0;
        while at < self.running.len() && budget_tokens > 0 {
            batch.extend(self.plan(at, &mut budget_tokens)?);
            at += 1;
        }
        // Nobody is admitted into a pool that has just been too small.
        while budget_tokens > 0
            && self.kv.stats().preemptions == preemptions
            && self.admit_next()?
        {
            batch.extend(self.plan(self.running.len() - 1, &mut budget_tokens)?);
        }
        Ok(batch)
    }

    /// Admits the first who waits, if the pool has room for what is left of the prompt to
    /// compute, so that a newcomer does not preempt its elders. Blocks that it shares with
    /// them cost nothing. Call it while there is budget left: everybody admitted before has
    /// then reserved all that it knows, so what is available is owed to nobody.
    fn admit_next(&mut self) -> Result<bool, KvError> {
        let Some(job) = self.waiting.front_mut() else { return Ok(false) };
        let hit = match job.tokens_cached {
            None => self.kv.admit(&job.tokens, &job.identity)?,
            // It was preempted.
            Some(_) => self.kv.readmit(&job.tokens, &job.identity)?,
        };
        let blocks = job.tokens.len().div_ceil(self.kv.block_size());
        let left = blocks.saturating_sub(self.kv.block_table(hit.seq)?.len());
        if left > self.kv.usage().available() {
            self.kv.withdraw(hit.seq)?;
            return Ok(false);
        }
        job.tokens_cached.get_or_insert(hit.tokens_cached);
        self.running.extend(self.waiting.pop_front().map(|job| Running { job, seq: hit.seq }));
        Ok(true)
    }

    /// Opens the step of one running job; `None` if it had to give way itself.
    fn plan(&mut self, at: usize, budget_tokens: &mut usize) -> Result<Option<Work>, KvError> {
        let Running { ref job, seq } = self.running[at];
        let missing = job.tokens.len() - self.kv.tokens_computed(seq)?;
        let tokens = missing.min(*budget_tokens);
        loop {
            match self.kv.reserve(seq, tokens) {
                Ok(step) => {
                    *budget_tokens -= tokens;
                    return Ok(Some(Work { at, tokens, step }));
                }
                Err(KvError::OutOfBlocks { .. }) => {
                    if self.preempt_youngest()?.is_none_or(|youngest| youngest == at) {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes the blocks of the youngest and sends it to the head of the queue; returns
    /// its index. Its step is not open: steps are opened from the eldest on.
    fn preempt_youngest(&mut self) -> Result<Option<usize>, KvError> {
        let Some(Running { job, seq }) = self.running.pop() else { return Ok(None) };
        self.kv.preempt(seq)?;
        self.waiting.push_front(job);
        Ok(Some(self.running.len()))
    }
}
