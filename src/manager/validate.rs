//! Recomputes from scratch what the invariants of docs/design.md say.

use super::BlockManager;
use crate::evict::EvictionPolicy;
use crate::hash::BlockHasher;
use crate::ids::NONE;
use crate::retention::DEFAULT_CLASS;
use crate::slot::Class;
use crate::tally::Tally;
use std::collections::{HashMap, HashSet};
use std::fmt;

/// An invariant that does not hold: a bug in this crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvariantError(pub(crate) String);

impl fmt::Display for InvariantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariant violated: {}; please report it with the calls that led here", self.0)
    }
}

impl std::error::Error for InvariantError {}

type Check = Result<(), InvariantError>;

/// The error is only formatted where the check fails.
macro_rules! ensure {
    ($holds:expr, $($message:tt)*) => {
        if !$holds {
            return Err(InvariantError(format!($($message)*)));
        }
    };
}

/// Where a block is, as the lists tell.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Free,
    /// Position in eviction order.
    Cached(usize),
    /// In use by a sequence of this epoch, or of an older one.
    InUse {
        current: bool,
    },
}

impl<H: BlockHasher, P: EvictionPolicy> BlockManager<H, P> {
    /// Checks the invariants I1 to I5 of docs/design.md, recounts every count of blocks,
    /// references and keys, and checks that the statistics add up. For tests and debugging:
    /// O(blocks + blocks of running sequences), with allocations.
    ///
    /// # Errors
    /// [`InvariantError`] names the first thing that is wrong. It means a bug in kvkeep,
    /// not in the caller.
    pub fn validate(&self) -> Result<(), InvariantError> {
        let places = self.check_places()?;
        self.check_sequences()?;
        self.check_index(&places)?;
        self.check_eviction_order(&places)?;
        self.check_candidates(&places)?;
        self.check_extras()?;
        self.check_counters(&places)
    }

    /// I1 and I2: every block in one place, reference counts recounted.
    fn check_places(&self) -> Result<Vec<Place>, InvariantError> {
        let blocks = self.num_blocks();
        let mut places: Vec<Option<Place>> = vec![None; blocks];
        let mut free = 0;
        for id in self.pool.free_list().take(blocks + 1) {
            let place = places.get_mut(id as usize);
            ensure!(
                place.as_ref().is_some_and(|place| place.is_none()),
                "free list repeats or leaves the pool at {id}"
            );
            place.into_iter().for_each(|place| *place = Some(Place::Free));
            free += 1;
        }
        ensure!(
            free == self.pool.free_blocks() as usize,
            "{free} free blocks, counted {}",
            self.pool.free_blocks()
        );
        let mut cached = 0;
        for (id, class) in self.pool.eviction_order().take(blocks + 1) {
            let place = places.get_mut(id as usize);
            ensure!(
                place.as_ref().is_some_and(|place| place.is_none()),
                "block {id} is cached and elsewhere"
            );
            place.into_iter().for_each(|place| *place = Some(Place::Cached(cached)));
            ensure!(
                self.pool.slot(id).class() == class,
                "block {id} is in the list of class {class}"
            );
            ensure!(self.pool.slot(id).published(), "block {id} is cached without content");
            let next = self.pool.slot(id).next;
            ensure!(self.pool.slots[next as usize].prev == id, "links around {id} disagree");
            cached += 1;
        }
        ensure!(
            cached == self.pool.cached_blocks() as usize,
            "{cached} cached blocks, counted {}",
            self.pool.cached_blocks()
        );

        let mut refs: HashMap<u32, (u32, bool)> = HashMap::new();
        for (id, seq) in self.sequences.iter() {
            let current = seq.epoch == self.epoch;
            let copied_from = seq.copied_from;
            let held = seq.blocks.iter().map(|block| block.0);
            let pinned = seq.duplicates.iter().map(|duplicate| duplicate.published.0);
            for block in held.chain(pinned).chain((copied_from != NONE).then_some(copied_from)) {
                let entry = refs.entry(block).or_insert((0, current));
                entry.0 += 1;
                ensure!(entry.1 == current, "block {block} of {id} is shared over epochs");
            }
        }
        let mut placed = Vec::with_capacity(blocks);
        for (id, place) in places.into_iter().enumerate() {
            let (held, current) = refs.get(&(id as u32)).copied().unwrap_or((0, true));
            let counted = self.pool.slot(id as u32).refs();
            ensure!(counted == held, "block {id} has {held} holders, counted {counted}");
            ensure!(place.is_some() == (held == 0), "block {id} is lost, or listed while in use");
            placed.push(place.unwrap_or(Place::InUse { current }));
        }
        Ok(placed)
    }

