//! The end of sequences in the model: tail first, with retention ranks (design.md 3.5).

use super::naive::{Naive, Seq};
use kvkeep::{BlockId, DEFAULT_PRIORITY, Retention};

/// A retention hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Priority, and for how many ms.
    Priority(u8, Option<u64>),
    NotReused,
}

impl Keep {
    pub(crate) fn retention(self) -> Retention {
        match self {
            Keep::NotReused => Retention::not_reused(),
            Keep::Priority(priority, ttl_ms) => {
                let retention = Retention::priority(priority).expect("at most 100");
                ttl_ms.map_or(retention, |ms| retention.for_ms(ms))
            }
        }
    }
}

/// Priority, -1 for "will not be reused", and the ms at which it falls back to the
/// default; 0 if it is not above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rank {
    pub(crate) class: i16,
    pub(crate) until_ms: u64,
}

const DEFAULT: Rank = Rank { class: DEFAULT_PRIORITY as i16, until_ms: 0 };

impl Rank {
    /// Of a block that was not released yet.
    pub(crate) const NEW: Rank = Rank { class: -1, until_ms: 0 };

    /// The highest priority and the latest expiry.
    fn max(self, other: Rank) -> Rank {
        Rank { class: self.class.max(other.class), until_ms: self.until_ms.max(other.until_ms) }
    }

    fn raised(self) -> bool {
        self.class > DEFAULT.class
    }
}

impl Naive {
    /// What the blocks of a sequence are worth once it has released them, tail first.
    fn ranks(&self, seq: &Seq, raise: bool) -> Vec<(BlockId, Rank)> {
        let mut below: Option<(usize, Rank)> = None;
        let mut ranks = Vec::new();
        for position in (0..seq.table.len()).rev() {
            let id = seq.chain_block(position);
            let Some(at) = self.by_id(id) else { continue };
            let block = &self.published[at];
            let hint = seq.hints.iter().rfind(|(blocks, _)| blocks.contains(&position));
            let asked = hint.map(|&(_, keep)| match keep {
                Keep::NotReused => Rank { class: -1, until_ms: 0 },
                Keep::Priority(priority, ttl_ms) => {
                    let ends = |ms| self.now_ms.saturating_add(ms);
                    let class = i16::from(priority);
                    let until_ms = ttl_ms.map_or(u64::MAX, ends);
                    Rank { class, until_ms: if class > DEFAULT.class { until_ms } else { 0 } }
                }
            });
            let other_children = self.published.iter().enumerate().any(|(n, child)| {
                child.parent == Some(block.ink) && below.is_none_or(|(next, _)| next != n)
            });
            let own = match asked.filter(|asked| raise || !asked.raised()) {
                None => block.rank.max(DEFAULT),
                Some(asked) if other_children => block.rank.max(asked),
                Some(asked) => asked,
            };
            let rank = below.map_or(own, |(_, rank)| rank.max(own));
            below = Some((at, rank));
            ranks.push((id, rank));
        }
        ranks
    }

    /// Blocks above the default once these ranks are set.
    fn raised_after(&self, ranks: &[(BlockId, Rank)]) -> usize {
        let rank_of = |id, rank| ranks.iter().find(|(at, _)| *at == id).map_or(rank, |r| r.1);
        self.published.iter().filter(|block| rank_of(block.id, block.rank).raised()).count()
    }

    /// Ends a sequence. `refused` tells whether the manager counted a refusal.
    pub(crate) fn free(&mut self, at: usize, refused: bool) {
        if self.seqs[at].step.is_some() {
            self.revert(at);
        }
        let seq = self.seqs.remove(at);
        if seq.epoch != self.epoch {
            assert!(!refused, "content of an older epoch has no rank");
            return;
        }
        let mut ranks = self.ranks(&seq, true);
        if self.raised_after(&ranks) > self.max_retained {
            assert!(refused, "more than {} blocks retained", self.max_retained);
            ranks = self.ranks(&seq, false);
            self.counts.refused_retentions += 1;
        } else {
            assert!(!refused, "refused hints that fit");
        }
        for (id, rank) in ranks {
            let (event, unused) = (self.tick(), self.refs(id) == 0);
            let at = self.by_id(id).expect("it has a rank");
            let block = &mut self.published[at];
            (block.rank, block.ranked_at) = (rank, event);
            block.cached_since = unused.then_some(event);
        }
    }

    /// As if the step had never been.
    pub(crate) fn revert(&mut self, at: usize) {
        let seq = &mut self.seqs[at];
        let step = seq.step.take().expect("a step is open");
        seq.table = step.table_before;
        self.counts.reverted_steps += 1;
    }

    /// Ranks whose time is up fall back to the default, as if released at that moment;
    /// what expires together keeps its order of release.
    pub(crate) fn expire(&mut self) {
        while let Some(block) = self
            .published
            .iter()
            .filter(|block| block.rank.raised() && block.rank.until_ms <= self.now_ms)
            .filter(|block| block.rank.until_ms != u64::MAX)
            .min_by_key(|block| (block.rank.until_ms, block.ranked_at))
        {
            let at = self.by_id(block.id).expect("it is published");
            let event = self.tick();
            let block = &mut self.published[at];
            block.rank = DEFAULT;
            block.cached_since = block.cached_since.map(|_| event);
        }
    }
}
