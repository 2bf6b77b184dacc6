//! How large a cache has to be for a share of what the infinite cache hits.
//!
//! The curves of LRU and OPT know the smallest one. Other policies are searched by bisection, between
//! sizes of the sweep. Their hits need not rise with every block, so a smaller cache may do as
//! well; what is found reaches the share, and one that is smaller by the precision does not.

use super::{OnProgress, Policy, Row, Sweep, with_opt};
use crate::parallel;
use crate::replay::ReplayError;

/// The search ends within one part in so many.
const PRECISION: u32 = 100;

/// A cache that is large enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Needed {
    /// Who chooses what to evict.
    pub policy: Policy,
    /// Of the infinite cache's hits, from 0 to 1.
    pub share: f64,
    /// The size. Exact for LRU, OPT and below 200 blocks, else up to 1 % too large.
    pub blocks: u32,
}

impl Sweep<'_> {
    /// For each policy (OPT last, asked for or not) and each share the cache that it takes.
    /// `rows` are those that are known already. About ten replays for each. Empty where nothing
    /// ever hits.
    ///
    /// # Errors
    /// The accesses were stopped. All sizes on the way are possible.
    pub fn needed(
        &self,
        policies: &[Policy],
        shares: &[f64],
        rows: &[Row],
        progress: OnProgress<'_>,
    ) -> Result<Vec<Needed>, ReplayError> {
        if self.infinite.hits.hit == 0 {
            return Ok(Vec::new());
        }
        let policies = with_opt(policies);
        let jobs = policies.iter().flat_map(|&policy| shares.iter().map(move |&at| (policy, at)));
        let jobs: Vec<_> = jobs.collect();
        let done = |count| progress(count, jobs.len());
        let needed = parallel::map(self.threads, &jobs, &done, |&(policy, share)| {
            let blocks = self.blocks_for(policy, share, rows)?;
            Ok(Needed { policy, share, blocks })
        });
        needed.into_iter().collect()
    }

    fn blocks_for(&self, policy: Policy, share: f64, rows: &[Row]) -> Result<u32, ReplayError> {
        if let Some(curve) = self.curve(policy) {
            let blocks = curve.blocks_for(share);
            if blocks > curve.exact_from() {
                return Ok(blocks);
            }
        }
        let target = share * self.infinite.hits.hit as f64;
        let is_enough = |hit: u64| hit as f64 >= target;
        let (mut low, mut high) = (0, self.never_evicts_from());
        let mut known: Vec<_> = rows.iter().filter(|row| row.policy == policy).collect();
        known.sort_unstable_by_key(|row| row.blocks);
        for row in known {
            if is_enough(row.hits.hit) {
                high = high.min(row.blocks);
                break;
            }
            low = row.blocks;
        }
        let precision = if self.curve(policy).is_some() { u32::MAX } else { PRECISION };
        while high - low > (high / precision).max(1) {
            let middle = low + (high - low) / 2;
            if is_enough(self.hits(policy, middle)?.hit) {
                high = middle;
            } else {
                low = middle;
            }
        }
        Ok(high)
    }
}
