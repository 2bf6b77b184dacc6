//! What the timings say, and whether it is enough.

use crate::client::Timing;
use crate::measure::Repeat;
use crate::suite::Test;
use crate::{Options, Prompts};
use serde::Serialize;
use std::fmt;

/// Bounds that a server has to keep.
const CONVERSATION_RATIO: f64 = 2.0;
const LONG_PREFIX_RATIO: f64 = 2.5;
const FIRST_TOKEN_ON_HIT_MS: f64 = 800.0;

/// Several measurements of the same.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The middle one; the mean of both where their number is even.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Summary {
    /// `None` of nothing.
    fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let median = f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Summary { median, min, max })
    }
}

/// One turn of a test over all repeats.
#[derive(Clone, Debug, Serialize)]
pub struct TurnReport {
    /// ms to the first token, arm `off`.
    pub first_token_off_ms: Summary,
    /// ms to the first token, arm `on`.
    pub first_token_on_ms: Summary,
    /// ms to the end of the answer, arm `off`.
    pub total_off_ms: Summary,
    /// ms to the end of the answer, arm `on`.
    pub total_on_ms: Summary,
    /// First-token times of the same prompt, arm `off` over arm `on`, repeat by repeat.
    pub ratio: Summary,
    /// Tokens of the prompt, arm `on`, as the server counts them, if it says so.
    pub prompt_tokens: Option<Summary>,
    /// Prompt tokens found cached in the arm `off`, if the server says so.
    pub cached_off_tokens: Option<Summary>,
    /// Prompt tokens found cached in the arm `on`, if the server says so.
    pub cached_on_tokens: Option<Summary>,
}

impl TurnReport {
    fn new(repeats: &[Repeat], turn: usize) -> Option<Self> {
        let off = || repeats.iter().filter_map(|repeat| repeat.off.get(turn));
        let on = || repeats.iter().filter_map(|repeat| repeat.on.get(turn));
        let cached = |timing: &Timing| timing.cached_tokens.map(|tokens| tokens as f64);
        let counted = |timing: &Timing| timing.prompt_tokens.map(|tokens| tokens as f64);
        let pairs = off().zip(on());
        Some(TurnReport {
            first_token_off_ms: Summary::of(off().map(|timing| timing.first_token_ms))?,
            first_token_on_ms: Summary::of(on().map(|timing| timing.first_token_ms))?,
            total_off_ms: Summary::of(off().map(|timing| timing.total_ms))?,
            total_on_ms: Summary::of(on().map(|timing| timing.total_ms))?,
            ratio: Summary::of(pairs.map(|(off, on)| off.first_token_ms / on.first_token_ms))?,
            prompt_tokens: Summary::of(on().filter_map(counted)),
            cached_off_tokens: Summary::of(off().filter_map(cached)),
            cached_on_tokens: Summary::of(on().filter_map(cached)),
        })
    }
}

/// One test over all repeats.
#[derive(Clone, Debug, Serialize)]
pub struct TestReport {
    /// Its name.
    pub name: &'static str,
    /// Tokens of each turn's prompt as it was sent; words of text or a chat.
    pub sent: Vec<usize>,
    /// Turn by turn.
    pub turns: Vec<TurnReport>,
    /// The note's ratio: first-token time of the first message over the mean of the
    /// following ones, arm `on`.
    pub first_over_following: Summary,
    /// The sound ratio: first-token times of the following messages summed up, arm `off`
    /// over arm `on`.
    pub off_over_on: Summary,
    /// ms to the first token of the following messages, arm `on`.
    pub first_token_on_hit_ms: Summary,
}

impl TestReport {
    pub(crate) fn new(test: Test, scale: f64, repeats: &[Repeat]) -> Option<Self> {
        let first_token = |timing: &Timing| timing.first_token_ms;
        let following = |arm: &[Timing]| arm.iter().skip(1).map(first_token).collect::<Vec<_>>();
        let sum = |arm: &[Timing]| following(arm).iter().sum::<f64>();
        let prompts = crate::suite::prompts(test, scale, &mut crate::suite::Tokens::new(0));
        Some(TestReport {
            name: test.name(),
            sent: prompts.iter().map(Vec::len).collect(),
            turns: (0..prompts.len())
                .map(|turn| TurnReport::new(repeats, turn))
                .collect::<Option<_>>()?,
            first_over_following: Summary::of(repeats.iter().filter_map(|repeat| {
                let mean = sum(&repeat.on) / (repeat.on.len() - 1) as f64;
                Some(repeat.on.first()?.first_token_ms / mean)
            }))?,
            off_over_on: Summary::of(
                repeats.iter().map(|repeat| sum(&repeat.off) / sum(&repeat.on)),
            )?,
            first_token_on_hit_ms: Summary::of(
                repeats.iter().flat_map(|repeat| following(&repeat.on)),
            )?,
        })
    }
}

