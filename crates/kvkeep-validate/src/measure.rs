//! The measurement: warm up, then all tests in both arms, again and again.

use crate::client::{Client, Timing};
use crate::report::{Report, TestReport};
use crate::suite::{Test, Tokens, prompts};
use crate::{ApiKey, Error, Prompts};

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server: `http://host:port` or `https://host`, with or without `/v1`.
    pub url: String,
    /// The model; the server's first one if `None`.
    pub model: Option<String>,
    /// Sent as a bearer token.
    pub api_key: Option<ApiKey>,
    /// How prompts are sent.
    pub prompts: Prompts,
    /// Size of the prompts, 1 for those of the tests; above 0, at most 10.
    pub scale: f64,
    /// Times that everything is measured, 1 to 1000.
    pub repeats: usize,
    /// Seed of the prompts. Use another one for each run against a running server: the
    /// same prompts are cached from the run before.
    pub seed: u64,
}

/// The timings of one repeat of a test, turn by turn.
#[derive(Clone, Debug)]
pub(crate) struct Repeat {
    pub(crate) off: Vec<Timing>,
    pub(crate) on: Vec<Timing>,
}

/// Measures a server. `progress` hears what is being done.
///
/// # Errors
/// [`Error`] if an option is out of range, or the server cannot be measured.
pub fn validate(options: &Options, mut progress: impl FnMut(&str)) -> Result<Report, Error> {
    if !(options.scale > 0.0 && options.scale <= 10.0) {
        return Err(Error::Option { name: "scale", rule: "pass a number above 0, at most 10" });
    }
    if !(1..=1000).contains(&options.repeats) {
        return Err(Error::Option { name: "repeats", rule: "pass 1 to 1000" });
    }
    let (model, api_key) = (options.model.as_deref(), options.api_key.as_ref());
    let mut client = Client::connect(&options.url, model, api_key, options.prompts)?;
    let mut tokens = Tokens::new(options.seed);
    for test in Test::ALL {
        progress(&format!("warming up: {}", test.name()));
        // Cold and hit, at the largest size of each test.
        if let Some(longest) = prompts(test, options.scale, &mut tokens).last() {
            client.complete(longest)?;
            client.complete(longest)?;
        }
    }
    let mut repeats = Test::ALL.map(|_| Vec::with_capacity(options.repeats));
    for repeat in 0..options.repeats {
        for (test, done) in Test::ALL.into_iter().zip(&mut repeats) {
            progress(&format!("repeat {} of {}: {}", repeat + 1, options.repeats, test.name()));
            done.push(measure(&mut client, test, options.scale, repeat, &mut tokens)?);
        }
    }
    let tests = Test::ALL.into_iter().zip(&repeats);
    let tests = tests.filter_map(|(test, repeats)| TestReport::new(test, options.scale, repeats));
    Ok(Report::new(options, client.model(), tests.collect()))
}

/// One repeat of a test. The arms go turn by turn, so that both see the same weather, and
/// swap places each time, so that neither always comes second.
fn measure(
    client: &mut Client,
    test: Test,
    scale: f64,
    repeat: usize,
    tokens: &mut Tokens,
) -> Result<Repeat, Error> {
    let mut timings = Repeat { off: Vec::new(), on: Vec::new() };
    for (turn, prompt) in prompts(test, scale, tokens).iter().enumerate() {
        let fresh = tokens.with_fresh_start(prompt);
        if (repeat + turn).is_multiple_of(2) {
            timings.off.push(client.complete(&fresh)?);
            timings.on.push(client.complete(prompt)?);
        } else {
            timings.on.push(client.complete(prompt)?);
            timings.off.push(client.complete(&fresh)?);
        }
    }
    Ok(timings)
}
