//! What does an eviction cost among 100,000 leaves? Every cached block is one, and a
//! request of one block takes the oldest.

mod work;

use criterion::{Criterion, criterion_group, criterion_main};
use kvkeep::Config;
use std::time::{Duration, Instant};
use work::{BLOCK_SIZE, Order, Rng};

const LEAVES: u32 = 100_000;
/// Reservations between two clock readings.
const BATCH: u64 = 64;

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("evict_one_of_100k_leaves");
    for order in [Order::Allocation, Order::Scrambled] {
        let mut kv = work::manager(Config::new(LEAVES), order);
        let mut rng = Rng(4);
        for _ in 0..LEAVES {
            work::request(&mut kv, &rng.tokens(BLOCK_SIZE));
        }
        group.bench_function(format!("{order:?}"), |b| {
            b.iter_custom(|evictions| {
                let mut elapsed = Duration::ZERO;
                for _ in 0..evictions.div_ceil(BATCH) {
                    let sequences: Vec<_> = (0..BATCH)
                        .map(|_| work::admit(&mut kv, &rng.tokens(BLOCK_SIZE)).seq)
                        .collect();
                    let before = kv.stats().evicted_blocks;
                    let start = Instant::now();
                    for &seq in &sequences {
                        work::reserve(&mut kv, seq, BLOCK_SIZE);
                    }
                    elapsed += start.elapsed();
                    assert_eq!(kv.stats().evicted_blocks - before, BATCH);
                    for &seq in &sequences {
                        work::commit(&mut kv, seq, BLOCK_SIZE);
                        work::free(&mut kv, seq);
                    }
                }
                elapsed.mul_f64(evictions as f64 / (evictions.div_ceil(BATCH) * BATCH) as f64)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
