//! The adaptive policy: learns when blocks like this one are used again.
//!
//! `class` says which blocks are alike, `episodes` observes how long they wait for their
//! next use, `model` makes of it what keeping one is worth, `cells` finds what is worth least.

mod cells;
mod class;
mod episodes;
mod model;

use super::history::History;
use super::{Access, EvictionPolicy, Inserted};
use crate::BlockId;
use cells::{Cells, Rank};
use class::{Class, Place};
use episodes::{EpisodeId, Episodes};
use model::Model;
use std::cmp::Reverse;

/// Requests from one look at the observations to the next.
const LEARN_EVERY: u64 = 64;
/// Blocks whose next use is waited for, and evicted ones that are remembered for it.
const MAX_EPISODES: usize = 1 << 16;
/// Unit of time.
const TICK_MS: u64 = 250;

/// Keeps what is most likely to be used soon, as the workload itself has taught.
///
/// No published policy is best everywhere: what keeps conversations alive in a small pool
/// loses coding agents, and the reverse. This one has no rule of its own. It sorts blocks into
/// classes (place in the forest, uses of the conversation so far, its last pause), observes for
/// each class after how long blocks are used again, evicted or not, and evicts what is worth
/// least: the lowest rate of hits per block and time that keeping it can bring (a Gittins
/// index). LRU, MRU, LFU and their mixtures come out where the workload calls for them.
///
/// Time is the caller's ([`advance_time`](crate::BlockManager::advance_time)) in steps of
/// 250 ms or, if that never moves, requests that ended. `docs/policies.md` has its scores,
/// `docs/design.md` what was tried.
///
/// *Cost*: O(log n) per block, and a plan, O(classes * buckets) at most, for at least every 16
/// victims: about 5 us per request where each evicts one block, 0.6 us per block where requests
/// have dozens. 100 bytes per block, and up to 10 MB for what it observes. *Not for* pools that
/// hold nearly all of the working set, where LRU is as good and costs nothing, nor for a few
/// hundred requests, from which nothing can be learned:
/// until it has seen some it is LRU.
#[derive(Clone, Debug)]
pub struct Adaptive {
    clock: Clock,
    blocks: Vec<Block>,
    remembered: History<Remembered>,
    episodes: Episodes,
    model: Model,
    cells: Cells,
    requests: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Block {
    key: u64,
    /// Key of the block that continued it first; 0 if none did.
    child: u64,
    last_use: u64,
    request: u64,
    episode: EpisodeId,
    /// Between its last two uses, or those of the conversation that it continues.
    pause: u64,
    /// Of the block, or of the conversation that it continues.
    uses: u32,
    depth: u32,
    class: Class,
    /// Different blocks have continued it.
    forked: bool,
    /// No request that used it has ended.
    new: bool,
}

/// What comes back with a block that was evicted.
#[derive(Clone, Copy, Debug)]
struct Remembered {
    child: u64,
    last_use: u64,
    episode: EpisodeId,
    uses: u32,
    forked: bool,
}

impl Default for Adaptive {
    fn default() -> Self {
        Adaptive {
            clock: Clock::default(),
            blocks: Vec::new(),
            remembered: History::new(MAX_EPISODES),
            episodes: Episodes::new(MAX_EPISODES),
            model: Model::new(),
            cells: Cells::new(),
            requests: 0,
        }
    }
}

impl Adaptive {
    fn tick(&mut self, access: &Access) {
        self.clock.tick(access.now_ms);
        self.episodes.advance(self.clock.now, &mut self.model);
    }

    fn rank(&self, block: BlockId) -> (Class, Rank) {
        let Block { last_use, request, depth, class, .. } = self.blocks[block.index()];
        (class, Rank { last_use, request, depth: Reverse(depth), block })
    }
}

impl EvictionPolicy for Adaptive {
    fn init(&mut self, num_blocks: usize) {
        self.blocks = vec![Block::default(); num_blocks];
    }

