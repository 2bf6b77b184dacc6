//! All short operation sequences on a pool of three blocks, each compared with the model.
//! KVKEEP_DEPTH makes them longer.

mod support;

use kvkeep::hash::Xxh3;
use support::ops::{Op, Prompt, Setup};
use support::release::Keep;
use support::rig::Rig;

const SETUP: Setup =
    Setup { num_blocks: 3, block_size: 2, hash_only: false, max_retained: None, max_sequences: 3 };

fn admit(stream: u8, tokens: usize) -> Op {
    Op::Admit { prompt: Prompt { stream, tokens, flip: None }, who: 0 }
}

fn depth(default: usize) -> usize {
    std::env::var("KVKEEP_DEPTH").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Replays `path`, then tries every next operation.
fn explore(alphabet: &[Op], path: &mut Vec<usize>, depth: usize) -> u64 {
    let mut explored = 0;
    for next in 0..alphabet.len() {
        path.push(next);
        let mut rig = Rig::new(&SETUP, Xxh3, false);
        let (last, before) = path.split_last().expect("one was pushed");
        for &op in before {
            rig.act(&alphabet[op]);
        }
        // Without a sequence most operations do nothing.
        if rig.act(&alphabet[*last]) {
            // The shorter paths were checked before.
            rig.check();
            rig.abort_all();
            explored += 1;
            if path.len() < depth {
                explored += explore(alphabet, path, depth);
            }
        }
        path.pop();
    }
    explored
}

fn explore_all(alphabet: &[Op], depth: usize) {
    let explored = explore(alphabet, &mut Vec::new(), depth);
    assert!(explored > 1000, "only {explored} sequences");
    eprintln!("{explored} sequences of up to {depth} operations");
}

#[test]
fn steps_forks_and_epochs() {
    let alphabet = [
        admit(0, 3),
        admit(2, 5),
        Op::Compute { seq: 0 },
        Op::Compute { seq: 1 },
        Op::Reserve { seq: 0, tokens: 1, lookahead: 1 },
        Op::Commit { seq: 0, tokens: 1 },
        Op::Extend { seq: 0, tokens: vec![0] },
        Op::Fork { seq: 0 },
        Op::Free { seq: 0 },
        Op::Invalidate,
    ];
    explore_all(&alphabet, depth(6));
}

#[test]
fn reverts_and_duplicates() {
    let alphabet = [
        admit(0, 2),
        admit(0, 3),
        Op::Compute { seq: 0 },
        Op::Compute { seq: 1 },
        Op::Reserve { seq: 1, tokens: 2, lookahead: 0 },
        Op::Revert { seq: 1 },
        Op::Adopt { seq: 1, position: 0 },
        Op::Fork { seq: 1 },
        Op::Free { seq: 0 },
    ];
    explore_all(&alphabet, depth(6));
}

#[test]
fn retention() {
    let alphabet = [
        admit(0, 4),
        admit(2, 6),
        Op::Compute { seq: 0 },
        Op::Retain { seq: 0, start: 2, tokens: 2, keep: Keep::Priority(80, Some(2)) },
        Op::Retain { seq: 0, start: 0, tokens: 2, keep: Keep::NotReused },
        Op::Free { seq: 0 },
        Op::Advance { ms: 2 },
    ];
    explore_all(&alphabet, depth(7));
}
