//! `advance` against the single calls that it stands for, and against nonsense.

use kvkeep::{Advance, BatchError, BlockManager, Config, Error, Identity, SeqId, Step};
use proptest::prelude::*;

const BLOCK_SIZE: usize = 4;

/// What a sequence wants: what makes sense, or numbers as wild as they come.
#[derive(Clone, Debug)]
struct Wish {
    who: usize,
    is_wild: bool,
    append: Vec<u32>,
    commit: usize,
    reserve: usize,
    lookahead: usize,
}

fn wishes() -> impl Strategy<Value = Vec<Wish>> {
    let tokens = prop::collection::vec(0_u32..2, 0..4);
    let wish = (0_usize..6, prop::bool::weighted(0.1), tokens, 0_usize..5, 0_usize..5, 0_usize..3)
        .prop_map(|(who, is_wild, append, commit, reserve, lookahead)| Wish {
            who,
            is_wild,
            append,
            commit,
            reserve,
            lookahead,
        });
    prop::collection::vec(wish, 0..5)
}

fn pool(prompts: &[Vec<u32>]) -> (BlockManager, Vec<SeqId>) {
    let mut kv = BlockManager::new(Config::new(12).block_size(BLOCK_SIZE)).unwrap();
    let seqs =
        prompts.iter().map(|prompt| kv.admit(prompt, &Identity::default()).unwrap().seq).collect();
    (kv, seqs)
}

/// The calls that `advance` stands for, one by one, on a pool that may be left half-way.
fn one_by_one(kv: &mut BlockManager, batch: &[Advance<'_>]) -> Result<Vec<Step>, BatchError> {
    let at = |index| move |error| BatchError { index, error };
    for (index, one) in batch.iter().enumerate() {
        if batch[..index].iter().any(|other| other.seq == one.seq) {
            return Err(at(index)(Error::TwiceInBatch(one.seq)));
        }
    }
    for (index, one) in batch.iter().enumerate() {
        kv.extend(one.seq, one.append).map_err(at(index))?;
        if one.commit > 0 {
            kv.commit(one.seq, one.commit).map_err(at(index))?;
        }
    }
    let mut steps = Vec::new();
    let mut is_full = false;
    for (index, one) in batch.iter().enumerate() {
        if one.reserve == 0 && one.lookahead == 0 {
            continue;
        }
        match kv.reserve_with_lookahead(one.seq, one.reserve, one.lookahead) {
            Ok(step) if !is_full => steps.push(step),
            // What `advance` does not come to can still be nonsense, but nobody's step.
            Ok(_) => kv.revert(one.seq).map_err(at(index))?,
            Err(Error::OutOfBlocks { .. }) => is_full = true,
            Err(error) => return Err(at(index)(error)),
        }
    }
    Ok(steps)
}

fn tables(kv: &BlockManager, seqs: &[SeqId]) -> Vec<(Vec<u32>, usize, usize)> {
    let of = |&seq: &SeqId| {
        let table = kv.block_table(seq).unwrap().iter().map(|block| block.get()).collect();
        (table, kv.tokens_known(seq).unwrap(), kv.tokens_computed(seq).unwrap())
    };
    seqs.iter().map(of).collect()
}

/// Makes wishes sensible where they are not wild: `open` are the tokens of the open steps.
fn settle(kv: &BlockManager, seqs: &[SeqId], open: &[usize], wish: &mut Wish) {
    if wish.is_wild {
        return;
    }
    let seq = seqs[wish.who];
    let waiting = kv.tokens_known(seq).unwrap() - kv.tokens_computed(seq).unwrap();
    wish.commit = open[wish.who];
    wish.reserve = wish.reserve.min(waiting + wish.append.len() - wish.commit);
    wish.lookahead *= usize::from(wish.reserve > 0);
}

proptest! {
    #[test]
    fn a_batch_is_its_single_calls_or_nothing(
        prompts in prop::collection::vec(prop::collection::vec(0_u32..2, 1..9), 6),
        rounds in prop::collection::vec(wishes(), 1..12),
    ) {
        let ((mut kv, seqs), mut steps) = (pool(&prompts), Vec::new());
        let mut open = [0; 6];
        let mut done: Vec<Vec<Wish>> = Vec::new();
        for mut round in rounds {
            round.iter_mut().for_each(|wish| settle(&kv, &seqs, &open, wish));
            let batch: Vec<Advance<'_>> = round.iter().map(|wish| advance(wish, &seqs)).collect();
            let (before, stats) = (tables(&kv, &seqs), *kv.stats());
            let found = kv.advance(&batch, &mut steps);
            kv.validate().unwrap();
            // The same from the start, this time the last batch as single calls.
            let (mut twin, twins) = pool(&prompts);
            prop_assert_eq!(&twins, &seqs);
            for past in &done {
                let past: Vec<Advance<'_>> = past.iter().map(|wish| advance(wish, &seqs)).collect();
                twin.advance(&past, &mut Vec::new()).unwrap();
            }
            let expected = one_by_one(&mut twin, &batch);
            match found {
                Ok(advanced) => {
                    let opened = batch.iter().zip(&steps).filter(|(one, _)| one.reserve > 0);
                    let opened: Vec<Step> = opened.map(|(_, step)| *step).collect();
                    prop_assert_eq!(Ok(opened), expected);
                    prop_assert_eq!(advanced.granted, steps.len());
                    prop_assert_eq!(advanced.refused.is_some(), steps.len() < batch.len());
                    for (at, wish) in round.iter().enumerate() {
                        if wish.commit > 0 {
                            open[wish.who] = 0;
                        }
                        if wish.reserve > 0 && at < advanced.granted {
                            open[wish.who] = wish.reserve;
                        }
                    }
                    done.push(round);
                }
                Err(error) => {
                    prop_assert!(expected.is_err(), "{error}, but single calls pass");
                    prop_assert_eq!(tables(&kv, &seqs), before);
                    prop_assert_eq!(*kv.stats(), stats);
                }
            }
        }
    }
}

fn advance<'a>(wish: &'a Wish, seqs: &[SeqId]) -> Advance<'a> {
    let Wish { who, append, commit, reserve, lookahead, .. } = wish;
    let (commit, reserve, lookahead) = (*commit, *reserve, *lookahead);
    Advance { seq: seqs[*who], append, commit, reserve, lookahead }
}
