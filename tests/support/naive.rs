//! The model: design.md sections 3 and 4 read literally. Vectors and linear scans; no
//! hash, no link, no free list (what nobody holds and is not cached is free).
//!
//! Which block a reservation gets among the free ones is not specified, so the model
//! takes the ids that the manager chose and checks that it was allowed to.

use super::ink::{Ink, Inkwell};
use super::release::{Keep, Rank};
use super::who::{Key, Who};
use kvkeep::{BlockId, Error, SeqId};
use std::ops::Range;

/// A published block of the current epoch.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) id: BlockId,
    /// Its last token's: names the whole prefix.
    pub(crate) ink: Ink,
    /// The ink of the block before it.
    pub(crate) parent: Option<Ink>,
    pub(crate) tokens: Vec<u32>,
    pub(crate) keys: Vec<Key>,
    pub(crate) rank: Rank,
    /// When its rank was set last, as a count of such events.
    pub(crate) ranked_at: u64,
    /// When it was released last; `None` while in use.
    pub(crate) cached_since: Option<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct OpenStep {
    pub(crate) tokens: usize,
    pub(crate) lookahead: usize,
    pub(crate) table_before: Vec<BlockId>,
    pub(crate) copied_from: Option<BlockId>,
}

#[derive(Clone, Debug)]
pub(crate) struct Seq {
    pub(crate) id: SeqId,
    /// Which of [`Who::nth`] it is.
    pub(crate) kind: u8,
    pub(crate) who: Who,
    pub(crate) epoch: u64,
    pub(crate) known: Vec<u32>,
    pub(crate) ink: Vec<Ink>,
    pub(crate) computed: usize,
    pub(crate) table: Vec<BlockId>,
    pub(crate) duplicates: Vec<(usize, BlockId)>,
    pub(crate) hints: Vec<(Range<usize>, Keep)>,
    pub(crate) step: Option<OpenStep>,
    /// A collision broke its chain.
    pub(crate) private: bool,
}

impl Seq {
    /// Every entry that holds a reference.
    pub(crate) fn holds(&self) -> impl Iterator<Item = BlockId> + '_ {
        let source = self.step.as_ref().and_then(|step| step.copied_from);
        self.table.iter().copied().chain(self.duplicates.iter().map(|&(_, id)| id)).chain(source)
    }

    /// The published block that stands for an entry.
    pub(crate) fn chain_block(&self, position: usize) -> BlockId {
        let pinned = self.duplicates.iter().find(|&&(at, _)| at == position);
        pinned.map_or(self.table[position], |&(_, id)| id)
    }
}

/// Counts that the model keeps by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) prompt_tokens: u64,
    pub(crate) cached_tokens: u64,
    pub(crate) preemptions: u64,
    pub(crate) readmitted_requests: u64,
    pub(crate) readmitted_tokens: u64,
    pub(crate) readmitted_cached_tokens: u64,
    pub(crate) recomputed_tokens: u64,
    pub(crate) committed_tokens: u64,
    pub(crate) reverted_steps: u64,
    pub(crate) published_blocks: u64,
    pub(crate) evicted_blocks: u64,
    pub(crate) invalidated_blocks: u64,
    pub(crate) duplicate_blocks: u64,
    pub(crate) collisions: u64,
    pub(crate) refused_retentions: u64,
    pub(crate) resident_block_ms: u64,
}

#[derive(Debug)]
pub(crate) struct Naive {
    pub(crate) num_blocks: usize,
    pub(crate) block_size: usize,
    pub(crate) verified: bool,
    pub(crate) max_retained: usize,
    pub(crate) max_sequences: usize,
    pub(crate) inkwell: Inkwell,
    pub(crate) epoch: u64,
    pub(crate) now_ms: u64,
    pub(crate) published: Vec<Published>,
    pub(crate) seqs: Vec<Seq>,
    /// Everything that was evicted, oldest first.
    pub(crate) evicted: Vec<Published>,
    pub(crate) counts: Counts,
    /// Counts releases and settings of ranks.
    pub(crate) events: u64,
}

