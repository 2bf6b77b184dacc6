//! Runs each operation on the manager and on the model, and compares what can be seen.
//!
//! The engine's side is acted out in the worst way that is allowed: new blocks hold
//! garbage, KV is written as soon as slots are reserved, and slots for drafts get
//! garbage. After each operation every slot that a sequence or a hit may read is checked.

use super::naive::{Counts, Naive, OpenStep, Published};
use super::ops::{Op, Prompt, Setup, repeat};
use super::pages::Pages;
use super::release::{Keep, Rank};
use super::who::Who;
use kvkeep::hash::BlockHasher;
use kvkeep::{Admission, BlockId, BlockManager, BlockState, Config, Error, SeqId, Stats, Usage};
use std::fmt::Debug;

pub(crate) struct Rig<H: BlockHasher> {
    pub(crate) kv: BlockManager<H>,
    pub(crate) model: Naive,
    pages: Pages,
    /// Whether the hasher collides: then which blocks `commit` published is observed,
    /// not predicted.
    weak: bool,
    scale: usize,
    freed: Vec<SeqId>,
    /// Prompts and identities of all admissions.
    admitted: Vec<(Vec<u32>, u8)>,
}

/// What a caller can see; a failed call must not change it.
#[derive(Debug, PartialEq)]
struct Snapshot {
    usage: Usage,
    stats: Stats,
    epoch: u64,
    order: Vec<BlockId>,
    seqs: Vec<(Vec<BlockId>, usize, usize, Vec<kvkeep::Duplicate>)>,
}

impl<H: BlockHasher> Rig<H> {
    pub(crate) fn new(setup: &Setup, hasher: H, weak: bool) -> Self {
        let mut config = Config::new(setup.num_blocks)
            .block_size(setup.block_size)
            .max_sequences(setup.max_sequences);
        if setup.hash_only {
            config = config.hash_only();
        }
        if let Some(blocks) = setup.max_retained {
            config = config.max_retained_blocks(blocks);
        }
        let num_blocks = setup.num_blocks as usize;
        Rig {
            kv: BlockManager::with_hasher(config, hasher).expect("a good config"),
            model: Naive {
                num_blocks,
                block_size: setup.block_size,
                verified: !setup.hash_only,
                max_retained: setup.max_retained.map_or(num_blocks / 2, |n| n as usize),
                max_sequences: setup.max_sequences,
                inkwell: Default::default(),
                epoch: 0,
                now_ms: 0,
                published: Vec::new(),
                seqs: Vec::new(),
                evicted: Vec::new(),
                counts: Counts::default(),
                events: 0,
            },
            pages: Pages::new(num_blocks, setup.block_size),
            weak,
            scale: setup.scale(),
            freed: Vec::new(),
            admitted: Vec::new(),
        }
    }

    /// One operation, checked.
    pub(crate) fn apply(&mut self, op: &Op) {
        self.act(op);
        self.check();
    }

    /// One operation; whether there was anything to do.
    pub(crate) fn act(&mut self, op: &Op) -> bool {
        match op {
            Op::Admit { prompt, who } => {
                self.admit(&self.tokens_of(prompt), *who, false);
            }
            Op::Readmit { prompt, who } => {
                self.admit(&self.tokens_of(prompt), *who, true);
            }
            Op::Again { back } => {
                let Some(at) = (self.admitted.len().saturating_sub(1)).checked_sub(*back) else {
                    return false;
                };
                let Some((prompt, who)) = self.admitted.get(at).cloned() else { return false };
                self.admit(&prompt, who, false);
            }
            Op::Serve { prompt, who } => {
                if self.admit(&self.tokens_of(prompt), *who, false).is_some() {
                    let at = self.model.seqs.len() - 1;
                    self.check();
                    self.compute(at);
                    self.check();
                    self.free(at, false);
                }
            }
            Op::Advance { ms } => self.advance(*ms),
            Op::Invalidate => {
                self.model.invalidate();
                assert_eq!(self.kv.invalidate_all(), self.model.epoch);
            }
            Op::Stale { handle } => self.stale(*handle),
            _ if self.model.seqs.is_empty() => return false,
            of_a_sequence => self.act_on_sequence(of_a_sequence),
        }
        true
    }

