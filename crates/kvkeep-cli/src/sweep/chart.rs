//! The chart of hit rate against memory: a line per policy between the bounds.
//!
//! Of many policies the best are coloured, and `adaptive`; the others are grey, and the table
//! of the report has their figures.

use super::report::{Report, span};
use super::style::{COLOURS, HUES, Stroke};
use super::svg::{Scale, escape, log_ticks, round_step};
use super::text::percent;
use crate::table::{gib, grouped};
use kvkeep::evict::Kind;
use kvkeep_sim::Policy;
use kvkeep_sim::sweep::Cell;
use std::fmt::Write as _;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 560.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 726.0;
const TOP: f64 = 92.0;
const BOTTOM: f64 = 462.0;
/// Between two lines of the legend, and between two names of grey lines.
const PITCH: f64 = 21.0;
const SMALL_PITCH: f64 = 15.0;
/// More would touch each other.
const MOST_X_TICKS: usize = 11;
/// Dots of more sizes are small.
const MOST_LARGE_DOTS: usize = 16;

/// A file of its own.
pub(super) fn file(report: &Report) -> String {
    render(report, " xmlns=\"http://www.w3.org/2000/svg\"", &format!("<style>{COLOURS}</style>"))
}

/// For a page that has the colours.
pub(super) fn figure(report: &Report) -> String {
    render(report, "", "")
}

fn render(report: &Report, namespace: &str, style: &str) -> String {
    let (x, y) = scales(report);
    let mut out = format!(
        "<svg{namespace} viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-labelledby=\"chart-title chart-desc\">\n\
         <title id=\"chart-title\">Hit rate against KV memory</title>\n\
         <desc id=\"chart-desc\">{}</desc>\n{style}\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" style=\"fill:var(--paper)\"/>\n",
        escape(&description(report))
    );
    text(
        &mut out,
        18.0,
        28.0,
        "font-size=\"17\" font-weight=\"600\"",
        "Hit rate against KV memory",
    );
    let subtitle = format!(
        "{}: {} requests, rule {}",
        ending(&report.trace),
        grouped(report.requests as u64),
        report.rule
    );
    text(&mut out, 18.0, 49.0, "class=\"soft\"", &subtitle);
    axes(&mut out, report, x, y);
    deployment(&mut out, report, x);
    let hues = hues(report);
    // From the least to the most important, which goes on top.
    let mut lines = report.policies();
    lines.sort_by_key(|policy| (*policy == Policy::LRU, hues.contains(policy)));
    for policy in lines {
        line(&mut out, report, policy, &stroke(policy, &hues), x, y);
    }
    legend(&mut out, report, &hues);
    out.push_str("</svg>\n");
    out
}

/// The policies that are coloured, in the order of the sweep: all, or `adaptive` and the best.
fn hues(report: &Report) -> Vec<Policy> {
    let mut policies = report.policies();
    policies.retain(|policy| !policy.is_bound() && *policy != Policy::LRU);
    let mut best = policies.clone();
    best.sort_by(|a, b| report.mean_rate(*b).total_cmp(&report.mean_rate(*a)));
    best.sort_by_key(|policy| *policy != Policy::Evict(Kind::Adaptive));
    best.truncate(HUES);
    policies.retain(|policy| best.contains(policy));
    policies
}

fn stroke(policy: Policy, hues: &[Policy]) -> Stroke {
    Stroke::of(policy, hues.iter().position(|other| *other == policy))
}

fn description(report: &Report) -> String {
    let mut text = format!(
        "Hit rates of {} at {} cache sizes on a logarithmic scale. An infinite cache hits {} %.",
        report.policies().iter().map(|policy| policy.name()).collect::<Vec<_>>().join(", "),
        report.sizes().len(),
        percent(report.infinite_hit_rate)
    );
    if let Some(here) = report.deployment_blocks {
        let _ = write!(text, " The deployment has {} GiB.", gib(report.gib(here)));
    }
    text
}

