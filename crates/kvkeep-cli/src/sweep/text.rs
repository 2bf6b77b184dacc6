//! A sweep as text for people: policies down, sizes across, at most 100 columns wide.

use super::report::{Report, counted, unit};
use crate::table::{gib, grouped};
use kvkeep_sim::sweep::Enough;
use std::fmt::Write as _;

const WIDTH: usize = 100;
const LABEL: usize = 15;
/// One size.
const CELL: usize = 9;
/// A needed size.
const NEED: usize = 26;

/// The whole answer.
pub(super) fn render(report: &Report) -> String {
    let mut out = head(report);
    rates(&mut out, report);
    needed(&mut out, report);
    verdicts(&mut out, report);
    out.push('\n');
    for note in report.footnotes() {
        wrap(&mut out, &note);
    }
    out
}

fn head(report: &Report) -> String {
    let mut out = String::new();
    let blocks = |blocks: u32| {
        let text = grouped(blocks.into());
        format!("{text} blocks ({} GiB)", gib(report.gib(blocks)))
    };
    let _ = writeln!(
        out,
        "Trace        {}: {} requests, blocks of {} tokens",
        report.trace,
        grouped(report.requests as u64),
        report.block_size
    );
    let _ = writeln!(
        out,
        "Memory       {}: {} MiB a block",
        report.memory,
        gib(report.bytes_per_block as f64 / f64::from(1 << 20))
    );
    if let Some(deployment) = report.deployment_blocks {
        let _ = writeln!(out, "Deployment   {}", blocks(deployment));
    }
    let _ = writeln!(
        out,
        "Working set  {}, {}; an infinite cache hits {} % of all {}",
        blocks(report.working_set_blocks),
        counted(report.rule),
        percent(report.infinite_hit_rate),
        unit(report.rule)
    );
    out
}

fn rates(out: &mut String, report: &Report) {
    let sizes = report.sizes();
    for part in evenly(&sizes, (WIDTH - LABEL) / CELL) {
        let _ = write!(out, "\n{:<LABEL$}", "Hit rate, %");
        for &size in part {
            let _ = write!(out, "{:>1$} ", grouped(size.into()), CELL - 1);
        }
        end_line(out);
        let _ = write!(out, "{:<LABEL$}", "  at GiB");
        for &size in part {
            let _ = write!(out, "{:>1$} ", gib(report.gib(size)), CELL - 1);
        }
        end_line(out);
        for policy in report.policies() {
            let _ = write!(out, "{:<LABEL$}", policy.name());
            for &size in part {
                // The infinite cache has one row, and is the same everywhere.
                let (rate, mark) = match report.of(policy).find(|cell| cell.blocks == size) {
                    Some(cell) if report.is_best(cell) => (cell.hit_rate, '*'),
                    Some(cell) => (cell.hit_rate, ' '),
                    None => (report.infinite_hit_rate, ' '),
                };
                let _ = write!(out, "{:>1$}{mark}", percent(rate), CELL - 1);
            }
            end_line(out);
        }
    }
    out.push_str("* the best policy of its column; sizes are in blocks\n");
}

fn needed(out: &mut String, report: &Report) {
    let shares: Vec<f64> = shares(&report.needed);
    if shares.is_empty() {
        return;
    }
    let _ = write!(out, "\n{:<LABEL$}", "Needed for");
    for share in &shares {
        let _ = write!(out, "{:>NEED$}", format!("{:.0} % of all hits", share * 100.0));
    }
    out.push('\n');
    for line in report.needed.chunks(shares.len()) {
        let _ = write!(out, "{:<LABEL$}", line[0].policy.name());
        for need in line {
            let size = format!("{} ({} GiB)", grouped(need.blocks.into()), gib(need.gib));
            let _ = write!(out, "{size:>NEED$}");
        }
        out.push('\n');
    }
    out.push_str(NEEDED_NOTE);
    out.push('\n');
}

/// How exact needed sizes are.
pub(super) const NEEDED_NOTE: &str =
    "Exact for lru and opt; others up to 1 % too large, their hits need not rise with every block.";

/// The shares of needed sizes, which are the same for each policy.
pub(super) fn shares(needed: &[Enough]) -> Vec<f64> {
    let first = needed.first().map(|need| need.policy);
    needed.iter().take_while(|need| Some(need.policy) == first).map(|need| need.share).collect()
}

fn verdicts(out: &mut String, report: &Report) {
    let _ = writeln!(
        out,
        "\nCapacity or policy? In points of hit rate:\n\
         {:>10}{:>10}{:>16}{:>12}{:>12}  {:<LABEL$}  verdict",
        "blocks", "GiB", "infinite - opt", "opt - lru", "opt - best", "best"
    );
    for verdict in &report.verdicts {
        let _ = writeln!(
            out,
            "{:>10}{:>10}{:>16}{:>12}{:>12}  {:<LABEL$}  {}",
            grouped(verdict.blocks.into()),
            gib(verdict.gib),
            points(verdict.capacity_gap),
            points(verdict.lru_gap),
            points(verdict.policy_gap),
            verdict.policy,
            verdict.verdict.words()
        );
    }
    wrap(out, VERDICT_NOTE);
    for verdict in report.answers() {
        wrap(out, &format!("{}: {}.", report.place(verdict), verdict.advice));
    }
}

/// What the verdict's words mean.
pub(super) const VERDICT_NOTE: &str = "capacity: only more memory helps (infinite - opt is a \
    point or more). policy: lru leaves a point or more to the optimum. both, neither: as they say.";

/// Hundreds with two digits.
pub(super) fn percent(rate: f64) -> String {
    format!("{:.2}", rate * 100.0)
}

/// A gap; nothing is never negative nothing.
pub(super) fn points(gap: f64) -> String {
    let text = percent(gap);
    if text == "-0.00" { "0.00".to_owned() } else { text }
}

/// `items` in parts of about equal length, at most `most` each.
fn evenly<T>(items: &[T], most: usize) -> std::slice::Chunks<'_, T> {
    let parts = items.len().div_ceil(most).max(1);
    items.chunks(items.len().div_ceil(parts).max(1))
}

fn end_line(out: &mut String) {
    out.truncate(out.trim_end_matches(' ').len());
    out.push('\n');
}

/// Appends a paragraph.
pub(super) fn wrap(out: &mut String, text: &str) {
    let mut column = 0;
    for word in text.split_whitespace() {
        if column > 0 && column + 1 + word.len() > WIDTH {
            out.push('\n');
            column = 0;
        }
        if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += word.len();
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_even_and_paragraphs_fit() {
        let lengths = |count: usize| evenly(&vec![0; count], 9).map(<[_]>::len).collect::<Vec<_>>();
        assert_eq!((lengths(9), lengths(10), lengths(13)), (vec![9], vec![5, 5], vec![7, 6]));
        assert!(lengths(0).is_empty());
        let mut out = String::new();
        wrap(&mut out, &"word ".repeat(50));
        assert!(out.lines().all(|line| line.len() <= WIDTH) && out.lines().count() == 3);
    }
}
