//! Every error has a call that provokes it, and tells its reader what to do.

use kvkeep::{
    BlockManager, Config, Error, Identity, IdentityError, MAX_BLOCK_SIZE, MAX_CUSTOM_KEYS,
    MAX_FIELD_BYTES, MAX_HINTS, MAX_MEDIA_ITEMS, Retention, SeqId,
};

fn manager() -> BlockManager {
    BlockManager::new(Config::new(4).block_size(2).max_sequences(2)).expect("a good config")
}

fn nobody() -> Identity {
    Identity::new()
}

fn admit(kv: &mut BlockManager, prompt: &[u32]) -> SeqId {
    kv.admit(prompt, &nobody()).expect("it fits").seq
}

/// The error is this one, its message contains `advice`, and nothing has changed.
fn refused<T: std::fmt::Debug>(
    kv: &mut BlockManager,
    call: impl FnOnce(&mut BlockManager) -> Result<T, Error>,
    expected: &Error,
    advice: &str,
) {
    let before = (kv.usage(), *kv.stats(), kv.eviction_order().collect::<Vec<_>>());
    let error = call(kv).expect_err("it is wrong");
    assert_eq!(&error, expected);
    assert!(error.to_string().contains(advice), "{error}");
    let after = (kv.usage(), *kv.stats(), kv.eviction_order().collect::<Vec<_>>());
    assert_eq!(before, after, "{error}");
    kv.validate().expect("invariants");
}

#[test]
fn admission() {
    let mut kv = manager();
    refused(&mut kv, |kv| kv.admit(&[], &nobody()), &Error::EmptyPrompt, "pass at least one token");
    let too_long = Error::TooLong { tokens: 9, max: 8 };
    refused(&mut kv, |kv| kv.admit(&[1; 9], &nobody()), &too_long, "raise num_blocks");
    refused(&mut kv, |kv| kv.readmit(&[1; 9], &nobody()), &too_long, "raise num_blocks");
    let image = nobody().media("image", 2..usize::MAX).expect("not empty");
    let beyond = Error::MediaBeyondPrompt { end: usize::MAX, prompt_tokens: 8 };
    refused(&mut kv, |kv| kv.admit(&[1; 8], &image), &beyond, "placeholder tokens");
    assert_eq!(kv.longest_prefix(&[1; 8], &image), 0);
    assert_eq!(kv.longest_prefix(&[], &nobody()), 0);
    let (_, b) = (admit(&mut kv, &[1]), admit(&mut kv, &[2]));
    let too_many = Error::TooManySequences { max: 2 };
    refused(
        &mut kv,
        |kv| kv.admit(&[3], &image),
        &Error::MediaBeyondPrompt { end: usize::MAX, prompt_tokens: 1 },
        "placeholder",
    );
    let salted = nobody().salt("s").expect("short");
    refused(&mut kv, |kv| kv.admit(&[3], &salted), &too_many, "raise max_sequences");
    refused(&mut kv, |kv| kv.fork(b), &too_many, "free some");
}

