//! The interface of an eviction policy.

use crate::BlockId;

/// Orders the blocks that may be evicted.
///
/// The manager tells a policy what happens to published blocks and asks it for victims.
/// The policy keeps what it wants to know per block, by block id.
///
/// # What a policy may rely on
///
/// * `init` comes first, once. Block ids are below its `num_blocks`.
/// * A block's content lives from [`insert`](Self::insert) to [`remove`](Self::remove), or to
///   [`clear`](Self::clear), which ends all at once. Then the id may come again with other
///   content.
/// * A block becomes a *candidate* with [`offer`](Self::offer) and stops to be one with
///   [`retract`](Self::retract), `remove` or `clear`. Candidates are cached (nobody uses them) and
///   are leaves (no published block continues them), so a policy can order them as it
///   likes: a parent is offered only when its last child is gone.
/// * [`victim`](Self::victim) is asked when there is at least one candidate, and the answer
///   is followed by its `remove`. A block can be removed without having been asked for, and
///   without having been a candidate: retention hints come before the policy's order.
/// * Blocks whose hints give them another priority than the default are never offered.
/// * Events come in the same order in every run with the same calls.
///
/// # Order of the events of a request
///
/// `hit` (when its first step is granted), `victim` and `remove` for the blocks that it
/// takes, `insert` as its blocks are filled, `finish` when it ends, then `offer` for what may go from
/// now on. Requests that run side by side interleave. A request that is withdrawn before
/// its first step leaves no trace, one that is aborted later still finishes.
///
/// # Cost
///
/// `victim` and `offer` should be O(1) or O(log n) in the number of candidates: they are on
/// the path of every step that takes a block. [`CandidateHeap`](super::CandidateHeap) does it for any order by
/// a number.
///
/// # Testing a policy
///
/// [`conformance::check`](crate::conformance::check) runs a policy inside a manager through random requests, forks,
/// aborts, hints and epochs.
///
/// # A policy of your own
///
/// ```
/// use kvkeep::evict::{Access, CandidateHeap, EvictionPolicy, Inserted};
/// use kvkeep::{BlockId, BlockManager, Config, conformance};
///
/// /// The block deepest in its conversation goes first.
/// #[derive(Default)]
/// struct DeepestFirst {
///     depths: Vec<u32>,
///     candidates: CandidateHeap<u32>,
/// }
///
/// impl EvictionPolicy for DeepestFirst {
///     fn init(&mut self, num_blocks: usize) {
///         self.depths = vec![0; num_blocks];
///         self.candidates = CandidateHeap::new(num_blocks);
///     }
///     fn insert(&mut self, block: BlockId, inserted: &Inserted, _: &Access) {
///         self.depths[block.index()] = inserted.depth;
///     }
///     fn offer(&mut self, block: BlockId) {
///         // The heap gives the smallest key.
///         self.candidates.insert(block, u32::MAX - self.depths[block.index()]);
///     }
///     fn retract(&mut self, block: BlockId) {
///         self.candidates.remove(block);
///     }
///     fn victim(&mut self) -> Option<BlockId> {
///         self.candidates.first()
///     }
///     fn remove(&mut self, block: BlockId) {
///         self.candidates.remove(block);
///     }
///     fn clear(&mut self) {
///         self.candidates.clear();
///     }
/// }
///
/// let kv = BlockManager::with_policy(Config::new(64), DeepestFirst::default())?;
/// conformance::check(DeepestFirst::default, 20).unwrap();
/// # let _ = kv;
/// # Ok::<(), kvkeep::ConfigError>(())
/// ```
pub trait EvictionPolicy {
    /// The pool has `num_blocks` blocks. O(num_blocks).
    fn init(&mut self, num_blocks: usize);

    /// A request uses these cached or published blocks: the prefix hit, from the first
    /// block of the prompt on. Not called for an empty hit.
    fn hit(&mut self, blocks: &[BlockId], access: &Access) {
        let _ = (blocks, access);
    }

    /// `block` has new content, computed by a request.
    fn insert(&mut self, block: BlockId, inserted: &Inserted, access: &Access) {
        let _ = (block, inserted, access);
    }

    /// A request ends. `chain` is what it used that is published, from the first block on.
    fn finish(&mut self, chain: &[BlockId], access: &Access) {
        let _ = (chain, access);
    }

    /// `block` becomes a candidate.
    fn offer(&mut self, block: BlockId);

    /// `block` is no candidate any more: a request uses it again.
    fn retract(&mut self, block: BlockId);

    /// The candidate to evict next, which stays a candidate until its `remove`. The manager evicts the
    /// least recently released block instead of anything but a candidate, and counts it in
    /// [`Stats::overruled_victims`](crate::Stats::overruled_victims).
    fn victim(&mut self) -> Option<BlockId>;

    /// The content of `block` is gone.
    fn remove(&mut self, block: BlockId);

    /// All content is gone, and there is no candidate. Requests that are running go on, but nothing is
    /// told of what they hold. What was learned may be kept. Should not depend on the number of
    /// blocks.
    fn clear(&mut self);

    /// Whether this is plain LRU, which the manager does by itself: nothing but `init` is
    /// called.
    #[inline]
    fn is_recency(&self) -> bool {
        false
    }
}

/// The request behind an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Counts admissions, from 0. Forks carry the number of their parent.
    pub request: u64,
    /// The caller's clock at the event, in ms; see [`advance_time`](crate::BlockManager::advance_time).
    pub now_ms: u64,
    /// Kind of work, 0 if the caller does not say; see [`describe`](crate::BlockManager::describe).
    pub category: u16,
    /// Turn in its conversation, from 0, if the caller says.
    pub turn: Option<u32>,
}

/// New content of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inserted {
    /// Names the content: equal content has equal keys, also after it was evicted in
    /// between. 64 bits of the block hash.
    pub key: u64,
    /// The block before it in its chain.
    pub parent: Option<BlockId>,
    /// Blocks before it in its chain.
    pub depth: u32,
}

/// A policy chosen at run time.
impl<P: EvictionPolicy + ?Sized> EvictionPolicy for Box<P> {
    fn init(&mut self, num_blocks: usize) {
        (**self).init(num_blocks);
    }

    fn hit(&mut self, blocks: &[BlockId], access: &Access) {
        (**self).hit(blocks, access);
    }

    fn insert(&mut self, block: BlockId, inserted: &Inserted, access: &Access) {
        (**self).insert(block, inserted, access);
    }

    fn finish(&mut self, chain: &[BlockId], access: &Access) {
        (**self).finish(chain, access);
    }

    fn offer(&mut self, block: BlockId) {
        (**self).offer(block);
    }

    fn retract(&mut self, block: BlockId) {
        (**self).retract(block);
    }

    fn victim(&mut self) -> Option<BlockId> {
        (**self).victim()
    }

    fn remove(&mut self, block: BlockId) {
        (**self).remove(block);
    }

    fn clear(&mut self) {
        (**self).clear();
    }

    fn is_recency(&self) -> bool {
        (**self).is_recency()
    }
}
