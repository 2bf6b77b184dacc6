//! The engine: requests in, tokens out, one step of continuous batching at a time.
//!
//! A step is plan (`schedule.rs`), copy, forward, commit, sample. Whatever a step
//! computes is committed after it was written, so that nobody can hit a page before.

use crate::cache::KvCache;
use crate::model::{Model, Segment};
use crate::pages::PageConfig;
use crate::request::{Finish, Job, MAX_SAMPLES, Output, Request, RequestId};
use crate::schedule::Work;
use crate::{Error, PageDtype, sampler};
use kvkeep::{BlockId, BlockManager, BlockState, Config, Identity, SeqId};
use std::collections::VecDeque;

/// Settings of an [`Engine`].
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The KV pages.
    pub pages: PageConfig,
    /// Most tokens of one step over all sequences: long prompts go in chunks.
    pub tokens_per_step: usize,
    /// Whether requests may hit what others have computed.
    pub prefix_caching: bool,
    /// Overwrites every page that loses its content with NaN, at O(blocks) a step: for
    /// tests, where whoever reads such a page is found out.
    pub poison: bool,
}

/// A job that holds blocks.
pub(crate) struct Running {
    pub(crate) job: Job,
    pub(crate) seq: SeqId,
}

/// A decoder, its KV pages, and the sequences that it runs.
pub struct Engine {
    pub(crate) kv: BlockManager,
    pub(crate) cache: KvCache,
    pub(crate) waiting: VecDeque<Job>,
    /// Eldest first.
    pub(crate) running: Vec<Running>,
    pub(crate) config: EngineConfig,
    model: Model,
    next_id: u64,
    tokens_generated: u64,
}

impl Engine {
    /// An engine with an empty cache. Measures the scales of fp8 pages.
    ///
    /// # Errors
    /// [`Error`] if the configuration contradicts itself or the model.
    pub fn new(model: Model, config: EngineConfig) -> Result<Self, Error> {
        if config.tokens_per_step == 0 {
            return Err(Error::NoTokensPerStep);
        }
        let pages = &config.pages;
        let pool = Config::new(pages.num_blocks).block_size(pages.block_size as usize);
        let kv = BlockManager::new(pool)?;
        let scales = match pages.dtype {
            PageDtype::Fp8 => model.measure_scales()?,
            PageDtype::Bf16 | PageDtype::F32 => crate::KvScales::ones(model.shape()),
        };
        Ok(Engine {
            kv,
            cache: KvCache::new(model.shape(), pages, scales)?,
            waiting: VecDeque::new(),
            running: Vec::new(),
            config,
            model,
            next_id: 0,
            tokens_generated: 0,
        })
    }

    /// Queues a request. One that could never run is refused: in the queue it would wait
    /// for ever, and everybody behind it.
    ///
    /// # Errors
    /// [`Error::Kv`] if the prompt is empty, or longer with its answer than the pool;
    /// [`Error::UnknownToken`], [`Error::Samples`].
    pub fn submit(&mut self, request: Request) -> Result<RequestId, Error> {
        let (prompt, max) = (&request.prompt, self.kv.num_tokens());
        if prompt.is_empty() {
            return Err(kvkeep::Error::EmptyPrompt.into());
        }
        let max_tokens = prompt.len().saturating_add(request.max_new_tokens.max(1));
        if max_tokens > max {
            return Err(kvkeep::Error::TooLong { tokens: max_tokens, max }.into());
        }
        if !(1..=MAX_SAMPLES).contains(&request.samples) {
            return Err(Error::Samples { asked: request.samples, max: MAX_SAMPLES });
        }
        let vocab = self.model.shape().vocab_size;
        if let Some(&token) = prompt.iter().find(|&&token| token as usize >= vocab) {
            return Err(Error::UnknownToken { token, vocab });
        }
        let id = RequestId(self.next_id);
        self.next_id += 1;
        let identity = if self.config.prefix_caching {
            request.identity
        } else {
            // A name that no other request has.
            Identity::new().salt(&id.0.to_string()).unwrap_or_default()
        };
        self.waiting.push_back(Job {
            id,
            sample: 0,
            tokens: request.prompt,
            max_tokens,
            samples: request.samples,
            sampling: request.sampling,
            ignore_end: request.ignore_end,
            identity,
            tokens_cached: None,
        });
        Ok(id)
    }

