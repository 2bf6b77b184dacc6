//! One step of continuous batching: plan (`schedule.rs`), copy, run, commit.

use crate::gpu::{self, Gpu};
use kvkeep::{BlockManager, Config, Error as KvError, SeqId, Step};
use std::collections::VecDeque;
use std::error::Error;

/// A request, and what has become of it. The engine keeps the tokens: the manager does
/// not give them back, and a preempted job needs them to return.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) tokens: Vec<u32>,
    pub(crate) prompt_tokens: usize,
    /// Prompt and answer.
    pub(crate) max_tokens: usize,
    /// Answers wanted; all but one are forked off once the prompt is computed.
    pub(crate) samples: u64,
    pub(crate) draft_tokens: usize,
    pub(crate) seed: u64,
    pub(crate) preempted: bool,
}

/// A job that holds blocks.
pub(crate) struct Running {
    pub(crate) job: Job,
    pub(crate) seq: SeqId,
}

/// What a running job does in this step: an open step of its sequence.
pub(crate) struct Work {
    /// Index among the running.
    pub(crate) at: usize,
    pub(crate) tokens: usize,
    pub(crate) drafts: Vec<u32>,
    pub(crate) step: Step,
}

pub(crate) struct Engine {
    pub(crate) kv: BlockManager,
    pub(crate) gpu: Gpu,
    pub(crate) waiting: VecDeque<Job>,
    /// Eldest first.
    pub(crate) running: Vec<Running>,
    pub(crate) finished: Vec<Job>,
    pub(crate) drafts_accepted: usize,
    pub(crate) drafts_rejected: usize,
}

impl Engine {
    pub(crate) fn new(config: Config) -> Result<Self, Box<dyn Error>> {
        let kv = BlockManager::new(config)?;
        Ok(Engine {
            gpu: Gpu::new(kv.num_blocks(), kv.block_size()),
            kv,
            waiting: VecDeque::new(),
            running: Vec::new(),
            finished: Vec::new(),
            drafts_accepted: 0,
            drafts_rejected: 0,
        })
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Serves everybody who can be served, once.
    pub(crate) fn step(&mut self) -> Result<(), Box<dyn Error>> {
        let batch = self.plan_batch()?;
        // Before anything is written. A source stays as it is until the step is closed, so
        // the copies of a batch can go in one launch.
        for copy in batch.iter().filter_map(|work| work.step.copy) {
            self.gpu.copy(copy);
        }
        for work in batch {
            self.execute(work)?;
        }
        for at in (0..self.running.len()).rev() {
            if self.running[at].job.tokens.len() >= self.running[at].job.max_tokens {
                let Running { job, seq } = self.running.remove(at);
                self.kv.free(seq)?;
                self.finished.push(job);
            }
        }
        Ok(())
    }

    /// Runs one entry of the batch, commits it, and samples.
    fn execute(&mut self, work: Work) -> Result<(), Box<dyn Error>> {
        let Work { at, tokens, drafts, step } = work;
        let Running { job, seq } = &mut self.running[at];
        let computed = step.first_token + tokens;
        let input = [&job.tokens[..computed], &drafts].concat();
        let outputs = self.gpu.forward(self.kv.block_table(*seq)?, &input, step.first_token)?;

        // The output at the last known token judges the first draft, and so on.
        let outputs = &outputs[tokens - 1..];
        let said = outputs.iter().map(|&output| gpu::sample(output, job.seed));
        let accepted = drafts.iter().zip(said).take_while(|(draft, said)| *draft == said).count();
        self.drafts_accepted += accepted;
        self.drafts_rejected += drafts.len() - accepted;

        // Accepted drafts become known inside the step, so that `commit` may cover them.
        self.kv.extend(*seq, &drafts[..accepted])?;
        self.kv.commit(*seq, tokens + accepted)?;
        job.tokens.extend_from_slice(&drafts[..accepted]);
        if computed + accepted < job.tokens.len() {
            return Ok(()); // a chunk of a prompt; nothing to sample yet
        }
        self.fork_samples(at, outputs[accepted])?;
        self.say(at, outputs[accepted])?;
        Ok(())
    }

    /// Parallel sampling: the other answers share all blocks of the prompt. Whoever
    /// writes into a last block that is partly filled and shared gets a copy of it.
    fn fork_samples(&mut self, at: usize, output: u64) -> Result<(), KvError> {
        let samples = std::mem::replace(&mut self.running[at].job.samples, 1);
        for sample in 1..samples {
            let seq = self.kv.fork(self.running[at].seq)?;
            let mut job = self.running[at].job.clone();
            job.name = format!("{}, sample {sample}", job.name);
            job.seed += sample;
            self.running.push(Running { job, seq });
            self.say(self.running.len() - 1, output)?;
        }
        Ok(())
    }

    /// Samples the next token of a job; its KV is computed in the next step.
    fn say(&mut self, at: usize, output: u64) -> Result<(), KvError> {
        let Running { job, seq } = &mut self.running[at];
        let token = gpu::sample(output, job.seed);
        job.tokens.push(token);
        self.kv.append(*seq, token)?;
        // Blocks are named by the tokens that the manager was told of. Were they others
        // than those computed, somebody else would get the wrong KV.
        assert_eq!(self.kv.tokens_known(*seq)?, job.tokens.len(), "{}", job.name);
        Ok(())
    }
}
