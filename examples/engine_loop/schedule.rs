//! Who computes what in a step: elders first, then those who wait, within a budget of
//! tokens. Whoever cannot get blocks makes the youngest give way.

use crate::engine::{Engine, Job, Running, Work};
use crate::gpu;
use kvkeep::{Error as KvError, Identity};

/// Most tokens of one step, over all sequences: long prompts go in chunks.
const TOKENS_PER_STEP: usize = 96;

impl Engine {
    /// Queues a request. One that could never run is refused here: in the queue it would
    /// wait for ever, and everybody behind it.
    pub(crate) fn submit(&mut self, job: Job) -> Result<(), KvError> {
        let (tokens, max) = (job.max_tokens, self.kv.num_tokens());
        if job.tokens.is_empty() {
            return Err(KvError::EmptyPrompt);
        }
        if tokens > max {
            return Err(KvError::TooLong { tokens, max });
        }
        self.waiting.push_back(job);
        Ok(())
    }

    /// Opens a step for everybody who has something to compute and gets blocks for it.
    pub(crate) fn plan_batch(&mut self) -> Result<Vec<Work>, KvError> {
        let mut budget_tokens = TOKENS_PER_STEP;
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
        let Some(job) = self.waiting.front() else { return Ok(false) };
        // The tenant, adapter and images of a request go into its identity.
        let identity = Identity::default();
        let (verb, hit) = if job.preempted {
            ("readmit", self.kv.readmit(&job.tokens, &identity)?)
        } else {
            ("admit", self.kv.admit(&job.tokens, &identity)?)
        };
        let blocks = job.tokens.len().div_ceil(self.kv.block_size());
        let left = blocks.saturating_sub(self.kv.block_table(hit.seq)?.len());
        if left > self.kv.usage().available() {
            self.kv.withdraw(hit.seq)?;
            return Ok(false);
        }
        let (tokens, cached) = (job.tokens.len(), hit.tokens_cached);
        println!("  {verb} {}: {cached} of {tokens} tokens cached; {}", job.name, hit.miss);
        self.running.extend(self.waiting.pop_front().map(|job| Running { job, seq: hit.seq }));
        Ok(true)
    }

    /// Opens the step of one running job; `None` if it had to give way itself.
    fn plan(&mut self, at: usize, budget_tokens: &mut usize) -> Result<Option<Work>, KvError> {
        let Running { ref job, seq } = self.running[at];
        let missing = job.tokens.len() - self.kv.tokens_computed(seq)?;
        let tokens = missing.min(*budget_tokens);
        let mut drafts = Vec::new();
        if missing == 1 {
            // Decoding. A draft beyond the end of the answer or the budget is not made.
            let room =
                job.max_tokens.saturating_sub(job.tokens.len() + 1).min(*budget_tokens - tokens);
            drafts = gpu::draft(&job.tokens, job.draft_tokens.min(room), job.seed);
        }
        loop {
            match self.kv.reserve_with_lookahead(seq, tokens, drafts.len()) {
                Ok(step) => {
                    *budget_tokens -= tokens + drafts.len();
                    return Ok(Some(Work { at, tokens, drafts, step }));
                }
                // A guess is not worth anybody's place.
                Err(KvError::OutOfBlocks { .. }) if !drafts.is_empty() => drafts.clear(),
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
        let Some(Running { mut job, seq }) = self.running.pop() else { return Ok(None) };
        println!("  preempt {} at {} tokens", job.name, job.tokens.len());
        self.kv.preempt(seq)?;
        job.preempted = true;
        self.waiting.push_front(job);
        Ok(Some(self.running.len()))
    }

    /// The client has gone: every block goes back, whatever the job was doing.
    pub(crate) fn abort(&mut self, name: &str) -> Result<(), KvError> {
        self.waiting.retain(|job| job.name != name);
        for at in (0..self.running.len()).rev() {
            if self.running[at].job.name == name {
                self.kv.free(self.running.remove(at).seq)?;
            }
        }
        Ok(())
    }
}
