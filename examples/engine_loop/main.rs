//! Shows a whole engine around kvkeep: queues, chunked prefill, decoding, drafts, parallel
//! sampling, preemption and abort, on simulated pages that are checked for every token.
//! For engine authors: `engine.rs` and `schedule.rs` are the loop to copy.

#![allow(clippy::print_stdout, reason = "an example talks")]

mod engine;
mod gpu;
mod schedule;

use engine::{Engine, Job};
use kvkeep::{Config, Error as KvError};
use std::error::Error;

/// A prompt behind the system prompt that all share, and the answer wanted.
fn job(name: &str, prompt_tokens: usize, answer_tokens: usize) -> Job {
    let system = 0..70;
    let seed = u32::from(name.as_bytes()[0]);
    let own = (0..).map(|n| seed * 1000 + n);
    Job {
        name: name.to_owned(),
        tokens: system.chain(own).take(prompt_tokens).collect(),
        prompt_tokens,
        max_tokens: prompt_tokens + answer_tokens,
        samples: 1,
        draft_tokens: 0,
        seed: seed.into(),
        preempted: false,
    }
}

/// Steps until nobody is left, or `until` says so. Every step must leave the pool sound.
fn run(engine: &mut Engine, until: impl Fn(&Engine) -> bool) -> Result<(), Box<dyn Error>> {
    for _ in 0..1000 {
        if engine.is_idle() || until(engine) {
            return Ok(());
        }
        engine.step()?;
        engine.kv.validate()?;
    }
    Err("no end after 1000 steps: the scheduler starves somebody".into())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut engine = Engine::new(Config::new(42))?;
    println!("{} blocks of {} tokens", engine.kv.num_blocks(), engine.kv.block_size());

    println!("six requests arrive");
    for job in [
        job("chat", 100, 60),
        Job { draft_tokens: 4, ..job("essay", 120, 80) },
        Job { samples: 3, ..job("poems", 90, 40) },
        job("left alone", 150, 50),
        job("report", 300, 30),
        job("question", 80, 10),
    ] {
        engine.submit(job)?;
    }
    let Err(refused) = engine.submit(job("novel", 200, 800)) else {
        return Err("a request larger than the pool was queued".into());
    };
    println!("  a seventh is refused: {refused}");
    assert_eq!(refused, KvError::TooLong { tokens: 1000, max: 672 });
    run(&mut engine, |engine| engine.running.len() >= 5)?;

    println!("the client of \"left alone\" has gone");
    engine.abort("left alone")?;
    run(&mut engine, |engine| engine.finished.iter().any(|job| job.name == "essay"))?;

    println!("a second turn on the essay, whose KV was written for drafts in part");
    if let Some(first) = engine.finished.iter().find(|job| job.name == "essay") {
        let mut second = first.clone();
        second.name = "essay, turn 2".to_owned();
        second.tokens.extend(500..530);
        second.prompt_tokens = second.tokens.len();
        second.max_tokens = second.prompt_tokens + 20;
        second.preempted = false;
        engine.submit(second)?;
    }
    run(&mut engine, |_| false)?;

    for done in &engine.finished {
        let (prompt, answer) = done.tokens.split_at(done.prompt_tokens);
        let expected = gpu::reference(prompt, answer.len(), done.seed);
        assert_eq!(answer, expected, "{} differs from a run without a cache", done.name);
    }
    // Seven requests, one of them aborted, and two further samples.
    assert_eq!(engine.finished.len(), 8);
    println!("{} answers, all as without a cache", engine.finished.len());

    let (stats, gpu) = (engine.kv.stats(), &engine.gpu);
    println!("  hit rate {:.1} %", 100.0 * stats.hit_rate());
    println!("  {} KV slots read, each as it should be", gpu.slots_checked);
    println!("  {} pages copied for samples", gpu.pages_copied);
    println!("  drafts: {} accepted, {} rejected", engine.drafts_accepted, engine.drafts_rejected);
    println!(
        "  preemptions: {}, tokens computed after them: {}",
        stats.preemptions, stats.recomputed_tokens
    );
    assert!(stats.preemptions > 0 && gpu.pages_copied >= 2);
    assert!(engine.drafts_accepted > 0 && engine.drafts_rejected > 0);
    assert_eq!(engine.kv.usage().in_use, 0, "somebody left without giving back");

    println!("a stale page would be noticed: everything is overwritten, \"chat\" comes again");
    engine.gpu.scribble();
    engine.submit(job("chat", 100, 60))?;
    let Err(noticed) = run(&mut engine, |_| false) else { return Err("it was not".into()) };
    println!("  as it should be: {noticed}");
    Ok(())
}
