//! The validation client against this engine: it finds the hits where prefix caching is
//! on, and misses its targets where it is off.

mod support;

use kvkeep_engine::Shape;
use kvkeep_validate::{Options, Report, validate};
use support::Server;

/// A twentieth of the size: 100 tokens at first and 25 more each turn; 400 shared ones.
fn measure(prefix_caching: bool, repeats: usize) -> Report {
    let server = Server::start(Shape::small(), 512, prefix_caching);
    let options = Options {
        url: format!("http://{}", server.address),
        model: None,
        api_key: None,
        scale: 0.05,
        repeats,
        seed: 1,
    };
    let report = validate(&options, |_| ()).expect("the server is measured");
    eprintln!("{report}");
    server.join();
    report
}

#[test]
fn targets_are_met_with_prefix_caching_and_missed_without() {
    // A busy machine may disturb one measurement, but not all three.
    let on = (0..3).map(|_| measure(true, 3)).find(Report::met).expect("a target is missed");
    assert_eq!(on.model, "tiny");
    assert!(on.warnings.is_empty(), "{:?}", on.warnings);
    let cached = |test: usize| -> Vec<f64> {
        on.tests[test].turns.iter().map(|turn| turn.cached_on_tokens.unwrap().median).collect()
    };
    // Whole blocks of 16 of the turn before: 100, 125, 150 and 175 tokens.
    assert_eq!(cached(0), [0.0, 96.0, 112.0, 144.0, 160.0]);
    // 400 tokens are 25 blocks.
    assert_eq!(cached(1), [0.0, 400.0, 400.0]);
    assert_eq!(cached(2), [0.0; 5]);
    for turn in on.tests.iter().flat_map(|test| &test.turns) {
        assert_eq!(turn.cached_off_tokens.unwrap().max, 0.0);
    }

    let off = measure(false, 1);
    assert!(!off.met());
    assert!(off.warnings.iter().any(|warning| warning.contains("nothing cached")));
}
