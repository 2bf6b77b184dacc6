//! What a sweep found: policies times sizes, sizes that are needed, and the verdicts.

use super::verdict::{Verdict, verdicts};
use super::{Memory, Needed, Policy, Row, Size, SizeError, Sweep, sizes};
use crate::accesses::Rule;
use crate::replay::{Hits, ReplayError};
use serde::{Serialize, Serializer};
use std::fmt;

/// Of the infinite cache's hits.
const SHARES: [f64; 3] = [0.90, 0.95, 0.99];

/// A finished sweep; the field names are the JSON keys.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// As a report calls it.
    pub trace: String,
    /// Requests of the trace.
    pub requests: usize,
    /// Which blocks count.
    #[serde(serialize_with = "rule_name")]
    pub rule: Rule,
    /// Tokens per block.
    pub block_size: u32,
    /// Bytes that a block takes.
    pub bytes_per_block: u64,
    /// What takes so many bytes.
    pub memory: String,
    /// Blocks of the deployment.
    pub deployment_blocks: Option<u32>,
    /// Blocks of the longest request.
    pub longest_request_blocks: u32,
    /// Blocks that an infinite cache ends with.
    pub working_set_blocks: u32,
    /// The same in GiB.
    pub working_set_gib: f64,
    /// What an infinite cache hits.
    pub infinite_hit_rate: f64,
    /// Each policy at each size.
    pub rows: Vec<Cell>,
    /// Sizes that are large enough; none where nothing hits.
    pub needed: Vec<Enough>,
    /// More memory, or a better policy?
    pub verdicts: Vec<Verdict>,
}

/// A policy at a size.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Cell {
    /// Who chooses what to evict.
    #[serde(serialize_with = "policy_name")]
    pub policy: Policy,
    /// The size.
    pub blocks: u32,
    /// The same in GiB.
    pub gib: f64,
    /// Hits of all that could hit, 0 to 1.
    pub hit_rate: f64,
    /// In tokens, under the rule of engines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hit_tokens: Option<u64>,
    /// In blocks, under the rule of blocks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hit_blocks: Option<u64>,
    /// Requests larger than the cache.
    pub rejected: u64,
    /// Blocks that were evicted.
    pub evicted: u64,
}

/// The cache that is large enough for a share of the infinite cache's hits.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Enough {
    /// Who chooses what to evict.
    #[serde(serialize_with = "policy_name")]
    pub policy: Policy,
    /// Of the infinite cache's hits.
    pub share: f64,
    /// The size.
    pub blocks: u32,
    /// The same in GiB.
    pub gib: f64,
}

/// A row as it is reported.
fn cell(row: &Row, rule: Rule, memory: &Memory) -> Cell {
    let hit_in = |this| (rule == this).then_some(row.hits.hit);
    Cell {
        policy: row.policy,
        blocks: row.blocks,
        gib: memory.gib(row.blocks),
        hit_rate: row.hits.rate(),
        hit_tokens: hit_in(Rule::Engine),
        hit_blocks: hit_in(Rule::Blocks),
        rejected: row.hits.rejected,
        evicted: row.hits.evicted,
    }
}

/// A needed size as it is reported.
fn enough(needed: &Needed, memory: &Memory) -> Enough {
    let Needed { policy, share, blocks } = *needed;
    Enough { policy, share, blocks, gib: memory.gib(blocks) }
}

/// Told what is done, and how many of how many, from any thread.
pub type OnStage<'a> = &'a (dyn Fn(&'static str, usize, usize) + Sync);

impl Report {
    /// Runs `policies`, and the bounds, at the sizes that are named or at the usual ones.
    ///
    /// # Errors
    /// No cache can have one of the sizes, or the accesses were stopped.
    pub fn new(
        trace: String,
        sweep: &Sweep<'_>,
        policies: &[Policy],
        sizes_named: &[Size],
        memory: &Memory,
        on_stage: OnStage<'_>,
    ) -> Result<Report, ReportError> {
        let (accesses, infinite) = (sweep.accesses, sweep.infinite());
        let longest = accesses.longest_request();
        let sizes = sizes(sizes_named, infinite.blocks.into(), longest, memory)?;
        let on_rows = |done, of| on_stage("policies and sizes", done, of);
        let rows = sweep.rows(policies, &sizes, &on_rows)?;
        let on_needed = |done, of| on_stage("sizes needed", done, of);
        let needed = sweep.needed(policies, &SHARES, &rows, &on_needed)?;
        let lru = sizes.iter().map(|&blocks| Ok((blocks, sweep.hits(Policy::LRU, blocks)?)));
        let lru = lru.collect::<Result<Vec<(u32, Hits)>, ReplayError>>()?;
        let rule = accesses.rule();
        Ok(Report {
            trace,
            requests: accesses.len(),
            rule,
            block_size: accesses.block_size(),
            bytes_per_block: memory.bytes_per_block,
            memory: memory.name.clone(),
            deployment_blocks: memory.deployment,
            longest_request_blocks: longest,
            working_set_blocks: infinite.blocks,
            working_set_gib: memory.gib(infinite.blocks),
            infinite_hit_rate: infinite.hits.rate(),
            rows: rows.iter().map(|row| cell(row, rule, memory)).collect(),
            needed: needed.iter().map(|needed| enough(needed, memory)).collect(),
            verdicts: verdicts(&rows, &lru, memory),
        })
    }
}

/// Why there is no report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportError {
    /// No cache can have one of the sizes.
    Size(SizeError),
    /// A cache cannot be simulated.
    Replay(ReplayError),
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReportError::Size(error) => error.fmt(f),
            ReportError::Replay(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReportError {}

impl From<SizeError> for ReportError {
    fn from(error: SizeError) -> Self {
        ReportError::Size(error)
    }
}

impl From<ReplayError> for ReportError {
    fn from(error: ReplayError) -> Self {
        ReportError::Replay(error)
    }
}

fn rule_name<S: Serializer>(rule: &Rule, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(rule.name())
}

fn policy_name<S: Serializer>(policy: &Policy, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(policy.name())
}
