//! Tables of a page: hit rates, shares of the optimum, sizes needed and verdicts.

use super::report::Report;
use super::svg::escape;
use super::text::{percent, points, shares};
use crate::table::{gib, grouped};
use kvkeep_sim::Policy;
use kvkeep_sim::sweep::Cell;
use std::fmt::Write as _;

/// What each policy hits of what the optimum hits, the darker the more.
pub(super) fn of_optimum(report: &Report) -> String {
    let swept = report.policies().into_iter().filter(|policy| !policy.is_bound());
    by_size(report, "Share of the optimum's hits, %", swept, |policy, blocks| {
        let of = |policy| report.of(policy).find(|cell: &&Cell| cell.blocks == blocks);
        let share = match (of(policy), of(Policy::Opt)) {
            (Some(cell), Some(optimum)) if optimum.hit_rate > 0.0 => {
                100.0 * cell.hit_rate / optimum.hit_rate
            }
            _ => return "<td>-</td>".to_owned(),
        };
        let strength = share.clamp(0.0, 100.0);
        format!("<td class=\"heat\" style=\"--share:{strength:.0}%\">{share:.1}</td>")
    })
}

/// Hit rates, the best policy of each size in bold.
pub(super) fn rates(report: &Report) -> String {
    by_size(report, "Hit rate, %", report.policies().into_iter(), |policy, blocks| {
        match report.of(policy).find(|cell| cell.blocks == blocks) {
            Some(cell) if report.is_best(cell) => {
                format!("<td><b>{}</b></td>", percent(cell.hit_rate))
            }
            Some(cell) => format!("<td>{}</td>", percent(cell.hit_rate)),
            None => format!("<td>{}</td>", percent(report.infinite_hit_rate)),
        }
    })
}

fn by_size(
    report: &Report,
    caption: &str,
    policies: impl Iterator<Item = Policy>,
    cell: impl Fn(Policy, u32) -> String,
) -> String {
    let sizes = report.sizes();
    let mut out = open(caption);
    out.push_str("<thead><tr><th scope=\"col\">GiB<br><small>blocks</small></th>");
    for &size in &sizes {
        let here = if Some(size) == report.deployment_blocks { " class=\"here\"" } else { "" };
        let _ = write!(
            out,
            "<th scope=\"col\"{here}>{}<br><small>{}</small></th>",
            gib(report.gib(size)),
            grouped(size.into())
        );
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for policy in policies {
        let _ = write!(out, "<tr><th scope=\"row\">{policy}</th>");
        sizes.iter().for_each(|&size| out.push_str(&cell(policy, size)));
        out.push_str("</tr>\n");
    }
    out.push_str(CLOSE);
    out
}

/// Sizes for a share of all hits.
pub(super) fn needed(report: &Report) -> String {
    let shares = shares(&report.needed);
    if shares.is_empty() {
        return "<p>Nothing ever hits, so no size is needed.</p>\n".to_owned();
    }
    let mut out = open("GiB (blocks) that reach a share of the infinite cache's hits");
    out.push_str("<thead><tr><th scope=\"col\">policy</th>");
    for share in &shares {
        let _ = write!(out, "<th scope=\"col\">{:.0} %</th>", share * 100.0);
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for line in report.needed.chunks(shares.len()) {
        let _ = write!(out, "<tr><th scope=\"row\">{}</th>", line[0].policy);
        for need in line {
            let blocks = grouped(need.blocks.into());
            let _ = write!(out, "<td>{} <small>({blocks})</small></td>", gib(need.gib));
        }
        out.push_str("</tr>\n");
    }
    out.push_str(CLOSE);
    out
}

/// The verdict on each size, in words.
pub(super) fn verdicts(report: &Report) -> String {
    let mut out = open("Gaps in points of hit rate");
    out.push_str("<thead><tr>");
    for head in ["GiB", "blocks", "infinite - opt", "opt - lru", "opt - best"] {
        let _ = write!(out, "<th scope=\"col\">{head}</th>");
    }
    for head in ["best", "verdict", "what to do"] {
        let _ = write!(out, "<th scope=\"col\" class=\"words\">{head}</th>");
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for verdict in &report.verdicts {
        let here = Some(verdict.blocks) == report.deployment_blocks;
        let _ = writeln!(
            out,
            "<tr{}><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td class=\"words\">{}</td><td class=\"words\"><b>{}</b></td>\
             <td class=\"words long\">{}</td></tr>",
            if here { " class=\"here\"" } else { "" },
            gib(verdict.gib),
            grouped(verdict.blocks.into()),
            points(verdict.capacity_gap),
            points(verdict.lru_gap),
            points(verdict.policy_gap),
            verdict.policy,
            verdict.verdict.words(),
            escape(&verdict.advice)
        );
    }
    out.push_str(CLOSE);
    out
}

/// Wide tables scroll by themselves, not the page.
fn open(caption: &str) -> String {
    format!("<div class=\"wide\" tabindex=\"0\"><table><caption>{caption}</caption>\n")
}

const CLOSE: &str = "</tbody></table></div>\n";