    /// Drops a request with all its answers, whatever it was doing; nothing if it has
    /// ended. Its blocks go back, and what was computed stays cached.
    ///
    /// # Errors
    /// None in a sound engine.
    pub fn abort(&mut self, id: RequestId) -> Result<(), Error> {
        self.waiting.retain(|job| job.id != id);
        for at in (0..self.running.len()).rev() {
            if self.running[at].job.id == id {
                self.kv.free(self.running.remove(at).seq)?;
            }
        }
        self.poison_free_pages()
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Serves everybody who can be served, once; returns the tokens sampled.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if a page without KV was read. The engine must not be used
    /// after an error: steps are open.
    pub fn step(&mut self) -> Result<Vec<Output>, Error> {
        let batch = self.plan_batch()?;
        if self.config.poison {
            for work in &batch {
                // New pages may be evicted ones.
                let table = self.kv.block_table(self.running[work.at].seq)?;
                for &block in &table[work.step.first_new_block..] {
                    self.cache.poison(block)?;
                }
                if let Some(copy) = work.step.copy {
                    self.cache.poison(copy.destination)?;
                }
            }
        }
        // Before anything is written. A source stays as it is until the step is closed,
        // so the copies of a batch can run together.
        for copy in batch.iter().filter_map(|work| work.step.copy) {
            self.cache.copy(copy)?;
        }
        let logits = self.forward(&batch)?;
        let mut outputs = Vec::new();
        for (work, logits) in batch.iter().zip(logits) {
            let seq = self.running[work.at].seq;
            self.kv.commit(seq, work.tokens)?;
            // None for a chunk of a prompt with more to come.
            if let Some(logits) = logits {
                self.sample(work.at, &logits, &mut outputs)?;
            }
        }
        self.end_finished()?;
        self.poison_free_pages()?;
        self.tokens_generated += outputs.len() as u64;
        Ok(outputs)
    }

    fn forward(&mut self, batch: &[Work]) -> Result<Vec<Option<Vec<f32>>>, Error> {
        let segments = batch
            .iter()
            .map(|work| {
                let Running { job, seq } = &self.running[work.at];
                let first = work.step.first_token;
                let end = first + work.tokens;
                Ok(Segment {
                    tokens: &job.tokens[first..end],
                    first,
                    table: self.kv.block_table(*seq)?,
                    logits: end == job.tokens.len(),
                })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        self.model.forward(&mut self.cache, &segments)
    }

    /// Samples the next token of a running job, and the first ones of the answers that
    /// are forked off it: they share all blocks of the prompt, and whoever writes into a
    /// partly filled one gets a copy of it.
    fn sample(
        &mut self,
        at: usize,
        logits: &[f32],
        outputs: &mut Vec<Output>,
    ) -> Result<(), Error> {
        let samples = std::mem::replace(&mut self.running[at].job.samples, 1);
        for sample in 1..samples {
            let seq = self.kv.fork(self.running[at].seq)?;
            let job = Job { sample, ..self.running[at].job.clone() };
            self.running.push(Running { job, seq });
            self.say(self.running.len() - 1, logits, outputs)?;
        }
        self.say(at, logits, outputs)
    }

    /// One token of one answer; its KV is computed in the next step.
    fn say(&mut self, at: usize, logits: &[f32], outputs: &mut Vec<Output>) -> Result<(), Error> {
        let Running { job, seq } = &mut self.running[at];
        let token = sampler::choose(logits, job.sampling, job.sample, job.tokens.len());
        job.tokens.push(token);
        let ended = !job.ignore_end && self.model.shape().eos_token_id.contains(token);
        let finish = if ended {
            job.max_tokens = job.tokens.len();
            Some(Finish::Stop)
        } else {
            (job.tokens.len() == job.max_tokens).then_some(Finish::Length)
        };
        if finish.is_none() {
            self.kv.append(*seq, token)?;
        }
        outputs.push(Output {
            request: job.id,
            sample: job.sample,
            token,
            logits: logits.to_vec(),
            tokens_cached: job.tokens_cached.unwrap_or_default(),
            finish,
        });
        Ok(())
    }

    fn end_finished(&mut self) -> Result<(), Error> {
        for at in (0..self.running.len()).rev() {
            let job = &self.running[at].job;
            if job.tokens.len() == job.max_tokens {
                self.kv.free(self.running.remove(at).seq)?;
            }
        }
        Ok(())
    }

    fn poison_free_pages(&mut self) -> Result<(), Error> {
        if self.config.poison {
            for block in (0..self.config.pages.num_blocks).map(BlockId::from) {
                if self.kv.block_state(block) == Some(BlockState::Free) {
                    self.cache.poison(block)?;
                }
            }
        }
        Ok(())
    }

    /// The block manager, to look at.
    #[must_use]
    pub fn kv(&self) -> &BlockManager {
        &self.kv
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Requests that wait, answers that run.
    #[must_use]
    pub fn queue(&self) -> (usize, usize) {
        (self.waiting.len(), self.running.len())
    }

    /// Tokens sampled so far.
    #[must_use]
    pub fn tokens_generated(&self) -> u64 {
        self.tokens_generated
    }
}
