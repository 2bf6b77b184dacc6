//! What does it cost to know the hit rate at one size, and at every size? The Mooncake
//! conversation trace if it is there (`../shared/traces` beside the repository, or
//! `KVKEEP_TRACES`), at its own 512-token blocks and cut into blocks of 16; else a made-up
//! trace. Reading the trace is not part of it.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kvkeep::evict::Lru;
use kvkeep_sim::trace::{
    Generate, GenerateOptions, Input, Mooncake, Request, Source, Trace, TraceError,
};
use kvkeep_sim::{Accesses, Curve, Opt, Rule, replay};
use std::path::{Path, PathBuf};

fn published() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/traces");
    let folder = std::env::var_os("KVKEEP_TRACES").map_or_else(beside, PathBuf::from);
    let path = folder.join("mooncake_conversation_trace.jsonl");
    path.exists().then_some(path)
}

fn read<S: Source<Error = TraceError>>(mut source: S) -> (u32, Vec<Request>) {
    let mut requests = Vec::new();
    let mut request = Request::default();
    while source.read_next(&mut request).expect("a valid trace") {
        requests.push(request.clone());
    }
    (source.block_size(), requests)
}

/// Each block as the blocks of 16 tokens that it consists of.
fn cut(block_size: u32, requests: &[Request]) -> Accesses {
    let parts = u64::from(block_size / 16);
    let requests: Vec<Request> = requests
        .iter()
        .map(|request| {
            let blocks =
                request.blocks.iter().flat_map(|id| (0..parts).map(move |i| id * parts + i));
            let count = request.input_tokens.div_ceil(16) as usize;
            Request { blocks: blocks.take(count).collect(), ..request.clone() }
        })
        .collect();
    Accesses::new(&Trace::new(16, &requests), Rule::Blocks)
}

fn measure(c: &mut Criterion, name: &str, accesses: &Accesses, sizes: &[u32]) {
    let mut group = c.benchmark_group(name);
    let accessed: usize = accesses.iter().map(|access| access.blocks.len()).sum();
    group.sample_size(10).throughput(Throughput::Elements(accessed as u64));
    for &blocks in sizes {
        group.bench_function(BenchmarkId::new("lru_replay", blocks), |b| {
            b.iter(|| replay(accesses, blocks, Lru).expect("a valid size"));
        });
        group.bench_function(BenchmarkId::new("opt_replay", blocks), |b| {
            b.iter(|| replay(accesses, blocks, Opt::new(accesses, blocks)).expect("a valid size"));
        });
    }
    group.bench_function("lru_curve", |b| b.iter(|| Curve::lru(accesses)));
    // OPT's curve keeps a stack per size at which its order differs: minutes for the small blocks.
    if accesses.block_size() > 16 {
        group.bench_function("opt_curve", |b| b.iter(|| Curve::opt(accesses)));
    }
    group.finish();
}

fn curves(c: &mut Criterion) {
    if let Some(path) = published() {
        let input = Input::open(&path).expect("a readable trace");
        let (block_size, requests) = read(Mooncake::new(input, None).expect("block sizes divide"));
        let trace = Trace::new(block_size, &requests);
        let accesses = Accesses::new(&trace, Rule::Blocks);
        measure(c, "conversation_512", &accesses, &[1_000, 10_000, 100_000]);
        measure(c, "conversation_16", &cut(block_size, &requests), &[1_000_000]);
    } else {
        eprintln!("no published trace; set KVKEEP_TRACES");
        let made_up = Generate::new(GenerateOptions::default()).expect("the defaults");
        let trace = Trace::read(&mut { made_up }).expect("never fails");
        measure(c, "made_up", &Accesses::new(&trace, Rule::Blocks), &[1_000, 10_000]);
    }
}

criterion_group!(benches, curves);
criterion_main!(benches);
