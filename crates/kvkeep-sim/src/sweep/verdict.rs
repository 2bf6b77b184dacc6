//! Capacity or policy? What stands between a cache and all hits that the trace has to give.
//!
//! The optimum divides the distance: what it misses, no policy gets, only memory
//! (the capacity gap); what LRU misses of the optimum's hits, another policy might get. Gaps
//! below [`WORTH_IT`] are not worth acting on.

use super::{Memory, Policy, Row};
use crate::replay::Hits;
use serde::Serialize;

/// A point of hit rate.
const WORTH_IT: f64 = 0.01;

/// The verdict on one size; the field names are the JSON keys.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Verdict {
    /// The size.
    pub blocks: u32,
    /// The same in GiB.
    pub gib: f64,
    /// The best policy that was swept.
    pub policy: &'static str,
    /// Infinite cache - optimum.
    pub capacity_gap: f64,
    /// Optimum - best policy that was swept.
    pub policy_gap: f64,
    /// Optimum - LRU.
    pub lru_gap: f64,
    /// Best policy that was swept - LRU.
    pub gain_over_lru: f64,
    /// What would help.
    pub verdict: What,
    /// What to do, in a sentence.
    pub advice: String,
}

/// What would help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum What {
    /// Capacity gap alone.
    #[serde(rename = "capacity")]
    Capacity,
    /// Distance from LRU to the optimum alone.
    #[serde(rename = "policy")]
    Policy,
    /// Both gaps.
    #[serde(rename = "both")]
    Both,
    /// No gap.
    #[serde(rename = "neither")]
    Neither,
}

impl What {
    /// For a column of a table.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            What::Capacity => "capacity",
            What::Policy => "policy",
            What::Both => "both",
            What::Neither => "neither",
        }
    }
}

/// The verdict on each size. `rows` have the optimum and the infinite cache; `lru` is LRU by
/// size, whether it is among the swept policies or not.
pub(super) fn verdicts(rows: &[Row], lru: &[(u32, Hits)], memory: &Memory) -> Vec<Verdict> {
    let infinite = rows.last().map_or(0.0, |row| row.hits.rate());
    lru.iter()
        .map(|&(blocks, lru)| {
            let here = || rows.iter().filter(|row| row.blocks == blocks);
            let optimum = here()
                .find(|row| row.policy == Policy::Opt)
                .map_or(infinite, |row| row.hits.rate());
            // The first of equals, LRU before all.
            let mut best = (Policy::LRU, lru.hit, lru.rate());
            let mut is_swept = here().any(|row| row.policy == Policy::LRU);
            for row in here().filter(|row| !row.policy.is_bound()) {
                if row.hits.hit > best.1 || !is_swept {
                    best = (row.policy, row.hits.hit, row.hits.rate());
                    is_swept = true;
                }
            }
            verdict(blocks, memory.gib(blocks), [infinite, optimum, best.2, lru.rate()], best.0)
        })
        .collect()
}

fn verdict(blocks: u32, gib: f64, rates: [f64; 4], policy: Policy) -> Verdict {
    let [infinite, optimum, best, lru] = rates;
    let (capacity_gap, lru_gap) = (infinite - optimum, optimum - lru);
    let gain_over_lru = best - lru;
    let verdict = match (capacity_gap >= WORTH_IT, lru_gap >= WORTH_IT) {
        (true, true) => What::Both,
        (true, false) => What::Capacity,
        (false, true) => What::Policy,
        (false, false) => What::Neither,
    };
    let points = |gap: f64| format!("{:.1}", gap * 100.0);
    let by_policy = if gain_over_lru >= WORTH_IT {
        let policy = policy.name();
        format!("change the policy to {policy} (+{} points over lru)", points(gain_over_lru))
    } else {
        format!(
            "no swept policy gains a point over lru, though the optimum has {} more: tell the \
             cache what will not be reused (retention hints)",
            points(lru_gap)
        )
    };
    let by_memory =
        format!("add memory (up to {} points more than any policy)", points(capacity_gap));
    let advice = match verdict {
        What::Neither => "leave it: neither memory nor a policy gains a point".to_owned(),
        What::Capacity => by_memory,
        What::Policy => by_policy,
        What::Both if capacity_gap >= lru_gap => format!("{by_memory}; {by_policy}"),
        What::Both => format!("{by_policy}; {by_memory}"),
    };
    Verdict {
        blocks,
        gib,
        policy: policy.name(),
        capacity_gap,
        policy_gap: optimum - best,
        lru_gap,
        gain_over_lru,
        verdict,
        advice,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rates: [f64; 4]) -> (What, String) {
        let verdict = verdict(402, 25.125, rates, "lru-2".parse().unwrap());
        (verdict.verdict, verdict.advice)
    }

    #[test]
    fn each_gap_has_its_advice() {
        let (what, advice) = of([0.40, 0.395, 0.392, 0.39]);
        assert_eq!((what, advice.contains("leave it")), (What::Neither, true));
        let (what, advice) = of([0.40, 0.20, 0.196, 0.195]);
        assert_eq!(
            (what, advice),
            (What::Capacity, "add memory (up to 20.0 points more than any policy)".into())
        );
        let (what, advice) = of([0.40, 0.395, 0.30, 0.20]);
        assert_eq!(
            (what, advice),
            (What::Policy, "change the policy to lru-2 (+10.0 points over lru)".into())
        );
        let (what, advice) = of([0.40, 0.20, 0.05, 0.045]);
        assert_eq!(what, What::Both);
        assert!(advice.starts_with("add memory") && advice.contains("optimum has 15.5 more"));
        let (_, advice) = of([0.40, 0.30, 0.25, 0.10]);
        assert!(advice.starts_with("change the policy"), "{advice}");
    }

    fn row(policy: &str, hit: u64) -> Row {
        let hits = Hits { hit, total: 100, ..Hits::default() };
        Row { policy: policy.parse().unwrap(), blocks: 9, hits }
    }

    #[test]
    fn the_best_is_a_swept_policy_and_lru_among_equals() {
        let memory = Memory { name: String::new(), bytes_per_block: 1 << 30, deployment: None };
        let lru = [(9, row("lru", 20).hits)];
        let best = |rows: &[Row]| {
            let verdict = &verdicts(rows, &lru, &memory)[0];
            (
                verdict.policy,
                (verdict.policy_gap * 100.0).round(),
                (verdict.gain_over_lru * 100.0).round(),
            )
        };
        let (opt, infinite) = (row("opt", 60), row("infinite", 80));
        assert_eq!(best(&[row("fifo", 30), row("lru", 20), opt, infinite]), ("fifo", 30.0, 10.0));
        assert_eq!(best(&[row("fifo", 20), row("lru", 20), opt, infinite]), ("lru", 40.0, 0.0));
        assert_eq!(best(&[row("fifo", 5), row("sieve", 7), opt, infinite]), ("sieve", 53.0, -13.0));
        assert_eq!(best(&[opt, infinite]), ("lru", 40.0, 0.0));
    }
}
