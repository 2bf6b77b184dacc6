//! Eviction policies times cache sizes, on all cores.
//!
//! Every cell is a replay of its own through the block manager, but where the curves of LRU
//! and OPT are exact: those give all sizes at once. Cells share nothing but the trace, so the result
//! does not depend on the number of threads.

mod memory;
mod needed;
mod policy;
mod report;
mod sizes;
mod source;
mod verdict;

pub use memory::{Memory, MemoryError, bytes_per_block};
pub use needed::Needed;
pub use policy::{Policy, UnknownPolicy};
pub use report::{Cell, Enough, OnStage, Report, ReportError};
pub use sizes::{Size, SizeError, sizes};
pub use source::Named;
pub use verdict::{Verdict, What};

use crate::accesses::Accesses;
use crate::curve::Curve;
use crate::opt::Opt;
use crate::parallel;
use crate::replay::{Hits, ReplayError, replay};
use std::num::NonZeroUsize;

/// Told how many of how many jobs are done, from any thread.
pub type OnProgress<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// One cell of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Who chose what to evict.
    pub policy: Policy,
    /// Blocks of the cache; of [`Policy::Infinite`] what it ends with.
    pub blocks: u32,
    /// What it hit.
    pub hits: Hits,
}

/// The sweep of one trace.
#[derive(Clone, Debug)]
pub struct Sweep<'a> {
    accesses: &'a Accesses,
    threads: NonZeroUsize,
    lru: Curve,
    opt: Curve,
    infinite: Row,
}

impl<'a> Sweep<'a> {
    /// Reads the curves of LRU and OPT and the infinite cache from the trace; see [`Curve`] for
    /// what that takes.
    #[must_use]
    pub fn new(accesses: &'a Accesses, threads: NonZeroUsize) -> Sweep<'a> {
        let (hit, kept) = accesses.infinite();
        let hits = Hits { hit, total: accesses.total_weight(), ..Hits::default() };
        Sweep {
            accesses,
            threads,
            lru: Curve::lru(accesses),
            opt: Curve::opt(accesses),
            // Blocks are numbered with 32 bits, so there are no more different ones.
            infinite: Row { policy: Policy::Infinite, blocks: kept as u32, hits },
        }
    }

    /// The exact curve of a policy that has one: LRU and OPT.
    #[must_use]
    pub fn curve(&self, policy: Policy) -> Option<&Curve> {
        match policy {
            Policy::LRU => Some(&self.lru),
            Policy::Opt => Some(&self.opt),
            Policy::Evict(_) | Policy::Infinite => None,
        }
    }

    /// The cache without bound; its `blocks` are the working set.
    #[must_use]
    pub fn infinite(&self) -> Row {
        self.infinite
    }

    /// A cache of so many blocks holds the working set and runs the longest request: it never
    /// evicts, whatever its policy.
    fn never_evicts_from(&self) -> u32 {
        self.infinite.blocks.max(self.lru.exact_from())
    }

    /// What a cache of `blocks` blocks hits with `policy`. A replay, unless a curve knows.
    ///
    /// # Errors
    /// There can be no cache of so many blocks, or the accesses were stopped.
    pub fn hits(&self, policy: Policy, blocks: u32) -> Result<Hits, ReplayError> {
        let hits = self.hits_unless_stopped(policy, blocks);
        if self.accesses.is_stopped() { Err(ReplayError::Stopped) } else { hits }
    }

    fn hits_unless_stopped(&self, policy: Policy, blocks: u32) -> Result<Hits, ReplayError> {
        if let Some(curve) = self.curve(policy).filter(|curve| blocks >= curve.exact_from()) {
            return Ok(curve.hits(blocks));
        }
        match policy {
            Policy::Infinite => Ok(self.infinite.hits),
            _ if blocks >= self.never_evicts_from() => Ok(self.infinite.hits),
            Policy::Evict(kind) => {
                let block_size = self.accesses.block_size() as usize;
                replay(self.accesses, blocks, kind.build(block_size))
            }
            Policy::Opt => replay(self.accesses, blocks, Opt::new(self.accesses, blocks)),
        }
    }

    /// The rows of `policies` at `sizes` (blocks): policy by policy in the order given, sizes
    /// ascending and each once; OPT and the infinite cache come last, asked for or not, the
    /// infinite cache in one row.
    ///
    /// # Errors
    /// There can be no cache of one of the sizes, or the accesses were stopped.
    pub fn rows(
        &self,
        policies: &[Policy],
        sizes: &[u32],
        progress: OnProgress<'_>,
    ) -> Result<Vec<Row>, ReplayError> {
        let policies = with_opt(policies);
        let mut sizes = sizes.to_vec();
        sizes.sort_unstable();
        sizes.dedup();
        let cells = policies.iter().flat_map(|&policy| sizes.iter().map(move |&at| (policy, at)));
        // Small caches evict most and take longest.
        let mut jobs: Vec<_> = cells.enumerate().collect();
        jobs.sort_by_key(|&(_, (_, blocks))| blocks);
        let done = |count| progress(count, jobs.len());
        let hits = parallel::map(self.threads, &jobs, &done, |&(_, (policy, blocks))| {
            self.hits(policy, blocks)
        });
        let mut rows = Vec::with_capacity(jobs.len() + 1);
        for ((place, (policy, blocks)), hits) in jobs.into_iter().zip(hits) {
            rows.push((place, Row { policy, blocks, hits: hits? }));
        }
        rows.sort_unstable_by_key(|(place, _)| *place);
        Ok(rows.into_iter().map(|(_, row)| row).chain([self.infinite]).collect())
    }
}

/// Each policy once, without the infinite cache and with OPT behind them.
fn with_opt(policies: &[Policy]) -> Vec<Policy> {
    let mut each = Vec::new();
    for &policy in policies {
        if !policy.is_bound() && !each.contains(&policy) {
            each.push(policy);
        }
    }
    each.push(Policy::Opt);
    each
}
