//! A pool of blocks that are found by a hash computed elsewhere.
//!
//! [`BlockManager`](crate::BlockManager) knows sequences and their tokens. Some engines do
//! not ask for that: they hash blocks themselves, keep the block tables, and want a pool
//! that hands out blocks and finds them again by a key. vLLM's block pool is such an
//! interface, with several cache groups of several block sizes over one pool, and
//! [`HashedPool`] keeps exactly its rules, so that the same calls give the same blocks:
//!
//! * Blocks that nobody holds stand in one queue. Those without a key come back to its
//!   front, those with one to its end; blocks are handed out from the front. A block loses
//!   its keys when it is handed out, not before.
//! * Two blocks may have one key. A lookup gives the one that got it first.
//! * A block may have several keys (it holds the KV of several prefixes).
//! * Block 0 is never handed out: engines point padding at it.
//!
//! A hit is not verified: whoever computes the keys must use a hash that nobody can collide.
//! A policy other than [`Lru`] orders the blocks with a key; those without still go first.

mod chain;
mod error;
mod forest;
mod index;
mod key;
mod queue;
#[cfg(test)]
mod tests;
mod validate;

pub use error::HashedPoolError;
pub use key::{BlockKey, MAX_KEY_BYTES};

use crate::BlockId;
use crate::config::MAX_BLOCKS;
use crate::evict::{Access, EvictionPolicy, Guard, Inserted, Lru};
use forest::Forest;
use index::Index;
use queue::{Part, Queue};
use std::fmt;
use xxhash_rust::xxh3::xxh3_64;

/// The block that is never handed out.
const NULL: u32 = 0;

/// A pool of blocks found by key; see the [module](self). All calls are O(1) per block
/// that they touch.
///
/// ```
/// use kvkeep::hashed::{BlockKey, HashedPool, Place};
/// use kvkeep::evict::Access;
///
/// let mut pool = HashedPool::new(4)?;
/// let mut table = Vec::new();
/// pool.take(2, &mut table, |_, _| ())?; // blocks 1 and 2
/// let key = BlockKey::new(b"hash of 16 tokens", b"")?;
/// pool.insert(table[0], key, 16, Place::default(), &Access::default())?;
/// pool.release(table.iter().rev().copied(), &Access::default())?; // tail first
/// assert_eq!(pool.find(&key), Some(table[0]));
///
/// // The block without a key goes first, then the one that was never used.
/// let mut next = Vec::new();
/// pool.take(3, &mut next, |block, gone| assert_eq!((block, gone), (table[0], key)))?;
/// assert_eq!(next, [2, 3, 1].map(kvkeep::BlockId::from));
/// # Ok::<(), kvkeep::hashed::HashedPoolError>(())
/// ```
pub struct HashedPool<P: EvictionPolicy = Lru> {
    queue: Queue,
    refs: Vec<u32>,
    index: Index,
    /// Tokens that a block's first key stands for.
    key_tokens: Vec<u32>,
    policy: Guard<P>,
    /// Empty for plain LRU.
    forest: Forest,
    /// Scratch.
    released: Vec<u32>,
    chain: Vec<BlockId>,
}

/// Where a block stands in its chain, for policies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The block before it, if that is in the pool.
    pub parent: Option<BlockId>,
    /// Blocks before it.
    pub depth: u32,
}

impl HashedPool {
    /// A pool of `num_blocks` blocks, block 0 included, evicting by [`Lru`].
    ///
    /// # Errors
    /// [`HashedPoolError::NumBlocks`].
    pub fn new(num_blocks: usize) -> Result<Self, HashedPoolError> {
        Self::with_policy(num_blocks, Lru)
    }
}

impl<P: EvictionPolicy> HashedPool<P> {
    /// A pool that evicts by `policy`. O(num_blocks).
    ///
    /// # Errors
    /// [`HashedPoolError::NumBlocks`].
    pub fn with_policy(num_blocks: usize, policy: P) -> Result<Self, HashedPoolError> {
        let blocks = u32::try_from(num_blocks)
            .ok()
            .filter(|blocks| (1..=MAX_BLOCKS).contains(blocks))
            .ok_or(HashedPoolError::NumBlocks(num_blocks))?;
        let policy = Guard::new(policy, blocks);
        let forest = Forest::new(if policy.watches() { num_blocks } else { 0 });
        let mut queue = Queue::new(blocks);
        queue.unlink(NULL);
        Ok(HashedPool {
            queue,
            refs: vec![0; num_blocks],
            index: Index::new(blocks),
            key_tokens: vec![0; num_blocks],
            policy,
            forest,
            released: Vec::new(),
            chain: Vec::new(),
        })
    }

