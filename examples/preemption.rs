//! Shows a pool that is too small for what runs: a reservation is refused, the youngest
//! sequence makes room and comes back later; and a step that fails is taken back.
//! For engine authors: who gives way is your choice, and every call is all or nothing.

#![allow(clippy::print_stdout, reason = "an example talks")]

use kvkeep::{BlockManager, Config, Error as KvError, Identity, SeqId};
use std::error::Error;

/// A sequence and its tokens. The manager does not give tokens back, and a preempted
/// sequence needs them to return, so the engine keeps them.
struct Running {
    seq: SeqId,
    tokens: Vec<u32>,
}

fn start(kv: &mut BlockManager, tokens: Vec<u32>) -> Result<Running, KvError> {
    let seq = kv.admit(&tokens, &Identity::default())?.seq;
    kv.reserve(seq, tokens.len())?;
    kv.commit(seq, tokens.len())?;
    Ok(Running { seq, tokens })
}

/// Decodes one token.
fn decode(kv: &mut BlockManager, running: &mut Running) -> Result<(), KvError> {
    // A refused reservation leaves the token known, so that the retry does not add it
    // again.
    if kv.tokens_known(running.seq)? == kv.tokens_computed(running.seq)? {
        let sampled = 7000 + running.tokens.len() as u32;
        kv.append(running.seq, sampled)?;
        running.tokens.push(sampled);
    }
    kv.reserve(running.seq, 1)?;
    kv.commit(running.seq, 1)?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut kv = BlockManager::new(Config::new(8))?;
    let mut old = start(&mut kv, (0..60).collect())?;
    let mut young = start(&mut kv, (1000..1050).collect())?;
    println!("pool of 8 blocks; old has {} tokens, young {}", old.tokens.len(), young.tokens.len());

    println!("both decode, until old needs a fifth block");
    let refused = loop {
        if let Err(error) = decode(&mut kv, &mut old) {
            break error;
        }
        decode(&mut kv, &mut young)?;
    };
    println!("  {refused}");
    assert_eq!(refused, KvError::OutOfBlocks { needed: 1, available: 0 });
    assert_eq!(kv.block_table(old.seq)?.len(), 4, "a refused call changes nothing");
    kv.validate()?;

    println!("young makes room");
    kv.preempt(young.seq)?;
    let usage = kv.usage();
    println!("  {} of its blocks stay cached while nobody needs them", usage.cached);
    assert_eq!((usage.free, usage.cached), (1, 3));

    println!("a step of old fails on the device");
    let table = kv.block_table(old.seq)?.to_vec();
    kv.reserve(old.seq, 1)?;
    assert_eq!(kv.block_table(old.seq)?.len(), table.len() + 1);
    kv.revert(old.seq)?;
    assert_eq!(kv.block_table(old.seq)?, table);
    println!("  reverted: the block table is {table:?}, as before; old tries again");

    while old.tokens.len() < 100 {
        decode(&mut kv, &mut old)?;
    }
    println!("  old is done with {} tokens", old.tokens.len());
    kv.free(old.seq)?;

    println!("young comes back with {} tokens", young.tokens.len());
    let back = kv.readmit(&young.tokens, &Identity::default())?;
    let rest = young.tokens.len() - back.tokens_cached;
    println!("  {} cached, {rest} to compute again; {}", back.tokens_cached, back.miss);
    // Tail first: old took the blocks at the end of young's chain, not its start.
    assert_eq!(back.tokens_cached, 16);
    kv.reserve(back.seq, rest)?;
    kv.commit(back.seq, rest)?;
    young.seq = back.seq;
    decode(&mut kv, &mut young)?;
    kv.free(young.seq)?;

    let stats = kv.stats();
    println!(
        "recompute tax: {} preemption, {} tokens computed after it of {} committed",
        stats.preemptions, stats.recomputed_tokens, stats.committed_tokens
    );
    // The second lookup of young is kept out of the hit rate.
    println!("hit rate {:.0} % of {} prompt tokens", 100.0 * stats.hit_rate(), stats.prompt_tokens);
    assert_eq!((stats.preemptions, stats.readmitted_requests, stats.reverted_steps), (1, 1, 1));
    assert_eq!(stats.recomputed_tokens, rest as u64);
    assert_eq!((stats.requests, stats.prompt_tokens, stats.cached_tokens), (2, 110, 0));
    kv.validate()?;
    Ok(())
}
