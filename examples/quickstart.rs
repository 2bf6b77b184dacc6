//! Shows the life of a request in five calls: admit, reserve, commit, append, free.
//! A second request with the same prompt then finds what the first one computed.
//! For engine authors: this is all that embedding takes; the rest is scheduling.

#![allow(clippy::print_stdout, reason = "an example talks")]

use kvkeep::{BlockId, BlockManager, Config, Identity, MissReason};
use std::error::Error;
use std::ops::Range;

/// Stands for the forward pass: writes the KV of `tokens` into the pages that the block
/// table names, and samples the token that follows.
fn forward(table: &[BlockId], tokens: Range<usize>) -> u32 {
    println!("  forward {tokens:?}, block table {table:?}");
    1000 + tokens.end as u32
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut kv = BlockManager::new(Config::new(64))?;
    let prompt: Vec<u32> = (0..50).collect();
    println!("pool of {} blocks of {} tokens", kv.num_blocks(), kv.block_size());

    println!("first request, {} prompt tokens", prompt.len());
    let first = kv.admit(&prompt, &Identity::default())?;
    println!("  {} tokens cached, since: {}", first.tokens_cached, first.miss);
    assert_eq!((first.tokens_cached, first.miss), (0, MissReason::NeverSeen));

    // Prefill. The slots come with `reserve`; only `commit` lets others see the blocks.
    kv.reserve(first.seq, prompt.len())?;
    let mut sampled = forward(kv.block_table(first.seq)?, 0..prompt.len());
    let commit = kv.commit(first.seq, prompt.len())?;
    println!("  {} full blocks published; 2 tokens are left over", commit.blocks_published);
    assert_eq!(commit.blocks_published, 3);

    // Decode: the sampled token becomes known, gets a slot, and its KV is computed.
    for _ in 0..3 {
        kv.append(first.seq, sampled)?;
        let computed = kv.tokens_computed(first.seq)?;
        kv.reserve(first.seq, 1)?;
        sampled = forward(kv.block_table(first.seq)?, computed..computed + 1);
        kv.commit(first.seq, 1)?;
    }
    kv.free(first.seq)?;
    let usage = kv.usage();
    println!("  freed: {} blocks stay cached, {} are free", usage.cached, usage.free);
    assert_eq!((usage.cached, usage.free, usage.in_use), (3, 61, 0));

    println!("second request, same prompt");
    let second = kv.admit(&prompt, &Identity::default())?;
    println!("  {} tokens cached; the hit ended: {}", second.tokens_cached, second.miss);
    assert_eq!((second.tokens_cached, second.miss), (48, MissReason::BelowBlockGranularity));
    let rest = prompt.len() - second.tokens_cached;
    kv.reserve(second.seq, rest)?;
    forward(kv.block_table(second.seq)?, second.tokens_cached..prompt.len());
    kv.commit(second.seq, rest)?;
    kv.free(second.seq)?;

    // A handle is dead after `free`: an error, never somebody else's sequence.
    if let Err(error) = kv.free(second.seq) {
        println!("  freed twice: {error}");
    }
    println!("hit rate {:.0} %: 48 of 100 prompt tokens", 100.0 * kv.stats().hit_rate());
    assert_eq!(kv.stats().cached_tokens, 48);
    assert_eq!(kv.stats().prompt_tokens, 100);
    kv.validate()?;
    Ok(())
}
