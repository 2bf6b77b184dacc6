//! Shows prompts computed in chunks, and what happens when two equal prompts arrive at
//! once: blocks are visible from their commit on, and the second copy is reported.
//! For engine authors: why a hit is missed while it is being computed, and what to do.

#![allow(clippy::print_stdout, reason = "an example talks")]

use kvkeep::{BlockManager, Config, Error as KvError, Identity, MissReason, SeqId};
use std::error::Error;

const CHUNK_TOKENS: usize = 40;

/// Computes the next chunk of a prompt; true when there is nothing left to compute.
fn prefill(kv: &mut BlockManager, name: &str, seq: SeqId) -> Result<bool, KvError> {
    let left = kv.tokens_known(seq)? - kv.tokens_computed(seq)?;
    let chunk = left.min(CHUNK_TOKENS);
    let step = kv.reserve(seq, chunk)?;
    // ... the engine writes KV ...
    let commit = kv.commit(seq, chunk)?;
    println!(
        "  {name}: tokens {:>3}..{:<3}  {} blocks published, {} were there already",
        step.first_token,
        step.first_token + chunk,
        commit.blocks_published,
        commit.blocks_duplicate,
    );
    Ok(left == chunk)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut kv = BlockManager::new(Config::new(64))?;
    let prompt: Vec<u32> = (0..128).collect();
    let plain = Identity::default();

    println!("A and B arrive together with the same {} tokens", prompt.len());
    let a = kv.admit(&prompt, &plain)?;
    let b = kv.admit(&prompt, &plain)?;
    println!("  A: {} cached, {}", a.tokens_cached, a.miss);
    println!("  B: {} cached, {}", b.tokens_cached, b.miss);
    assert_eq!((a.tokens_cached, a.miss), (0, MissReason::NeverSeen));
    // A scheduler that can wait would put B back and admit it once A is ahead.
    assert_eq!((b.tokens_cached, b.miss), (0, MissReason::NotCommitted));

    // A reserved page is nobody's to read: its KV may not be written yet.
    kv.reserve(a.seq, CHUNK_TOKENS)?;
    assert_eq!(kv.longest_prefix(&prompt, &plain), 0);
    kv.revert(a.seq)?;

    println!("this engine does not wait: both compute, chunk by chunk");
    prefill(&mut kv, "A", a.seq)?;
    // 40 tokens are two full blocks and a half one, which waits for its other half.
    assert_eq!(kv.longest_prefix(&prompt, &plain), 32);
    prefill(&mut kv, "B", b.seq)?;

    println!("C arrives one chunk later");
    let c = kv.admit(&prompt, &plain)?;
    println!("  C: {} cached, {}", c.tokens_cached, c.miss);
    assert_eq!((c.tokens_cached, c.miss), (32, MissReason::NotCommitted));
    kv.free(c.seq)?;

    while !prefill(&mut kv, "A", a.seq)? {}
    while !prefill(&mut kv, "B", b.seq)? {}
    assert_eq!(kv.stats().published_blocks, 8);
    assert_eq!(kv.stats().duplicate_blocks, 8);

    // Both are right, each on its own pages. An engine that can change a block table
    // between steps swaps B's copies for A's blocks and has eight pages more.
    let (table_a, table_b) = (kv.block_table(a.seq)?, kv.block_table(b.seq)?);
    println!("A's table {table_a:?}\nB's table {table_b:?}");
    assert!(table_a.iter().all(|block| !table_b.contains(block)));
    let before = kv.usage().in_use;
    let duplicates = kv.duplicates(b.seq)?.to_vec();
    for duplicate in &duplicates {
        let block = kv.adopt(b.seq, duplicate.position)?;
        assert_eq!(block, duplicate.published);
    }
    println!(
        "B adopts {} blocks; in use: {before} before, {} now",
        duplicates.len(),
        kv.usage().in_use
    );
    assert_eq!(kv.block_table(a.seq)?, kv.block_table(b.seq)?);
    assert_eq!((before, kv.usage().in_use), (16, 8));

    println!("D arrives last");
    let d = kv.admit(&prompt, &plain)?;
    println!("  D: {} cached, {}", d.tokens_cached, d.miss);
    // There must be a token to sample from, so the block with the last one is always
    // computed. D's copy of it is a duplicate then, like those of B.
    assert_eq!((d.tokens_cached, d.miss), (112, MissReason::LastToken));
    prefill(&mut kv, "D", d.seq)?;

    for seq in [a.seq, b.seq, d.seq] {
        kv.free(seq)?;
    }
    assert_eq!(kv.usage().in_use, 0);
    kv.validate()?;
    Ok(())
}
