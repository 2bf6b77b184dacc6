//! Blocks for a reservation: those without content first, then victims.

use super::BlockManager;
use crate::BlockId;
use crate::evict::EvictionPolicy;
use crate::hash::BlockHasher;
use crate::ids::NONE;
use crate::pool::Victims;
use crate::prefetch::prefetch;
use crate::retention::DEFAULT_CLASS;

/// Evictions whose cache misses overlap.
const BATCH: usize = 32;

impl<H: BlockHasher, P: EvictionPolicy> BlockManager<H, P> {
    /// Appends `count` blocks to `table`, each with one reference and no content. The
    /// caller knows that as many are available.
    #[inline]
    pub(super) fn take_blocks(&mut self, count: usize, table: &mut Vec<BlockId>) {
        let end = table.len() + count;
        table.reserve(count);
        while table.len() < end
            && let Some(id) = self.pool.take_free()
        {
            // What an older epoch left is forgotten here, one block at a time.
            if self.pool.slot(id).published() {
                self.index.forget(&mut self.pool.slots, id);
            }
            table.push(BlockId(id));
        }
        let missing = end - table.len();
        if missing > 0 && self.policy.watches() {
            self.evict_chosen(missing, table);
        } else if missing > 0 {
            self.evict(missing, table);
        }
    }

    /// [`evict`](Self::evict) in the order of a policy: one block at a time, since each can
    /// make its parent the next.
    fn evict_chosen(&mut self, count: usize, table: &mut Vec<BlockId>) {
        for _ in 0..count {
            let id = self.choose();
            self.pool.take_cached(id);
            let parent = self.pool.slot(id).parent;
            let key = self.evict_one(id);
            self.ghost.insert(key);
            self.policy.remove(id);
            if parent != NONE && self.pool.slot(parent).refs() == 0 {
                self.policy.offer_leaf(parent, self.pool.slot(parent));
            }
            table.push(BlockId(id));
        }
        self.stats.evicted_blocks += count as u64;
    }

    /// The next victim. Blocks with hints come first or last, whatever the policy says.
    fn choose(&mut self) -> u32 {
        let front = self.pool.front();
        if self.pool.slot(front).class() != DEFAULT_CLASS {
            return front;
        }
        self.policy.victim().unwrap_or_else(|| {
            self.stats.overruled_victims += 1;
            front
        })
    }

    /// Evicts `count` blocks and appends them to `table`.
    fn evict(&mut self, count: usize, table: &mut Vec<BlockId>) {
        let mut victims = Victims::new();
        let mut left = count;
        while left > 0 {
            let batch = left.min(BATCH);
            left -= batch;
            // Their places in the memory of evictions are all over it: ask for all of a
            // batch before writing the first.
            let mut remembered = [0; BATCH];
            for key in &mut remembered[..batch] {
                let id = victims.next(&mut self.pool);
                *key = self.evict_one(id);
                self.ghost.prefetch(*key);
                table.push(BlockId(id));
            }
            remembered[..batch].iter().for_each(|&key| self.ghost.insert(key));
        }
        // The next reservation starts there.
        let next = victims.finish(&mut self.pool);
        prefetch(&self.pool.slots, next as usize);
        self.index.content.prefetch_digest(next);
        self.stats.evicted_blocks += count as u64;
    }

    /// Takes the content off a victim and gives it its first reference. Returns its key in
    /// the memory of evictions.
    #[inline(always)]
    fn evict_one(&mut self, id: u32) -> u64 {
        let slot = self.pool.slot(id);
        // The ancestor a few blocks up is the victim a few turns on.
        let behind = slot.behind;
        prefetch(&self.pool.slots, behind as usize);
        self.index.content.prefetch_digest(behind);
        // The next content is written when the step is committed.
        self.index.content.prefetch_tokens(id);
        if slot.class() > DEFAULT_CLASS {
            self.retained.remove(id);
        }
        let digest = self.index.remove(&mut self.pool.slots, id);
        self.pool.slot_mut(id).add_ref();
        self.ghost_hash(&digest)
    }
}
