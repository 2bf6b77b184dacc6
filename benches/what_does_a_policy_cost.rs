//! What does a policy add to an eviction? Chains of one block fill the pool. In each turn the
//! policy chooses one, which goes, and another comes in its place (`victim`, `remove`, `insert`,
//! `finish`, `offer`); every fourth turn a third one is hit. One content in two was there
//! before. That is the policy alone, by its events, with a request for each block, so what a
//! policy does once per request counts in full.
//!
//! Plain LRU is the manager itself: its line is a request of one block as a whole, from `admit`
//! to `free`, which evicts one. What it does for an eviction is in `what_does_an_eviction_cost`.

mod work;

use criterion::{Criterion, criterion_group, criterion_main};
use kvkeep::evict::{Access, EvictionPolicy, Inserted, Kind};
use kvkeep::{BlockId, Config};
use std::time::Duration;
use work::{BLOCK_SIZE, Order};

/// Turnovers between two hits.
const HIT_EVERY: u64 = 4;

/// A policy in a full pool of one-block chains.
struct Pool {
    policy: Box<dyn EvictionPolicy + Send>,
    num_blocks: u64,
    turnovers: u64,
}

impl Pool {
    fn full(kind: Kind, num_blocks: u32) -> Self {
        let mut policy = kind.build(BLOCK_SIZE);
        policy.init(num_blocks as usize);
        let mut pool = Pool { policy, num_blocks: u64::from(num_blocks), turnovers: 0 };
        for id in 0..num_blocks {
            pool.insert(BlockId::from(id));
        }
        // Until the order of the candidates has nothing to do with their ids.
        for _ in 0..num_blocks {
            pool.turn_over();
        }
        pool
    }

    fn insert(&mut self, block: BlockId) {
        self.turnovers += 1;
        // One content in two was there before.
        let content = if self.turnovers.is_multiple_of(2) { self.turnovers } else { self.spread() };
        let key = content.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let access = Access { request: self.turnovers, ..Access::default() };
        self.policy.insert(block, &Inserted { key, parent: None, depth: 0 }, &access);
        self.policy.finish(&[block], &access);
        self.policy.offer(block);
    }

    fn turn_over(&mut self) {
        let victim = self.policy.victim().expect("every block is a candidate");
        self.policy.remove(victim);
        self.insert(victim);
        if self.turnovers.is_multiple_of(HIT_EVERY) {
            let block = BlockId::from((self.spread() % self.num_blocks) as u32);
            let access = Access { request: self.turnovers, ..Access::default() };
            self.policy.retract(block);
            self.policy.hit(&[block], &access);
            self.policy.finish(&[block], &access);
            self.policy.offer(block);
        }
    }

    /// A number below four pools that looks like chance.
    fn spread(&self) -> u64 {
        (self.turnovers.wrapping_mul(0xd134_2543_de82_ef95) >> 20) % (4 * self.num_blocks)
    }
}

fn bench(c: &mut Criterion) {
    for num_blocks in [10_000, 100_000, 1_000_000] {
        let mut group = c.benchmark_group(format!("turnover_of_{}k_leaves", num_blocks / 1000));
        group.sample_size(10).nresamples(1_000);
        group.warm_up_time(Duration::from_millis(200));
        group.measurement_time(Duration::from_millis(500));
        let mut kv = work::manager(Config::new(num_blocks), Order::Scrambled);
        let mut prompt = [0; BLOCK_SIZE];
        let mut request = || {
            prompt[0] += 1;
            work::request(&mut kv, &prompt)
        };
        (0..num_blocks).for_each(|_| assert_eq!(request(), 0));
        group.bench_function(Kind::Lru.name(), |b| b.iter(&mut request));
        drop(kv);
        for kind in Kind::ALL.into_iter().filter(|&kind| kind != Kind::Lru) {
            let mut pool = Pool::full(kind, num_blocks);
            group.bench_function(kind.name(), |b| b.iter(|| pool.turn_over()));
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots();
    targets = bench
}
criterion_main!(benches);
