//! Scenarios worked out by hand: what each call answers, with the arithmetic beside it.

mod support;

use kvkeep::{BlockManager, BlockState, Config, Error, Identity, MissReason, Retention, SeqId};
use support::hashers::Constant;

type Done = Result<(), Error>;

fn manager(num_blocks: u32, block_size: usize) -> BlockManager {
    BlockManager::new(Config::new(num_blocks).block_size(block_size)).expect("a good config")
}

fn nobody() -> Identity {
    Identity::new()
}

/// Reserves and commits the next `tokens` tokens.
fn compute<H: kvkeep::hash::BlockHasher>(
    kv: &mut BlockManager<H>,
    seq: SeqId,
    tokens: usize,
) -> Done {
    let _ = kv.reserve(seq, tokens)?;
    kv.commit(seq, tokens).map(drop)
}

/// Runs a prompt from admission to free; returns the tokens that hit.
fn serve<H: kvkeep::hash::BlockHasher>(
    kv: &mut BlockManager<H>,
    prompt: &[u32],
    identity: &Identity,
) -> Result<usize, Error> {
    let admission = kv.admit(prompt, identity)?;
    compute(kv, admission.seq, prompt.len() - admission.tokens_cached)?;
    kv.free(admission.seq)?;
    kv.validate().expect("invariants");
    Ok(admission.tokens_cached)
}

fn miss(
    kv: &mut BlockManager,
    prompt: &[u32],
    identity: &Identity,
) -> Result<(usize, MissReason, usize), Error> {
    let admission = kv.admit(prompt, identity)?;
    kv.free(admission.seq)?;
    Ok((admission.tokens_cached, admission.miss, admission.tokens_partial))
}

#[test]
fn each_reason_for_a_miss() -> Done {
    let mut kv = manager(4, 4);
    let prompt = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    assert_eq!(miss(&mut kv, &prompt, &nobody())?, (0, MissReason::NeverSeen, 0));
    assert_eq!(miss(&mut kv, &prompt[..3], &nobody())?, (0, MissReason::BelowBlockGranularity, 0));

    // 9 tokens: blocks 1234 and 5678 are published, the 9 is in a third that is not full.
    let first = kv.admit(&prompt, &nobody())?.seq;
    assert_eq!(miss(&mut kv, &prompt, &nobody())?, (0, MissReason::NotCommitted, 0));
    compute(&mut kv, first, 9)?;
    kv.free(first)?;

    // All but the 9 hit; the 9 alone fills no block.
    assert_eq!(miss(&mut kv, &prompt, &nobody())?, (8, MissReason::BelowBlockGranularity, 0));
    // 8 tokens: the second block is there as well, but holds the last token.
    assert_eq!(miss(&mut kv, &prompt[..8], &nobody())?, (4, MissReason::LastToken, 0));
    // 1234 hits, of 5699 the 56 is shared.
    let fork = [1, 2, 3, 4, 5, 6, 9, 9, 9];
    assert_eq!(miss(&mut kv, &fork, &nobody())?, (4, MissReason::BelowBlockGranularity, 2));
    let salted = nobody().salt("s").expect("short");
    assert_eq!(miss(&mut kv, &prompt, &salted)?, (0, MissReason::DifferentExtraKeys, 0));

    // A prompt of 12 takes 3 of 4 blocks; 2 are free, so the tail 5678 is evicted.
    serve(&mut kv, &[20; 12], &nobody())?;
    assert_eq!(kv.stats().evicted_blocks, 1);
    assert_eq!(miss(&mut kv, &prompt, &nobody())?, (4, MissReason::Evicted, 0));

    let misses = kv.stats().misses;
    let counted = |reason| (misses.get(reason).requests, misses.get(reason).tokens);
    assert_eq!(counted(MissReason::BelowBlockGranularity), (3, 3 + 1 + 5));
    assert_eq!(counted(MissReason::LastToken), (1, 4));
    assert_eq!(counted(MissReason::Evicted), (1, 5));
    // The first look, `first` itself, and the twelve 20s.
    assert_eq!(counted(MissReason::NeverSeen), (3, 9 + 9 + 12));
    Ok(())
}

