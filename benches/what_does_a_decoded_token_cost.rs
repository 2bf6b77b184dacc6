//! What does a decoded token cost? Append it, reserve its slot and commit it, for 64
//! sequences in turn, in a full pool.

mod work;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kvkeep::Config;
use std::time::{Duration, Instant};
use work::{Order, Rng};

const SEQUENCES: usize = 64;
const PROMPT_TOKENS: usize = 200;
const OUTPUT_TOKENS: usize = 512;

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode_per_token");
    group.throughput(Throughput::Elements((SEQUENCES * OUTPUT_TOKENS) as u64));
    let mut kv = work::manager(Config::new(100_000), Order::Scrambled);
    let mut rng = Rng(3);
    work::fill(&mut kv, &mut rng);
    group.bench_function("64_sequences", |b| {
        b.iter_custom(|rounds| {
            let mut elapsed = Duration::ZERO;
            for _ in 0..rounds {
                let sequences: Vec<_> = (0..SEQUENCES)
                    .map(|_| work::prefill(&mut kv, &rng.tokens(PROMPT_TOKENS)).seq)
                    .collect();
                let start = Instant::now();
                for token in 0..OUTPUT_TOKENS as u32 {
                    for &seq in &sequences {
                        work::decode(&mut kv, seq, token);
                    }
                }
                elapsed += start.elapsed();
                sequences.into_iter().for_each(|seq| work::free(&mut kv, seq));
            }
            elapsed
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