    fn act_on_sequence(&mut self, op: &Op) {
        let running = self.model.seqs.len();
        let pick = |seq: usize| seq.checked_rem(running);
        match op {
            Op::Compute { seq } => {
                if let Some(at) = pick(*seq) {
                    self.compute(at);
                }
            }
            Op::Twin { seq } => {
                let Some(twin) = pick(*seq).map(|at| &self.model.seqs[at]) else { return };
                let (tokens, who) = (twin.known.clone(), twin.kind);
                self.admit(&tokens, who, false);
            }
            Op::Decode { seq, token } => {
                self.act_on_sequence(&Op::Append { seq: *seq, token: *token });
                if let Some(at) = pick(*seq)
                    && self.reserve(at, 1, 0)
                {
                    self.check();
                    self.commit(at, 1);
                }
            }
            Op::Reserve { seq, tokens, lookahead } => {
                if let Some(at) = pick(*seq) {
                    self.reserve(at, self.scaled(*tokens), self.scaled(*lookahead));
                }
            }
            Op::Commit { seq, tokens } => {
                if let Some(at) = self.in_a_step(*seq).or(pick(*seq)) {
                    self.commit(at, self.scaled(*tokens));
                }
            }
            Op::Revert { seq } => {
                if let Some(at) = self.in_a_step(*seq).or(pick(*seq)) {
                    self.revert(at);
                }
            }
            Op::Append { seq, token } => {
                if let Some(at) = pick(*seq) {
                    let errors = self.model.append_errors(at, 1);
                    let id = self.model.seqs[at].id;
                    if self.call(&errors, |kv| kv.append(id, *token)).is_some() {
                        self.model.append(at, &[*token]);
                    }
                }
            }
            Op::Extend { seq, tokens } => {
                if let Some(at) = pick(*seq) {
                    let tokens = repeat(tokens.iter().copied(), self.scale);
                    let errors = self.model.append_errors(at, tokens.len());
                    let id = self.model.seqs[at].id;
                    if self.call(&errors, |kv| kv.extend(id, &tokens)).is_some() {
                        self.model.append(at, &tokens);
                    }
                }
            }
            Op::Fork { seq } => {
                if let Some(at) = pick(*seq) {
                    self.fork(at);
                }
            }
            Op::Branch { seq, token } => {
                let Some(at) = pick(*seq) else { return };
                self.fork(at);
                let child = self.model.seqs.len() - 1;
                if child == running {
                    self.act_on_sequence(&Op::Append { seq: child, token: *token });
                    self.reserve(child, 1, 0);
                }
            }
            Op::Adopt { seq, position } => {
                if let Some(at) = pick(*seq) {
                    let duplicates = &self.model.seqs[at].duplicates;
                    let entry = duplicates.get(*position).map_or(*position, |&(entry, _)| entry);
                    self.adopt(at, entry);
                }
            }
            Op::Free { seq } | Op::Preempt { seq } => {
                if let Some(at) = pick(*seq) {
                    self.free(at, matches!(op, Op::Preempt { .. }));
                }
            }
            Op::Retain { seq, start, tokens, keep } => {
                if let Some(at) = pick(*seq) {
                    self.retain(at, self.scaled(*start), self.scaled(*tokens), *keep);
                }
            }
            _ => unreachable!("not about one sequence"),
        }
    }

    /// The `nth` sequence among those in a step.
    fn in_a_step(&self, nth: usize) -> Option<usize> {
        let seqs = self.model.seqs.iter().enumerate();
        let open: Vec<_> = seqs.filter(|(_, seq)| seq.step.is_some()).map(|(at, _)| at).collect();
        nth.checked_rem(open.len()).map(|at| open[at])
    }

