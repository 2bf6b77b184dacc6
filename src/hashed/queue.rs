//! Blocks that nobody uses, in the order in which they are handed out.
//!
//! Two lists, one behind the other, threaded through one array of links: *blank* blocks
//! come first, the latest returned at their front; then the *kept* ones, whose content
//! may hit again, the latest released at their end. All operations are O(1) per block.

use crate::ids::NONE;

/// Which of the two lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Blank,
    Kept,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    prev: u32,
    next: u32,
}

#[derive(Debug)]
pub(super) struct Queue {
    /// By block, then one sentinel for each part.
    links: Vec<Link>,
    /// By block; says nothing about a block outside.
    kept: Vec<bool>,
    len: usize,
}

const OUTSIDE: Link = Link { prev: NONE, next: NONE };

impl Queue {
    /// All blocks, blank, in order of their ids.
    pub(super) fn new(num_blocks: u32) -> Self {
        let mut queue = Queue {
            links: vec![OUTSIDE; num_blocks as usize],
            kept: vec![false; num_blocks as usize],
            len: 0,
        };
        for sentinel in num_blocks..num_blocks + 2 {
            queue.links.push(Link { prev: sentinel, next: sentinel });
        }
        (0..num_blocks).for_each(|id| queue.push_back(id, Part::Blank));
        queue
    }

    #[inline]
    fn sentinel(&self, part: Part) -> u32 {
        self.kept.len() as u32 + u32::from(part == Part::Kept)
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Where a block is, if it is in the queue.
    #[inline]
    pub(super) fn part(&self, id: u32) -> Option<Part> {
        let inside = self.links[id as usize].next != NONE;
        inside.then(|| if self.kept[id as usize] { Part::Kept } else { Part::Blank })
    }

    #[inline]
    fn link(&mut self, prev: u32, id: u32, next: u32, part: Part) {
        debug_assert!(self.part(id).is_none(), "block {id} is in the queue already");
        self.links[id as usize] = Link { prev, next };
        self.links[prev as usize].next = id;
        self.links[next as usize].prev = id;
        self.kept[id as usize] = part == Part::Kept;
        self.len += 1;
    }

    #[inline]
    pub(super) fn push_back(&mut self, id: u32, part: Part) {
        let sentinel = self.sentinel(part);
        self.link(self.links[sentinel as usize].prev, id, sentinel, part);
    }

    #[inline]
    pub(super) fn push_front(&mut self, id: u32) {
        let sentinel = self.sentinel(Part::Blank);
        self.link(sentinel, id, self.links[sentinel as usize].next, Part::Blank);
    }

    #[inline]
    pub(super) fn unlink(&mut self, id: u32) {
        let Link { prev, next } = std::mem::replace(&mut self.links[id as usize], OUTSIDE);
        debug_assert_ne!(next, NONE, "block {id} is not in the queue");
        self.links[prev as usize].next = next;
        self.links[next as usize].prev = prev;
        self.len -= 1;
    }

    /// The first block of a part.
    #[inline]
    pub(super) fn front(&self, part: Part) -> Option<u32> {
        let sentinel = self.sentinel(part);
        let front = self.links[sentinel as usize].next;
        (front != sentinel).then_some(front)
    }

    /// The block behind `id`, which is in the queue; the first one for `None`.
    pub(super) fn after(&self, id: Option<u32>) -> Option<u32> {
        let next = match id {
            Some(id) => self.links[id as usize].next,
            None => self.links[self.sentinel(Part::Blank) as usize].next,
        };
        match next {
            NONE => None,
            next if next == self.sentinel(Part::Blank) => self.front(Part::Kept),
            next if next == self.sentinel(Part::Kept) => None,
            next => Some(next),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(queue: &Queue) -> Vec<u32> {
        std::iter::successors(queue.after(None), |&id| queue.after(Some(id))).collect()
    }

    #[test]
    fn blank_before_kept_each_from_its_own_end() {
        let mut queue = Queue::new(6);
        assert_eq!(order(&queue), [0, 1, 2, 3, 4, 5]);
        for id in [4, 0, 2, 5] {
            queue.unlink(id);
        }
        queue.push_back(4, Part::Kept);
        queue.push_front(0);
        queue.push_back(2, Part::Kept);
        queue.push_front(5);
        assert_eq!(order(&queue), [5, 0, 1, 3, 4, 2]);
        assert_eq!(queue.len(), 6);
        assert_eq!((queue.front(Part::Blank), queue.front(Part::Kept)), (Some(5), Some(4)));
        [5, 0, 1, 3].into_iter().for_each(|id| queue.unlink(id));
        assert_eq!((queue.front(Part::Blank), queue.after(None)), (None, Some(4)));
        assert_eq!((queue.part(4), queue.part(5)), (Some(Part::Kept), None));
        assert_eq!(queue.after(Some(2)), None);
        assert_eq!(queue.after(Some(5)), None, "not in the queue");
    }
}
