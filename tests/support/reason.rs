//! Why a hit ended, as far as the documentation determines it.

use super::ink::Ink;
use super::naive::{Naive, Published};
use super::who::Who;
use kvkeep::MissReason;
use std::sync::atomic::{AtomicU64, Ordering};

/// Diagnoses of full blocks, and those of them that said "evicted" of a block that was
/// not: the fingerprints allow 31 in 65,536.
pub(crate) static DIAGNOSED: AtomicU64 = AtomicU64::new(0);
pub(crate) static FALSELY_EVICTED: AtomicU64 = AtomicU64::new(0);

impl Naive {
    /// Checks the reason for a hit of `cached` tokens. Call it before `admit`.
    pub(crate) fn check_reason(
        &self,
        (prompt, who, ink): (&[u32], &Who, &[Ink]),
        cached: usize,
        reason: MissReason,
    ) {
        let size = self.block_size;
        if prompt.len() - cached < size {
            assert_eq!(reason, MissReason::BelowBlockGranularity, "what is left fills no block");
            return;
        }
        if self.find(ink[cached + size - 1]).is_some() {
            assert_eq!(prompt.len() - cached, size, "a published block did not hit");
            assert_eq!(reason, MissReason::LastToken, "everything matched");
            return;
        }
        let wanted = ink[cached + size - 1];
        let parent = cached.checked_sub(1).map(|last| ink[last]);
        let tokens = &prompt[cached..cached + size];
        let keys = who.keys(cached / size, size);
        DIAGNOSED.fetch_add(1, Ordering::Relaxed);

        let computing = self.being_computed(wanted, cached);
        if computing == Some(true) || (computing.is_some() && reason == MissReason::NotCommitted) {
            assert_eq!(reason, MissReason::NotCommitted, "a running sequence is about to");
            return;
        }
        let recent = self.evicted.len().saturating_sub(self.num_blocks);
        let is_wanted = |block: &Published| block.ink == wanted;
        if self.evicted[recent..].iter().any(is_wanted) {
            assert_eq!(reason, MissReason::Evicted, "it was evicted a short while ago");
            return;
        }
        if reason == MissReason::Evicted {
            if !self.evicted.iter().any(is_wanted) {
                assert!(!self.evicted.is_empty(), "nothing was evicted so far");
                FALSELY_EVICTED.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
        let siblings: Vec<_> = self.published.iter().filter(|b| b.parent == parent).collect();
        let twin = siblings.iter().any(|b| b.tokens == tokens && b.keys != keys);
        let partial = siblings.iter().any(|b| b.tokens[0] == tokens[0] && b.keys == keys);
        let only_child = siblings.len() == 1 && self.evicted.iter().all(|b| b.parent != parent);
        match reason {
            MissReason::DifferentExtraKeys => assert!(twin, "no such tokens with other keys"),
            // Exact for first blocks; below it looks at the sibling that came first, only.
            _ if twin && (parent.is_none() || (only_child && self.verified)) => {
                panic!("{reason} instead of different extra keys");
            }
            MissReason::BelowBlockGranularity if self.verified => {
                assert!(partial, "no block shares its start");
            }
            MissReason::NeverSeen => {}
            other => panic!("{other} where nothing says so"),
        }
    }

    /// Whether a running sequence will commit this very block: `true` where it is its
    /// next one. The manager need not notice those further on.
    fn being_computed(&self, wanted: Ink, cached: usize) -> Option<bool> {
        let end = cached + self.block_size;
        let computing = self.seqs.iter().filter(|seq| {
            let knows = seq.ink.get(end - 1) == Some(&wanted);
            seq.epoch == self.epoch && !seq.private && seq.computed < end && knows
        });
        computing.map(|seq| seq.computed >= cached).max()
    }
}