#[test]
fn steps() {
    let mut kv = manager();
    let seq = admit(&mut kv, &[1, 2, 3]);
    refused(&mut kv, |kv| kv.commit(seq, 1), &Error::NoStep(seq), "reserve first");
    refused(&mut kv, |kv| kv.revert(seq), &Error::NoStep(seq), "reserve first");
    refused(&mut kv, |kv| kv.reserve(seq, 0), &Error::ZeroTokens, "at least 1");
    let unknown = |needed| Error::UnknownTokens { needed, known: 3 };
    refused(&mut kv, |kv| kv.reserve(seq, 4), &unknown(4), "append the missing ones");
    refused(&mut kv, |kv| kv.reserve(seq, usize::MAX), &unknown(usize::MAX), "ask for fewer");
    let short = Error::OutOfBlocks { needed: 5, available: 4 };
    refused(&mut kv, |kv| kv.reserve_with_lookahead(seq, 3, 6), &short, "preempt a sequence");
    let absurd = kv.reserve_with_lookahead(seq, 3, usize::MAX);
    assert!(matches!(absurd, Err(Error::OutOfBlocks { needed, .. }) if needed > 1 << 60));

    let _ = kv.reserve_with_lookahead(seq, 2, 2).expect("room");
    let open = Error::StepOpen(seq);
    refused(&mut kv, |kv| kv.reserve(seq, 1), &open, "commit or revert it first");
    refused(&mut kv, |kv| kv.fork(seq), &open, "commit or revert");
    refused(&mut kv, |kv| kv.adopt(seq, 0), &open, "commit or revert");
    refused(&mut kv, |kv| kv.commit(seq, 0), &Error::ZeroTokens, "revert to give a step up");
    let long = |asked| Error::CommitTooLong { asked, reserved: 4 };
    refused(&mut kv, |kv| kv.commit(seq, 5), &long(5), "lookahead");
    refused(&mut kv, |kv| kv.commit(seq, usize::MAX), &long(usize::MAX), "reserve more");
    refused(&mut kv, |kv| kv.commit(seq, 4), &unknown(4), "append");
    kv.commit(seq, 3).expect("known and reserved");

    let none = Error::NotDuplicate { position: 0 };
    refused(&mut kv, |kv| kv.adopt(seq, 0), &none, "see `duplicates`");
    let none = Error::NotDuplicate { position: usize::MAX };
    refused(&mut kv, |kv| kv.adopt(seq, usize::MAX), &none, "no published duplicate");
    kv.extend(seq, &[0; 5]).expect("8 tokens fit");
    let full = Error::TooLong { tokens: 9, max: 8 };
    refused(&mut kv, |kv| kv.append(seq, 0), &full, "shorten it");
    refused(&mut kv, |kv| kv.extend(seq, &[0]), &full, "shorten it");
    kv.extend(seq, &[]).expect("nothing to add");
}

#[test]
fn a_copy_needs_a_block_as_well() {
    let mut kv = manager();
    let a = admit(&mut kv, &[1; 7]);
    let _ = kv.reserve(a, 7).expect("4 blocks");
    kv.commit(a, 7).expect("open");
    let b = kv.fork(a).expect("one more");
    kv.append(b, 2).expect("8 tokens");
    let short = Error::OutOfBlocks { needed: 1, available: 0 };
    refused(&mut kv, |kv| kv.reserve(b, 1), &short, "only 0 are free or evictable");
    kv.free(a).expect("running");
    assert_eq!(kv.reserve(b, 1).expect("its own block now").copy, None);
}

#[test]
fn handles_that_ended_or_never_were() {
    let mut kv = manager();
    let ended = admit(&mut kv, &[1]);
    kv.free(ended).expect("running");
    // The slot is in use again, by somebody else.
    let other = admit(&mut kv, &[1]);
    assert_ne!(ended, other);
    for id in [ended, SeqId::from_u64(u64::MAX), SeqId::from_u64(1), SeqId::from_u64(1 << 32 | 7)] {
        let unknown = Error::UnknownSequence(id);
        let advice = "freed already";
        refused(&mut kv, |kv| kv.free(id), &unknown, advice);
        refused(&mut kv, |kv| kv.preempt(id), &unknown, advice);
        refused(&mut kv, |kv| kv.reserve(id, 1), &unknown, advice);
        refused(&mut kv, |kv| kv.commit(id, 1), &unknown, advice);
        refused(&mut kv, |kv| kv.revert(id), &unknown, advice);
        refused(&mut kv, |kv| kv.append(id, 1), &unknown, advice);
        refused(&mut kv, |kv| kv.extend(id, &[1; 100]), &unknown, advice);
        refused(&mut kv, |kv| kv.fork(id), &unknown, advice);
        refused(&mut kv, |kv| kv.adopt(id, 0), &unknown, advice);
        refused(&mut kv, |kv| kv.retain(id, 0..1, Retention::not_reused()), &unknown, advice);
    }
    assert_eq!(SeqId::from_u64(other.to_u64()), other);
}