#[test]
fn a_collision_is_a_counted_miss() -> Done {
    let mut kv =
        BlockManager::with_hasher(Config::new(8).block_size(2), Constant).expect("a good config");
    serve(&mut kv, &[1, 1, 1], &nobody())?;
    let other = kv.admit(&[2, 2, 2], &nobody())?;
    assert_eq!((other.tokens_cached, other.miss), (0, MissReason::Collision));
    compute(&mut kv, other.seq, 3)?;
    // Its full block stays private: freed, not cached.
    assert_eq!((kv.stats().collisions, kv.stats().published_blocks), (1, 1));
    kv.free(other.seq)?;
    assert_eq!(kv.usage().cached, 1);
    assert_eq!(serve(&mut kv, &[1, 1, 1], &nobody())?, 2);
    Ok(())
}

/// Why hash-only mode has to be asked for: with the same hasher it serves wrong KV.
#[test]
fn hash_only_mode_believes_a_colliding_hash() -> Done {
    let config = Config::new(8).block_size(2).hash_only();
    let mut kv = BlockManager::with_hasher(config, Constant).expect("a good config");
    serve(&mut kv, &[1, 1, 1], &nobody())?;
    assert_eq!(serve(&mut kv, &[2, 2, 2], &nobody())?, 2, "the KV of 1 1 for 2 2");
    Ok(())
}

#[test]
fn nothing_is_visible_before_its_commit() -> Done {
    let mut kv = manager(8, 2);
    let prompt = [1, 2, 3, 4, 5, 6, 7];
    let seq = kv.admit(&prompt, &nobody())?.seq;
    let peek = |kv: &BlockManager| kv.longest_prefix(&prompt, &Identity::new());
    // Chunks of 3: 0..3, 3..6, 6..7.
    let step = kv.reserve(seq, 3)?;
    assert_eq!((step.first_token, step.first_new_block, step.num_blocks), (0, 0, 2));
    assert_eq!(peek(&kv), 0);
    assert_eq!(kv.commit(seq, 3)?.blocks_published, 1);
    assert_eq!(peek(&kv), 2);
    let step = kv.reserve(seq, 3)?;
    assert_eq!((step.first_token, step.first_new_block, step.num_blocks), (3, 2, 3));
    assert_eq!(peek(&kv), 2);
    // Only 2 of the 3 were written: token 5 is missing in block 2.
    assert_eq!(kv.commit(seq, 2)?.blocks_published, 1);
    assert_eq!(peek(&kv), 4);
    assert_eq!((kv.tokens_computed(seq)?, kv.block_table(seq)?.len()), (5, 3));
    compute(&mut kv, seq, 2)?;
    assert_eq!(peek(&kv), 6);
    assert_eq!(kv.stats().committed_tokens, 7);
    Ok(())
}

#[test]
fn two_sequences_that_compute_the_same_block() -> Done {
    let mut kv = manager(8, 2);
    let prompt = [1, 2, 3, 4, 5];
    let (a, b) = (kv.admit(&prompt, &nobody())?.seq, kv.admit(&prompt, &nobody())?.seq);
    for seq in [a, b] {
        let _ = kv.reserve(seq, 5)?;
    }
    let first = kv.commit(a, 5)?;
    assert_eq!((first.blocks_published, first.blocks_duplicate), (2, 0));
    let second = kv.commit(b, 5)?;
    assert_eq!((second.blocks_published, second.blocks_duplicate), (0, 2));
    // 3 blocks each; the published ones of `a` have a second holder.
    assert_eq!(kv.usage().in_use, 6);
    let published = kv.block_table(a)?[0];
    assert_eq!(kv.block_state(published), Some(BlockState::InUse(2)));
    let own = kv.block_table(b)?[0];
    assert_eq!(kv.adopt(b, 0)?, published);
    assert_eq!((kv.block_table(b)?[0], kv.usage().in_use), (published, 5));
    assert_eq!(kv.block_state(own), Some(BlockState::Free));
    assert_eq!(kv.block_state(published), Some(BlockState::InUse(2)));
    assert_eq!(kv.adopt(b, 0), Err(Error::NotDuplicate { position: 0 }));
    // `b` alone keeps the chain: 12 and 34 published, its own 34 and its 5.
    kv.free(a)?;
    assert_eq!((kv.usage().in_use, kv.usage().cached), (4, 0));
    kv.free(b)?;
    assert_eq!((kv.usage().cached, kv.usage().free), (2, 6));
    kv.validate().expect("invariants");
    Ok(())
}

