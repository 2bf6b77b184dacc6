//! Metadata per block, counted by the allocator: 128 bytes at most with verified hits, 64
//! in hash-only mode, all blocks cached.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use kvkeep::{BlockManager, Config, Identity};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[allow(unsafe_code, reason = "an allocator is unsafe to implement")]
// SAFETY: every call is handed to the system allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE_BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Bytes per block of a pool full of cached chains of `chain` blocks.
fn bytes_per_block(config: Config, blocks: u32, chain: usize, tenants: u32) -> f64 {
    let before = LIVE_BYTES.load(Ordering::Relaxed);
    let mut kv = BlockManager::new(config).unwrap();
    let mut token = 0..;
    let mut requests = 0u32..;
    while kv.usage().free > 0 {
        let blocks = chain.min(kv.usage().free);
        let prompt: Vec<u32> = token.by_ref().take(blocks * 16).collect();
        let mut identity = Identity::default();
        if tenants > 0 {
            let tenant = requests.next().unwrap_or_default() % tenants;
            identity = identity.salt(&format!("tenant-{tenant}")).unwrap();
        }
        let seq = kv.admit(&prompt, &identity).unwrap().seq;
        kv.reserve(seq, prompt.len()).unwrap();
        kv.commit(seq, prompt.len()).unwrap();
        kv.free(seq).unwrap();
    }
    assert_eq!(kv.usage().cached, blocks as usize);
    (LIVE_BYTES.load(Ordering::Relaxed) - before) as f64 / f64::from(blocks)
}

#[test]
fn metadata_stays_within_its_bounds() {
    const BLOCKS: u32 = 100_000;
    // Chains of one block are the worst case: every block is in the hash table.
    for (chain, tenants) in [(64, 0), (1, 0), (64, 100)] {
        let verified = bytes_per_block(Config::new(BLOCKS), BLOCKS, chain, tenants);
        let hash_only = bytes_per_block(Config::new(BLOCKS).hash_only(), BLOCKS, chain, tenants);
        println!(
            "chains of {chain}, {tenants} tenants: {verified:.1} B verified, {hash_only:.1} B hash-only"
        );
        assert!(verified <= 128.0 && hash_only <= 64.0);
    }
}