    /// Lengths of tables and of pending tokens, per sequence.
    fn check_sequences(&self) -> Check {
        let block_size = self.block_size();
        for (id, seq) in self.sequences.iter() {
            let (known, tail) = (seq.pending().len(), seq.tail_tokens);
            ensure!(
                tail < block_size,
                "{id} has {tail} computed tokens in a block that is not full"
            );
            ensure!(tail <= known, "{id} computed {tail} of {known} tokens in its last block");
            let expected = seq.full_blocks + (tail + seq.reserved_tokens).div_ceil(block_size);
            ensure!(
                seq.blocks.len() == expected,
                "{id} has {} blocks, not {expected}",
                seq.blocks.len()
            );
            ensure!(
                seq.duplicates.is_sorted_by(|a, b| a.position < b.position),
                "duplicates of {id} are not sorted"
            );
            ensure!(seq.epoch <= self.epoch, "{id} is ahead of the epoch");
            if seq.epoch < self.epoch || seq.private {
                continue;
            }
            let full = seq.full_blocks;
            let parent = if full == 0 { NONE } else { seq.chain_block(full - 1) };
            ensure!(seq.parent == parent, "{id} continues {} instead of {parent}", seq.parent);
            for position in 0..full {
                let block = seq.chain_block(position);
                let found = self.pool.slot(block).published()
                    && self.index.reaches(&self.pool.slots, block);
                ensure!(found, "block {block} of {id} cannot be found");
            }
        }
        Ok(())
    }

    /// Whether a lookup must find a block.
    fn findable(&self, id: usize, places: &[Place]) -> bool {
        let current = match places[id] {
            Place::Free => false,
            Place::Cached(_) => true,
            Place::InUse { current } => current,
        };
        current && self.pool.slots[id].published()
    }

    /// I3 (but for the order), I4, I5: the forest of published blocks.
    fn check_index(&self, places: &[Place]) -> Check {
        let mut children = vec![0; places.len()];
        let mut contents = HashSet::new();
        let (mut published, mut in_table) = (0, 0);
        for id in (0..places.len()).filter(|&id| self.findable(id, places)) {
            let slot = self.pool.slots[id];
            published += 1;
            in_table += usize::from(slot.in_table());
            ensure!(
                self.index.reaches(&self.pool.slots, id as u32),
                "block {id} cannot be found from its parent"
            );
            if slot.parent != NONE {
                let parent = slot.parent as usize;
                ensure!(
                    self.findable(parent, places),
                    "parent {parent} of block {id} is not published"
                );
                children[parent] += 1;
            }
            let content = &self.index.content;
            let digest = (!content.verified()).then(|| *content.digest(id as u32));
            let key = (slot.parent, content.tokens(id as u32), content.extra(id as u32), digest);
            ensure!(contents.insert(key), "block {id} is published twice");
        }
        ensure!(
            in_table == self.index.table_len(),
            "{in_table} blocks in the table, it has {}",
            self.index.table_len()
        );
        let stats = &self.stats;
        let gone = stats.evicted_blocks + stats.invalidated_blocks;
        ensure!(
            stats.published_blocks == gone + published,
            "{} blocks were published, {gone} went, {published} are there",
            stats.published_blocks
        );
        for id in (0..places.len()).filter(|&id| self.findable(id, places)) {
            let slot = self.pool.slots[id];
            let linked = slot.more_children + u32::from(slot.child != NONE);
            ensure!(
                linked == children[id],
                "block {id} has {} children, counted {linked}",
                children[id]
            );
        }
        Ok(())
    }

