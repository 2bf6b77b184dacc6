//! Which requests run in which pool: a simulation and a sweep say the same, and the manager
//! decides.

use kvkeep::evict::{Kind, Lru};
use kvkeep_sim::simulate::{Pool, Simulation};
use kvkeep_sim::trace::{self, OpenOptions, Trace};
use kvkeep_sim::{Accesses, Opt, Rule, replay};
use proptest::prelude::*;
use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::path::Path;
use std::{fs, iter};

/// Tokens per block.
const BLOCK: u32 = 4;

/// A trace of prompts of so many tokens, all of one prefix.
fn write(path: &Path, prompts: &[u32]) {
    let line = |tokens: &u32| {
        let ids: Vec<u32> = (0..tokens.div_ceil(BLOCK)).collect();
        format!(
            "{{\"timestamp\": 0, \"input_length\": {tokens}, \"output_length\": 1, \"hash_ids\": {ids:?}}}\n"
        )
    };
    fs::write(path, prompts.iter().map(line).collect::<String>()).expect("a file is written");
}

/// Rejected requests and tokens hit in a pool of so many blocks: of a simulation, and of a
/// sweep under both rules.
fn run(prompts: &[u32], num_blocks: u32) -> [(u64, u64); 3] {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("t.jsonl");
    write(&path, prompts);
    let reading = OpenOptions { block_size: NonZeroU32::new(BLOCK), ..OpenOptions::default() };
    let simulation = Simulation {
        trace: Some(path.display().to_string()),
        reading: reading.clone(),
        seed: 0,
        pool: Pool { num_blocks, block_size: BLOCK, memory: None },
        policy: Kind::Lru,
        outputs: false,
        requests: None,
    };
    let report = simulation.run(&mut |_, _| ControlFlow::Continue(())).expect("it runs");
    let trace = Trace::read(&mut trace::open(&[path], &reading).expect("it opens").source);
    let trace = trace.expect("it reads");
    let swept = |rule| {
        let accesses = Accesses::new(&trace, rule);
        let hits = replay(&accesses, num_blocks, Lru).expect("there is such a pool");
        let best = replay(&accesses, num_blocks, Opt::new(&accesses, num_blocks));
        assert_eq!(best.expect("there is such a pool").rejected, hits.rejected);
        (hits.rejected, hits.hit)
    };
    [(report.rejected, report.cached_tokens), swept(Rule::Engine), swept(Rule::Blocks)]
}

#[test]
fn a_prompt_that_fills_the_pool_runs_and_a_token_more_does_not() {
    // Three blocks: of the second time, two hit, and the last is computed again. All three by the
    // rule of blocks.
    assert_eq!(run(&[12, 12], 3), [(0, 8), (0, 8), (0, 3)]);
    assert_eq!(run(&[12, 11], 3), [(0, 8), (0, 8), (0, 3)]);
    // 13 tokens take four blocks.
    assert_eq!(run(&[13, 12, 12], 3), [(1, 8), (1, 8), (1, 3)]);
    assert_eq!(run(&[13, 13], 4), [(0, 12), (0, 12), (0, 4)]);
}

proptest! {
    #[test]
    fn a_simulation_and_a_sweep_reject_the_same(
        prompts in prop::collection::vec(1_u32..30, 1..8),
        num_blocks in 1_u32..9,
    ) {
        let [simulated, engine, blocks] = run(&prompts, num_blocks);
        let too_long = prompts.iter().filter(|tokens| **tokens > num_blocks * BLOCK).count() as u64;
        prop_assert_eq!(iter::repeat_n(too_long, 3).collect::<Vec<_>>(), [simulated.0, engine.0, blocks.0]);
    }
}
