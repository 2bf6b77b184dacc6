//! The KV cache of all ranks: tensor parallelism shards the KV heads over their pages.
//!
//! A block id names a page on each rank, so one block table serves them all.

use crate::pages::{PageConfig, Pages, Place};
use crate::{Error, PageDtype, Shape, fp8};
use kvkeep::budget::PagePart;
use kvkeep::{BlockCopy, BlockId};

/// Room above the largest value seen, so that others need not be cut off. A float loses
/// no precision by it, only range at the bottom.
const SCALE_MARGIN: f32 = 2.0;

/// What one unit of a page stands for: one factor per layer and KV head, for K and V each.
///
/// They belong to the weights and are the same for all tokens, so that a token's page
/// depends on nothing but its sequence.
#[derive(Clone, Debug)]
pub struct KvScales {
    keys: Vec<f32>,
    values: Vec<f32>,
    heads: usize,
}

impl KvScales {
    /// Factors of 1.
    #[must_use]
    pub fn ones(shape: &Shape) -> Self {
        let heads = shape.num_key_value_heads;
        let ones = vec![1.0; shape.num_hidden_layers * heads];
        KvScales { keys: ones.clone(), values: ones, heads }
    }

    /// Factors that put the largest value of what `cache` holds for a sequence at half
    /// of what fp8 can express.
    ///
    /// # Errors
    /// [`Error::Page`] if the table names a block that the cache has not.
    pub fn measure(
        cache: &KvCache,
        shape: &Shape,
        table: &[BlockId],
        tokens: usize,
    ) -> Result<Self, Error> {
        let mut scales = Self::ones(shape);
        for layer in 0..shape.num_hidden_layers {
            for head in 0..scales.heads {
                for part in [PagePart::Key, PagePart::Value] {
                    let mut largest = 0_f32;
                    cache.for_each_block(table, tokens, |_, block, slots| {
                        let vectors = cache.read(block, layer, part, head, slots)?;
                        largest = vectors.iter().fold(largest, |max, value| max.max(value.abs()));
                        Ok(())
                    })?;
                    if largest > 0.0 {
                        *scales.at(layer, part, head) = largest * SCALE_MARGIN / fp8::MAX;
                    }
                }
            }
        }
        Ok(scales)
    }

    fn at(&mut self, layer: usize, part: PagePart, head: usize) -> &mut f32 {
        let factors = if part == PagePart::Key { &mut self.keys } else { &mut self.values };
        &mut factors[layer * self.heads + head]
    }

    fn get(&self, layer: usize, part: PagePart, head: usize) -> f32 {
        let factors = if part == PagePart::Key { &self.keys } else { &self.values };
        factors[layer * self.heads + head]
    }
}

/// The pages of all ranks.
pub struct KvCache {
    ranks: Vec<Pages>,
    heads_per_rank: usize,
    head_dim: usize,
    block_size: usize,
    scales: KvScales,
}

impl KvCache {
    /// Pages that hold nothing yet: every read gives NaN. fp8 pages count in units of
    /// `scales`.
    ///
    /// # Errors
    /// [`Error::Layout`] and [`Error::Shape`] if the heads cannot be sharded,
    /// [`Error::Page`] and [`Error::Memory`] if the pages are too large.
    pub fn new(shape: &Shape, config: &PageConfig, scales: KvScales) -> Result<Self, Error> {
        // No ranks at all is the layout's to refuse.
        let ranks = (0..config.tensor_parallel_size.max(1))
            .map(|_| Pages::new(shape, config))
            .collect::<Result<Vec<_>, _>>()?;
        // The pages have checked that this divides.
        let heads_per_rank = shape.num_key_value_heads / ranks.len();
        Ok(KvCache {
            ranks,
            heads_per_rank,
            head_dim: shape.head_dim,
            block_size: config.block_size as usize,
            scales: if config.dtype == PageDtype::Fp8 { scales } else { KvScales::ones(shape) },
        })
    }

    /// Tokens per block.
    #[must_use]
    pub fn block_size(&self) -> usize {
        self.block_size
    }

    /// Writes K and V of one token, all heads of a layer.
    pub(crate) fn write(
        &mut self,
        table: &[BlockId],
        layer: usize,
        position: usize,
        [keys, values]: [&[f32]; 2],
    ) -> Result<(), Error> {
        let (block, slot) = (table[position / self.block_size], position % self.block_size);
        for (part, row) in [(PagePart::Key, keys), (PagePart::Value, values)] {
            for (head, vector) in row.chunks_exact(self.head_dim).enumerate() {
                let scale = self.scales.get(layer, part, head);
                let (rank, head) = (head / self.heads_per_rank, head % self.heads_per_rank);
                self.ranks[rank].write(Place { block, layer, part, slot, head }, vector, scale)?;
            }
        }
        Ok(())
    }

