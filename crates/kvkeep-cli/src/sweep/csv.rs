//! A sweep's rows as CSV (RFC 4180). No field needs quotes: names are lower-case letters,
//! digits and hyphens, the rest are numbers.

use super::report::Report;
use kvkeep_sim::Rule;
use std::fmt::Write as _;

/// The rows below a header.
pub(super) fn render(report: &Report) -> String {
    let unit = match report.rule {
        Rule::Engine => "tokens",
        Rule::Blocks => "blocks",
    };
    let mut out = format!("policy,blocks,gib,hit_rate,hit_{unit},rejected,evicted\r\n");
    for cell in &report.rows {
        let hit = cell.hit_tokens.or(cell.hit_blocks).unwrap_or(0);
        let (policy, rate) = (cell.policy.name(), cell.hit_rate);
        let _ = write!(out, "{policy},{},{},{rate},{hit},", cell.blocks, cell.gib);
        let _ = write!(out, "{},{}\r\n", cell.rejected, cell.evicted);
    }
    out
}
