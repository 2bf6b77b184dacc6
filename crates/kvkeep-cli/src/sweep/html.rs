//! The report with pictures: one file that needs nothing else.

use super::report::{Report, counted, unit};
use super::style::COLOURS;
use super::svg::escape;
use super::text::{NEEDED_NOTE, VERDICT_NOTE, percent};
use super::{chart, heat};
use crate::table::{gib, grouped};
use std::fmt::Write as _;

const STYLE: &str = "\
body{margin:0 auto;max-width:64rem;padding:1rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,'Segoe UI','DejaVu Sans',sans-serif}
h1{font-size:1.5rem;margin:.2rem 0}h2{font-size:1.15rem;margin:2rem 0 .4rem}
h1,p,li{overflow-wrap:anywhere}p,li{max-width:48rem}small,.soft,caption{color:var(--soft)}
.answer{border-left:4px solid var(--c0);padding:.2rem 1rem;margin:1rem 0}
.wide{overflow-x:auto;margin:.5rem 0}.wide svg{display:block;min-width:44rem;width:100%}
table{border-collapse:collapse;font-size:.84rem;font-variant-numeric:tabular-nums}
caption{text-align:left;padding-bottom:.3rem}
th,td{padding:.2rem .5rem;text-align:right;white-space:nowrap}
th[scope=row]{text-align:left;font-weight:500}thead th{border-bottom:1px solid var(--soft)}
tbody tr+tr>*{border-top:1px solid var(--grid)}
.words{text-align:left}.long{white-space:normal;min-width:16rem}
.here{background:color-mix(in srgb,var(--c4) 22%,var(--paper))}
.heat{background:color-mix(in srgb,var(--heat) var(--share),var(--paper));
-webkit-print-color-adjust:exact;print-color-adjust:exact}
code{font-size:.85rem;overflow-wrap:anywhere}
@media print{body{max-width:none;font-size:11px}.wide{overflow:visible}.wide svg{min-width:0}
table{font-size:8px}th,td{padding:1px 3px}h2,tr,svg{break-inside:avoid}h2{break-after:avoid}}
";

/// The page.
pub(super) fn page(report: &Report) -> String {
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Cache policies and sizes: {0}</title>\n<style>\n{COLOURS}{STYLE}</style>\n</head>\n\
         <body>\n<main>\n<h1>More memory, or a better policy?</h1>\n<p class=\"soft\">{0}</p>\n",
        escape(&report.trace)
    );
    summary(&mut out, report);
    section(&mut out, "What each policy hits", &chart_of(report));
    section(
        &mut out,
        "Policies against the optimum",
        &format!(
            "{}<p>At 100 the policy does as well as one that knows the future. Where all \
             policies are far below, knowing more about the requests is worth more than \
             choosing among them.</p>\n",
            heat::of_optimum(report)
        ),
    );
    section(
        &mut out,
        "Capacity or policy?",
        &format!("{}<p>{}</p>\n", heat::verdicts(report), escape(VERDICT_NOTE)),
    );
    section(&mut out, "Hit rates", &heat::rates(report));
    section(
        &mut out,
        "How much memory is needed?",
        &format!("{}<p>{NEEDED_NOTE}</p>\n", heat::needed(report)),
    );
    let notes = report.footnotes().iter().fold(String::new(), |mut notes, note| {
        let _ = writeln!(notes, "<li>{}</li>", escape(note));
        notes
    });
    section(&mut out, "How to read this", &format!("<ul>\n{notes}</ul>\n"));
    let command = format!("<p><code>{}</code></p>\n", escape(&report.command));
    section(&mut out, "Made with", &command);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn section(out: &mut String, title: &str, body: &str) {
    let _ = write!(out, "<section>\n<h2>{title}</h2>\n{body}</section>\n");
}

fn summary(out: &mut String, report: &Report) {
    let _ = writeln!(
        out,
        "<p>{} requests in blocks of {} tokens. Their working set is {} blocks ({}), {} GiB for {}. A \
         cache that never evicts hits <b>{} %</b> of all {}.</p>",
        grouped(report.requests as u64),
        grouped(report.block_size.into()),
        grouped(report.working_set_blocks.into()),
        counted(report.rule),
        gib(report.working_set_gib),
        escape(&report.memory),
        percent(report.infinite_hit_rate),
        unit(report.rule)
    );
    // The table of verdicts has what to do at each of many sizes.
    if let [verdict] = report.answers()[..] {
        let (place, advice) = (report.place(verdict), escape(&verdict.advice));
        let _ = writeln!(out, "<p class=\"answer\"><b>{place}</b>: {advice}.</p>");
    }
}

fn chart_of(report: &Report) -> String {
    format!(
        "<div class=\"wide\" tabindex=\"0\">\n{}</div>\n<p>Each line is a policy; higher is better. \
         Its dots are the swept sizes; the lines of lru and opt are exact at every size that runs \
         all requests. Of many policies the best are coloured, and adaptive. No policy gets above \
         opt. The distance from opt to infinite closes with memory alone. Point at a dot or a \
         line for its name.</p>\n",
        chart::figure(report)
    )
}
