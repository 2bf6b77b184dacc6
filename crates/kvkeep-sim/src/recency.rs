//! How many different blocks were used since a block was used last.
//!
//! Each block carries the stamp of its last use. Live stamps are bits; a Fenwick tree
//! (Fenwick 1994) counts them by words of 64, so it is 64 times smaller than one over
//! stamps and stays in the first-level cache.

/// No stamp.
const COLD: u32 = u32::MAX;

/// The blocks of a cache without bound, most recently used first.
#[derive(Clone, Debug)]
pub struct RecencyStack {
    /// By block.
    stamps: Vec<u32>,
    /// One bit per stamp, set while a block carries it.
    live: Vec<u64>,
    /// Fenwick tree over the words of `live`, from index 1.
    counts: Vec<u32>,
    next_stamp: u32,
    blocks: u32,
}

impl RecencyStack {
    /// An empty stack for blocks numbered below `num_blocks`.
    #[must_use]
    pub fn new(num_blocks: u32) -> RecencyStack {
        // Room for as many stamps again before they have to be numbered anew.
        let words = (num_blocks as usize * 2).div_ceil(64) + 64;
        RecencyStack {
            stamps: vec![COLD; num_blocks as usize],
            live: vec![0; words],
            counts: vec![0; words + 1],
            next_stamp: 0,
            blocks: 0,
        }
    }

    /// Makes room for blocks numbered below `num_blocks`.
    pub fn grow(&mut self, num_blocks: u32) {
        if self.stamps.len() < num_blocks as usize {
            self.stamps.resize(num_blocks as usize, COLD);
        }
    }

    /// Forgets all blocks but those that `keep` gives another number; the new numbers are below
    /// `num_blocks`. O(blocks).
    pub fn renumber_blocks(&mut self, num_blocks: u32, keep: impl Fn(u32) -> Option<u32>) {
        let mut stamps = vec![COLD; num_blocks as usize];
        for (block, stamp) in (0_u32..).zip(std::mem::take(&mut self.stamps)) {
            if stamp == COLD {
                continue;
            }
            match keep(block) {
                Some(number) => stamps[number as usize] = stamp,
                None => {
                    self.take(stamp as usize / 64, 1 << (stamp % 64));
                    self.blocks -= 1;
                }
            }
        }
        self.stamps = stamps;
    }

    /// For each block of a chain, as long as it was used before: its place in the stack, from
    /// 1 for the most recent. O(log n), and O(1) where it follows the block before it.
    pub fn distances<'a>(&'a self, chain: &'a [u32]) -> impl Iterator<Item = u32> + 'a {
        let (mut above, mut distance) = (COLD, 0);
        chain.iter().map_while(move |&block| {
            let stamp = self.stamps[block as usize];
            if stamp == COLD {
                return None;
            }
            distance = if stamp.wrapping_add(1) == above {
                distance + 1
            } else {
                self.blocks - self.rank(stamp)
            };
            above = stamp;
            Some(distance)
        })
    }

    /// Uses the blocks of a chain: they leave their places and come on top, the first of
    /// the chain topmost. O(log n) per run of blocks that were used together.
    pub fn push(&mut self, chain: &[u32]) {
        let length = chain.len() as u32;
        if (self.live.len() * 64) < (self.next_stamp + length) as usize {
            self.renumber(length);
        }
        let mut word = usize::MAX;
        let mut gone = 0_u64;
        for (behind, &block) in (0_u32..).zip(chain) {
            let stamp = &mut self.stamps[block as usize];
            let old = std::mem::replace(stamp, self.next_stamp + length - 1 - behind);
            if old == COLD {
                self.blocks += 1;
                continue;
            }
            if old as usize / 64 != word {
                self.take(word, gone);
                (word, gone) = (old as usize / 64, 0);
            }
            gone |= 1 << (old % 64);
        }
        self.take(word, gone);
        let end = self.next_stamp + length;
        while self.next_stamp < end {
            let (word, bit) = (self.next_stamp as usize / 64, self.next_stamp % 64);
            let bits = (end - self.next_stamp).min(64 - bit);
            self.live[word] |= (u64::MAX >> (64 - bits)) << bit;
            self.add(word, bits as i32);
            self.next_stamp += bits;
        }
    }

    /// Clears bits of a word.
    fn take(&mut self, word: usize, gone: u64) {
        if gone != 0 {
            self.live[word] &= !gone;
            self.add(word, -(gone.count_ones() as i32));
        }
    }

    fn add(&mut self, word: usize, bits: i32) {
        let mut at = word + 1;
        while let Some(count) = self.counts.get_mut(at) {
            *count = count.wrapping_add_signed(bits);
            at += at & at.wrapping_neg();
        }
    }

    /// Live stamps below `stamp`.
    fn rank(&self, stamp: u32) -> u32 {
        let (word, bit) = (stamp as usize / 64, stamp % 64);
        let mut rank = (self.live[word] & !(u64::MAX << bit)).count_ones();
        let mut at = word;
        while at > 0 {
            rank += self.counts[at];
            at &= at - 1;
        }
        rank
    }

    /// Numbers the live stamps from 0, keeping their order, and makes room for `more`.
    /// Amortised O(1) per stamp.
    fn renumber(&mut self, more: u32) {
        let mut before = 0;
        let firsts: Vec<u32> = self
            .live
            .iter()
            .map(|word| {
                let first = before;
                before += word.count_ones();
                first
            })
            .collect();
        for stamp in self.stamps.iter_mut().filter(|stamp| **stamp != COLD) {
            let (word, bit) = (*stamp as usize / 64, *stamp % 64);
            *stamp = firsts[word] + (self.live[word] & !(u64::MAX << bit)).count_ones();
        }
        self.next_stamp = self.blocks;
        let words = (self.blocks as usize * 2 + more as usize).div_ceil(64) + 64;
        self.live = (0..words)
            .map(|word| match (self.blocks as usize).saturating_sub(word * 64) {
                0 => 0,
                bits => u64::MAX >> (64 - bits.min(64)),
            })
            .collect();
        self.counts = vec![0; words + 1];
        for word in 0..words {
            self.counts[word + 1] += self.live[word].count_ones();
            let at = word + 1;
            let next = at + (at & at.wrapping_neg());
            if next <= words {
                self.counts[next] += self.counts[at];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn worked_by_hand() {
        let mut stack = RecencyStack::new(6);
        stack.push(&[0, 1, 2]);
        stack.push(&[0, 3]);
        // From the top: 0 3 1 2.
        assert_eq!(stack.distances(&[0, 1, 2]).collect::<Vec<_>>(), [1, 3, 4]);
        assert_eq!(stack.distances(&[0, 3, 4]).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(stack.distances(&[5]).count(), 0);
    }

    proptest! {
        /// Against a list, long enough to number stamps anew several times.
        #[test]
        fn it_counts_like_a_list(chains in prop::collection::vec(
            prop::sample::subsequence((0_u32..150).collect::<Vec<_>>(), 0..70), 0..60,
        )) {
            let mut stack = RecencyStack::new(150);
            let mut list: Vec<u32> = Vec::new();
            for chain in chains {
                let known = |block| list.iter().position(|&other| other == block);
                let expected: Vec<u32> =
                    chain.iter().map_while(|&b| known(b)).map(|at| at as u32 + 1).collect();
                prop_assert_eq!(stack.distances(&chain).collect::<Vec<_>>(), expected);
                stack.push(&chain);
                list.retain(|block| !chain.contains(block));
                list.splice(0..0, chain.iter().copied());
            }
        }
    }
}