    /// The first `slots` vectors of a block, of one head.
    pub(crate) fn read(
        &self,
        block: BlockId,
        layer: usize,
        part: PagePart,
        head: usize,
        slots: usize,
    ) -> Result<Vec<f32>, Error> {
        let scale = self.scales.get(layer, part, head);
        let (rank, head) = (head / self.heads_per_rank, head % self.heads_per_rank);
        let mut vectors = vec![0.0; slots * self.head_dim];
        for (slot, vector) in vectors.chunks_exact_mut(self.head_dim).enumerate() {
            self.ranks[rank].read(Place { block, layer, part, slot, head }, vector, scale)?;
        }
        Ok(vectors)
    }

    /// Calls `visit` with each block of the first `tokens` tokens of a sequence, in order:
    /// the position of its first token, its id, and how many of its slots they fill.
    pub(crate) fn for_each_block(
        &self,
        table: &[BlockId],
        tokens: usize,
        mut visit: impl FnMut(usize, BlockId, usize) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for (start, &block) in (0..tokens).step_by(self.block_size).zip(table) {
            visit(start, block, self.block_size.min(tokens - start))?;
        }
        Ok(())
    }

    /// Copies a page on every rank.
    ///
    /// # Errors
    /// [`Error::Page`] if there is no such block.
    pub fn copy(&mut self, copy: BlockCopy) -> Result<(), Error> {
        self.ranks.iter_mut().try_for_each(|pages| Ok(pages.copy(copy.source, copy.destination)?))
    }

    /// Overwrites a page with NaN on every rank.
    ///
    /// # Errors
    /// [`Error::Page`] if there is no such block.
    pub fn poison(&mut self, block: BlockId) -> Result<(), Error> {
        self.ranks.iter_mut().try_for_each(|pages| Ok(pages.poison(block)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvkeep::budget::PageOrder;

    const LAYERS: usize = 2;
    const HEADS: usize = 2;
    const TABLE: [u32; 2] = [2, 0];

    fn cache(dtype: PageDtype, scales: KvScales) -> KvCache {
        let config = PageConfig {
            num_blocks: 3,
            block_size: 4,
            dtype,
            tensor_parallel_size: 2,
            order: PageOrder::BlockFirst,
        };
        KvCache::new(&Shape::tiny(), &config, scales).unwrap()
    }

    /// A row of a token: every element tells where it belongs.
    fn row(layer: usize, position: usize, part: usize) -> Vec<f32> {
        let sign = [1.0, -1.0][part];
        let head = |head: usize| 2_f32.powi(head as i32 * 4 + layer as i32 * 8 + part as i32);
        (0..HEADS * 8).map(|at| sign * head(at / 8) * (position % 7 + 8) as f32).collect()
    }

    fn fill(cache: &mut KvCache) {
        let table = TABLE.map(BlockId::from);
        for layer in 0..LAYERS {
            for position in 0..6 {
                let (keys, values) = (row(layer, position, 0), row(layer, position, 1));
                cache.write(&table, layer, position, [&keys, &values]).unwrap();
            }
        }
    }

    #[test]
    fn what_is_written_is_read_in_the_units_of_its_head() {
        let mut scales = KvScales::ones(&Shape::tiny());
        for layer in 0..LAYERS {
            for head in 0..HEADS {
                // Powers of two, so that no value is rounded.
                for (index, part) in [PagePart::Key, PagePart::Value].into_iter().enumerate() {
                    *scales.at(layer, part, head) = row(layer, 0, index)[head * 8].abs() / 256.0;
                }
            }
        }
        let mut cache = cache(PageDtype::Fp8, scales);
        fill(&mut cache);
        for layer in 0..LAYERS {
            for head in 0..HEADS {
                for (index, part) in [PagePart::Key, PagePart::Value].into_iter().enumerate() {
                    let last = cache.read(TABLE[1].into(), layer, part, head, 2).unwrap();
                    let expected = [4, 5].map(|at| row(layer, at, index)[head * 8..][..8].to_vec());
                    assert_eq!(last, expected.concat(), "layer {layer}, {part:?}, head {head}");
                }
            }
        }
    }

    #[test]
    fn scales_put_the_largest_value_at_half_the_range() {
        let mut cache = cache(PageDtype::F32, KvScales::ones(&Shape::tiny()));
        fill(&mut cache);
        let table = TABLE.map(BlockId::from);
        let mut scales = KvScales::measure(&cache, &Shape::tiny(), &table, 6).unwrap();
        for layer in 0..LAYERS {
            for (index, part) in [PagePart::Key, PagePart::Value].into_iter().enumerate() {
                let largest = row(layer, 5, index)[8].abs();
                assert_eq!(*scales.at(layer, part, 1), largest * 2.0 / 448.0);
            }
        }
    }
}