    /// Blocks of the pool, block 0 included.
    #[must_use]
    pub fn num_blocks(&self) -> usize {
        self.refs.len()
    }

    /// Blocks that [`take`](Self::take) can give: free, or cached and in use by nobody.
    #[inline]
    #[must_use]
    pub fn num_available(&self) -> usize {
        self.queue.len()
    }

    /// Whether the policy wants to know [`Place`] and [`Access`]; plain LRU does not.
    #[inline]
    #[must_use]
    pub fn watches(&self) -> bool {
        self.policy.watches()
    }

    #[inline]
    fn check(&self, block: BlockId) -> Result<u32, HashedPoolError> {
        if block.index() < self.refs.len() {
            Ok(block.0)
        } else {
            Err(HashedPoolError::UnknownBlock(block))
        }
    }

    /// Holders of a block; 0 for one that the pool does not have, and always for block 0.
    #[inline]
    #[must_use]
    pub fn refs(&self, block: BlockId) -> u32 {
        self.refs.get(block.index()).copied().unwrap_or(0)
    }

    /// The first key of a block, and the tokens that it stands for.
    #[inline]
    #[must_use]
    pub fn key(&self, block: BlockId) -> Option<(&BlockKey, u32)> {
        let id = self.check(block).ok()?;
        Some((self.index.key(id)?, self.key_tokens[block.index()]))
    }