    /// A prompt that fits the pool, unless it was drawn to be too long.
    fn tokens_of(&self, prompt: &Prompt) -> Vec<u32> {
        let mut prompt = prompt.clone();
        if (1..=24).contains(&prompt.tokens) {
            let pool = self.model.num_blocks * self.model.block_size / self.scale;
            prompt.tokens = 1 + (prompt.tokens - 1) % (pool * 3 / 4);
        }
        prompt.to_tokens(self.scale)
    }

    /// Reserves and commits all that is known.
    fn compute(&mut self, at: usize) {
        let missing = self.model.seqs[at].known.len() - self.model.seqs[at].computed;
        if self.reserve(at, missing, 0) {
            self.check();
            self.commit(at, missing);
        }
    }

    /// A number of tokens drawn for small blocks, for the blocks of this rig.
    fn scaled(&self, tokens: usize) -> usize {
        tokens.saturating_mul(self.scale)
    }

    /// Makes a call that must answer one of `errors`, or `Ok` if there are none, and
    /// change nothing when it fails.
    fn call<T: Debug>(
        &mut self,
        errors: &[Error],
        call: impl FnOnce(&mut BlockManager<H>) -> Result<T, Error>,
    ) -> Option<T> {
        if errors.is_empty() {
            let answer = call(&mut self.kv);
            assert!(answer.is_ok(), "{answer:?} for a good call");
            return answer.ok();
        }
        let before = self.snapshot();
        let answer = call(&mut self.kv);
        let error = answer.expect_err("a bad call");
        assert!(errors.contains(&error), "{error:?}, expected one of {errors:?}");
        assert_eq!(before, self.snapshot(), "{error:?} changed something");
        None
    }

    fn snapshot(&self) -> Snapshot {
        let seq = |id| {
            let table = self.kv.block_table(id)?.to_vec();
            let duplicates = self.kv.duplicates(id)?.to_vec();
            Ok((table, self.kv.tokens_computed(id)?, self.kv.tokens_known(id)?, duplicates))
        };
        let seqs: Result<_, Error> = self.model.seqs.iter().map(|s| seq(s.id)).collect();
        Snapshot {
            usage: self.kv.usage(),
            stats: *self.kv.stats(),
            epoch: self.kv.epoch(),
            order: self.kv.eviction_order().collect(),
            seqs: seqs.expect("they are running"),
        }
    }

    pub(crate) fn admit(&mut self, prompt: &[u32], kind: u8, again: bool) -> Option<Admission> {
        let (who, identity) = (Who::nth(kind, self.scale), Who::nth(kind, self.scale).identity());
        let ink = self.model.ink_of(prompt, &who);
        let hit = self.model.hit(&ink);
        let cached = hit.len() * self.model.block_size;
        assert_eq!(self.kv.longest_prefix(prompt, &identity), cached, "peek at {prompt:?}");
        let errors = self.model.admit_errors(prompt, &who);
        let admission = self.call(&errors, |kv| {
            if again { kv.readmit(prompt, &identity) } else { kv.admit(prompt, &identity) }
        })?;
        assert_eq!(admission.tokens_cached, cached, "hit of {prompt:?}");
        assert_eq!(self.kv.block_table(admission.seq), Ok(&hit[..]), "hit of {prompt:?}");
        if !self.weak {
            self.model.check_reason((prompt, &who, &ink), cached, admission.miss);
        }
        let (all, cached) = (prompt.len() as u64, cached as u64);
        let counts = &mut self.model.counts;
        if again {
            counts.readmitted_requests += 1;
            counts.readmitted_tokens += all;
            counts.readmitted_cached_tokens += cached;
            counts.recomputed_tokens += all - cached;
        } else {
            counts.requests += 1;
            counts.prompt_tokens += all;
            counts.cached_tokens += cached;
        }
        self.model.admit(admission.seq, prompt, (kind, &who), &hit);
        self.admitted.push((prompt.to_vec(), kind));
        Some(admission)
    }