    /// I3: no block is evicted before one below it; retention ranks agree with that.
    fn check_eviction_order(&self, places: &[Place]) -> Check {
        let mut retained: HashSet<u32> = self.retained.ids().collect();
        for id in (0..places.len()).filter(|&id| self.findable(id, places)) {
            let slot = self.pool.slots[id];
            let class: Class = slot.class();
            ensure!(
                (class > DEFAULT_CLASS) == retained.remove(&(id as u32)),
                "block {id} of class {class} is retained wrongly"
            );
            if slot.parent == NONE {
                continue;
            }
            let parent = slot.parent as usize;
            match (places[id], places[parent]) {
                (Place::InUse { .. }, Place::InUse { .. }) => {}
                (Place::InUse { .. }, _) => {
                    ensure!(false, "block {id} is in use, its parent {parent} is not");
                }
                (Place::Cached(_), Place::InUse { .. }) => {}
                (Place::Cached(child), Place::Cached(above)) => {
                    ensure!(child < above, "block {id} would be evicted after its parent {parent}");
                }
                _ => {}
            }
        }
        ensure!(retained.is_empty(), "unpublished blocks are retained: {retained:?}");
        Ok(())
    }

    /// The policy is offered exactly the leaves that it has to order.
    fn check_candidates(&self, places: &[Place]) -> Check {
        if !self.policy.watches() {
            return Ok(());
        }
        let mut candidates = 0;
        for (id, place) in places.iter().enumerate() {
            let slot = self.pool.slots[id];
            let candidate = matches!(place, Place::Cached(_))
                && slot.class() == DEFAULT_CLASS
                && slot.is_leaf();
            candidates += u32::from(candidate);
            ensure!(
                candidate == self.policy.is_offered(id as u32),
                "block {id} is a candidate or not, the policy knows otherwise"
            );
        }
        let counted = self.policy.num_offered();
        ensure!(candidates == counted, "{candidates} candidates, counted {counted}");
        Ok(())
    }

    /// References to interned extra keys, recounted.
    fn check_extras(&self) -> Check {
        let mut refs: HashMap<u32, u32> = HashMap::new();
        for (_, seq) in self.sequences.iter() {
            seq.extra.ids().for_each(|id| *refs.entry(id).or_default() += 1);
        }
        for id in 0..self.num_blocks() as u32 {
            if self.pool.slot(id).published() {
                *refs.entry(self.index.content.extra(id)).or_default() += 1;
            }
        }
        refs.remove(&crate::extras::NO_EXTRA);
        let counted: HashMap<u32, u32> = self.index.extras.refs().collect();
        ensure!(refs == counted, "extra keys are held {refs:?}, counted {counted:?}");
        Ok(())
    }

    /// I8: what the statistics must agree with, and the frontier.
    fn check_counters(&self, places: &[Place]) -> Check {
        let stats = &self.stats;
        let (requests, missed) =
            stats.misses.iter().fold((0, 0), |(requests, tokens), (_, count)| {
                (requests + count.requests, tokens + count.tokens)
            });
        ensure!(requests == stats.requests, "{requests} misses for {} requests", stats.requests);
        ensure!(
            missed + stats.cached_tokens == stats.prompt_tokens,
            "{missed} tokens missed, {} cached, {} in all",
            stats.cached_tokens,
            stats.prompt_tokens
        );
        let readmitted = stats.readmitted_cached_tokens + stats.recomputed_tokens;
        ensure!(
            readmitted == stats.readmitted_tokens,
            "{readmitted} readmitted tokens, counted {}",
            stats.readmitted_tokens
        );
        let usage = self.usage();
        let in_use = places.iter().filter(|place| matches!(place, Place::InUse { .. })).count();
        ensure!(usage.in_use == in_use, "{in_use} blocks in use, counted {}", usage.in_use);

        let mut frontier = Tally::default();
        for (_, seq) in self.sequences.iter().filter(|(_, seq)| seq.epoch == self.epoch) {
            seq.next_digest.iter().for_each(|digest| frontier.add(H::fold(digest)));
        }
        ensure!(
            frontier == self.frontier,
            "{} blocks are to be computed next, counted {}",
            frontier.len(),
            self.frontier.len()
        );
        Ok(())
    }
}
