//! Hash-only mode with hashers that collide: the content of a hit is not promised, the
//! invariants are.

mod support;

use kvkeep::hash::BlockHasher;
use kvkeep::{BlockManager, Config, Error, ExtraKeys, SeqId};
use proptest::prelude::*;
use support::hashers::{Constant, Weak};
use support::ops::{Op, Setup, cases, sequences, setups};
use support::who::Who;

/// The hash of a block is its last token.
#[derive(Clone, Copy, Debug)]
struct LastTokenOnly;

impl BlockHasher for LastTokenOnly {
    type Digest = [u8; 1];

    fn root(&self, _: usize) -> [u8; 1] {
        [255]
    }

    fn hash(&self, _: &[u8; 1], tokens: &[u32], _: ExtraKeys<'_>) -> [u8; 1] {
        [tokens.last().copied().unwrap_or_default() as u8]
    }
}

fn compute<H: BlockHasher>(kv: &mut BlockManager<H>, prompt: &[u32]) -> Result<usize, Error> {
    let admission = kv.admit(prompt, &Who::nth(0, 1).identity())?;
    let missing = prompt.len() - admission.tokens_cached;
    let _ = kv.reserve(admission.seq, missing)?;
    Ok(kv.commit(admission.seq, missing)?.blocks_published)
}

/// Regression: a second child whose hash a block elsewhere has was published where no
/// lookup finds it.
#[test]
fn what_commit_publishes_a_lookup_reaches() -> Result<(), Error> {
    let config = Config::new(8).block_size(1).hash_only();
    let mut kv = BlockManager::with_hasher(config, LastTokenOnly).expect("a good config");
    assert_eq!(compute(&mut kv, &[5])?, 1);
    assert_eq!(compute(&mut kv, &[1, 2])?, 2);
    let published = compute(&mut kv, &[1, 5])?;
    let nobody = Who::nth(0, 1).identity();
    assert_eq!(kv.longest_prefix(&[5, 0], &nobody), 1);
    assert_eq!(kv.longest_prefix(&[1, 2, 0], &nobody), 2);
    assert_eq!(kv.longest_prefix(&[1, 5, 0], &nobody), 1 + published);
    Ok(())
}

/// Makes the calls as far as they are allowed.
fn act<H: BlockHasher>(kv: &mut BlockManager<H>, running: &mut Vec<SeqId>, op: &Op) {
    let pick = |seq: &usize| seq.checked_rem(running.len()).map(|at| running[at]);
    match op {
        Op::Admit { prompt, who } | Op::Readmit { prompt, who } | Op::Serve { prompt, who } => {
            let admission = kv.admit(&prompt.to_tokens(1), &Who::nth(*who, 1).identity());
            running.extend(admission.map(|admission| admission.seq));
        }
        Op::Compute { seq } => {
            let Some(id) = pick(seq) else { return };
            let known = kv.tokens_known(id).expect("running");
            let missing = known - kv.tokens_computed(id).expect("running");
            if kv.reserve(id, missing).is_ok() {
                kv.commit(id, missing).expect("just reserved");
            }
        }
        Op::Reserve { seq, tokens, lookahead } => {
            let _ = pick(seq).map(|id| kv.reserve_with_lookahead(id, *tokens, *lookahead));
        }
        Op::Commit { seq, tokens } => {
            let _ = pick(seq).map(|id| kv.commit(id, *tokens));
        }
        Op::Revert { seq } => {
            let _ = pick(seq).map(|id| kv.revert(id));
        }
        Op::Append { seq, token } | Op::Decode { seq, token } => {
            let _ = pick(seq).map(|id| kv.append(id, *token));
        }
        Op::Extend { seq, tokens } => {
            let _ = pick(seq).map(|id| kv.extend(id, tokens));
        }
        Op::Fork { seq } | Op::Branch { seq, .. } => {
            running.extend(pick(seq).and_then(|id| kv.fork(id).ok()));
        }
        Op::Adopt { seq, position } => {
            let _ = pick(seq).map(|id| kv.adopt(id, *position));
        }
        Op::Free { seq } | Op::Preempt { seq } => {
            let Some(id) = pick(seq) else { return };
            kv.free(id).expect("running");
            running.retain(|&other| other != id);
        }
        Op::Retain { seq, start, tokens, keep } => {
            let range = *start..start + tokens;
            let _ = pick(seq).map(|id| kv.retain(id, range, keep.retention()));
        }
        Op::Advance { ms } => {
            let _ = kv.advance_time(ms.unsigned_abs());
        }
        Op::Invalidate => {
            kv.invalidate_all();
        }
        Op::Stale { .. } | Op::Again { .. } | Op::Twin { .. } => {}
    }
}

fn run<H: BlockHasher>(setup: &Setup, ops: &[Op], hasher: H) {
    let config = Config::new(setup.num_blocks).block_size(setup.block_size).hash_only();
    let mut kv = BlockManager::with_hasher(config, hasher).expect("a good config");
    let mut running = Vec::new();
    for op in ops {
        act(&mut kv, &mut running, op);
        kv.validate().expect("the invariants of design.md");
    }
    for id in running {
        kv.free(id).expect("running");
    }
    kv.validate().expect("the invariants of design.md");
    assert_eq!(kv.usage().in_use, 0);
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn invariants_hold_whatever_collides(setup in setups(), ops in sequences(80)) {
        run(&setup, &ops, Constant);
        run(&setup, &ops, Weak::<1>);
        run(&setup, &ops, Weak::<2>);
        run(&setup, &ops, LastTokenOnly);
    }
}