    pub(crate) fn reserve(&mut self, at: usize, tokens: usize, lookahead: usize) -> bool {
        let errors = self.model.reserve_errors(at, tokens, lookahead);
        let (id, must_copy) = (self.model.seqs[at].id, self.model.must_copy(&self.model.seqs[at]));
        let Some(step) = self.call(&errors, |kv| kv.reserve_with_lookahead(id, tokens, lookahead))
        else {
            return false;
        };
        let table = self.kv.block_table(id).expect("it is running").to_vec();
        let seq = &self.model.seqs[at];
        let (before, computed) = (seq.table.clone(), seq.computed);
        let size = self.model.block_size;
        let kept = before.len() - usize::from(must_copy);
        assert_eq!(table[..kept], before[..kept], "a step keeps what is there");
        assert_eq!(table.len(), (computed + tokens + lookahead).div_ceil(size));
        assert_eq!((step.first_token, step.first_new_block), (computed, before.len()));
        assert_eq!(step.num_blocks, table.len());
        assert_eq!(step.copy.is_some(), must_copy, "copy-on-write");
        self.model.take(&table[kept..]);
        table[kept..].iter().for_each(|&block| self.pages.poison(block));
        if let Some(copy) = step.copy {
            assert_eq!(Some(&copy.source), before.last());
            assert_eq!((copy.destination, copy.tokens), (table[kept], computed % size));
            self.pages.copy(copy.source, copy.destination, copy.tokens);
        }
        let seq = &mut self.model.seqs[at];
        for token in computed..computed + tokens + lookahead {
            let ink = seq.ink.get(token).copied().filter(|_| token < computed + tokens);
            self.pages.write(&table, token, ink);
        }
        seq.table = table;
        let copied_from = step.copy.map(|copy| copy.source);
        seq.step = Some(OpenStep { tokens, lookahead, table_before: before, copied_from });
        true
    }

    pub(crate) fn commit(&mut self, at: usize, tokens: usize) {
        let errors = self.model.commit_errors(at, tokens);
        let id = self.model.seqs[at].id;
        if errors.is_empty() {
            // Accepted drafts: their KV is in the lookahead slots.
            let seq = &self.model.seqs[at];
            for token in seq.computed..seq.computed + tokens {
                self.pages.write(&seq.table, token, Some(seq.ink[token]));
            }
        }
        let Some(commit) = self.call(&errors, |kv| kv.commit(id, tokens)) else { return };
        let size = self.model.block_size;
        let seq = &mut self.model.seqs[at];
        let full = seq.computed / size..(seq.computed + tokens) / size;
        seq.computed += tokens;
        seq.step = None;
        self.model.counts.committed_tokens += tokens as u64;
        let (mut published, mut duplicate) = (0, 0);
        for position in full {
            match self.settle(at, position) {
                Some(true) => published += 1,
                Some(false) => duplicate += 1,
                None => {}
            }
        }
        let seq = &mut self.model.seqs[at];
        seq.table.truncate(seq.computed.div_ceil(size));
        assert_eq!((commit.blocks_published, commit.blocks_duplicate), (published, duplicate));
        self.model.counts.published_blocks += published as u64;
        self.model.counts.duplicate_blocks += duplicate as u64;
    }

    /// A block became full: published (true), a duplicate (false), or private.
    fn settle(&mut self, at: usize, position: usize) -> Option<bool> {
        let size = self.model.block_size;
        let seq = &self.model.seqs[at];
        if seq.private || seq.epoch != self.model.epoch {
            return None;
        }
        let (id, own) = (seq.id, seq.table[position]);
        let ink = seq.ink[(position + 1) * size - 1];
        if let Some(known) = self.model.find(ink).map(|block| block.id) {
            let known_at = self.model.by_id(known).expect("it was found");
            self.model.published[known_at].cached_since = None;
            self.model.seqs[at].duplicates.push((position, known));
            let listed = self.kv.duplicates(id).expect("it is running");
            assert!(
                listed.iter().any(|d| (d.position, d.published) == (position, known)),
                "block {position} has the content of {known:?}"
            );
            return Some(false);
        }
        if self.weak && self.kv.block_hash(own).is_none() {
            self.model.seqs[at].private = true;
            self.model.counts.collisions += 1;
            return None;
        }
        let tokens = seq.known[position * size..(position + 1) * size].to_vec();
        let parent = (position * size).checked_sub(1).map(|last| seq.ink[last]);
        let keys = seq.who.keys(position, size);
        let (rank, ranked_at, cached_since) = (Rank::NEW, 0, None);
        let block = Published { id: own, ink, parent, tokens, keys, rank, ranked_at, cached_since };
        self.model.published.push(block);
        Some(true)
    }

