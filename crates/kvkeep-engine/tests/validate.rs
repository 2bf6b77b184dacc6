//! The validation client against this engine: it finds the hits where prefix caching is
//! on, and misses its targets where it is off. Its tokenizer takes bytes, so a word and its
//! space are five tokens.

mod support;

use kvkeep_engine::Shape;
use kvkeep_validate::{Options, Prompts, Report, validate};
use std::sync::{Mutex, PoisonError};
use support::Server;

/// One measurement at a time: they are of time.
static ALONE: Mutex<()> = Mutex::new(());

fn measure(prefix_caching: bool, prompts: Prompts, scale: f64, repeats: usize) -> Report {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = Server::start(Shape::small(), 512, prefix_caching);
    let options = Options {
        url: format!("http://{}", server.address),
        model: None,
        api_key: None,
        prompts,
        scale,
        repeats,
        seed: 1,
    };
    let report = validate(&options, |_| ()).expect("the server is measured");
    eprintln!("{report}");
    server.join();
    report
}

/// A twentieth of the size: 100 tokens at first and 25 more each turn; 400 shared ones.
fn measure_tokens(prefix_caching: bool, repeats: usize) -> Report {
    measure(prefix_caching, Prompts::Tokens, 0.05, repeats)
}

fn cached(report: &Report, test: usize) -> Vec<f64> {
    let turns = report.tests[test].turns.iter();
    turns.map(|turn| turn.cached_on_tokens.expect("it says so").median).collect()
}

#[test]
fn targets_are_met_with_prefix_caching_and_missed_without() {
    // A busy machine may disturb one measurement, but not all three.
    let on = (0..3).map(|_| measure_tokens(true, 3)).find(Report::met).expect("a target is missed");
    assert_eq!(on.model, "tiny");
    assert!(on.warnings.is_empty(), "{:?}", on.warnings);
    // Whole blocks of 16 of the turn before: 100, 125, 150 and 175 tokens.
    assert_eq!(cached(&on, 0), [0.0, 96.0, 112.0, 144.0, 160.0]);
    // 400 tokens are 25 blocks.
    assert_eq!(cached(&on, 1), [0.0, 400.0, 400.0]);
    assert_eq!(cached(&on, 2), [0.0; 5]);
    for turn in on.tests.iter().flat_map(|test| &test.turns) {
        assert_eq!(turn.cached_off_tokens.unwrap().max, 0.0);
    }

    let off = measure_tokens(false, 1);
    assert!(!off.met());
    assert!(off.warnings.iter().any(|warning| warning.contains("nothing cached")));
}

#[test]
fn words_hit_as_tokens_do_and_in_a_chat_too() {
    // 40, 50, 60, 70 and 80 words, with spaces between them.
    let text = measure(true, Prompts::Text, 0.02, 1);
    let tokens: Vec<f64> =
        text.tests[0].turns.iter().map(|turn| turn.prompt_tokens.unwrap().median).collect();
    assert_eq!(tokens, [199.0, 249.0, 299.0, 349.0, 399.0]);
    // Whole blocks of the turn before.
    assert_eq!(cached(&text, 0), [0.0, 192.0, 240.0, 288.0, 336.0]);
    assert_eq!(cached(&text, 2), [0.0; 5]);
    // The role line takes 6 tokens before the message: 205, 255, 305 and 355.
    let chat = measure(true, Prompts::Chat, 0.02, 1);
    assert_eq!(cached(&chat, 0), [0.0, 192.0, 240.0, 304.0, 352.0]);
    for report in [text, chat] {
        assert!(report.warnings.is_empty(), "{:?}", report.warnings);
    }
}
