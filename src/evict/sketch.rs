//! How often keys were seen, roughly and recently: the memory of W-TinyLFU.

/// Counters per key; the least of them is the estimate.
const ROWS: u64 = 4;
const MAX_COUNT: u8 = 15;
/// Keys seen between two halvings, in pools; as in the paper.
const SAMPLE: usize = 10;

/// A count-min sketch of 4-bit counts (in a byte each), which are halved after each sample.
/// It errs upwards only. Operations are O(1), the halving amortised; 16 to 32 bytes per
/// block.
#[derive(Clone, Debug, Default)]
pub(super) struct Sketch {
    counts: Vec<u8>,
    seen: usize,
    sample: usize,
}

impl Sketch {
    /// For a pool of `num_blocks` blocks.
    pub(super) fn new(num_blocks: usize) -> Self {
        let width = (num_blocks.max(1) * ROWS as usize * 4).next_power_of_two();
        Sketch { counts: vec![0; width], seen: 0, sample: num_blocks.saturating_mul(SAMPLE).max(1) }
    }

    pub(super) fn add(&mut self, key: u64) {
        for row in 0..ROWS {
            let place = self.place(key, row);
            let count = &mut self.counts[place];
            *count = (*count + 1).min(MAX_COUNT);
        }
        self.seen += 1;
        if self.seen == self.sample {
            self.seen /= 2;
            self.counts.iter_mut().for_each(|count| *count /= 2);
        }
    }

    pub(super) fn count(&self, key: u64) -> u8 {
        (0..ROWS).map(|row| self.counts[self.place(key, row)]).min().unwrap_or(0)
    }

    /// Double hashing: the rows share one array.
    fn place(&self, key: u64, row: u64) -> usize {
        let mixed = (key ^ (key >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let hash = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let step = (hash & 0xffff_ffff) | 1;
        ((hash >> 32) + row * step) as usize & (self.counts.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_counts_too_little_and_seldom_too_much() {
        let mut sketch = Sketch::new(1_000);
        for key in 0..1_000 {
            (0..=key % 5).for_each(|_| sketch.add(key));
        }
        let exact = |key: &u64| u64::from(sketch.count(*key)) == key % 5 + 1;
        assert!((0..1_000).all(|key| u64::from(sketch.count(key)) > key % 5));
        let right = (0..1_000).filter(exact).count();
        assert!(right > 990, "{right} of 1,000");
    }

    #[test]
    fn counts_end_at_15_and_are_halved_after_ten_pools() {
        let mut sketch = Sketch::new(4);
        (0..39).for_each(|_| sketch.add(1));
        assert_eq!(sketch.count(1), 15);
        sketch.add(1);
        assert_eq!(sketch.count(1), 7);
    }
}