    fn hit(&mut self, blocks: &[BlockId], access: &Access) {
        self.tick(access);
        for block in blocks {
            let block = &mut self.blocks[block.index()];
            block.uses = block.uses.saturating_add(1);
            block.pause = self.clock.now - block.last_use;
            let episode = std::mem::take(&mut block.episode);
            self.episodes.end(episode, self.clock.now, &mut self.model);
        }
    }

    fn insert(&mut self, block: BlockId, inserted: &Inserted, access: &Access) {
        if inserted.parent.is_none() {
            self.tick(access);
        }
        let now = self.clock.now;
        let mut new = Block {
            key: inserted.key,
            last_use: now,
            request: self.requests,
            uses: 1,
            depth: inserted.depth,
            new: true,
            ..Block::default()
        };
        if let Some(parent) = inserted.parent {
            let parent = &mut self.blocks[parent.index()];
            if parent.child == 0 {
                parent.child = inserted.key;
            }
            parent.forked |= parent.child != inserted.key;
            if !parent.forked {
                // It continues a conversation, and shares its past.
                (new.uses, new.pause) = (parent.uses, parent.pause);
            }
        }
        if let Some(known) = self.remembered.take(inserted.key) {
            self.episodes.end(known.episode, now, &mut self.model);
            new.uses = known.uses.saturating_add(1);
            new.pause = now - known.last_use;
            new.forked = known.forked;
            new.child = known.child;
        }
        self.blocks[block.index()] = new;
    }

    fn finish(&mut self, chain: &[BlockId], access: &Access) {
        self.tick(access);
        let now = self.clock.now;
        let (mut forked, mut below, mut uses, mut pause) = (false, None, 0, 0);
        for (from_end, block) in chain.iter().rev().enumerate() {
            let block = &mut self.blocks[block.index()];
            forked |= block.forked;
            // What uses a block uses its ancestors. They may have been evicted in between,
            // and be remembered by the deepest block alone.
            if block.uses < uses {
                (block.uses, block.pause) = (uses, pause);
            }
            (uses, pause) = (block.uses, block.pause);
            let place = match (forked, std::mem::take(&mut block.new)) {
                (true, _) => Place::Trunk,
                (false, false) => Place::Stem,
                (false, true) => Place::New { from_end },
            };
            block.class = Class::new(place, uses, pause);
            block.last_use = now;
            block.request = self.requests;
            // One of each run of equals is watched for all.
            let watched = below.replace(block.class) != Some(block.class);
            block.episode = if watched { self.episodes.begin(block.class, now) } else { 0 };
        }
        self.requests += 1;
        self.clock.request_ends();
        if self.requests.is_multiple_of(LEARN_EVERY) {
            self.model.learn();
        }
        self.cells.request_ends();
    }

    fn offer(&mut self, block: BlockId) {
        let (class, rank) = self.rank(block);
        self.cells.insert(class, rank);
    }

    fn retract(&mut self, block: BlockId) {
        let (class, rank) = self.rank(block);
        self.cells.remove(class, &rank);
    }

    fn victim(&mut self) -> Option<BlockId> {
        self.cells.least(self.clock.now, &self.model)
    }

    fn remove(&mut self, block: BlockId) {
        self.retract(block);
        let Block { key, child, last_use, episode, uses, forked, .. } = self.blocks[block.index()];
        if episode != 0 {
            self.remembered.insert(key, Remembered { child, last_use, episode, uses, forked });
        }
    }

    fn clear(&mut self) {
        self.cells.clear();
    }
}

/// Time in ticks: the caller's, or requests while that stands still.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    now: u64,
    /// The caller's time at the first event, and, once it has moved, the ticks before.
    first_ms: Option<u64>,
    ticks_before: Option<u64>,
}

impl Clock {
    fn tick(&mut self, now_ms: u64) {
        let first_ms = *self.first_ms.get_or_insert(now_ms);
        if self.ticks_before.is_none() && now_ms != first_ms {
            self.ticks_before = Some(self.now);
        }
        if let Some(before) = self.ticks_before {
            self.now = self.now.max(before + now_ms.saturating_sub(first_ms) / TICK_MS);
        }
    }

    fn request_ends(&mut self) {
        self.now += u64::from(self.ticks_before.is_none());
    }
}