#[test]
fn a_fork_copies_the_partial_block_when_it_is_written() -> Done {
    let mut kv = manager(4, 2);
    let a = kv.admit(&[1, 2, 3], &nobody())?.seq;
    compute(&mut kv, a, 3)?;
    let b = kv.fork(a)?;
    assert_eq!(kv.block_table(a)?, kv.block_table(b)?);
    assert_eq!(kv.usage().in_use, 2);
    kv.append(b, 4)?;
    let shared = kv.block_table(a)?[1];
    let step = kv.reserve(b, 1)?;
    let copy = step.copy.expect("the last block is shared");
    assert_eq!((copy.source, copy.tokens), (shared, 1));
    assert_eq!(kv.block_table(b)?[1], copy.destination);
    assert_eq!((step.first_new_block, step.num_blocks), (2, 2));
    // The step holds the source: it survives the end of `a`.
    kv.free(a)?;
    assert_eq!(kv.block_state(shared), Some(BlockState::InUse(1)));
    kv.revert(b)?;
    assert_eq!((kv.block_table(b)?[1], kv.usage().in_use), (shared, 2));
    assert_eq!(kv.block_state(copy.destination), Some(BlockState::Free));
    // Nobody shares it any more: no copy now.
    assert_eq!(kv.reserve(b, 1)?.copy, None);
    assert_eq!(kv.commit(b, 1)?.blocks_published, 1);
    assert_eq!(kv.stats().reverted_steps, 1);
    Ok(())
}

#[test]
fn drafts_that_are_not_accepted_are_rolled_back() -> Done {
    let mut kv = manager(8, 2);
    let seq = kv.admit(&[1, 2, 3], &nobody())?.seq;
    compute(&mut kv, seq, 2)?;
    // The 3 and 4 drafts: tokens 2..7 need blocks 1, 2, 3.
    let step = kv.reserve_with_lookahead(seq, 1, 4)?;
    assert_eq!((step.first_token, step.num_blocks, kv.usage().in_use), (2, 4, 4));
    // 2 of 4 accepted: known 5, computed 5 in 3 blocks.
    assert_eq!(kv.commit(seq, 3), Err(Error::UnknownTokens { needed: 5, known: 3 }));
    kv.extend(seq, &[4, 5])?;
    assert_eq!(kv.commit(seq, 6), Err(Error::CommitTooLong { asked: 6, reserved: 5 }));
    assert_eq!(kv.commit(seq, 3)?.blocks_published, 1);
    assert_eq!((kv.tokens_computed(seq)?, kv.block_table(seq)?.len()), (5, 3));
    assert_eq!(kv.usage().in_use, 3);
    assert_eq!(kv.longest_prefix(&[1, 2, 3, 4, 5], &nobody()), 4);
    Ok(())
}

#[test]
fn a_preempted_sequence_is_counted_apart() -> Done {
    let mut kv = manager(4, 2);
    let seq = kv.admit(&[1, 2, 3], &nobody())?.seq;
    compute(&mut kv, seq, 3)?;
    kv.append(seq, 4)?;
    let _ = kv.reserve(seq, 1)?;
    // In a step: the step is reverted, 3 tokens are computed, 12 is cached.
    kv.preempt(seq)?;
    assert_eq!((kv.usage().cached, kv.usage().free), (1, 3));
    let again = kv.readmit(&[1, 2, 3, 4], &nobody())?;
    assert_eq!(again.tokens_cached, 2);
    let stats = *kv.stats();
    assert_eq!((stats.requests, stats.prompt_tokens, stats.cached_tokens), (1, 3, 0));
    assert_eq!((stats.preemptions, stats.reverted_steps), (1, 1));
    assert_eq!((stats.readmitted_requests, stats.readmitted_tokens), (1, 4));
    assert_eq!((stats.readmitted_cached_tokens, stats.recomputed_tokens), (2, 2));
    assert_eq!(stats.hit_rate(), 0.0);
    Ok(())
}

