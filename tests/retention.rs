//! Which block goes next: release order, retention hints, their expiry and their bound.

use kvkeep::{BlockId, BlockManager, Config, Error, Identity, Retention, SeqId};

type Done = Result<(), Error>;

/// Eight blocks of one token, at most three of them retained.
fn manager() -> BlockManager {
    let config = Config::new(8).block_size(1).max_retained_blocks(3);
    BlockManager::new(config).expect("a good config")
}

/// A sequence that has computed all of `tokens`.
fn run(kv: &mut BlockManager, tokens: &[u32]) -> Result<SeqId, Error> {
    let admission = kv.admit(tokens, &Identity::new())?;
    let missing = tokens.len() - admission.tokens_cached;
    let _ = kv.reserve(admission.seq, missing)?;
    kv.commit(admission.seq, missing)?;
    Ok(admission.seq)
}

/// Runs and frees with a hint on a range; returns its blocks.
fn serve(
    kv: &mut BlockManager,
    tokens: &[u32],
    hint: Option<(std::ops::Range<usize>, Retention)>,
) -> Result<Vec<BlockId>, Error> {
    let seq = run(kv, tokens)?;
    let table = kv.block_table(seq)?.to_vec();
    if let Some((range, retention)) = hint {
        kv.retain(seq, range, retention)?;
    }
    kv.free(seq)?;
    kv.validate().expect("invariants");
    Ok(table)
}

fn order(kv: &BlockManager) -> Vec<BlockId> {
    kv.eviction_order().collect()
}

#[test]
fn tail_first_and_least_recently_released_first() -> Done {
    let mut kv = manager();
    let a = run(&mut kv, &[1, 2, 3])?;
    let b = run(&mut kv, &[7, 8])?;
    let (a_blocks, b_blocks) = (kv.block_table(a)?.to_vec(), kv.block_table(b)?.to_vec());
    // `b` computed later and is released earlier.
    kv.free(b)?;
    kv.free(a)?;
    assert_eq!(order(&kv), [b_blocks[1], b_blocks[0], a_blocks[2], a_blocks[1], a_blocks[0]]);
    // 3 free blocks first, then two victims from the front.
    let c = run(&mut kv, &[4, 4, 4, 4, 4])?;
    assert_eq!(kv.stats().evicted_blocks, 2);
    assert_eq!(kv.block_table(c)?[3..], [b_blocks[1], b_blocks[0]]);
    // 1 2 3 is a hit of 2 (the 3 holds the last token); they leave the list.
    let again = kv.admit(&[1, 2, 3], &Identity::new())?;
    assert_eq!((again.tokens_cached, order(&kv)), (2, vec![a_blocks[2]]));
    Ok(())
}

#[test]
fn not_reused_goes_first_and_priority_last() -> Done {
    let mut kv = manager();
    let kept = serve(&mut kv, &[1], Some((0..1, Retention::priority(80)?)))?[0];
    let low = serve(&mut kv, &[2], Some((0..1, Retention::priority(10)?)))?[0];
    let plain = serve(&mut kv, &[3], None)?[0];
    let scratch = serve(&mut kv, &[4], Some((0..1, Retention::not_reused())))?[0];
    assert_eq!(order(&kv), [scratch, low, plain, kept]);
    // 4 are free: a step of 7 takes them and the first three.
    let large = run(&mut kv, &[5; 7])?;
    assert_eq!(order(&kv), [kept]);
    // A hint never wedges the pool.
    kv.append(large, 5)?;
    let _ = kv.reserve(large, 1)?;
    assert_eq!((order(&kv), kv.usage().in_use), (vec![], 8));
    Ok(())
}

#[test]
fn ancestors_take_over_priority_and_expiry() -> Done {
    let mut kv = manager();
    // Only the last block is hinted: 3 blocks stand at 90, tail in front.
    let chain = serve(&mut kv, &[1, 2, 3], Some((2..3, Retention::priority(90)?.for_ms(10))))?;
    let plain = serve(&mut kv, &[7], None)?[0];
    assert_eq!(order(&kv), [plain, chain[2], chain[1], chain[0]]);
    kv.advance_time(9)?;
    assert_eq!(order(&kv), [plain, chain[2], chain[1], chain[0]]);
    let late = serve(&mut kv, &[8], None)?[0];
    // At 10 they fall back, as if released then: behind `plain` and `late`.
    kv.advance_time(10)?;
    assert_eq!(order(&kv), [plain, late, chain[2], chain[1], chain[0]]);
    kv.validate().expect("invariants");
    Ok(())
}

/// 3 may be retained: the second release would make it 2 + 2.
#[test]
fn hints_beyond_the_bound_are_refused_as_a_whole() -> Done {
    let mut kv = manager();
    let kept = serve(&mut kv, &[1, 2], Some((0..2, Retention::priority(80)?)))?;
    let refused = serve(&mut kv, &[3, 4], Some((0..2, Retention::priority(80)?)))?;
    assert_eq!(kv.stats().refused_retentions, 1);
    assert_eq!(order(&kv), [refused[1], refused[0], kept[1], kept[0]]);
    let fits = serve(&mut kv, &[5], Some((0..1, Retention::priority(70)?)))?;
    assert_eq!(kv.stats().refused_retentions, 1);
    assert_eq!(order(&kv), [refused[1], refused[0], fits[0], kept[1], kept[0]]);
    // Raising what is raised already needs no room.
    serve(&mut kv, &[1, 2], Some((0..2, Retention::priority(60)?)))?;
    assert_eq!(kv.stats().refused_retentions, 1);
    Ok(())
}

/// A block that was retained, and is used again without a hint, keeps its rank; a hint
/// replaces it; of two hints on one block the last one counts.
#[test]
fn ranks_are_kept_and_replaced() -> Done {
    let mut kv = manager();
    let first = serve(&mut kv, &[1], Some((0..1, Retention::priority(80)?)))?[0];
    let second = serve(&mut kv, &[2], None)?[0];
    let again = kv.admit(&[1, 9], &Identity::new())?.seq;
    kv.free(again)?;
    assert_eq!(order(&kv), [second, first]);
    let again = kv.admit(&[1, 9], &Identity::new())?.seq;
    kv.retain(again, 0..1, Retention::priority(99)?)?;
    kv.retain(again, 0..9, Retention::not_reused())?;
    kv.free(again)?;
    assert_eq!(order(&kv), [first, second]);
    Ok(())
}

/// A child that must stay keeps its parent, whatever the parent's own hint says.
#[test]
fn a_hint_does_not_lower_a_block_below_its_children() -> Done {
    let mut kv = manager();
    let chain = serve(&mut kv, &[1, 2], Some((1..2, Retention::priority(80)?)))?;
    let other = serve(&mut kv, &[1, 3], Some((0..2, Retention::not_reused())))?;
    assert_eq!(other[0], chain[0]);
    assert_eq!(order(&kv), [other[1], chain[1], chain[0]]);
    Ok(())
}
