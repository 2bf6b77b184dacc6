//! From samples to a table for people and JSON for programs.

use std::fs;
use std::io::{self, Write};

use serde::Serialize;

/// Which way a number is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Better {
    /// Times and bytes.
    Lower,
    /// Rates.
    Higher,
    /// Numbers that the sides should agree on.
    Equal,
}

/// What was measured, and in what.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Question {
    pub(crate) workload: String,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
}

/// One side's answer: a number per round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Answer {
    pub(crate) side: &'static str,
    pub(crate) samples: Vec<f64>,
}

/// A question with the answers of all sides, whose rounds took turns.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Comparison {
    #[serde(flatten)]
    pub(crate) question: Question,
    pub(crate) answers: Vec<Answer>,
}

/// Where and with what the numbers came about.
#[derive(Serialize)]
pub(crate) struct Setting {
    command: String,
    cpu: String,
    cores: usize,
    versions: Vec<String>,
}

/// Everything of a run.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) setting: Setting,
    pub(crate) comparisons: Vec<Comparison>,
}

impl Setting {
    /// Asks the machine, and the lock file that this program was built from.
    pub(crate) fn read() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
        let cpu = model.map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        Self {
            command: format!(
                "cargo run --release -p kvkeep-bench-peers -- {}",
                arguments.join(" ")
            ),
            cpu: cpu.to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            versions: ["kvkeep", "kvbm-logical", "dynamo-tokens"].map(locked_version).to_vec(),
        }
    }
}

fn locked_version(package: &str) -> String {
    let lock = include_str!("../../../Cargo.lock");
    let start = format!("name = \"{package}\"\nversion = \"");
    let version = lock.split_once(&start).and_then(|(_, rest)| rest.split('"').next());
    format!("{package} {}", version.unwrap_or("unknown"))
}

/// Median of the samples; `NaN` without any.
fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

impl Comparison {
    /// How many times the first side's cost the side has: the median over rounds of the
    /// ratio inside a round, which a machine that slows down for a while moves less
    /// than the ratio of two medians.
    fn cost_ratio(&self, answer: &Answer) -> f64 {
        let pairs = answer.samples.iter().zip(&self.answers[0].samples);
        let ratios: Vec<f64> = match self.question.better {
            Better::Higher => pairs.map(|(mine, first)| first / mine).collect(),
            Better::Lower | Better::Equal => pairs.map(|(mine, first)| mine / first).collect(),
        };
        median(&ratios)
    }

    /// Writes the rows of the table.
    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let Question { workload, unit, .. } = &self.question;
        for answer in &self.answers {
            let least = answer.samples.iter().copied().fold(f64::INFINITY, f64::min);
            let most = answer.samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let ratio = self.cost_ratio(answer);
            // A ratio to nearly nothing says nothing.
            let ratio = if ratio < 1000.0 { format!("{ratio:.2}") } else { "> 1000".to_owned() };
            let digits = if self.question.better == Better::Equal { 5 } else { 1 };
            writeln!(
                out,
                "{workload:<24} {unit:<18} {:<20} {:>10.digits$} {least:>10.digits$} {most:>10.digits$} {ratio:>8}",
                answer.side,
                median(&answer.samples),
            )?;
        }
        Ok(())
    }
}

/// Writes the lines above the table.
pub(crate) fn write_head(setting: &Setting, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}, {} cores, one thread, CPU time", setting.cpu, setting.cores)?;
    writeln!(out, "{}", setting.versions.join(", "))?;
    writeln!(out, "{}", setting.command)?;
    writeln!(
        out,
        "\n{:<24} {:<18} {:<20} {:>10} {:>10} {:>10} {:>8}",
        "workload", "unit", "side", "median", "min", "max", "x cost"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(better: Better) -> Comparison {
        let question = Question { workload: "w".to_owned(), unit: "u", better };
        let answer = |side, samples: [f64; 3]| Answer { side, samples: samples.to_vec() };
        let answers = vec![answer("a", [10.0, 20.0, 10.0]), answer("b", [30.0, 40.0, 40.0])];
        Comparison { question, answers }
    }

    #[test]
    fn medians_of_odd_even_and_nothing() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_ratio_is_taken_inside_the_round() {
        // 30/10, 40/20, 40/10: the middle one is 3, not 40/10.
        let lower = comparison(Better::Lower);
        assert_eq!(lower.cost_ratio(&lower.answers[1]), 3.0);
        let higher = comparison(Better::Higher);
        assert_eq!(higher.cost_ratio(&higher.answers[1]), 1.0 / 3.0);
    }

    #[test]
    fn versions_come_from_the_lock_file() {
        assert_eq!(locked_version("kvbm-logical"), "kvbm-logical 1.6.1");
        assert_eq!(locked_version("no-such-package"), "no-such-package unknown");
    }
}
