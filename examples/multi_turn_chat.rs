//! Shows a chat whose turns extend the history: each turn hits what the turns before it
//! computed, answers included, and pays for the new message and at most one block more.
//! For engine authors: what to expect per turn, and how to read why a hit ended.

#![allow(clippy::print_stdout, reason = "an example talks")]

use kvkeep::{BlockManager, Config, Identity, MissReason};
use std::error::Error;

const MESSAGE_TOKENS: usize = 60;
const ANSWER_TOKENS: usize = 100;

/// A message or an answer: tokens that only `speaker` says.
fn says(speaker: usize, count: usize) -> impl Iterator<Item = u32> {
    (speaker * 1000..speaker * 1000 + count).map(|token| token as u32)
}

/// Runs one request to its end: the prompt, then the answer, which joins the history.
fn turn(
    kv: &mut BlockManager,
    name: &str,
    history: &mut Vec<u32>,
    answer: impl Iterator<Item = u32>,
) -> Result<(usize, MissReason), Box<dyn Error>> {
    let hit = kv.admit(history, &Identity::default())?;
    let cost = history.len() - hit.tokens_cached;
    println!("{name:<16} {:>6} {:>7} {cost:>8}  {}", history.len(), hit.tokens_cached, hit.miss);
    kv.reserve(hit.seq, cost)?;
    kv.commit(hit.seq, cost)?;
    let mut sampled = answer.peekable();
    while let Some(token) = sampled.next() {
        history.push(token);
        // The KV of the last token is never computed: nothing follows it.
        if sampled.peek().is_some() {
            kv.append(hit.seq, token)?;
            kv.reserve(hit.seq, 1)?;
            kv.commit(hit.seq, 1)?;
        }
    }
    kv.free(hit.seq)?;
    Ok((cost, hit.miss))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut kv = BlockManager::new(Config::new(64))?;
    let block_size = kv.block_size();
    println!("{:<16} {:>6} {:>7} {:>8}  the hit ended", "", "prompt", "cached", "computed");

    let mut history = Vec::new();
    for number in 1..=5 {
        history.extend(says(number, MESSAGE_TOKENS));
        let name = format!("turn {number}");
        let (cost, miss) = turn(&mut kv, &name, &mut history, says(100 + number, ANSWER_TOKENS))?;
        // The last block of the former turn was not full, so it was never published, and
        // the message is new: nobody has seen the block where the hit ends.
        assert_eq!(miss, MissReason::NeverSeen);
        assert!((MESSAGE_TOKENS..=MESSAGE_TOKENS + block_size).contains(&cost));
    }

    // "Regenerate": the same prompt again, without its answer. All but the tail is there.
    history.truncate(history.len() - ANSWER_TOKENS);
    let mut again = history.clone();
    let (cost, miss) = turn(&mut kv, "regenerate", &mut again, says(200, ANSWER_TOKENS))?;
    assert!(cost <= block_size);
    assert_eq!(miss, MissReason::BelowBlockGranularity);

    // The third message is edited in its middle: everything behind the edit is computed.
    let edit = 2 * (MESSAGE_TOKENS + ANSWER_TOKENS) + MESSAGE_TOKENS / 2;
    let mut edited = history.clone();
    edited[edit] = 7;
    let (cost, miss) = turn(&mut kv, "edit turn 3", &mut edited, says(300, ANSWER_TOKENS))?;
    assert_eq!(cost, history.len() - edit / block_size * block_size);
    // The block of the edit starts like a cached one. Smaller blocks would hit up to the
    // edit; `tokens_partial` of the admission says how much.
    assert_eq!(miss, MissReason::BelowBlockGranularity);

    // While the user is away, others fill the pool.
    for other in 400..402 {
        let mut prompt: Vec<u32> = says(other, 500).collect();
        turn(&mut kv, "somebody else", &mut prompt, says(other + 100, 1))?;
    }
    let (_, miss) = turn(&mut kv, "back from lunch", &mut history, says(600, 1))?;
    assert_eq!(miss, MissReason::Evicted);

    println!("hit rate {:.1} %", 100.0 * kv.stats().hit_rate());
    for (reason, count) in kv.stats().misses.iter().filter(|(_, count)| count.requests > 0) {
        println!("  {reason}: {} requests, {} tokens computed", count.requests, count.tokens);
    }
    kv.validate()?;
    Ok(())
}
