//! Hits, evictions, preemptions, forks and aborts change no logit by a bit.
//!
//! Random work runs on a tiny pool whose pages without content are full of NaN. Every
//! token that comes out, with its logits, is compared with a cold run: the model alone,
//! over fresh pages, one token at a time behind the whole prompt in one step.

use kvkeep::budget::PageOrder;
use kvkeep::{BlockId, Identity};
use kvkeep_engine::{
    Engine, EngineConfig, KvCache, Model, Output, PageConfig, PageDtype, Request, RequestId,
    Sampling, Segment, Shape, Weights,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn model() -> Model {
    Model::new(Shape::tiny(), Weights::Random(5)).expect("sound")
}

fn pages(num_blocks: u32, dtype: PageDtype) -> PageConfig {
    PageConfig {
        num_blocks,
        block_size: 4,
        dtype,
        tensor_parallel_size: 2,
        order: PageOrder::BlockFirst,
    }
}

/// The prompt number `which`: it shares starts with those before it.
fn prompt(which: usize, tokens: usize) -> Vec<u32> {
    let shared = [0, 11, 11, 22][which % 4];
    (0..tokens)
        .map(|at| (at * 7 + if at < shared { 0 } else { which * 13 + at }) as u32 % 40)
        .collect()
}

#[derive(Clone, Debug)]
enum Op {
    Submit { which: usize, prompt_tokens: usize, new_tokens: usize, samples: usize, tenant: u8 },
    Abort { which: usize },
    Steps(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let submit = (0..6_usize, 1..40_usize, 1..12_usize, 1..4_usize, 0..2_u8).prop_map(
        |(which, prompt_tokens, new_tokens, samples, tenant)| Op::Submit {
            which,
            prompt_tokens,
            new_tokens,
            samples,
            tenant,
        },
    );
    prop_oneof![
        5 => submit,
        1 => (0..20_usize).prop_map(|which| Op::Abort { which }),
        4 => (1..6_usize).prop_map(Op::Steps),
    ]
}

/// What has come out of an engine, answer by answer.
struct Run {
    engine: Engine,
    requests: Vec<(RequestId, Request)>,
    answers: BTreeMap<(RequestId, usize), Vec<Output>>,
}

impl Run {
    fn new(pages: PageConfig, tokens_per_step: usize) -> Self {
        let config = EngineConfig { pages, tokens_per_step, prefix_caching: true, poison: true };
        let engine = Engine::new(model(), config).expect("sound");
        Run { engine, requests: Vec::new(), answers: BTreeMap::new() }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Submit { which, prompt_tokens, new_tokens, samples, tenant } => {
                let request = Request {
                    prompt: prompt(which, prompt_tokens),
                    max_new_tokens: new_tokens,
                    samples,
                    sampling: Sampling { temperature: 1.0, seed: which as u64 },
                    ignore_end: false,
                    identity: Identity::new().salt(&format!("tenant {tenant}")).expect("sound"),
                };
                let id = self.engine.submit(request.clone()).expect("sound");
                self.requests.push((id, request));
            }
            Op::Abort { which } => {
                if let Some((id, _)) = self.requests.get(which) {
                    self.engine.abort(*id).expect("sound");
                }
            }
            Op::Steps(steps) => (0..steps).for_each(|_| self.step()),
        }
    }

    fn step(&mut self) {
        for output in self.engine.step().expect("sound") {
            self.answers.entry((output.request, output.sample)).or_default().push(output);
        }
        self.engine.kv().validate().expect("sound");
    }

    fn finish(&mut self) {
        for _ in 0..5000 {
            if self.engine.is_idle() {
                assert_eq!(self.engine.kv().usage().in_use, 0, "somebody kept blocks");
                return;
            }
            self.step();
        }
        panic!("the scheduler starves somebody");
    }

    /// Compares every token and every logit with a cold run.
    fn check(&self, pages: &PageConfig) {
        let model = self.engine.model();
        let scales = model.measure_scales().expect("sound");
        for (id, request) in &self.requests {
            for sample in 0..request.samples {
                let Some(outputs) = self.answers.get(&(*id, sample)) else { continue };
                let cold_pages = PageConfig { num_blocks: 20, ..*pages };
                let mut cache =
                    KvCache::new(model.shape(), &cold_pages, scales.clone()).expect("sound");
                let table: Vec<BlockId> = (0..20).rev().map(BlockId::from).collect();
                let mut tokens = request.prompt.clone();
                let mut first = 0;
                for output in outputs {
                    let segment =
                        Segment { tokens: &tokens[first..], first, table: &table, logits: true };
                    let logits = model
                        .forward(&mut cache, &[segment])
                        .expect("sound")
                        .remove(0)
                        .expect("sound");
                    assert!(
                        logits
                            .iter()
                            .map(|l| l.to_bits())
                            .eq(output.logits.iter().map(|l| l.to_bits())),
                        "{id:?}, answer {sample}: other logits at token {}",
                        tokens.len()
                    );
                    first = tokens.len();
                    tokens.push(output.token);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_work(
        ops in prop::collection::vec(op(), 1..24),
        num_blocks in 13..26_u32,
        tokens_per_step in 1..40_usize,
        dtype in prop_oneof![Just(PageDtype::Fp8), Just(PageDtype::Bf16), Just(PageDtype::F32)],
    ) {
        let pages = pages(num_blocks, dtype);
        let mut run = Run::new(pages, tokens_per_step);
        ops.iter().for_each(|op| run.apply(op));
        run.finish();
        run.check(&pages);
    }
}

/// The random test would prove nothing if nothing of this happened.
#[test]
fn work_that_has_everything_in_it() {
    let pages = pages(16, PageDtype::Fp8);
    let mut run = Run::new(pages, 24);
    for round in 0..6 {
        for which in 0..5 {
            let submit = Op::Submit {
                which: which + round % 2,
                prompt_tokens: 21 + 3 * which,
                new_tokens: 9,
                samples: 1 + which % 3,
                tenant: 0,
            };
            run.apply(&submit);
            run.apply(&Op::Steps(2));
        }
        run.apply(&Op::Abort { which: 5 * round + 2 + round % 2 });
    }
    run.finish();
    run.check(&pages);
    let stats = run.engine.kv().stats();
    assert!(stats.cached_tokens > 0, "{stats:?}");
    assert!(stats.evicted_blocks > 0, "{stats:?}");
    assert!(stats.preemptions > 0 && stats.readmitted_cached_tokens > 0, "{stats:?}");
    assert!(stats.duplicate_blocks > 0, "{stats:?}");
    let ended = |id: RequestId| {
        run.answers
            .iter()
            .any(|((of, _), outputs)| *of == id && outputs.iter().any(|o| o.finish.is_some()))
    };
    assert!(run.requests.iter().any(|&(id, _)| !ended(id)), "nobody was aborted");
    assert!(run.answers.keys().any(|&(_, sample)| sample == 2), "nobody was forked");
}

#[test]
fn the_same_request_again_has_the_same_tokens_and_hits() {
    let mut run = Run::new(pages(40, PageDtype::Fp8), 16);
    let submit = Op::Submit { which: 3, prompt_tokens: 38, new_tokens: 8, samples: 1, tenant: 0 };
    for _ in 0..2 {
        run.apply(&submit);
        run.finish();
    }
    let outputs: Vec<_> = run.answers.values().collect();
    assert_eq!(outputs[0][0].tokens_cached, 0);
    // 36 of 38 are whole blocks.
    assert_eq!(outputs[1][0].tokens_cached, 36);
    for (cold, hit) in outputs[0].iter().zip(outputs[1]) {
        assert_eq!((cold.token, &cold.logits), (hit.token, &hit.logits));
    }
    // Another tenant does not hit.
    run.apply(&Op::Submit { which: 3, prompt_tokens: 38, new_tokens: 1, samples: 1, tenant: 1 });
    run.finish();
    assert_eq!(run.answers.values().next_back().unwrap()[0].tokens_cached, 0);
}

/// 8 of 9 blocks are shared, and the pool has room for 12.
#[test]
fn requests_that_share_most_of_the_pool_run_together() {
    let mut run = Run::new(pages(12, PageDtype::Fp8), 64);
    let submit = |run: &mut Run, prompt: Vec<u32>| {
        let request = Request {
            prompt,
            max_new_tokens: 3,
            samples: 1,
            sampling: Sampling { temperature: 1.0, seed: 1 },
            ignore_end: true,
            identity: Identity::new(),
        };
        let id = run.engine.submit(request.clone()).expect("sound");
        run.requests.push((id, request));
    };
    let shared: Vec<u32> = (0..32).collect();
    submit(&mut run, [&shared[..], &[33]].concat());
    run.step();
    submit(&mut run, [&shared[..], &[34]].concat());
    // This one shares nothing, and has to wait.
    submit(&mut run, (1..34).rev().collect());
    run.step();
    assert_eq!(run.engine.queue(), (1, 2));
    let stats = run.engine.kv().stats();
    assert_eq!((stats.preemptions, stats.cached_tokens), (0, 32), "{stats:?}");
    run.finish();
    run.check(&pages(12, PageDtype::Fp8));
}
