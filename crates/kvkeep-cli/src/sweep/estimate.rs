//! LRU's hit rates from a sample of the blocks, for traces that memory does not hold.

use super::{
    report::{counted, definition, rule_name, unit},
    text,
};
use crate::{
    bytes::parse_count,
    error::Error,
    progress::Progress,
    table::{gib, grouped},
};
use kvkeep_sim::{
    Rule, Shards,
    sweep::{Memory, Named, Size, sizes},
    trace::{Request, Source},
};
use serde::Serialize;
use std::fmt::Write as _;

/// An estimate; the field names are the JSON keys.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    trace: String,
    requests: u64,
    #[serde(serialize_with = "rule_name")]
    rule: Rule,
    block_size: u32,
    bytes_per_block: u64,
    deployment_blocks: Option<u32>,
    /// Of the blocks, how many were looked at.
    sampled_share: f64,
    working_set_blocks: u64,
    infinite_hit_rate: f64,
    infinite_hit_rate_error: f64,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    policy: &'static str,
    blocks: u32,
    gib: f64,
    hit_rate: f64,
    /// One standard error.
    error: f64,
}

/// Parses how many blocks the sample may have.
pub(super) fn parse_blocks(text: &str) -> Result<u32, String> {
    match parse_count(text)? {
        0..1_024 => Err("a sample of less than 1024 blocks says nothing".to_owned()),
        blocks => Ok(blocks),
    }
}

/// Streams the trace, with at most `max_blocks` blocks in the sample.
pub(super) fn run(
    Named { name, mut source }: Named,
    rule: Rule,
    max_blocks: u32,
    sizes_named: &[Size],
    memory: &Memory,
) -> Result<Report, Error> {
    let mut shards = Shards::new(rule, source.block_size(), max_blocks);
    let (mut request, mut requests) = (Request::default(), 0_u64);
    let mut progress = Progress::start("read");
    while source.read_next(&mut request)? {
        shards.observe(&request);
        requests += 1;
        progress.update(requests, source.fraction_read());
    }
    let working_set = shards.distinct_blocks();
    let row = |blocks| {
        let estimate = shards.estimate(u64::from(blocks));
        let (hit_rate, error) = (estimate.rate, estimate.error);
        Row { policy: "lru", blocks, gib: memory.gib(blocks), hit_rate, error }
    };
    let blocks = sizes(sizes_named, working_set, shards.longest_request(), memory)
        .map_err(|error| Error::Input(format!("--sizes {error}")))?;
    let infinite = shards.estimate(u64::MAX);
    Ok(Report {
        block_size: source.block_size(),
        trace: name,
        requests,
        rule,
        bytes_per_block: memory.bytes_per_block,
        deployment_blocks: memory.deployment,
        sampled_share: shards.rate(),
        working_set_blocks: working_set,
        infinite_hit_rate: infinite.rate,
        infinite_hit_rate_error: infinite.error,
        rows: blocks.into_iter().map(row).collect(),
    })
}

impl Report {
    /// For people.
    pub(super) fn table(&self) -> String {
        let mut out = format!(
            "Trace        {}: {} requests, blocks of {} tokens\n\
             Sample       {} % of the blocks\n\
             Working set  about {} blocks, {}; an infinite cache hits {} % +- {} of all {}\n\n\
             {:>12}{:>12}{:>14}{:>12}\n",
            self.trace,
            grouped(self.requests),
            self.block_size,
            text::percent(self.sampled_share),
            grouped(self.working_set_blocks),
            counted(self.rule),
            text::percent(self.infinite_hit_rate),
            text::percent(self.infinite_hit_rate_error),
            unit(self.rule),
            "blocks",
            "GiB",
            "lru hits, %",
            "+-",
        );
        for row in &self.rows {
            let _ = writeln!(
                out,
                "{:>12}{:>12}{:>14}{:>12}",
                grouped(row.blocks.into()),
                gib(row.gib),
                text::percent(row.hit_rate),
                text::percent(row.error)
            );
        }
        out.push('\n');
        text::wrap(
            &mut out,
            "+- is one standard error. Requests run one after another; outputs are ignored. Sizes \
             below the longest request are too optimistic: none is rejected.",
        );
        text::wrap(&mut out, definition(self.rule));
        out
    }

    /// For spreadsheets.
    pub(super) fn csv(&self) -> String {
        let mut out = "policy,blocks,gib,hit_rate,error\r\n".to_owned();
        for Row { policy, blocks, gib, hit_rate, error } in &self.rows {
            let _ = write!(out, "{policy},{blocks},{gib},{hit_rate},{error}\r\n");
        }
        out
    }
}