    /// The keys of a block after its first.
    pub fn further_keys(&self, block: BlockId) -> impl Iterator<Item = BlockKey> + '_ {
        self.index.further_keys(block.0)
    }

    /// Blocks that have more than one key.
    pub fn with_further_keys(&self) -> impl Iterator<Item = BlockId> + '_ {
        self.index.with_further_keys().map(BlockId)
    }

    /// The block that got this key first, of those that have it.
    #[inline]
    #[must_use]
    pub fn find(&self, key: &BlockKey) -> Option<BlockId> {
        self.index.find(key).map(BlockId)
    }

    /// Whether a block has a key.
    #[must_use]
    pub fn has_key(&self, block: BlockId, key: &BlockKey) -> bool {
        self.index.contains(key, block.0)
    }

    /// All blocks that have this key, in the order in which they got it.
    #[must_use]
    pub fn find_all(&self, key: &BlockKey) -> Vec<BlockId> {
        self.index.find_all(key).into_iter().map(BlockId).collect()
    }

    /// Whether several blocks have had this key at once since the last time that none had it.
    #[must_use]
    pub fn was_shared(&self, key: &BlockKey) -> bool {
        self.index.was_shared(key)
    }

    /// The different keys, in no order. O(num_blocks): for tests and debugging.
    pub fn keys(&self) -> impl Iterator<Item = BlockKey> {
        self.index.keys()
    }

    /// The queue from the block behind `after` on, in the order of handing out under LRU.
    pub fn queue_after(&self, after: Option<BlockId>) -> impl Iterator<Item = BlockId> + '_ {
        let after = after.map(|block| block.0).filter(|&id| (id as usize) < self.refs.len());
        std::iter::successors(self.queue.after(after), |&id| self.queue.after(Some(id)))
            .map(BlockId)
    }

    /// Hands out `blocks` blocks with one holder each, appended to `table`. Calls `gone` with
    /// each key that is lost.
    ///
    /// # Errors
    /// [`HashedPoolError::OutOfBlocks`].
    #[inline]
    pub fn take(
        &mut self,
        blocks: usize,
        table: &mut Vec<BlockId>,
        mut gone: impl FnMut(BlockId, BlockKey),
    ) -> Result<(), HashedPoolError> {
        let available = self.num_available();
        if blocks > available {
            return Err(HashedPoolError::OutOfBlocks { needed: blocks, available });
        }
        table.reserve(blocks);
        for _ in 0..blocks {
            let Some(id) = self.next() else { break };
            self.queue.unlink(id);
            self.forget(id, |key| gone(BlockId(id), key));
            self.refs[id as usize] += 1;
            table.push(BlockId(id));
        }
        Ok(())
    }

    /// The block to hand out next.
    #[inline]
    fn next(&mut self) -> Option<u32> {
        if let Some(blank) = self.queue.front(Part::Blank) {
            return Some(blank);
        }
        let chosen = if self.policy.watches() { self.policy.victim() } else { None };
        chosen.or_else(|| self.queue.front(Part::Kept))
    }

    /// A holder more for each of these blocks, in the order of the prompt.
    ///
    /// # Errors
    /// [`HashedPoolError::UnknownBlock`], [`HashedPoolError::NotQueued`] for a block that is
    /// being set up.
    #[inline]
    pub fn touch(
        &mut self,
        blocks: impl Iterator<Item = BlockId> + Clone,
        access: &Access,
    ) -> Result<(), HashedPoolError> {
        for block in blocks.clone() {
            let id = self.check(block)?;
            if self.refs[id as usize] == 0 && id != NULL && self.queue.part(id).is_none() {
                return Err(HashedPoolError::NotQueued(block));
            }
        }
        for BlockId(id) in blocks.clone().filter(|block| block.0 != NULL) {
            if self.refs[id as usize] == 0 {
                self.queue.unlink(id);
                self.policy.retract(id);
            }
            self.refs[id as usize] += 1;
        }
        if self.policy.watches() {
            self.chain.clear();
            self.chain.extend(blocks.filter(|block| self.index.key(block.0).is_some()));
            self.policy.hit(&self.chain, access);
        }
        Ok(())
    }

    /// A holder less for each of these blocks, which stand in the order in which they are to
    /// go: the tail of a chain first.
    ///
    /// # Errors
    /// [`HashedPoolError::UnknownBlock`], [`HashedPoolError::NotInUse`].
    #[inline]
    pub fn release(
        &mut self,
        blocks: impl Iterator<Item = BlockId> + Clone,
        access: &Access,
    ) -> Result<(), HashedPoolError> {
        if self.policy.watches() {
            self.tell_finish(blocks.clone(), access)?;
        }
        let mut held = std::mem::take(&mut self.released);
        held.clear();
        let done = self.drop_refs(blocks, &mut held);
        if done.is_ok() {
            // Blank blocks come to the front as a group, in their order.
            for &id in held.iter().rev().filter(|&&id| self.index.key(id).is_none()) {
                self.queue.push_front(id);
            }
            for &id in &held {
                if self.index.key(id).is_some() {
                    self.queue.push_back(id, Part::Kept);
                    self.offer(id);
                }
            }
        }
        self.released = held;
        done
    }

    /// Drops the references, or none of them. `last` gets the blocks that nobody holds now.
    #[inline]
    fn drop_refs(
        &mut self,
        blocks: impl Iterator<Item = BlockId> + Clone,
        last: &mut Vec<u32>,
    ) -> Result<(), HashedPoolError> {
        for (done, block) in blocks.clone().enumerate() {
            if block.0 == NULL {
                continue;
            }
            match self.refs.get_mut(block.index()) {
                Some(refs) if *refs > 0 => {
                    *refs -= 1;
                    if *refs == 0 {
                        last.push(block.0);
                    }
                }
                other => {
                    let unknown = other.is_none();
                    for block in blocks.take(done).filter(|block| block.0 != NULL) {
                        self.refs[block.index()] += 1;
                    }
                    return Err(match unknown {
                        true => HashedPoolError::UnknownBlock(block),
                        false => HashedPoolError::NotInUse(block),
                    });
                }
            }
        }
        Ok(())
    }

    fn tell_finish(
        &mut self,
        blocks: impl Iterator<Item = BlockId>,
        access: &Access,
    ) -> Result<(), HashedPoolError> {
        self.chain.clear();
        for block in blocks {
            if self.index.key(self.check(block)?).is_some() {
                self.chain.push(block);
            }
        }
        self.chain.reverse();
        if !self.chain.is_empty() {
            self.policy.finish(&self.chain, access);
        }
        Ok(())
    }

    /// Offers a kept block with a key to the policy, unless another one continues it.
    #[inline]
    fn offer(&mut self, id: u32) {
        if self.policy.watches()
            && self.forest.is_leaf(id)
            && self.queue.part(id) == Some(Part::Kept)
            && self.index.key(id).is_some()
            && !self.policy.is_offered(id)
        {
            self.policy.offer(id);
        }
    }

    /// Makes a block findable by `key`, which stands for `tokens` tokens from the start of a
    /// prompt. Does nothing if it has the key. Whether it was there first or not, another
    /// block with the key stays.
    ///
    /// # Errors
    /// [`HashedPoolError::UnknownBlock`].
    #[inline]
    pub fn insert(
        &mut self,
        block: BlockId,
        key: BlockKey,
        tokens: u32,
        place: Place,
        access: &Access,
    ) -> Result<(), HashedPoolError> {
        let id = self.check(block)?;
        let first = self.index.key(id);
        if first == Some(&key) || (first.is_some() && self.index.contains(&key, id)) {
            return Ok(());
        }
        let new = first.is_none();
        self.index.insert(key, id);
        if new {
            self.key_tokens[id as usize] = tokens;
            if self.policy.watches() {
                let parent = place.parent.filter(|&parent| self.key(parent).is_some());
                self.forest.plant(id, parent.map(|parent| parent.0));
                parent.into_iter().for_each(|parent| self.policy.retract(parent.0));
                let key = xxh3_64(key.as_bytes());
                self.policy.insert(block, &Inserted { key, parent, depth: place.depth }, access);
                self.offer(id);
            }
        }
        Ok(())
    }

    /// Takes all keys off a block, the first one first. It stays where it is, held or not.
    ///
    /// # Errors
    /// [`HashedPoolError::UnknownBlock`].
    pub fn remove_keys(
        &mut self,
        block: BlockId,
        gone: impl FnMut(BlockKey),
    ) -> Result<(), HashedPoolError> {
        let id = self.check(block)?;
        self.forget(id, gone);
        if self.policy.watches() && self.queue.part(id) == Some(Part::Kept) {
            // The policy does not know it any more; it is blank.
            self.queue.unlink(id);
            self.queue.push_back(id, Part::Blank);
        }
        Ok(())
    }

    /// Takes the content off a block.
    #[inline]
    fn forget(&mut self, id: u32, gone: impl FnMut(BlockKey)) {
        if self.index.key(id).is_none() {
            return;
        }
        self.index.remove(id, gone);
        if self.policy.watches() {
            self.policy.remove(id);
            if let Some(parent) = self.forest.fell(id) {
                self.offer(parent);
            }
        }
    }

    /// Takes the keys off all blocks, unless somebody holds one; says whether it did. The
    /// queue stays as it is. O(num_blocks).
    pub fn reset(&mut self) -> bool {
        if self.num_available() + 1 != self.num_blocks() {
            return false;
        }
        self.index.clear();
        if self.policy.watches() {
            self.policy.clear();
            self.forest = Forest::new(self.num_blocks());
            while let Some(id) = self.queue.front(Part::Kept) {
                self.queue.unlink(id);
                self.queue.push_back(id, Part::Blank);
            }
        }
        true
    }

    /// Takes a block out of the queue and leaves it without a holder: the caller sets one
    /// with [`set_refs`](Self::set_refs). Its keys stay.
    ///
    /// # Errors
    /// [`HashedPoolError::UnknownBlock`], [`HashedPoolError::NotQueued`].
    pub fn dequeue(&mut self, block: BlockId) -> Result<(), HashedPoolError> {
        let id = self.check(block)?;
        if self.queue.part(id).is_none() {
            return Err(HashedPoolError::NotQueued(block));
        }
        self.queue.unlink(id);
        self.policy.retract(id);
        Ok(())
    }

    /// Puts a block without holders at the end of the queue, whether it has a key or not.
    ///
    /// # Errors
    /// [`HashedPoolError::UnknownBlock`], [`HashedPoolError::Queued`].
    pub fn enqueue(&mut self, block: BlockId) -> Result<(), HashedPoolError> {
        let id = self.check(block)?;
        if self.queue.part(id).is_some() {
            return Err(HashedPoolError::Queued(block));
        }
        self.queue.push_back(id, Part::Kept);
        self.offer(id);
        Ok(())
    }

    /// Sets the number of holders of a block, which says nothing about the queue.
    ///
    /// # Errors
    /// [`HashedPoolError::UnknownBlock`].
    pub fn set_refs(&mut self, block: BlockId, refs: u32) -> Result<(), HashedPoolError> {
        let id = self.check(block)?;
        if id != NULL {
            self.refs[id as usize] = refs;
        }
        Ok(())
    }
}

/// A summary: keys stay out of logs.
impl<P: EvictionPolicy> fmt::Debug for HashedPool<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashedPool")
            .field("num_blocks", &self.num_blocks())
            .field("num_available", &self.num_available())
            .finish_non_exhaustive()
    }
}