    pub(crate) fn revert(&mut self, at: usize) {
        let seq = &self.model.seqs[at];
        let id = seq.id;
        let errors = if seq.step.is_some() { vec![] } else { vec![Error::NoStep(id)] };
        if self.call(&errors, |kv| kv.revert(id)).is_some() {
            self.model.revert(at);
        }
    }

    pub(crate) fn fork(&mut self, at: usize) {
        let mut errors = Vec::new();
        let (id, max) = (self.model.seqs[at].id, self.model.max_sequences);
        if self.model.seqs[at].step.is_some() {
            errors.push(Error::StepOpen(id));
        }
        if self.model.seqs.len() >= max {
            errors.push(Error::TooManySequences { max });
        }
        if let Some(copy) = self.call(&errors, |kv| kv.fork(id)) {
            let mut seq = self.model.seqs[at].clone();
            seq.id = copy;
            self.model.seqs.push(seq);
        }
    }

    pub(crate) fn adopt(&mut self, at: usize, position: usize) {
        let seq = &self.model.seqs[at];
        let id = seq.id;
        let found = seq.duplicates.iter().position(|&(entry, _)| entry == position);
        let mut errors = Vec::new();
        if seq.step.is_some() {
            errors.push(Error::StepOpen(id));
        }
        if found.is_none() {
            errors.push(Error::NotDuplicate { position });
        }
        if let (Some(published), Some(found)) =
            (self.call(&errors, |kv| kv.adopt(id, position)), found)
        {
            let seq = &mut self.model.seqs[at];
            assert_eq!(seq.duplicates.remove(found).1, published);
            seq.table[position] = published;
        }
    }

    pub(crate) fn free(&mut self, at: usize, preempt: bool) {
        let id = self.model.seqs[at].id;
        let refused = self.kv.stats().refused_retentions;
        self.call(&[], |kv| if preempt { kv.preempt(id) } else { kv.free(id) });
        self.model.free(at, self.kv.stats().refused_retentions > refused);
        self.model.counts.preemptions += u64::from(preempt);
        self.freed.push(id);
    }

    pub(crate) fn retain(&mut self, at: usize, start: usize, tokens: usize, keep: Keep) {
        let (id, end) = (self.model.seqs[at].id, start + tokens);
        let mut errors = Vec::new();
        if tokens == 0 {
            errors.push(Error::EmptyRange { start, end });
        }
        if self.model.seqs[at].hints.len() >= kvkeep::MAX_HINTS {
            errors.push(Error::TooManyHints { max: kvkeep::MAX_HINTS });
        }
        if self.call(&errors, |kv| kv.retain(id, start..end, keep.retention())).is_some() {
            let size = self.model.block_size;
            self.model.seqs[at].hints.push((start / size..end.div_ceil(size), keep));
        }
    }

    pub(crate) fn advance(&mut self, ms: i64) {
        let now_ms = self.model.now_ms;
        let passed_ms = now_ms.saturating_add_signed(ms);
        let mut errors = Vec::new();
        if passed_ms < now_ms {
            errors.push(Error::TimeWentBack { passed_ms, now_ms });
        }
        if self.call(&errors, |kv| kv.advance_time(passed_ms)).is_some() {
            self.model.advance(passed_ms);
        }
    }

