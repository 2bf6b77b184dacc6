//! What does a request cost in a full pool? 256 blocks: half of them hit, the rest evict,
//! commit and are released.

mod work;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use kvkeep::Config;
use work::{BLOCK_SIZE, Order, Rng};

const BLOCKS: usize = 256;
const HITS: usize = 128;

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("steady_state_per_block");
    group.throughput(Throughput::Elements(BLOCKS as u64));
    for num_blocks in [100_000, 1_000_000] {
        for order in [Order::Allocation, Order::Scrambled] {
            let mut kv = work::manager(Config::new(num_blocks), order);
            let mut rng = Rng(2);
            // Prefixes take a quarter of the pool and are asked for in turn, so each is used
            // again before it is the oldest.
            let prefixes: Vec<Vec<u32>> = (0..num_blocks as usize / 4 / HITS)
                .map(|_| rng.tokens(HITS * BLOCK_SIZE))
                .collect();
            work::fill(&mut kv, &mut rng);
            for prefix in &prefixes {
                work::request(&mut kv, prefix);
            }
            let mut turn = 0;
            let mut next = || {
                turn = (turn + 1) % prefixes.len();
                let mut prompt = prefixes[turn].clone();
                prompt.extend(rng.tokens((BLOCKS - HITS) * BLOCK_SIZE));
                prompt
            };
            // All caches in the state that they keep.
            for _ in 0..4 * prefixes.len() {
                work::request(&mut kv, &next());
            }
            let before = *kv.stats();
            group.bench_function(format!("{num_blocks}/{order:?}"), |b| {
                b.iter_batched_ref(
                    &mut next,
                    |prompt| work::request(&mut kv, prompt),
                    BatchSize::NumIterations(64),
                );
            });
            let (hit, asked) = (
                kv.stats().cached_tokens - before.cached_tokens,
                kv.stats().prompt_tokens - before.prompt_tokens,
            );
            assert_eq!(hit * 2, asked, "half of the tokens hit");
        }
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
