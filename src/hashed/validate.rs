//! Recomputes from scratch what a [`HashedPool`] keeps.

use super::queue::Part;
use super::{HashedPool, NULL};
use crate::evict::EvictionPolicy;
use crate::{BlockId, InvariantError};

impl<P: EvictionPolicy> HashedPool<P> {
    /// Checks that the queue, the keys with their chains and the policy's candidates agree.
    /// For tests and debugging: O(num_blocks), with allocations.
    ///
    /// # Errors
    /// [`InvariantError`] names the first thing that is wrong.
    pub fn validate(&self) -> Result<(), InvariantError> {
        let wrong = |message: String| Err(InvariantError(message));
        let mut queued = vec![false; self.num_blocks()];
        let (mut len, mut kept_began) = (0, false);
        for block in self.queue_after(None).take(self.num_blocks() + 1) {
            if std::mem::replace(&mut queued[block.index()], true) {
                return wrong(format!("block {block} is in the queue twice"));
            }
            let kept = self.queue.part(block.0) == Some(Part::Kept);
            if kept_began && !kept {
                return wrong(format!("blank block {block} stands behind a kept one"));
            }
            kept_began |= kept;
            len += 1;
        }
        if len != self.num_available() {
            return wrong(format!("{len} blocks in the queue, counted {}", self.num_available()));
        }
        if queued[NULL as usize] || self.refs[NULL as usize] != 0 {
            return wrong("block 0 is in use".to_owned());
        }
        if let Some(fault) = self.index.fault() {
            return wrong(fault);
        }
        let mut candidates = 0;
        for id in 0..self.num_blocks() as u32 {
            if queued[id as usize] && self.refs[id as usize] > 0 {
                return wrong(format!("block {id} is in the queue and in use"));
            }
            let first = self.index.key(id);
            let candidate = self.policy.watches()
                && self.queue.part(id) == Some(Part::Kept)
                && first.is_some()
                && self.forest.is_leaf(id);
            candidates += u32::from(candidate);
            if candidate != self.policy.is_offered(id) {
                return wrong(format!("block {id} is a candidate or not, the policy differs"));
            }
        }
        if candidates != self.policy.num_offered() {
            let counted = self.policy.num_offered();
            return wrong(format!("{candidates} candidates, counted {counted}"));
        }
        let strays = self.with_further_keys().find(|&BlockId(id)| self.index.key(id).is_none());
        strays.map_or(Ok(()), |block| wrong(format!("{block} has further keys and no first")))
    }
}
