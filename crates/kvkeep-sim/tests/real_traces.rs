//! The published traces: LRU and OPT against an independent implementation's scores, and
//! what the adaptive policy promises.
//!
//! The traces are not part of the project. They are looked for in `../shared/traces` beside
//! the repository, or where `KVKEEP_TRACES` says.

use kvkeep::evict::Kind;
use kvkeep_sim::trace::{Input, Mooncake, OpenOptions, Request, Source, Trace, Writer, open};
use kvkeep_sim::{Accesses, Policy, Rule, Sweep};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};

const SIZES: [u32; 6] = [300, 1_000, 3_000, 10_000, 30_000, 100_000];

/// A file or folder of the traces, if they are there.
fn found(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/traces");
    let folder = std::env::var_os("KVKEEP_TRACES").map_or_else(beside, PathBuf::from);
    let path = folder.join(name);
    if !path.exists() {
        eprintln!("skipped: there is no {}; set KVKEEP_TRACES", path.display());
        return None;
    }
    Some(path)
}

/// The trace by blocks of 512 tokens.
fn read(path: &Path, users: Option<u32>) -> Accesses {
    let options = OpenOptions { users: users.and_then(NonZeroU32::new), ..OpenOptions::default() };
    let mut source = open(&[path], &options).expect("a published trace").source;
    let block_size = NonZeroU32::new(512).expect("not zero");
    let mut writer = Writer::new(Vec::new(), source.block_size(), block_size).expect("a multiple");
    let mut request = Request::default();
    while source.read_next(&mut request).expect("a published trace") {
        writer.write(&request).expect("memory");
    }
    let input = Input::from_bytes("trace", writer.into_inner()).expect("memory");
    let trace = Trace::read(&mut Mooncake::new(input, None).expect("written above"))
        .expect("written above");
    Accesses::new(&trace, Rule::Blocks)
}

/// Hit rates in percent, by size.
fn rates(accesses: &Accesses, policies: &[Policy]) -> Vec<Vec<f64>> {
    let sweep = Sweep::new(accesses, NonZeroUsize::new(2).expect("a sweep"));
    let rows = sweep.rows(policies, &SIZES, &|_, _| {}).expect("a sweep");
    let of = |policy| {
        SIZES.map(|blocks| {
            let row = rows.iter().find(|row| row.policy == policy && row.blocks == blocks);
            100.0 * row.expect("a sweep").hits.rate()
        })
    };
    policies.iter().map(|&policy| of(policy).to_vec()).collect()
}

#[test]
fn lru_and_opt_score_what_others_found() {
    let Some(path) = found("mooncake_conversation_trace.jsonl") else { return };
    let accesses = read(&path, None);
    let scores = rates(&accesses, &[Policy::LRU, Policy::Opt]);
    // To the digits that were published.
    for (found, published) in scores[0].iter().zip([4.20, 4.45, 6.53, 21.2, 32.6, 36.4]) {
        assert!((found - published).abs() < 0.05, "LRU {found}, published {published}");
    }
    for (found, published) in scores[1].iter().zip([7.71, 17.9, 29.2, 36.6, 36.6, 36.6]) {
        assert!((found - published).abs() < 0.06, "OPT {found}, published {published}");
    }
    let infinite = 100.0 * accesses.infinite().0 as f64 / accesses.total_weight() as f64;
    assert!((infinite - 36.64).abs() < 0.005, "{infinite}");
}

/// At least the best of five policies but for one point, and never more than one percent
/// below LRU, on each trace at each size.
fn keeps_its_promise(name: &str, users: Option<u32>) {
    let Some(path) = found(name) else { return };
    let others = [Kind::Lru, Kind::LruK, Kind::S3Fifo, Kind::Lhd, Kind::WorkloadAware];
    let policies: Vec<Policy> =
        others.into_iter().chain([Kind::Adaptive]).map(Policy::Evict).collect();
    let scores = rates(&read(&path, users), &policies);
    let (adaptive, others) = scores.split_last().expect("six policies");
    for (at, &rate) in adaptive.iter().enumerate() {
        let best = others.iter().map(|scores| scores[at]).fold(0.0, f64::max);
        let lru = others[0][at];
        assert!(rate >= best - 1.0, "{} blocks: {rate}, best {best}", SIZES[at]);
        assert!(rate >= 0.99 * lru, "{} blocks: {rate}, LRU {lru}", SIZES[at]);
    }
}

#[test]
fn adaptive_on_conversations() {
    keeps_its_promise("mooncake_conversation_trace.jsonl", None);
}

#[test]
fn adaptive_on_8_agents() {
    keeps_its_promise("agentic", Some(8));
}

#[test]
fn adaptive_on_32_agents() {
    keeps_its_promise("agentic", Some(32));
}

#[test]
fn adaptive_on_128_agents() {
    keeps_its_promise("agentic", Some(128));
}