    /// Nothing can be done with the handle of a sequence that has ended.
    fn stale(&mut self, handle: usize) {
        let Some(at) = handle.checked_rem(self.freed.len()) else { return };
        let id = self.freed[at];
        let unknown = || vec![Error::UnknownSequence(id)];
        self.call(&unknown(), |kv| kv.reserve(id, 1));
        self.call(&unknown(), |kv| kv.commit(id, 1));
        self.call(&unknown(), |kv| kv.revert(id));
        self.call(&unknown(), |kv| kv.append(id, 0));
        self.call(&unknown(), |kv| kv.extend(id, &[0]));
        self.call(&unknown(), |kv| kv.fork(id));
        self.call(&unknown(), |kv| kv.adopt(id, 0));
        self.call(&unknown(), |kv| kv.retain(id, 0..1, Keep::NotReused.retention()));
        self.call(&unknown(), |kv| kv.preempt(id));
        self.call(&unknown(), |kv| kv.free(id));
        self.call(&unknown(), |kv| kv.block_table(id).map(<[_]>::len));
        self.call(&unknown(), |kv| kv.tokens_computed(id));
        self.call(&unknown(), |kv| kv.tokens_known(id));
        self.call(&unknown(), |kv| kv.duplicates(id).map(<[_]>::len));
    }

    /// Everything that can be seen agrees with the model.
    pub(crate) fn check(&self) {
        self.kv.validate().expect("the invariants of design.md");
        let model = &self.model;
        for seq in &model.seqs {
            assert_eq!(self.kv.block_table(seq.id), Ok(&seq.table[..]), "table of {}", seq.id);
            assert_eq!(self.kv.tokens_computed(seq.id), Ok(seq.computed));
            assert_eq!(self.kv.tokens_known(seq.id), Ok(seq.known.len()));
            let duplicates = self.kv.duplicates(seq.id).expect("it is running").iter();
            let listed: Vec<_> = duplicates.map(|d| (d.position, d.published)).collect();
            assert_eq!(listed, seq.duplicates, "duplicates of {}", seq.id);
            for token in 0..seq.computed {
                let read = self.pages.read(&seq.table, token);
                assert_eq!(read, Some(seq.ink[token]), "wrong KV: {} token {token}", seq.id);
            }
            for &block in &seq.table {
                let refs = model.refs(block) as u32;
                assert_eq!(self.kv.block_state(block), Some(BlockState::InUse(refs)));
            }
        }
        for block in &model.published {
            assert_eq!(self.pages.last(block.id), Some(block.ink), "wrong KV cached");
            assert!(self.kv.block_hash(block.id).is_some(), "{:?} is published", block.id);
        }
        let order: Vec<_> = self.kv.eviction_order().collect();
        assert_eq!(order, model.eviction_order(), "eviction order");
        let usage = self.kv.usage();
        let (cached, in_use) = (order.len(), model.in_use());
        let places = (usage.free, usage.cached, usage.in_use);
        assert_eq!(places, (model.num_blocks - cached - in_use, cached, in_use), "usage");
        assert_eq!(usage.sequences, model.seqs.len());
        assert_eq!(self.counts(), model.counts, "statistics");
    }

    fn counts(&self) -> Counts {
        let stats = self.kv.stats();
        Counts {
            requests: stats.requests,
            prompt_tokens: stats.prompt_tokens,
            cached_tokens: stats.cached_tokens,
            preemptions: stats.preemptions,
            readmitted_requests: stats.readmitted_requests,
            readmitted_tokens: stats.readmitted_tokens,
            readmitted_cached_tokens: stats.readmitted_cached_tokens,
            recomputed_tokens: stats.recomputed_tokens,
            committed_tokens: stats.committed_tokens,
            reverted_steps: stats.reverted_steps,
            published_blocks: stats.published_blocks,
            evicted_blocks: stats.evicted_blocks,
            invalidated_blocks: stats.invalidated_blocks,
            duplicate_blocks: stats.duplicate_blocks,
            collisions: stats.collisions,
            refused_retentions: stats.refused_retentions,
            resident_block_ms: stats.resident_block_ms,
        }
    }

    /// Ends every sequence; afterwards each block is free or cached.
    pub(crate) fn abort_all(&mut self) {
        while !self.model.seqs.is_empty() {
            self.free(0, false);
        }
        self.check();
        assert_eq!(self.kv.usage().in_use, 0);
    }
}