/// From the smallest to the largest size (GiB), and from nothing to above all lines.
fn scales(report: &Report) -> (Scale, Scale) {
    let (least, most) = ends(report);
    let x = Scale::log(least, most, LEFT, RIGHT);
    let step = y_step(report);
    let top = (report.infinite_hit_rate * 1.04 / step).ceil().max(1.0) * step;
    (x, Scale::linear(0.0, top, BOTTOM, TOP))
}

/// GiB, with room for the dots at both ends.
fn ends(report: &Report) -> (f64, f64) {
    let (least, most) = span(&report.sizes(), report.deployment_blocks);
    let block = report.gib(1);
    (least * block * 0.93, most * block * 1.08)
}

fn y_step(report: &Report) -> f64 {
    round_step(report.infinite_hit_rate.max(0.01), 8)
}

fn axes(out: &mut String, report: &Report, x: Scale, y: Scale) {
    let step = y_step(report);
    let mut n = 0.0;
    while y.px(n * step) >= TOP - 0.5 {
        let at = y.px(n * step);
        let class = if n == 0.0 { "axis" } else { "grid" };
        let _ = writeln!(
            out,
            "<line class=\"{class}\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>"
        );
        let digits = if step < 0.01 { 1 } else { 0 };
        let label = format!("{:.digits$} %", n * step * 100.0);
        text(out, LEFT - 8.0, at + 4.5, "text-anchor=\"end\"", &label);
        n += 1.0;
    }
    let (least, most) = ends(report);
    for tick in log_ticks(least, most, MOST_X_TICKS) {
        let at = x.px(tick);
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\"/>"
        );
        text(out, at, BOTTOM + 19.0, "text-anchor=\"middle\"", &short(tick));
        let blocks = tick / report.gib(1);
        if blocks >= 1.0 {
            let label = grouped(blocks.round() as u64);
            let look = "text-anchor=\"middle\" class=\"soft\" font-size=\"11\"";
            text(out, at, BOTTOM + 36.0, look, &label);
        }
    }
    let middle = (LEFT + RIGHT) / 2.0;
    let title = "GiB of KV memory on all GPUs of one replica";
    text(out, middle, BOTTOM + 62.0, "text-anchor=\"middle\"", title);
    let blocks = format!("small figures: blocks of {} tokens", grouped(report.block_size.into()));
    text(out, middle, BOTTOM + 80.0, "text-anchor=\"middle\" class=\"soft\"", &blocks);
}

/// A tick without superfluous digits.
fn short(tick: f64) -> String {
    if tick >= 1_000.0 {
        grouped(tick.round() as u64)
    } else {
        format!("{}", (tick * 1e6).round() / 1e6)
    }
}

fn deployment(out: &mut String, report: &Report, x: Scale) {
    let Some(blocks) = report.deployment_blocks else { return };
    let size = report.gib(blocks);
    let at = x.px(size);
    let _ = writeln!(
        out,
        "<line class=\"here\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{}\" y2=\"{BOTTOM}\"/>",
        TOP - 8.0
    );
    // Beside the line, on the side that has room.
    let (anchor, shift) = if at < (LEFT + RIGHT) / 2.0 { ("start", -6.0) } else { ("end", 6.0) };
    let look = format!("text-anchor=\"{anchor}\"");
    text(out, at + shift, TOP - 14.0, &look, &format!("deployment, {} GiB", gib(size)));
}

