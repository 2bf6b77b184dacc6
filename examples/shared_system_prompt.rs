//! Shows many requests behind one system prompt, with bursts of one-off documents between
//! them that are larger than the pool, once without and once with retention hints.
//! For engine authors: LRU forgets what a burst pushes out; two hints keep what matters.

#![allow(clippy::print_stdout, reason = "an example talks")]

use kvkeep::{BlockManager, Config, Identity, MissReason, Retention, Stats};
use std::error::Error;

const SYSTEM_TOKENS: usize = 256;
const TEN_MINUTES_MS: u64 = 600_000;

/// `count` tokens that no other `first` in this example shares.
fn tokens(first: usize, count: usize) -> impl Iterator<Item = u32> {
    (first * 1000..first * 1000 + count).map(|token| token as u32)
}

/// Serves one prompt. Of its tokens, the first `kept` are worth keeping, the others are not.
fn serve(
    kv: &mut BlockManager,
    prompt: &[u32],
    kept: Option<usize>,
) -> Result<MissReason, Box<dyn Error>> {
    let hit = kv.admit(prompt, &Identity::default())?;
    if let Some(kept) = kept {
        // One-off tail, the answer included: first in line for eviction.
        kv.retain(hit.seq, kept..usize::MAX, Retention::not_reused())?;
        if kept > 0 {
            let worth = Retention::priority(80)?.for_ms(TEN_MINUTES_MS);
            kv.retain(hit.seq, 0..kept, worth)?;
        }
    }
    let rest = prompt.len() - hit.tokens_cached;
    kv.reserve(hit.seq, rest)?;
    kv.commit(hit.seq, rest)?;
    kv.free(hit.seq)?;
    Ok(hit.miss)
}

/// Three rounds: eight questions behind the system prompt, then a burst of documents.
fn workload(kv: &mut BlockManager, hints: bool) -> Result<Stats, Box<dyn Error>> {
    let mut one_off = 1;
    for round in 0..3 {
        kv.advance_time(round * 60_000)?;
        for _ in 0..8 {
            let prompt: Vec<u32> = tokens(0, SYSTEM_TOKENS).chain(tokens(one_off, 44)).collect();
            serve(kv, &prompt, hints.then_some(SYSTEM_TOKENS))?;
            one_off += 1;
        }
        for _ in 0..3 {
            let document: Vec<u32> = tokens(one_off, 400).collect();
            serve(kv, &document, hints.then_some(0))?;
            one_off += 1;
        }
    }
    kv.validate()?;
    Ok(*kv.stats())
}

fn report(name: &str, stats: &Stats) {
    println!(
        "{name:<14} {:>8} {:>8} {:>8.1} % {:>9}",
        stats.prompt_tokens,
        stats.cached_tokens,
        100.0 * stats.hit_rate(),
        stats.evicted_blocks,
    );
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("system prompt: 16 blocks; burst: 75 blocks; pool: 64 blocks; 3 rounds");
    println!("{:<14} {:>8} {:>8} {:>10} {:>9}", "", "prompt", "cached", "hit rate", "evictions");

    let mut plain = BlockManager::new(Config::new(64))?;
    let without = workload(&mut plain, false)?;
    report("without hints", &without);
    // Each burst takes the system prompt with it: the first question of a round misses.
    assert_eq!(without.cached_tokens, 3 * 7 * SYSTEM_TOKENS as u64);

    let mut kv = BlockManager::new(Config::new(64))?;
    let with = workload(&mut kv, true)?;
    report("with hints", &with);
    assert_eq!(with.cached_tokens, 23 * SYSTEM_TOKENS as u64);
    assert_eq!(with.refused_retentions, 0);

    // Hints end: a system prompt that nobody used for ten minutes is like any other block.
    let system: Vec<u32> = tokens(0, SYSTEM_TOKENS + 1).collect();
    assert_eq!(kv.longest_prefix(&system, &Identity::default()), SYSTEM_TOKENS);
    kv.advance_time(120_000 + TEN_MINUTES_MS)?;
    for first in 900..903 {
        let document: Vec<u32> = tokens(first, 400).collect();
        serve(&mut kv, &document, None)?;
    }
    let miss = serve(&mut kv, &system, None)?;
    println!("after ten idle minutes and one more burst the system prompt is gone: {miss}");
    assert_eq!(miss, MissReason::Evicted);
    kv.validate()?;
    Ok(())
}
