//! The validation client against this engine: it finds the hits where prefix caching is
//! on, and misses its targets where it is off.

mod support;

use kvkeep_engine::Shape;
use kvkeep_validate::{Options, Report, validate};
use support::Server;

/// A tenth of the size.
fn measure(prefix_caching: bool) -> Report {
    let server = Server::start(Shape::small(), 512, prefix_caching);
    let options = Options {
        url: format!("http://{}", server.address),
        model: None,
        api_key: None,
        scale: 0.1,
        repeats: 3,
        seed: 1,
    };
    let report = validate(&options, |_| ()).unwrap();
    println!("{report}");
    server.join();
    report
}

#[test]
fn targets_are_met_with_prefix_caching_and_missed_without() {
    let on = measure(true);
    assert_eq!(on.model, "tiny");
    assert!(on.warnings.is_empty(), "{:?}", on.warnings);
    assert!(on.met());
    let cached = |test: usize| -> Vec<f64> {
        on.tests[test].turns.iter().map(|turn| turn.cached_on_tokens.unwrap().median).collect()
    };
    // Whole blocks of 16 of the turn before: 200, 250, 300 and 350 tokens.
    assert_eq!(cached(0), [0.0, 192.0, 240.0, 288.0, 336.0]);
    // 800 tokens are 50 blocks.
    assert_eq!(cached(1), [0.0, 800.0, 800.0]);
    assert_eq!(cached(2), [0.0; 5]);
    for turn in on.tests.iter().flat_map(|test| &test.turns) {
        assert_eq!(turn.cached_off_tokens.unwrap().max, 0.0);
    }

    let off = measure(false);
    assert!(!off.met());
    let missed: Vec<_> = off.targets.iter().map(|target| target.met).collect();
    assert!(!missed[0] && !missed[2], "both ratios are missed: {:?}", off.targets);
    assert!(off.warnings.iter().any(|warning| warning.contains("nothing cached")));
}
