//! A sweep's report with what its pictures need besides, and what is said about it.

use crate::table::{gib, grouped};
use kvkeep_sim::sweep::{Cell, Verdict};
use kvkeep_sim::{Curve, Policy, Rule, Sweep, sweep};
use serde::Serializer;
use std::ops::Deref;

/// Points of a curve in a picture.
const CURVE_POINTS: u32 = 240;
/// From the least size of a picture to the most; one size alone would have no scale.
const LEAST_SPAN: f64 = 6.0;

/// A finished sweep.
pub(super) struct Report {
    /// The figures, which are the JSON as well.
    pub(super) figures: sweep::Report,
    /// Hit rates by blocks, of policies that have them at every size.
    pub(super) curves: Vec<(Policy, Points)>,
    /// What was typed.
    pub(super) command: String,
}

impl Deref for Report {
    type Target = sweep::Report;

    fn deref(&self) -> &sweep::Report {
        &self.figures
    }
}

/// Hit rates by blocks.
pub(super) type Points = Vec<(u32, f64)>;

/// What a picture shows: blocks from the least to the most of the sizes and the deployment's.
pub(super) fn span(sizes: &[u32], deployment: Option<u32>) -> (f64, f64) {
    let blocks = || sizes.iter().copied().chain(deployment);
    let least = f64::from(blocks().min().unwrap_or(1).max(1));
    let most = f64::from(blocks().max().unwrap_or(1).max(1));
    let more = (LEAST_SPAN / (most / least)).max(1.0).sqrt();
    (least / more, most * more)
}

/// The exact curves at sizes of equal ratio over `span`, as far as they are exact.
pub(super) fn curves(sweep: &Sweep<'_>, span: (f64, f64)) -> Vec<(Policy, Points)> {
    let points = |curve: &Curve| {
        let least = span.0.max(curve.exact_from().into());
        let step = |n: u32| (span.1 / least).powf(f64::from(n) / f64::from(CURVE_POINTS));
        let blocks = (0..=CURVE_POINTS).map(|n| (least * step(n)).round() as u32);
        let mut points: Points = blocks.map(|blocks| (blocks, curve.rate(blocks))).collect();
        points.dedup();
        points
    };
    let exact = [Policy::LRU, Policy::Opt].into_iter();
    let exact = exact.filter_map(|policy| Some((policy, sweep.curve(policy)?)));
    exact
        .filter(|(_, curve)| f64::from(curve.exact_from()) < span.1)
        .map(|(policy, curve)| (policy, points(curve)))
        .collect()
}

impl Report {
    /// The sizes, ascending.
    pub(super) fn sizes(&self) -> Vec<u32> {
        self.of(Policy::Opt).map(|cell| cell.blocks).collect()
    }

    /// A policy's cells by size.
    pub(super) fn of(&self, policy: Policy) -> impl Iterator<Item = &Cell> {
        self.rows.iter().filter(move |cell| cell.policy == policy)
    }

    /// A policy's exact curve, empty where it has none.
    pub(super) fn curve(&self, policy: Policy) -> &[(u32, f64)] {
        let curve = self.curves.iter().find(|(of, _)| *of == policy);
        curve.map_or(&[], |(_, points)| points)
    }

    /// The mean of a policy's hit rates over the sizes.
    pub(super) fn mean_rate(&self, policy: Policy) -> f64 {
        let rates: Vec<f64> = self.of(policy).map(|cell| cell.hit_rate).collect();
        rates.iter().sum::<f64>() / rates.len().max(1) as f64
    }

    /// The policies in the order of the rows, bounds last.
    pub(super) fn policies(&self) -> Vec<Policy> {
        let mut policies: Vec<_> = self.rows.iter().map(|cell| cell.policy).collect();
        policies.dedup();
        policies
    }

    /// GiB of so many blocks.
    pub(super) fn gib(&self, blocks: u32) -> f64 {
        f64::from(blocks) * (self.bytes_per_block as f64 / f64::from(1 << 30))
    }

    /// The best swept policy at each size, by the verdicts.
    pub(super) fn is_best(&self, cell: &Cell) -> bool {
        let best = self.verdicts.iter().find(|verdict| verdict.blocks == cell.blocks);
        best.is_some_and(|best| best.policy == cell.policy.name())
    }

    /// The verdicts that answer for the deployment; for each size where it was not swept.
    pub(super) fn answers(&self) -> Vec<&Verdict> {
        let of = |verdict: &&Verdict| Some(verdict.blocks) == self.deployment_blocks;
        match self.verdicts.iter().find(of) {
            Some(verdict) => vec![verdict],
            None => self.verdicts.iter().collect(),
        }
    }

    /// What is said before an answer.
    pub(super) fn place(&self, verdict: &Verdict) -> String {
        let of_deployment = Some(verdict.blocks) == self.deployment_blocks;
        let whose = if of_deployment { "the deployment's " } else { "" };
        format!("At {whose}{} GiB", gib(verdict.gib))
    }

    /// What the figures mean, a sentence each.
    pub(super) fn footnotes(&self) -> Vec<String> {
        let mut notes = vec![
            definition(self.rule).to_owned(),
            "Requests run one after another; outputs are ignored. Only leaves are evicted; of each \
             request the tail is released first."
                .to_owned(),
        ];
        let rejected = self.rows.iter().find(|cell| cell.rejected > 0);
        if let Some(cell) = rejected {
            notes.push(format!(
                "A request that needs more blocks than the cache has is rejected and counts as \
                 missed ({} of {} at {} blocks).",
                grouped(cell.rejected),
                grouped(self.requests as u64),
                grouped(cell.blocks.into())
            ));
        }
        notes.push(format!(
            "opt knows the future: the most that any policy can hit{}. infinite never evicts.",
            match self.rule {
                Rule::Engine => ", exact up to one block for each prompt that ends with a full one",
                Rule::Blocks => "",
            }
        ));
        notes
    }
}

/// What hits are counted in.
pub(super) fn unit(rule: Rule) -> &'static str {
    match rule {
        Rule::Engine => "prompt tokens",
        Rule::Blocks => "blocks",
    }
}

/// Which blocks are in the working set.
pub(super) fn counted(rule: Rule) -> &'static str {
    match rule {
        Rule::Engine => "full ones",
        Rule::Blocks => "partial ones as well",
    }
}

/// What the hit rate is, and of which blocks.
pub(super) fn definition(rule: Rule) -> &'static str {
    match rule {
        Rule::Engine => {
            "Hit rate = cached prompt tokens / prompt tokens. --rule engine: only full blocks are \
             cached, a partial last block never; the last token is always computed, and so is the \
             block that holds it."
        }
        Rule::Blocks => {
            "Hit rate = cached blocks / blocks of all prompts. --rule blocks: a partial last block \
             counts and hits like a full one, and so does the block of the last token."
        }
    }
}

pub(super) fn rule_name<S: Serializer>(rule: &Rule, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(rule.name())
}
