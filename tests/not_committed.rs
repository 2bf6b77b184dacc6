//! Regression: blocks that a decoding sequence was about to commit read "never seen"
//! instead of "not committed"; and the limit of that reason.

use kvkeep::{BlockManager, Config, Error, Identity, MissReason, SeqId};

const NOBODY: fn() -> Identity = Identity::new;

fn compute(kv: &mut BlockManager, seq: SeqId, tokens: usize) -> Result<(), Error> {
    let _ = kv.reserve(seq, tokens)?;
    kv.commit(seq, tokens).map(drop)
}

/// The block is full by tokens that were appended, and its step is open.
#[test]
fn a_block_that_decoding_fills_is_known_to_be_on_its_way() -> Result<(), Error> {
    let mut kv = BlockManager::new(Config::new(8).block_size(4)).expect("a good config");
    let decoding = kv.admit(&[1, 2, 3], &NOBODY())?.seq;
    compute(&mut kv, decoding, 3)?;
    kv.append(decoding, 4)?;
    let _ = kv.reserve(decoding, 1)?;
    let late = kv.admit(&[1, 2, 3, 4, 5], &NOBODY())?;
    assert_eq!(late.miss, MissReason::NotCommitted);
    Ok(())
}

/// Only the next block of a sequence counts. The next one of `behind` is block 0, which
/// somebody else published meanwhile; that it will get to block 1 is not noticed.
#[test]
fn a_block_that_is_not_the_next_one_is_not_noticed() -> Result<(), Error> {
    let mut kv = BlockManager::new(Config::new(8).block_size(2)).expect("a good config");
    let ahead = kv.admit(&[0, 0], &NOBODY())?.seq;
    let behind = kv.admit(&[0, 0, 0, 1], &NOBODY())?.seq;
    let _ = kv.reserve(behind, 4)?;
    compute(&mut kv, ahead, 2)?;
    let late = kv.admit(&[0, 0, 0, 1, 1], &NOBODY())?;
    assert_eq!((late.tokens_cached, late.miss), (2, MissReason::NeverSeen));
    // Once it is the next one, it is.
    kv.commit(behind, 2)?;
    let later = kv.admit(&[0, 0, 0, 1, 1], &NOBODY())?;
    assert_eq!((later.tokens_cached, later.miss), (2, MissReason::NotCommitted));
    Ok(())
}