#[test]
fn an_epoch_ends_while_a_sequence_runs() -> Done {
    let mut kv = manager(8, 2);
    kv.advance_time(100)?;
    serve(&mut kv, &[9, 9, 9], &nobody())?;
    let old = kv.admit(&[1, 2, 3, 4, 5], &nobody())?.seq;
    compute(&mut kv, old, 3)?;
    assert_eq!((kv.usage().cached, kv.usage().in_use), (1, 2));
    kv.advance_time(107)?;
    assert_eq!(kv.invalidate_all(), 1);
    // 99 and 12 are unreachable; 99 is free at once, 12 is still in use.
    assert_eq!((kv.stats().invalidated_blocks, kv.stats().resident_block_ms), (2, 14));
    assert_eq!((kv.usage().cached, kv.usage().in_use, kv.usage().free), (0, 2, 6));
    assert_eq!(kv.longest_prefix(&[1, 2, 3], &nobody()), 0);
    // It goes on, and what it commits stays private.
    compute(&mut kv, old, 2)?;
    assert_eq!(kv.stats().published_blocks, 2);
    assert_eq!(kv.longest_prefix(&[1, 2, 3, 4, 5], &nobody()), 0);
    // So does a fork of it; a new sequence does share.
    let child = kv.fork(old)?;
    let new = kv.admit(&[1, 2, 3, 4, 5], &nobody())?;
    assert_eq!((new.tokens_cached, new.miss), (0, MissReason::NeverSeen));
    compute(&mut kv, new.seq, 5)?;
    for seq in [old, child, new.seq] {
        kv.free(seq)?;
        kv.validate().expect("invariants");
    }
    assert_eq!((kv.usage().cached, kv.usage().free), (2, 6));
    assert_eq!(serve(&mut kv, &[1, 2, 3, 4, 5], &nobody())?, 4);
    assert_eq!((kv.epoch(), kv.stats().evicted_blocks), (1, 0));
    Ok(())
}

/// What was evicted in an older epoch would not have hit anyway.
#[test]
fn evictions_of_an_older_epoch_are_forgotten() -> Done {
    let mut kv = manager(2, 2);
    serve(&mut kv, &[1, 2, 3], &nobody())?;
    serve(&mut kv, &[4, 5, 6, 7], &nobody())?;
    assert_eq!(kv.stats().evicted_blocks, 1);
    assert_eq!(miss(&mut kv, &[1, 2, 3], &nobody())?, (0, MissReason::Evicted, 0));
    kv.invalidate_all();
    assert_eq!(miss(&mut kv, &[1, 2, 3], &nobody())?, (0, MissReason::NeverSeen, 0));
    Ok(())
}

#[test]
fn a_request_as_large_as_the_pool() -> Done {
    for block_size in [1, 2, 4] {
        let mut kv = manager(4, block_size);
        let tokens = 4 * block_size as u32;
        let prompt: Vec<u32> = (0..tokens).collect();
        assert_eq!(serve(&mut kv, &prompt, &nobody())?, 0);
        assert_eq!((kv.usage().cached, kv.usage().free), (4, 0));
        // All of it hits but the block of the last token, which it then evicts: its own.
        assert_eq!(serve(&mut kv, &prompt, &nobody())?, 3 * block_size);
        assert_eq!((kv.stats().evicted_blocks, kv.usage().cached), (1, 4));
        let max = tokens as usize;
        let longer: Vec<u32> = (0..=tokens).collect();
        assert_eq!(
            kv.admit(&longer, &nobody()).expect_err("too long"),
            Error::TooLong { tokens: max + 1, max }
        );
    }
    Ok(())
}

#[test]
fn blocks_of_one_token() -> Done {
    let mut kv = manager(4, 1);
    assert_eq!(serve(&mut kv, &[5, 6, 7], &nobody())?, 0);
    assert_eq!(serve(&mut kv, &[5, 6, 7], &nobody())?, 2);
    let one = kv.admit(&[5], &nobody())?;
    assert_eq!((one.tokens_cached, one.miss), (0, MissReason::LastToken));
    // The recomputed 7 and 5 were duplicates or evicted; 5, 6, 7 are published once.
    assert_eq!(kv.usage().cached, 3);
    Ok(())
}

