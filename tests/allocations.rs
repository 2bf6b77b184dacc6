//! A counting allocator proves that the hot path does not touch the heap in steady state.

#![allow(unsafe_code, reason = "a global allocator cannot be written without")]

use kvkeep::{BlockManager, Config, Error, Identity};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations that a piece of work makes on this thread.
fn allocations(work: impl FnOnce() -> Result<(), Error>) -> u64 {
    let before = CALLS.get();
    work().expect("good calls");
    CALLS.get() - before
}

const PROMPT_TOKENS: usize = 1_000;

fn serve(kv: &mut BlockManager, prompt: &[u32], identity: &Identity) -> Result<(), Error> {
    let admission = kv.admit(prompt, identity)?;
    let missing = prompt.len() - admission.tokens_cached;
    let _ = kv.reserve(admission.seq, missing)?;
    kv.commit(admission.seq, missing)?;
    kv.free(admission.seq)
}

#[test]
fn the_counter_counts() {
    let made = allocations(|| {
        std::hint::black_box(vec![1_u8; 100]);
        Ok(())
    });
    assert_eq!(made, 1);
}

/// The table and the list of tokens of a sequence grow by doubling; between two
/// doublings, and in a slot that held as long a sequence before, nothing is allocated.
#[test]
fn decoding_allocates_nothing() -> Result<(), Error> {
    let mut kv = BlockManager::new(Config::new(256)).expect("a good config");
    let prompt: Vec<u32> = (0..PROMPT_TOKENS as u32).collect();
    let mut decode = |first: u32| -> Result<u64, Error> {
        let seq = kv.admit(&prompt, &Identity::new())?.seq;
        let missing = prompt.len() - kv.tokens_computed(seq)?;
        let _ = kv.reserve(seq, missing)?;
        kv.commit(seq, missing)?;
        let made = allocations(|| {
            for token in first..first + 1_000 {
                kv.append(seq, token)?;
                let _ = kv.reserve(seq, 1)?;
                kv.commit(seq, 1)?;
            }
            Ok(())
        });
        kv.free(seq)?;
        Ok(made)
    };
    decode(10_000)?;
    // Other tokens each time, so that blocks are published, and evicted, anew.
    for round in 2..6 {
        assert_eq!(decode(round * 10_000)?, 0, "round {round}");
    }
    assert!(kv.stats().evicted_blocks > 0);
    Ok(())
}

#[test]
fn a_cached_prompt_is_admitted_and_freed_without_the_heap() -> Result<(), Error> {
    let mut kv = BlockManager::new(Config::new(256)).expect("a good config");
    let prompts: Vec<Vec<u32>> = (0..3).map(|n| (n..n + PROMPT_TOKENS as u32).collect()).collect();
    for _ in 0..3 {
        for prompt in &prompts {
            serve(&mut kv, prompt, &Identity::new())?;
        }
    }
    let before = kv.stats().cached_tokens;
    let made = allocations(|| {
        for prompt in prompts.iter().cycle().take(30) {
            let admission = kv.admit(prompt, &Identity::new())?;
            kv.free(admission.seq)?;
        }
        for prompt in prompts.iter().cycle().take(30) {
            serve(&mut kv, prompt, &Identity::new())?;
        }
        Ok(())
    });
    assert_eq!(made, 0);
    // 62 full blocks of 1,000 tokens, each time.
    assert_eq!(kv.stats().cached_tokens - before, 60 * 992);
    Ok(())
}

/// New prompts evict old ones: still nothing.
#[test]
fn eviction_allocates_nothing() -> Result<(), Error> {
    let mut kv = BlockManager::new(Config::new(256)).expect("a good config");
    let prompts: Vec<Vec<u32>> = (0..40)
        .map(|n| (0..PROMPT_TOKENS as u32).map(|token| token + n * 7_919).collect())
        .collect();
    for prompt in &prompts[..20] {
        serve(&mut kv, prompt, &Identity::new())?;
    }
    let before = kv.stats().evicted_blocks;
    let made = allocations(|| {
        prompts[20..].iter().try_for_each(|prompt| serve(&mut kv, prompt, &Identity::new()))
    });
    assert_eq!(made, 0);
    // Each takes 63 blocks: the one that its predecessor left free, and 62 victims.
    assert_eq!(kv.stats().evicted_blocks - before, 20 * 62);
    Ok(())
}
