//! Regression: a release was refused its hints for blocks that they would not have
//! raised. The bound counted every block up to the end of each hint, also where the
//! sequence had no block of the hint, or where a later hint replaced it.

use kvkeep::{BlockManager, Config, Error, Identity, Retention};

fn one_block(max_retained: u32) -> Result<(BlockManager, kvkeep::SeqId), Error> {
    let config = Config::new(4).block_size(1).max_retained_blocks(max_retained);
    let mut kv = BlockManager::new(config).expect("a good config");
    let seq = kv.admit(&[1, 2], &Identity::new())?.seq;
    let _ = kv.reserve(seq, 1)?;
    kv.commit(seq, 1)?;
    Ok((kv, seq))
}

#[test]
fn a_hint_behind_the_blocks_raises_nothing() -> Result<(), Error> {
    let (mut kv, seq) = one_block(0)?;
    kv.retain(seq, 1..2, Retention::priority(80)?)?;
    kv.free(seq)?;
    assert_eq!(kv.stats().refused_retentions, 0);
    Ok(())
}

#[test]
fn a_replaced_hint_raises_nothing() -> Result<(), Error> {
    let (mut kv, seq) = one_block(0)?;
    kv.retain(seq, 0..1, Retention::priority(80)?)?;
    kv.retain(seq, 0..1, Retention::not_reused())?;
    kv.free(seq)?;
    assert_eq!(kv.stats().refused_retentions, 0);
    Ok(())
}
