//! The process's allocator, which can count the bytes that stay allocated.
//!
//! Counting is off except while a [`measure`] runs, so that the timed workloads pay one
//! load and a predicted branch per call and not an atomic addition: a manager that
//! allocates per block must not look slower for being watched.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering::Relaxed};

static COUNTING: AtomicBool = AtomicBool::new(false);
static BYTES: AtomicIsize = AtomicIsize::new(0);
static ALLOCATIONS: AtomicIsize = AtomicIsize::new(0);

/// The system's allocator, counted on demand.
pub(crate) struct Counting;

impl Counting {
    fn note(bytes: isize, allocations: isize) {
        if COUNTING.load(Relaxed) {
            BYTES.fetch_add(bytes, Relaxed);
            ALLOCATIONS.fetch_add(allocations, Relaxed);
        }
    }
}

// SAFETY: every call goes to `System` with the caller's arguments unchanged; the
// counters hold numbers only and do not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::note(layout.size() as isize, 1);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::note(layout.size() as isize, 1);
        // SAFETY: the caller keeps `alloc_zeroed`'s contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        Self::note(-(layout.size() as isize), -1);
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        Self::note(new_size as isize - layout.size() as isize, 0);
        // SAFETY: the caller keeps `realloc`'s contract.
        unsafe { System.realloc(block, layout, new_size) }
    }
}

/// What a piece of code left allocated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Live {
    /// Bytes as requested, without the allocator's own overhead.
    pub(crate) bytes: isize,
    /// Allocations.
    pub(crate) allocations: isize,
}

/// Runs `build` and counts what is still allocated while its result is alive.
pub(crate) fn measure<T>(build: impl FnOnce() -> T) -> Live {
    BYTES.store(0, Relaxed);
    ALLOCATIONS.store(0, Relaxed);
    COUNTING.store(true, Relaxed);
    let kept = build();
    COUNTING.store(false, Relaxed);
    drop(kept);
    Live { bytes: BYTES.load(Relaxed), allocations: ALLOCATIONS.load(Relaxed) }
}
