//! Software prefetch: the only `unsafe` of the crate.
//!
//! A pool of 100,000 blocks does not fit the second-level cache, and in a pool that has
//! been in use for a while neighbours in a chain are not neighbours in memory. The
//! manager knows a few blocks ahead what it will touch, and a prefetch there is worth
//! about a third of the time of a scrambled hit (docs/design.md, section 5).

/// Asks for the cache line that holds `slice[index]`; an index out of range does nothing.
///
/// A hint only: it reads nothing as far as the program can tell.
#[inline(always)]
#[allow(unsafe_code)]
pub(crate) fn prefetch<T>(slice: &[T], index: usize) {
    if let Some(item) = slice.get(index) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the pointer comes from a live reference, and the instruction neither
        // faults nor changes memory. SSE is part of the x86_64 baseline.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(item).cast());
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above; PRFM is a hint that neither faults nor changes memory.
        unsafe {
            std::arch::asm!(
                "prfm pldl1keep, [{0}]",
                in(reg) std::ptr::from_ref(item),
                options(nostack, readonly, preserves_flags)
            );
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let _ = item;
    }
}
