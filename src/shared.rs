//! A lock around the manager, for engines whose threads share one.
//!
//! Owns nothing but the lock: each method takes it once and calls the manager's method of
//! the same name. Results are owned, so no lock outlives a call.

use crate::evict::{EvictionPolicy, Lru};
use crate::hash::{BlockHasher, Xxh3};
use crate::{Admission, BlockId, BlockManager, Commit, Error, Identity, Retention};
use crate::{SeqId, Stats, Step, Usage};
use parking_lot::RwLock;
use std::ops::RangeBounds;

/// A [`BlockManager`] that threads can share, behind one reader-writer lock.
///
/// Each call takes the lock once. What belongs together, such as all calls of one engine
/// step, goes through [`batch`](Self::batch) and takes it once as well. A panic inside
/// releases the lock and poisons nothing. Routers look up
/// prefixes under the read lock, side by side.
///
/// ```
/// use kvkeep::{BlockManager, Config, Identity, SharedBlockManager};
///
/// let kv = SharedBlockManager::new(BlockManager::new(Config::new(64))?);
/// let prompt: Vec<u32> = (0..40).collect();
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         kv.batch(|kv| {
///             let seq = kv.admit(&prompt, &Identity::default())?.seq;
///             kv.reserve(seq, 40)?;
///             kv.commit(seq, 40)?;
///             kv.free(seq)
///         })
///     });
/// });
/// assert_eq!(kv.longest_prefix(&prompt, &Identity::default()), 32);
/// # Ok::<(), kvkeep::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct SharedBlockManager<H: BlockHasher = Xxh3, P: EvictionPolicy = Lru> {
    manager: RwLock<BlockManager<H, P>>,
}

impl<H: BlockHasher, P: EvictionPolicy> SharedBlockManager<H, P> {
    /// Puts a manager behind a lock.
    #[must_use]
    pub fn new(manager: BlockManager<H, P>) -> Self {
        SharedBlockManager { manager: RwLock::new(manager) }
    }

    /// Runs several operations under one lock. Do not call this object inside: it would
    /// wait for itself.
    pub fn batch<T>(&self, operations: impl FnOnce(&mut BlockManager<H, P>) -> T) -> T {
        operations(&mut self.manager.write())
    }

    /// Runs read-only operations under the read lock.
    pub fn read<T>(&self, operations: impl FnOnce(&BlockManager<H, P>) -> T) -> T {
        operations(&self.manager.read())
    }

    /// [`BlockManager::longest_prefix`], under the read lock.
    #[must_use]
    pub fn longest_prefix(&self, prompt: &[u32], identity: &Identity) -> usize {
        self.manager.read().longest_prefix(prompt, identity)
    }

    /// [`BlockManager::admit`].
    ///
    /// # Errors
    /// As there.
    pub fn admit(&self, prompt: &[u32], identity: &Identity) -> Result<Admission, Error> {
        self.manager.write().admit(prompt, identity)
    }

    /// [`BlockManager::readmit`].
    ///
    /// # Errors
    /// As there.
    pub fn readmit(&self, tokens: &[u32], identity: &Identity) -> Result<Admission, Error> {
        self.manager.write().readmit(tokens, identity)
    }

    /// [`BlockManager::reserve`].
    ///
    /// # Errors
    /// As there.
    pub fn reserve(&self, seq: SeqId, tokens: usize) -> Result<Step, Error> {
        self.manager.write().reserve(seq, tokens)
    }

    /// [`BlockManager::reserve_with_lookahead`].
    ///
    /// # Errors
    /// As there.
    pub fn reserve_with_lookahead(
        &self,
        seq: SeqId,
        tokens: usize,
        lookahead_tokens: usize,
    ) -> Result<Step, Error> {
        self.manager.write().reserve_with_lookahead(seq, tokens, lookahead_tokens)
    }

    /// Replaces `table` by [`BlockManager::block_table`], under the read lock. O(blocks).
    ///
    /// # Errors
    /// As there; `table` is then as it was.
    pub fn block_table(&self, seq: SeqId, table: &mut Vec<BlockId>) -> Result<(), Error> {
        let manager = self.manager.read();
        let blocks = manager.block_table(seq)?;
        table.clear();
        table.extend_from_slice(blocks);
        Ok(())
    }

    /// [`BlockManager::commit`].
    ///
    /// # Errors
    /// As there.
    pub fn commit(&self, seq: SeqId, tokens: usize) -> Result<Commit, Error> {
        self.manager.write().commit(seq, tokens)
    }

    /// [`BlockManager::revert`].
    ///
    /// # Errors
    /// As there.
    pub fn revert(&self, seq: SeqId) -> Result<(), Error> {
        self.manager.write().revert(seq)
    }

    /// [`BlockManager::append`].
    ///
    /// # Errors
    /// As there.
    pub fn append(&self, seq: SeqId, token: u32) -> Result<(), Error> {
        self.manager.write().append(seq, token)
    }

    /// [`BlockManager::extend`].
    ///
    /// # Errors
    /// As there.
    pub fn extend(&self, seq: SeqId, tokens: &[u32]) -> Result<(), Error> {
        self.manager.write().extend(seq, tokens)
    }

    /// [`BlockManager::fork`].
    ///
    /// # Errors
    /// As there.
    pub fn fork(&self, parent: SeqId) -> Result<SeqId, Error> {
        self.manager.write().fork(parent)
    }

    /// [`BlockManager::adopt`].
    ///
    /// # Errors
    /// As there.
    pub fn adopt(&self, seq: SeqId, position: usize) -> Result<BlockId, Error> {
        self.manager.write().adopt(seq, position)
    }

    /// [`BlockManager::describe`].
    ///
    /// # Errors
    /// As there.
    pub fn describe(&self, id: SeqId, category: u16, turn: Option<u32>) -> Result<(), Error> {
        self.manager.write().describe(id, category, turn)
    }

    /// [`BlockManager::retain`].
    ///
    /// # Errors
    /// As there.
    pub fn retain(
        &self,
        seq: SeqId,
        tokens: impl RangeBounds<usize>,
        retention: Retention,
    ) -> Result<(), Error> {
        self.manager.write().retain(seq, tokens, retention)
    }

    /// [`BlockManager::advance_time`].
    ///
    /// # Errors
    /// As there.
    pub fn advance_time(&self, now_ms: u64) -> Result<(), Error> {
        self.manager.write().advance_time(now_ms)
    }

    /// [`BlockManager::free`].
    ///
    /// # Errors
    /// As there.
    pub fn free(&self, seq: SeqId) -> Result<(), Error> {
        self.manager.write().free(seq)
    }

    /// [`BlockManager::preempt`].
    ///
    /// # Errors
    /// As there.
    pub fn preempt(&self, seq: SeqId) -> Result<(), Error> {
        self.manager.write().preempt(seq)
    }

    /// [`BlockManager::withdraw`].
    ///
    /// # Errors
    /// As there.
    pub fn withdraw(&self, seq: SeqId) -> Result<(), Error> {
        self.manager.write().withdraw(seq)
    }

    /// [`BlockManager::invalidate_all`].
    pub fn invalidate_all(&self) -> u64 {
        self.manager.write().invalidate_all()
    }

    /// [`BlockManager::usage`], under the read lock.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.manager.read().usage()
    }

    /// A copy of [`BlockManager::stats`], under the read lock.
    #[must_use]
    pub fn stats(&self) -> Stats {
        *self.manager.read().stats()
    }

    /// Takes the manager out of the lock.
    #[must_use]
    pub fn into_inner(self) -> BlockManager<H, P> {
        self.manager.into_inner()
    }
}