#[test]
fn retention_and_time() {
    let mut kv = manager();
    let seq = admit(&mut kv, &[1, 2, 3]);
    let scratch = Retention::not_reused();
    let empty = Error::EmptyRange { start: 2, end: 2 };
    refused(&mut kv, |kv| kv.retain(seq, 2..2, scratch), &empty, "start < end");
    #[allow(clippy::reversed_empty_ranges, reason = "that is the mistake")]
    let reversed = 3..1;
    let empty = Error::EmptyRange { start: 3, end: 1 };
    refused(&mut kv, |kv| kv.retain(seq, reversed, scratch), &empty, "start < end");
    for _ in 0..MAX_HINTS {
        kv.retain(seq, 0..usize::MAX, scratch).expect("up to 64");
    }
    let many = Error::TooManyHints { max: MAX_HINTS };
    refused(&mut kv, |kv| kv.retain(seq, 0..1, scratch), &many, "merge ranges");
    let error = Retention::priority(101).expect_err("too high");
    assert_eq!(error, Error::PriorityTooHigh(101));
    assert!(error.to_string().contains("pass 0 to 100"));
    kv.advance_time(5).expect("later");
    let back = Error::TimeWentBack { passed_ms: 4, now_ms: 5 };
    refused(&mut kv, |kv| kv.advance_time(4), &back, "monotonic clock");
    kv.advance_time(5).expect("not earlier");
    kv.advance_time(u64::MAX).expect("the end of time");
    kv.free(seq).expect("running");
    kv.validate().expect("invariants");
}

/// Expiry is computed without overflow, and "never" outlives any time.
#[test]
fn absurd_times_to_live() {
    let config = Config::new(4).block_size(1).max_retained_blocks(4);
    let mut kv = BlockManager::new(config).expect("a good config");
    kv.advance_time(u64::MAX - 1).expect("late");
    for token in 0..3 {
        let seq = admit(&mut kv, &[token]);
        let _ = kv.reserve(seq, 1).expect("room");
        kv.commit(seq, 1).expect("open");
        let keep = Retention::priority(90).expect("at most 100");
        let keep = [keep, keep.for_ms(u64::MAX), keep.for_ms(1)][token as usize];
        kv.retain(seq, 0..1, keep).expect("few");
        kv.free(seq).expect("running");
    }
    kv.advance_time(u64::MAX).expect("the end of time");
    kv.validate().expect("invariants");
    assert_eq!(kv.usage().cached, 3);
}

#[test]
fn configs() {
    let one = |config: Config| BlockManager::new(config).expect_err("it is wrong").to_string();
    assert!(one(Config::new(0)).contains("kvkeep plan"));
    assert!(one(Config::new(u32::MAX)).contains("pass 1 to 2147483648"));
    assert!(one(Config::new(1).block_size(0)).contains("pass 1 to 65536"));
    assert!(one(Config::new(1).block_size(MAX_BLOCK_SIZE + 1)).contains("block_size is 65537"));
    assert!(one(Config::new(1).max_retained_blocks(2)).contains("at most num_blocks, 1"));
    assert!(one(Config::new(1).remember_evicted(u32::MAX)).contains("remember_evicted"));
    assert!(one(Config::new(1).max_sequences(usize::MAX)).contains("max_sequences"));
    assert!(BlockManager::new(Config::new(1).block_size(MAX_BLOCK_SIZE)).is_ok());
}

#[test]
fn identities() {
    let long = "x".repeat(MAX_FIELD_BYTES + 1);
    let error = nobody().salt(&long).expect_err("too long");
    assert!(error.to_string().contains("pass a digest of it instead"), "{error}");
    let error = nobody().media("image", 4..4).expect_err("empty");
    assert_eq!(error, IdentityError::EmptyMediaRange { start: 4, end: 4 });
    assert!(error.to_string().contains("pass its placeholder tokens"), "{error}");
    let mut identity = nobody();
    for n in 0..MAX_MEDIA_ITEMS {
        identity = identity.media("image", n..n + 1).expect("up to 1024");
    }
    let error = identity.media("image", 0..1).expect_err("too many");
    assert!(matches!(error, IdentityError::TooMany { field: "media items", .. }));
    assert!(error.to_string().contains("at most 1024"), "{error}");
    let mut identity = nobody();
    for _ in 0..MAX_CUSTOM_KEYS {
        identity = identity.custom("key", b"value").expect("up to 16");
    }
    let error = identity.custom("key", b"value").expect_err("too many");
    assert!(matches!(error, IdentityError::TooMany { field: "custom keys", .. }));
}