impl Naive {
    pub(crate) fn tick(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    pub(crate) fn refs(&self, block: BlockId) -> usize {
        self.seqs.iter().flat_map(Seq::holds).filter(|&held| held == block).count()
    }

    pub(crate) fn in_use(&self) -> usize {
        let mut held: Vec<BlockId> = self.seqs.iter().flat_map(Seq::holds).collect();
        held.sort_unstable();
        held.dedup();
        held.len()
    }

    /// Cached blocks, next victim first: by rank, then by time of release.
    pub(crate) fn eviction_order(&self) -> Vec<BlockId> {
        let mut cached: Vec<_> = self
            .published
            .iter()
            .filter_map(|block| Some((block.rank.class, block.cached_since?, block.id)))
            .collect();
        cached.sort_unstable();
        cached.into_iter().map(|(_, _, id)| id).collect()
    }

    pub(crate) fn is_free(&self, block: BlockId) -> bool {
        self.refs(block) == 0 && !self.eviction_order().contains(&block)
    }

    pub(crate) fn find(&self, ink: Ink) -> Option<&Published> {
        self.published.iter().find(|block| block.ink == ink)
    }

    pub(crate) fn by_id(&self, id: BlockId) -> Option<usize> {
        self.published.iter().position(|block| block.id == id)
    }

    /// The ink of a prompt in the current epoch.
    pub(crate) fn ink_of(&mut self, tokens: &[u32], who: &Who) -> Vec<Ink> {
        let mut ink = Vec::new();
        self.inkwell.write(&mut ink, tokens, who, self.epoch, self.block_size);
        ink
    }

    /// The blocks of the longest prefix that may hit: whole blocks, never the last token.
    pub(crate) fn hit(&self, ink: &[Ink]) -> Vec<BlockId> {
        let hittable = ink.len().saturating_sub(1) / self.block_size;
        (0..hittable)
            .map_while(|position| self.find(ink[(position + 1) * self.block_size - 1]))
            .map(|block| block.id)
            .collect()
    }

    /// Everything that is wrong with admitting this; nothing means `Ok`.
    pub(crate) fn admit_errors(&self, prompt: &[u32], who: &Who) -> Vec<Error> {
        let mut errors = Vec::new();
        let max = self.num_blocks * self.block_size;
        if prompt.is_empty() {
            errors.push(Error::EmptyPrompt);
        }
        if prompt.len() > max {
            errors.push(Error::TooLong { tokens: prompt.len(), max });
        }
        if who.media_end() > prompt.len() {
            let (end, prompt_tokens) = (who.media_end(), prompt.len());
            errors.push(Error::MediaBeyondPrompt { end, prompt_tokens });
        }
        if self.seqs.len() >= self.max_sequences {
            errors.push(Error::TooManySequences { max: self.max_sequences });
        }
        errors
    }

    pub(crate) fn admit(
        &mut self,
        id: SeqId,
        prompt: &[u32],
        (kind, who): (u8, &Who),
        hit: &[BlockId],
    ) {
        let ink = self.ink_of(prompt, who);
        for &block in hit {
            let at = self.by_id(block).expect("a hit is published");
            self.published[at].cached_since = None;
        }
        self.seqs.push(Seq {
            id,
            kind,
            who: who.clone(),
            epoch: self.epoch,
            known: prompt.to_vec(),
            ink,
            computed: hit.len() * self.block_size,
            table: hit.to_vec(),
            duplicates: Vec::new(),
            hints: Vec::new(),
            step: None,
            private: false,
        });
    }

    /// Whether the next reservation has to copy the partial last block.
    pub(crate) fn must_copy(&self, seq: &Seq) -> bool {
        !seq.computed.is_multiple_of(self.block_size)
            && seq.table.last().is_some_and(|&last| self.refs(last) > 1)
    }

    pub(crate) fn reserve_errors(&self, at: usize, tokens: usize, lookahead: usize) -> Vec<Error> {
        let seq = &self.seqs[at];
        let mut errors = Vec::new();
        if seq.step.is_some() {
            errors.push(Error::StepOpen(seq.id));
        }
        if tokens == 0 {
            errors.push(Error::ZeroTokens);
        }
        let needed = seq.computed.saturating_add(tokens);
        if needed > seq.known.len() {
            errors.push(Error::UnknownTokens { needed, known: seq.known.len() });
        }
        // The other mistakes leave nothing to count blocks for.
        if errors.is_empty() {
            let blocks = needed.saturating_add(lookahead).div_ceil(self.block_size);
            let needed = blocks - seq.table.len() + usize::from(self.must_copy(seq));
            let available = self.num_blocks - self.in_use();
            if needed > available {
                errors.push(Error::OutOfBlocks { needed, available });
            }
        }
        errors
    }

    /// The manager took these blocks: from the free ones while there are any, then the
    /// victims in order.
    pub(crate) fn take(&mut self, taken: &[BlockId]) {
        let order = self.eviction_order();
        let free = self.num_blocks - self.in_use() - order.len();
        let victims = &order[..taken.len().saturating_sub(free)];
        for (n, block) in taken.iter().enumerate() {
            assert!(!taken[..n].contains(block), "{block:?} was handed out twice");
            assert_eq!(self.refs(*block), 0, "{block:?} was handed out while in use");
            let free = !order.contains(block);
            assert!(free || victims.contains(block), "{block:?} was evicted before {victims:?}");
        }
        let evicted = taken.iter().filter(|block| order.contains(block)).count();
        assert_eq!(evicted, victims.len(), "evicted {evicted} blocks for {taken:?}");
        for block in victims {
            let at = self.by_id(*block).expect("a victim is published");
            let gone = self.published.remove(at);
            let orphans = self.published.iter().filter(|block| block.parent == Some(gone.ink));
            assert_eq!(orphans.count(), 0, "{block:?} was evicted before its children");
            self.evicted.push(gone);
            self.counts.evicted_blocks += 1;
        }
    }

    pub(crate) fn commit_errors(&self, at: usize, tokens: usize) -> Vec<Error> {
        let seq = &self.seqs[at];
        let Some(step) = &seq.step else { return vec![Error::NoStep(seq.id)] };
        let mut errors = Vec::new();
        if tokens == 0 {
            errors.push(Error::ZeroTokens);
        }
        let reserved = step.tokens + step.lookahead;
        if tokens > reserved {
            errors.push(Error::CommitTooLong { asked: tokens, reserved });
        }
        let needed = seq.computed.saturating_add(tokens);
        if needed > seq.known.len() {
            errors.push(Error::UnknownTokens { needed, known: seq.known.len() });
        }
        errors
    }

    pub(crate) fn append_errors(&self, at: usize, tokens: usize) -> Vec<Error> {
        let max = self.num_blocks * self.block_size;
        let tokens = self.seqs[at].known.len().saturating_add(tokens);
        if tokens > max { vec![Error::TooLong { tokens, max }] } else { Vec::new() }
    }

    pub(crate) fn append(&mut self, at: usize, tokens: &[u32]) {
        let seq = &mut self.seqs[at];
        seq.known.extend_from_slice(tokens);
        self.inkwell.write(&mut seq.ink, tokens, &seq.who, seq.epoch, self.block_size);
    }

    pub(crate) fn invalidate(&mut self) {
        self.epoch += 1;
        self.counts.invalidated_blocks += self.published.len() as u64;
        self.published.clear();
    }

    /// Time passes: residency is counted, hints expire.
    pub(crate) fn advance(&mut self, now_ms: u64) {
        let passed = now_ms - self.now_ms;
        self.counts.resident_block_ms += self.published.len() as u64 * passed;
        self.now_ms = now_ms;
        self.expire();
    }
}