/// No room for the first step: the admission is taken back and counts once, later.
#[test]
fn a_withdrawn_admission_was_never_counted() {
    let mut kv = BlockManager::new(Config::new(4).block_size(2)).expect("a good config");
    let nobody = Identity::default();
    let running = kv.admit(&[1, 2, 3, 4, 5], &nobody).expect("fits").seq; // 3 of 4 blocks
    kv.reserve(running, 5).expect("free blocks");
    kv.commit(running, 5).expect("reserved");
    let before = *kv.stats();

    let early = kv.admit(&[1, 2, 9, 9, 9, 9], &nobody).expect("fits"); // hits [1, 2], needs 2
    assert_eq!(early.tokens_cached, 2);
    assert_eq!(kv.reserve(early.seq, 4), Err(Error::OutOfBlocks { needed: 2, available: 1 }));
    assert_ne!(*kv.stats(), before);
    kv.withdraw(early.seq).expect("nothing was committed");
    assert_eq!(*kv.stats(), before);
    assert_eq!(kv.withdraw(early.seq), Err(Error::UnknownSequence(early.seq)));
    assert_eq!(kv.withdraw(running), Err(Error::Started(running)));
    let fork = kv.fork(running).expect("no step is open");
    assert_eq!(kv.withdraw(fork), Err(Error::Started(fork)));
    kv.validate().expect("sound");
}

/// Found in review: a first commit inside one block, a fork, and an open step.
#[test]
fn a_withdrawal_knows_small_commits_forks_and_open_steps() {
    let mut kv = BlockManager::new(Config::new(8).block_size(16)).expect("a good config");
    let nobody = Identity::default();
    let before = *kv.stats();

    let in_step = kv.admit(&[1, 2, 3], &nobody).expect("fits").seq;
    kv.reserve(in_step, 3).expect("free blocks");
    kv.withdraw(in_step).expect("nothing was committed");
    assert_eq!(*kv.stats(), before);

    let small = kv.admit(&[1, 2, 3], &nobody).expect("fits").seq;
    kv.reserve(small, 2).expect("free blocks");
    kv.commit(small, 1).expect("reserved");
    assert_eq!(kv.withdraw(small), Err(Error::Started(small)));

    let parent = kv.admit(&[4, 5, 6], &nobody).expect("fits").seq;
    let fork = kv.fork(parent).expect("no step is open");
    assert_eq!(kv.withdraw(parent), Err(Error::Started(parent)));
    assert_eq!(kv.withdraw(fork), Err(Error::Started(fork)));
    kv.validate().expect("sound");
}

/// One retained block must not change how others are released.
#[test]
fn blocks_without_hints_keep_the_rank_that_they_inherited() {
    let mut kv = BlockManager::new(Config::new(8).block_size(2)).expect("a good config");
    let nobody = Identity::default();
    let mut run = |prompt: &[u32], hint: bool| {
        let seq = kv.admit(prompt, &nobody).expect("fits").seq;
        let rest = prompt.len() - kv.tokens_computed(seq).expect("runs");
        kv.reserve(seq, rest).expect("free blocks");
        kv.commit(seq, rest).expect("reserved");
        if hint {
            kv.retain(seq, 2..4, Retention::priority(90).expect("in range")).expect("runs");
        }
        let table: Vec<u32> = kv.block_table(seq).expect("runs").iter().map(|b| b.get()).collect();
        kv.free(seq).expect("runs");
        kv.validate().expect("sound");
        let order: Vec<u32> = kv.eviction_order().map(kvkeep::BlockId::get).collect();
        (table, order)
    };
    let (retained, _) = run(&[1, 2, 3, 4, 5, 6], true); // [3, 4] retained, [1, 2] with it
    let (other, _) = run(&[7, 8, 9, 9], false);
    // Used again without a hint: the two keep their rank, behind what came later.
    let (_, order) = run(&[1, 2, 3, 4, 5], false);
    assert_eq!(order, [retained[2], other[1], other[0], retained[1], retained[0]]);
}
