//! Runs each operation on the manager and on the model, and compares what can be seen.
//!
//! The engine's side is acted out in the worst way that is allowed: new blocks hold
//! garbage, KV is written as soon as slots are reserved, and slots for drafts get
//! garbage. After each operation every slot that a sequence or a hit may read is checked.

use super::naive::{Counts, Naive, OpenStep, Published};
use super::ops::Setup;
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
    pub(super) scale: usize,
    pub(super) freed: Vec<SeqId>,
    /// Prompts and identities of all admissions.
    pub(super) admitted: Vec<(Vec<u32>, u8)>,
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

    /// Makes a call that must answer one of `errors`, or `Ok` if there are none, and
    /// change nothing when it fails.
    pub(super) fn call<T: Debug>(
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
