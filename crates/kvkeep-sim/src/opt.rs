//! OPT: the block whose next use is furthest away goes first.
//!
//! For prefix trees, with leaves first and ties broken towards the deepest block, this is
//! the exact optimum (Belady 1966): a block's next use is never after its child's, so the
//! furthest next use is always at a leaf. It counts every block of a prompt that it finds; the
//! rule of engines does not count the last one where a prompt ends with a full block, so
//! there the optimum is exact up to one block for each such prompt.

use crate::accesses::{self, Accesses};
use kvkeep::BlockId;
use kvkeep::evict::{Access, CandidateHeap, EvictionPolicy, Inserted};

/// "Never again".
const NEVER: u32 = u32::MAX;

/// Which request uses each block of each request next.
#[derive(Clone, Debug)]
pub(crate) struct NextUses {
    /// By access in order.
    next: Vec<u32>,
    /// Where the accesses of each request start.
    starts: Vec<usize>,
}

impl NextUses {
    /// Reads the requests that `runs` accepts, and numbers them. O(blocks of all
    /// requests).
    pub(crate) fn new(
        accesses: &Accesses,
        runs: impl Fn(&accesses::Access<'_>) -> bool,
    ) -> NextUses {
        let mut next: Vec<u32> = Vec::new();
        let mut starts = Vec::new();
        let mut last_access = vec![usize::MAX; accesses.distinct_blocks() as usize];
        for access in accesses.iter().filter(|access| runs(access)) {
            let request = starts.len() as u32;
            starts.push(next.len());
            for &block in access.blocks {
                let before = std::mem::replace(&mut last_access[block as usize], next.len());
                if let Some(next) = next.get_mut(before) {
                    *next = request;
                }
                next.push(NEVER);
            }
        }
        NextUses { next, starts }
    }

    /// Whether a block is used again after a request.
    pub(crate) fn is_used(&self, request: usize, depth: usize) -> bool {
        self.next[self.starts[request] + depth] != NEVER
    }

    /// What the optimum keeps a block for after a request: the less, the further its next
    /// use is, and the deeper it lies.
    pub(crate) fn priority(&self, request: usize, depth: usize) -> u64 {
        let next = self.next[self.starts[request] + depth];
        u64::from(NEVER - next) << 32 | u64::from(u32::MAX - depth as u32)
    }
}

/// The optimum for one trace and one size, as a policy that has read the trace before.
/// O(log n) per block.
#[derive(Clone, Debug)]
pub struct Opt {
    next_uses: NextUses,
    /// By block of the pool.
    priorities: Vec<u64>,
    candidates: CandidateHeap<u64>,
}

impl Opt {
    /// Reads the trace ahead; `num_blocks` is the size of the pool, since requests that do
    /// not fit it use nothing. O(blocks of all requests).
    #[must_use]
    pub fn new(accesses: &Accesses, num_blocks: u32) -> Opt {
        let runs = |access: &accesses::Access<'_>| {
            !access.blocks.is_empty() && access.needed <= num_blocks
        };
        Opt {
            next_uses: NextUses::new(accesses, runs),
            priorities: Vec::new(),
            candidates: CandidateHeap::default(),
        }
    }

    fn set(&mut self, block: BlockId, depth: usize, access: &Access) {
        self.priorities[block.index()] = self.next_uses.priority(access.request as usize, depth);
    }
}

impl EvictionPolicy for Opt {
    fn init(&mut self, num_blocks: usize) {
        self.priorities = vec![0; num_blocks];
        self.candidates = CandidateHeap::new(num_blocks);
    }

    fn hit(&mut self, blocks: &[BlockId], access: &Access) {
        for (depth, &block) in blocks.iter().enumerate() {
            self.set(block, depth, access);
        }
    }

    fn insert(&mut self, block: BlockId, inserted: &Inserted, access: &Access) {
        self.set(block, inserted.depth as usize, access);
    }

    fn offer(&mut self, block: BlockId) {
        self.candidates.insert(block, self.priorities[block.index()]);
    }

    fn retract(&mut self, block: BlockId) {
        self.candidates.remove(block);
    }

    fn victim(&mut self) -> Option<BlockId> {
        self.candidates.first()
    }

    fn remove(&mut self, block: BlockId) {
        self.candidates.remove(block);
    }

    fn clear(&mut self) {
        self.candidates.clear();
    }
}
