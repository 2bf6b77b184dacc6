//! Regression: a prompt of whole blocks read "last token" although its last block, which
//! only the last-token rule would have kept from hitting, was never there.

use kvkeep::{BlockManager, Config, Error, Identity, MissReason};

#[test]
fn a_last_block_that_is_not_there_is_not_missed_for_the_last_token() -> Result<(), Error> {
    let mut kv = BlockManager::new(Config::new(8).block_size(4)).expect("a good config");
    let first = kv.admit(&[7, 7, 7, 7], &Identity::new())?;
    assert_eq!(first.miss, MissReason::NeverSeen);
    let _ = kv.reserve(first.seq, 4)?;
    kv.commit(first.seq, 4)?;
    // Now it is there.
    let second = kv.admit(&[7, 7, 7, 7], &Identity::new())?;
    assert_eq!((second.tokens_cached, second.miss), (0, MissReason::LastToken));
    Ok(())
}