/// A bound and what was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Target {
    /// What is bounded.
    pub what: String,
    /// The bound.
    pub bound: f64,
    /// The median measured.
    pub measured: f64,
    /// Whether it is kept.
    pub met: bool,
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The server.
    pub url: String,
    /// The model.
    pub model: String,
    /// How prompts were sent: tokens, text or chat.
    pub prompts: &'static str,
    /// Size of the prompts.
    pub scale: f64,
    /// Times that everything was measured.
    pub repeats: usize,
    /// Seed of the prompts.
    pub seed: u64,
    /// The tests.
    pub tests: Vec<TestReport>,
    /// The bounds.
    pub targets: Vec<Target>,
    /// What is odd about the measurement.
    pub warnings: Vec<String>,
}

impl Report {
    pub(crate) fn new(options: &Options, model: &str, tests: Vec<TestReport>) -> Self {
        Report {
            prompts: options.prompts.name(),
            url: options.url.clone(),
            model: model.to_owned(),
            scale: options.scale,
            repeats: options.repeats,
            seed: options.seed,
            targets: targets(&tests),
            warnings: warnings(options.prompts, &tests),
            tests,
        }
    }

    /// Whether every bound is kept.
    #[must_use]
    pub fn met(&self) -> bool {
        self.targets.iter().all(|target| target.met)
    }
}

fn targets(tests: &[TestReport]) -> Vec<Target> {
    let mut targets = Vec::new();
    for (test, bound) in
        [(Test::Conversation, CONVERSATION_RATIO), (Test::LongPrefix, LONG_PREFIX_RATIO)]
    {
        let Some(report) = tests.iter().find(|report| report.name == test.name()) else { continue };
        let measured = report.off_over_on.median;
        let what = format!("{}: off over on, at least", test.name());
        targets.push(Target { what, bound, measured, met: measured >= bound });
        let measured = report.first_token_on_hit_ms.median;
        let what = format!("{}: ms to the first token on a hit, below", test.name());
        let met = measured < FIRST_TOKEN_ON_HIT_MS;
        targets.push(Target { what, bound: FIRST_TOKEN_ON_HIT_MS, measured, met });
    }
    targets
}

fn warnings(prompts: Prompts, tests: &[TestReport]) -> Vec<String> {
    let mut warnings = Vec::new();
    let turns = || tests.iter().flat_map(|test| &test.turns);
    if turns().all(|turn| turn.prompt_tokens.is_none()) {
        let counts = match prompts {
            Prompts::Tokens => "tokens are those sent",
            Prompts::Text | Prompts::Chat => "the words sent stand under \"tokens\"",
        };
        warnings.push(format!("the server does not count the tokens of a prompt; {counts}"));
    }
    if turns().all(|turn| turn.cached_on_tokens.is_none()) {
        warnings.push(
            "the server does not say how many tokens it found cached; vLLM does with \
             --enable-prompt-tokens-details"
                .to_owned(),
        );
        return warnings;
    }
    let cached = |summary: Option<Summary>| summary.map_or(0.0, |cached| cached.median);
    for test in tests
        .iter()
        .filter(|test| Test::ALL.iter().any(|known| known.name() == test.name && known.has_hits()))
    {
        let following = test.turns.iter().skip(1);
        if following.clone().all(|turn| cached(turn.cached_on_tokens) == 0.0) {
            warnings.push(format!(
                "{}: the server found nothing cached; is prefix caching on, and a block \
                 smaller than the prompts?",
                test.name
            ));
        }
    }
    let cached_off = turns().map(|turn| cached(turn.cached_off_tokens)).fold(0.0, f64::max);
    if cached_off > 0.0 {
        let what_to_do = match prompts {
            Prompts::Tokens | Prompts::Text => "so the ratios are too small; take another seed",
            Prompts::Chat => {
                "which should be the chat template before the message; if that is shorter, \
                 take another seed"
            }
        };
        warnings.push(format!(
            "the server found up to {cached_off} tokens cached in the arm \"off\", {what_to_do}"
        ));
    }
    warnings
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { url, model, prompts, scale, repeats, seed, .. } = self;
        writeln!(
            f,
            "{model} at {url}: prompts {prompts}, scale {scale}, {repeats} repeats, seed {seed}"
        )?;
        writeln!(
            f,
            "Medians (smallest - largest); off: nothing can hit, on: as a client sends it"
        )?;
        for test in &self.tests {
            writeln!(f, "\n{}", test.name)?;
            writeln!(
                f,
                "  turn  tokens   off, ms to first token    on, ms to first token   off / on  cached on"
            )?;
            for (number, (&sent, turn)) in test.sent.iter().zip(&test.turns).enumerate() {
                let tokens = turn.prompt_tokens.map_or(sent as f64, |counted| counted.median);
                writeln!(
                    f,
                    "  {:>4}  {tokens:>6}  {:>24}  {:>23}  {:>9}  {:>9}",
                    number + 1,
                    times(turn.first_token_off_ms),
                    times(turn.first_token_on_ms),
                    format!("x{:.2}", turn.ratio.median),
                    turn.cached_on_tokens
                        .map_or("?".to_owned(), |cached| cached.median.to_string()),
                )?;
            }
            writeln!(
                f,
                "  first over following (the note's): {}",
                ratios(test.first_over_following)
            )?;
            writeln!(f, "  following, off over on (sound):    {}", ratios(test.off_over_on))?;
        }
        writeln!(f)?;
        for target in &self.targets {
            let verdict = if target.met { "met   " } else { "MISSED" };
            writeln!(f, "{verdict}  {} {}: {:.2}", target.what, target.bound, target.measured)?;
        }
        self.warnings.iter().try_for_each(|warning| writeln!(f, "warning: {warning}"))
    }
}

