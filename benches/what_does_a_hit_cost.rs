//! What does a hit cost? Admit and release a fully cached prompt of 32k tokens.

mod work;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kvkeep::Config;
use work::{BLOCK_SIZE, Order, Rng};

const PROMPTS: usize = 40;
const BLOCKS: usize = 2048;

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("hit_32k_tokens_per_block");
    group.throughput(Throughput::Elements(BLOCKS as u64));
    for (mode, config) in
        [("verified", Config::new(100_000)), ("hash_only", Config::new(100_000).hash_only())]
    {
        for order in [Order::Allocation, Order::Scrambled] {
            let mut kv = work::manager(config.clone(), order);
            let mut rng = Rng(1);
            // One token more than the blocks hold: the last one never hits.
            let prompts: Vec<Vec<u32>> =
                (0..PROMPTS).map(|_| rng.tokens(BLOCKS * BLOCK_SIZE + 1)).collect();
            for prompt in &prompts {
                work::request(&mut kv, prompt);
            }
            work::fill(&mut kv, &mut rng);
            let mut turn = 0;
            group.bench_function(format!("{mode}/{order:?}"), |b| {
                b.iter(|| {
                    turn = (turn + 1) % PROMPTS;
                    assert_eq!(work::hit(&mut kv, &prompts[turn]), BLOCKS * BLOCK_SIZE);
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
