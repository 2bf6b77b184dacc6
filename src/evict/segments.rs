//! Resident blocks in several lists, oldest first.
//!
//! For policies that divide the pool: blocks that are in use or have children belong to a
//! segment as well, count for its size, and can be the oldest of it. Links are threaded
//! over the block ids.

use crate::BlockId;
use crate::ids::NONE;

/// `N` doubly linked lists, each block in at most one. Operations are O(1); 12 bytes per
/// block of the pool.
#[derive(Clone, Debug)]
pub(super) struct Segments<const N: usize> {
    links: Vec<Link>,
    lists: [List; N],
}

#[derive(Clone, Copy, Debug)]
struct Link {
    older: u32,
    newer: u32,
    segment: u8,
}

#[derive(Clone, Copy, Debug)]
struct List {
    oldest: u32,
    newest: u32,
    len: usize,
}

const EMPTY: List = List { oldest: NONE, newest: NONE, len: 0 };

impl<const N: usize> Default for Segments<N> {
    fn default() -> Self {
        Segments::new(0)
    }
}

impl<const N: usize> Segments<N> {
    pub(super) fn new(num_blocks: usize) -> Self {
        let link = Link { older: NONE, newer: NONE, segment: 0 };
        Segments { links: vec![link; num_blocks], lists: [EMPTY; N] }
    }

    pub(super) fn len(&self, segment: usize) -> usize {
        self.lists[segment].len
    }

    pub(super) fn oldest(&self, segment: usize) -> Option<BlockId> {
        Some(self.lists[segment].oldest).filter(|&id| id != NONE).map(BlockId)
    }

    /// The segment that `block` is in, or was in last.
    pub(super) fn segment(&self, block: BlockId) -> usize {
        usize::from(self.links[block.index()].segment)
    }

    /// Puts `block`, which is in no segment, in as the newest.
    pub(super) fn push(&mut self, block: BlockId, segment: usize) {
        let list = &mut self.lists[segment];
        let older = list.newest;
        self.links[block.index()] = Link { older, newer: NONE, segment: segment as u8 };
        match self.links.get_mut(older as usize) {
            Some(link) => link.newer = block.0,
            None => list.oldest = block.0,
        }
        list.newest = block.0;
        list.len += 1;
    }

    /// Takes `block` out of its segment.
    pub(super) fn remove(&mut self, block: BlockId) {
        let Link { older, newer, segment } = self.links[block.index()];
        let list = &mut self.lists[usize::from(segment)];
        match self.links.get_mut(older as usize) {
            Some(link) => link.newer = newer,
            None => list.oldest = newer,
        }
        match self.links.get_mut(newer as usize) {
            Some(link) => link.older = older,
            None => list.newest = older,
        }
        list.len -= 1;
    }

    /// Makes `block` the newest of a segment.
    pub(super) fn renew(&mut self, block: BlockId, segment: usize) {
        self.remove(block);
        self.push(block, segment);
    }

    /// Empties all segments. O(1): a block that comes again is pushed.
    pub(super) fn clear(&mut self) {
        self.lists = [EMPTY; N];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        /// Against queues that are searched.
        #[test]
        fn they_order_like_queues(
            operations in prop::collection::vec((0_u32..12, 0_usize..3, 0_u8..16), 0..300)
        ) {
            let mut segments = Segments::<3>::new(12);
            let mut queues: [VecDeque<u32>; 3] = Default::default();
            for (id, segment, operation) in operations {
                let block = BlockId(id);
                let known = queues.iter().position(|queue| queue.contains(&id));
                queues.iter_mut().for_each(|queue| queue.retain(|&other| other != id));
                match (operation, known) {
                    (0, _) => {
                        queues.iter_mut().for_each(VecDeque::clear);
                        segments.clear();
                    }
                    (1..=4, Some(_)) => segments.remove(block),
                    (1..=4, None) => {}
                    (_, Some(was)) => {
                        prop_assert_eq!(segments.segment(block), was);
                        queues[segment].push_back(id);
                        segments.renew(block, segment);
                    }
                    (_, None) => {
                        queues[segment].push_back(id);
                        segments.push(block, segment);
                    }
                }
                for (segment, queue) in queues.iter().enumerate() {
                    prop_assert_eq!(segments.len(segment), queue.len());
                    prop_assert_eq!(segments.oldest(segment), queue.front().copied().map(BlockId));
                }
            }
            // Backwards links as well: what is taken from the front leaves a whole list.
            for (segment, queue) in queues.iter().enumerate() {
                for &id in queue {
                    prop_assert_eq!(segments.oldest(segment), Some(BlockId(id)));
                    segments.remove(BlockId(id));
                }
                prop_assert_eq!(segments.oldest(segment), None);
            }
        }
    }
}