fn times(summary: Summary) -> String {
    format!("{:.1} ({:.1} - {:.1})", summary.median, summary.min, summary.max)
}

fn ratios(summary: Summary) -> String {
    format!("x{:.2} (x{:.2} - x{:.2})", summary.median, summary.min, summary.max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(first_token_ms: f64, cached: u64) -> Timing {
        let (prompt_tokens, cached_tokens) = (Some(100), Some(cached));
        Timing { first_token_ms, total_ms: 2.0 * first_token_ms, prompt_tokens, cached_tokens }
    }

    /// A repeat of the long prefix: 100 ms off, 100 then `hit` on.
    fn repeat(hit: f64) -> Repeat {
        Repeat {
            off: vec![timing(100.0, 0), timing(100.0, 0), timing(100.0, 0)],
            on: vec![timing(100.0, 0), timing(hit, 80), timing(hit, 80)],
        }
    }

    #[test]
    fn middles() {
        let of = |values: &[f64]| Summary::of(values.iter().copied());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[3.0]), Some(Summary { median: 3.0, min: 3.0, max: 3.0 }));
        assert_eq!(of(&[5.0, 1.0, 2.0]), Some(Summary { median: 2.0, min: 1.0, max: 5.0 }));
        assert_eq!(of(&[4.0, 1.0, 9.0, 2.0]).unwrap().median, 3.0);
    }

    #[test]
    fn ratios_worked_by_hand() {
        let repeats = [repeat(20.0), repeat(25.0), repeat(50.0)];
        let report = TestReport::new(Test::LongPrefix, 1.0, &repeats).unwrap();
        // 100/25 in the middle, for both ratios: the prompts have one length.
        assert_eq!(report.first_over_following, Summary { median: 4.0, min: 2.0, max: 5.0 });
        assert_eq!(report.off_over_on, report.first_over_following);
        assert_eq!(report.first_token_on_hit_ms.median, 25.0);
        assert_eq!(report.turns[0].ratio.median, 1.0);
        let targets = targets(&[report]);
        assert!(targets.iter().all(|target| target.met), "{targets:?}");
    }

    #[test]
    fn what_is_missed_is_said() {
        let slow = TestReport::new(Test::LongPrefix, 1.0, &[repeat(41.0)]).unwrap();
        assert!(!targets(&[slow])[0].met, "x2.44 is below x2.5");
        let mut late = repeat(20.0);
        late.on[1].first_token_ms = 1700.0;
        let late = TestReport::new(Test::LongPrefix, 1.0, &[late]).unwrap();
        assert!(!targets(&[late])[1].met, "860 ms are not below 800");
    }

    #[test]
    fn odd_measurements_are_noticed() {
        let report = |repeat| TestReport::new(Test::LongPrefix, 1.0, &[repeat]).unwrap();
        let warnings = |report| warnings(Prompts::Tokens, &[report]);
        assert!(warnings(report(repeat(20.0))).is_empty());
        let mut none_cached = repeat(20.0);
        none_cached.on.iter_mut().for_each(|timing| timing.cached_tokens = Some(0));
        assert!(warnings(report(none_cached))[0].contains("nothing cached"));
        let mut off_hits = repeat(20.0);
        off_hits.off.iter_mut().for_each(|timing| timing.cached_tokens = Some(16));
        assert!(warnings(report(off_hits.clone()))[0].contains("so the ratios are too small"));
        let in_a_chat = super::warnings(Prompts::Chat, &[report(off_hits)]);
        assert!(in_a_chat[0].contains("up to 16 tokens"), "{in_a_chat:?}");
        assert!(in_a_chat[0].contains("chat template"), "{in_a_chat:?}");
        let mut uncounted = repeat(20.0);
        uncounted.on.iter_mut().for_each(|timing| timing.prompt_tokens = None);
        assert!(warnings(report(uncounted))[0].contains("does not count"));
        let mut silent = repeat(20.0);
        silent.on.iter_mut().chain(&mut silent.off).for_each(|timing| timing.cached_tokens = None);
        assert!(warnings(report(silent))[0].contains("--enable-prompt-tokens-details"));
    }
}
