//! Why a prefix hit ended where it did.

use std::fmt;

/// Why the hit of an admitted request ended where it did: the first of these that
/// applies at the first block that did not hit.
///
/// How to read a dashboard of it: in a healthy chat service most requests end with
/// `NeverSeen` (the new message) or `BelowBlockGranularity` (a short rest); `Evicted` is
/// what a larger pool or another policy could win, `NotCommitted` what waiting could.
///
/// For operators and dashboards. Do not show it to clients: it tells whether others
/// sent the same tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MissReason {
    /// The whole prompt is cached, up to the end of its last block, and the last prompt
    /// token is always computed.
    LastToken,
    /// A published block has the same hash and other content.
    Collision,
    /// A running sequence is about to compute this very block: it is the next one that it
    /// will commit. Admitting the request a little later would have hit.
    NotCommitted,
    /// The block was here and was evicted. A larger pool, or another policy, would have
    /// hit. Comes from a bounded memory: an old eviction reads as `NeverSeen`.
    Evicted,
    /// The same tokens are cached here under another salt, adapter or other extra key.
    DifferentExtraKeys,
    /// What was left of the prompt does not fill a block, or it is new but for the start
    /// of a block, which a cached one shares. Smaller blocks would hit more.
    BelowBlockGranularity,
    /// None of the others: new content, or content from before `invalidate_all`.
    NeverSeen,
}

impl MissReason {
    /// All reasons, in the order in which they are looked for.
    pub const ALL: &'static [MissReason] = &[
        MissReason::LastToken,
        MissReason::Collision,
        MissReason::NotCommitted,
        MissReason::Evicted,
        MissReason::DifferentExtraKeys,
        MissReason::BelowBlockGranularity,
        MissReason::NeverSeen,
    ];

    /// A short name for logs and metrics, in snake case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            MissReason::LastToken => "last_token",
            MissReason::BelowBlockGranularity => "below_block_granularity",
            MissReason::Collision => "collision",
            MissReason::NotCommitted => "not_committed",
            MissReason::Evicted => "evicted",
            MissReason::DifferentExtraKeys => "different_extra_keys",
            MissReason::NeverSeen => "never_seen",
        }
    }
}

impl fmt::Display for MissReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is counted for each [`MissReason`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MissCount {
    /// Requests whose hit ended for this reason.
    pub requests: u64,
    /// Their prompt tokens that were not cached.
    pub tokens: u64,
}

/// Counts per reason. Requests add up to `Stats::requests`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MissCounts([MissCount; MissReason::ALL.len()]);

impl MissCounts {
    /// The counts of one reason.
    #[must_use]
    pub fn get(&self, reason: MissReason) -> MissCount {
        self.0[reason as usize]
    }

    /// All counts, in the order of [`MissReason::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (MissReason, MissCount)> + '_ {
        MissReason::ALL.iter().copied().zip(self.0)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, reason: MissReason) -> &mut MissCount {
        &mut self.0[reason as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_declaration_order() {
        for (n, &reason) in MissReason::ALL.iter().enumerate() {
            assert_eq!(reason as usize, n);
        }
    }
}