fn line(out: &mut String, report: &Report, policy: Policy, stroke: &Stroke, x: Scale, y: Scale) {
    let place = |blocks: u32, rate: f64| {
        format!("{:.1},{:.1}", x.px(report.gib(blocks.max(1))), y.px(rate))
    };
    let cells: Vec<&Cell> = report.of(policy).collect();
    let points: Vec<String> = match policy {
        Policy::Infinite => {
            let at = y.px(report.infinite_hit_rate);
            vec![format!("{LEFT},{at:.1}"), format!("{RIGHT},{at:.1}")]
        }
        _ => {
            let curve = report.curve(policy);
            let start = curve.first().map_or(u32::MAX, |(blocks, _)| *blocks);
            let below = cells.iter().filter(|cell| cell.blocks < start);
            let below = below.map(|cell| (cell.blocks, cell.hit_rate));
            let points = below.chain(curve.iter().copied());
            points.map(|(blocks, rate)| place(blocks, rate)).collect()
        }
    };
    let name = policy.name();
    let _ = writeln!(
        out,
        "<polyline {} points=\"{}\"><title>{name}</title></polyline>",
        stroke.line(),
        points.join(" ")
    );
    if policy == Policy::Infinite || stroke.is_faint() {
        return;
    }
    // Large ones have a rim, which would cut a line of many into pieces.
    let size = match cells.len() {
        ..=MOST_LARGE_DOTS => "r=\"3.4\"",
        _ => "r=\"2\" stroke-width=\"0\"",
    };
    for cell in cells {
        let _ = writeln!(
            out,
            "<circle {} cx=\"{:.1}\" cy=\"{:.1}\" {size}><title>{name}: {} % at {} GiB, {} \
             blocks</title></circle>",
            stroke.dot(),
            x.px(cell.gib),
            y.px(cell.hit_rate),
            percent(cell.hit_rate),
            gib(cell.gib),
            grouped(cell.blocks.into())
        );
    }
}

/// Names in the order of their mean rate, so about in the order of the lines.
fn legend(out: &mut String, report: &Report, hues: &[Policy]) {
    let mut policies = report.policies();
    policies.sort_by(|a, b| {
        // Bounds first, the infinite cache before the optimum.
        let bound = |policy: Policy| (policy == Policy::Infinite, policy == Policy::Opt);
        let by_rate = report.mean_rate(*b).total_cmp(&report.mean_rate(*a));
        bound(*b).cmp(&bound(*a)).then(by_rate)
    });
    let (others, named): (Vec<_>, Vec<_>) =
        policies.into_iter().partition(|&policy| stroke(policy, hues).is_faint());
    let left = RIGHT + 24.0;
    text(out, left, TOP - 14.0, "class=\"soft\"", "by mean hit rate");
    let mut at = TOP + 8.0;
    let entry = |out: &mut String, at: f64, stroke: &Stroke, look: &str, name: &str| {
        let _ = writeln!(out, "<path {} d=\"M{left},{at:.1}h38\"/>", stroke.line());
        text(out, left + 46.0, at + 4.5, look, name);
    };
    for policy in named {
        let (look, name) = match policy {
            Policy::Infinite => ("", "infinite (bound)"),
            Policy::Opt => ("", "opt (bound)"),
            Policy::LRU => ("font-weight=\"600\"", "lru"),
            Policy::Evict(kind) => ("", kind.name()),
        };
        entry(out, at, &stroke(policy, hues), look, name);
        at += PITCH;
    }
    let Some(first) = others.first() else { return };
    entry(out, at, &stroke(*first, hues), "class=\"soft\"", &format!("{} others", others.len()));
    let rows = others.len().div_ceil(2);
    for (n, policy) in others.iter().enumerate() {
        let x = left + 100.0 * (n / rows) as f64;
        let y = at + PITCH + 2.0 + SMALL_PITCH * (n % rows) as f64;
        text(out, x, y, "class=\"soft\" font-size=\"11\"", policy.name());
    }
}

/// The end of a long name, which says more than its beginning.
fn ending(name: &str) -> String {
    const MOST: usize = 60;
    let length = name.chars().count();
    if length <= MOST {
        name.to_owned()
    } else {
        format!("...{}", name.chars().skip(length - MOST).collect::<String>())
    }
}

fn text(out: &mut String, x: f64, y: f64, look: &str, words: &str) {
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" {look}>{}</text>", escape(words));
}
