//! Where the page of a block lies in a GPU's KV arena.
//!
//! The *arena* is the KV memory of one GPU, all its layers one after another, starting at
//! offset 0. An engine that allocates one tensor per layer finds layer `l` at
//! `l * bytes_per_layer`.
//!
//! The unit of addressing is the *part*: the K, or the V, or the latent vectors of one
//! block in one layer. A part is one contiguous range; which parts lie side by side is the
//! [`PageOrder`]. Where the dtype has scales, the scales of a part follow its vectors,
//! inside the part and in the same order, so whoever copies a part copies its scales.

use super::layout::{Attention, KvLayout};
use super::page_error::PageError;
use crate::BlockId;
use std::ops::Range;

/// The order of the dimensions in memory, outermost first.
///
/// `[...]` are the shapes for grouped attention. Latent attention has no K and V and one
/// "head"; the first three orders are then all `[num_blocks, block_size, vector]` per layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PageOrder {
    /// Per layer `[2, num_blocks, block_size, kv_heads, head_size]`: all K, then all V
    /// (FlashAttention in vLLM, NHD).
    PartFirst,
    /// Per layer `[num_blocks, 2, block_size, kv_heads, head_size]` (FlashInfer, NHD).
    BlockFirst,
    /// Per layer `[num_blocks, 2, kv_heads, block_size, head_size]` (FlashInfer, HND).
    BlockFirstHeadsOuter,
    /// `[num_blocks, layers, 2, block_size, kv_heads, head_size]`: all layers of a block in
    /// one piece, for transfers between devices.
    BlockMajor,
}

/// K, V, or what stands for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PagePart {
    /// Keys (grouped attention).
    Key,
    /// Values (grouped attention).
    Value,
    /// Latent vectors (latent attention).
    Latent,
}

/// Byte offsets of the pages on one GPU.
///
/// ```
/// use kvkeep::BlockId;
/// use kvkeep::budget::{Attention, KvDtype, KvLayout, PageLayout, PageOrder, PagePart};
///
/// // Qwen3-32B, fp8, two GPUs: 16 tokens x 4 heads x 128 bytes = 8 KiB per part.
/// let attention = Attention::Grouped { kv_heads: 8, head_size: 128 };
/// let layout = KvLayout::builder(64, attention, KvDtype::Fp8E4m3)
///     .tensor_parallel_size(2)
///     .build()?;
/// let pages = PageLayout::new(&layout, 0, 12_881, PageOrder::BlockFirst)?;
/// assert_eq!(pages.bytes_per_part(), 8 << 10);
/// assert_eq!(pages.total_bytes(), 12_881 << 20);
/// // Block 5 of layer 1: past layer 0, five blocks of K and V, and its own K.
/// let value = pages.part(BlockId::from(5), 1, PagePart::Value)?;
/// assert_eq!(value.start, (12_881 * 2 + 5 * 2 + 1) * (8 << 10));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLayout {
    order: PageOrder,
    num_blocks: u32,
    layers: u32,
    block_size: u32,
    heads: u32,
    /// 2 for K and V, 1 for latent vectors.
    parts: u32,
    bytes_per_vector: u64,
    scale_bytes_per_vector: u64,
}

impl PageLayout {
    /// The pages of `num_blocks` blocks on each GPU of pipeline stage `stage`.
    ///
    /// # Errors
    ///
    /// [`PageError::Stage`] if there is no such stage, [`PageError::ArenaTooLarge`] if the
    /// arena exceeds 2^64 bytes.
    pub fn new(
        layout: &KvLayout,
        stage: u32,
        num_blocks: u32,
        order: PageOrder,
    ) -> Result<Self, PageError> {
        let stages = layout.pipeline_parallel_size();
        let (Some(layers), Some(bytes_per_block)) =
            (layout.stage_layers(stage), layout.bytes_per_block_per_gpu(stage))
        else {
            return Err(PageError::Stage { stage, stages });
        };
        if bytes_per_block.checked_mul(u64::from(num_blocks)).is_none() {
            return Err(PageError::ArenaTooLarge { num_blocks, bytes_per_block });
        }
        Ok(Self {
            order,
            num_blocks,
            layers,
            block_size: layout.block_size(),
            heads: layout.kv_heads_per_gpu(),
            parts: match layout.attention() {
                Attention::Grouped { .. } => 2,
                Attention::Latent { .. } => 1,
            },
            bytes_per_vector: layout.bytes_per_vector(),
            scale_bytes_per_vector: layout.dtype().scale_bytes_per_vector().into(),
        })
    }

    /// Blocks of the arena.
    #[must_use]
    pub const fn num_blocks(&self) -> u32 {
        self.num_blocks
    }

    /// Layers of the arena (those of its pipeline stage; layers count from 0 in each).
    #[must_use]
    pub const fn layers(&self) -> u32 {
        self.layers
    }

    /// Bytes of one part, scales included.
    #[must_use]
    pub const fn bytes_per_part(&self) -> u64 {
        self.vectors_per_part() * (self.bytes_per_vector + self.scale_bytes_per_vector)
    }

    /// Bytes of one block in all layers of this GPU.
    #[must_use]
    pub const fn bytes_per_block(&self) -> u64 {
        self.bytes_per_part() * self.parts as u64 * self.layers as u64
    }

    /// Bytes of one layer of all blocks: the size of an engine's per-layer tensor.
    #[must_use]
    pub const fn bytes_per_layer(&self) -> u64 {
        self.bytes_per_part() * self.parts as u64 * self.num_blocks as u64
    }

    /// Bytes of the arena.
    #[must_use]
    pub const fn total_bytes(&self) -> u64 {
        self.bytes_per_block() * self.num_blocks as u64
    }

    const fn vectors_per_part(&self) -> u64 {
        self.block_size as u64 * self.heads as u64
    }

    /// Where a part lies, scales included.
    ///
    /// # Errors
    ///
    /// [`PageError`] naming the index that is out of bounds, or [`PageError::NoSuchPart`].
    pub fn part(
        &self,
        block: BlockId,
        layer: u32,
        part: PagePart,
    ) -> Result<Range<u64>, PageError> {
        self.check(Index::Block, block.get(), self.num_blocks)?;
        self.check(Index::Layer, layer, self.layers)?;
        let part_index = self.part_index(part)?;
        let start = self.part_start(block.get(), layer, part_index);
        Ok(start..start + self.bytes_per_part())
    }

    /// Where the vector of one token and one of this GPU's KV heads lies, without its scale.
    /// `slot` is the token's place in the block. Latent attention has head 0 only.
    ///
    /// # Errors
    ///
    /// [`PageError`] naming the index that is out of bounds, or [`PageError::NoSuchPart`].
    ///
    /// ```
    /// use kvkeep::BlockId;
    /// use kvkeep::budget::{Attention, KvDtype, KvLayout, PageLayout, PageOrder, PagePart};
    ///
    /// let attention = Attention::Grouped { kv_heads: 4, head_size: 128 };
    /// let layout = KvLayout::builder(2, attention, KvDtype::Bf16).build()?;
    /// let nhd = PageLayout::new(&layout, 0, 10, PageOrder::BlockFirst)?;
    /// let hnd = PageLayout::new(&layout, 0, 10, PageOrder::BlockFirstHeadsOuter)?;
    /// let b0 = BlockId::from(0);
    /// // Token 3, head 1, 256 bytes per vector: [token][head] against [head][token].
    /// assert_eq!(nhd.vector(b0, 0, PagePart::Key, 3, 1)?.start, (3 * 4 + 1) * 256);
    /// assert_eq!(hnd.vector(b0, 0, PagePart::Key, 3, 1)?.start, (1 * 16 + 3) * 256);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn vector(
        &self,
        block: BlockId,
        layer: u32,
        part: PagePart,
        slot: u32,
        head: u32,
    ) -> Result<Range<u64>, PageError> {
        let part = self.part(block, layer, part)?;
        let start = part.start + self.vector_index(slot, head)? * self.bytes_per_vector;
        Ok(start..start + self.bytes_per_vector)
    }

    /// Where the scale of that vector lies; `None` for a dtype without scales.
    ///
    /// It is aligned for an `f32` if the arena is and a part's vectors take a multiple of
    /// 4 bytes, which holds for all usual head sizes.
    ///
    /// # Errors
    ///
    /// [`PageError`] naming the index that is out of bounds, or [`PageError::NoSuchPart`].
    pub fn scale(
        &self,
        block: BlockId,
        layer: u32,
        part: PagePart,
        slot: u32,
        head: u32,
    ) -> Result<Option<Range<u64>>, PageError> {
        let part = self.part(block, layer, part)?;
        let vector_index = self.vector_index(slot, head)?;
        if self.scale_bytes_per_vector == 0 {
            return Ok(None);
        }
        let scales_start = part.start + self.vectors_per_part() * self.bytes_per_vector;
        let start = scales_start + vector_index * self.scale_bytes_per_vector;
        Ok(Some(start..start + self.scale_bytes_per_vector))
    }

    /// The longest contiguous pieces that make up a block, in ascending order: one for
    /// [`PageOrder::BlockMajor`], one per layer or one per layer and part for the others.
    ///
    /// # Errors
    ///
    /// [`PageError::OutOfBounds`] if there is no such block.
    pub fn block_runs(&self, block: BlockId) -> Result<BlockRuns, PageError> {
        self.check(Index::Block, block.get(), self.num_blocks)?;
        Ok(BlockRuns { pages: *self, block: block.get(), next: 0 })
    }

    /// The pieces to copy so that `destination` holds what `source` holds.
    ///
    /// # Errors
    ///
    /// [`PageError::OutOfBounds`] if one of the blocks does not exist.
    ///
    /// ```
    /// use kvkeep::budget::{Attention, CopyRun, KvDtype, KvLayout, PageLayout, PageOrder};
    ///
    /// let attention = Attention::Latent { latent_size: 512, rope_size: 64 };
    /// let layout = KvLayout::builder(2, attention, KvDtype::Bf16).build()?;
    /// let pages = PageLayout::new(&layout, 0, 10, PageOrder::BlockFirst)?;
    /// let copies: Vec<CopyRun> = pages.copy_runs(1.into(), 4.into())?.collect();
    /// let part = 16 * 576 * 2; // bytes
    /// assert_eq!(copies, [
    ///     CopyRun { source_offset: part, destination_offset: 4 * part, bytes: part },
    ///     CopyRun { source_offset: 11 * part, destination_offset: 14 * part, bytes: part },
    /// ]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn copy_runs(
        &self,
        source: BlockId,
        destination: BlockId,
    ) -> Result<impl Iterator<Item = CopyRun> + use<>, PageError> {
        let (from, to) = (self.block_runs(source)?, self.block_runs(destination)?);
        Ok(from.zip(to).map(|(from, to)| CopyRun {
            source_offset: from.start,
            destination_offset: to.start,
            bytes: from.end - from.start,
        }))
    }

    /// Start of a part whose indices are in bounds; cannot overflow because the arena's size
    /// does not.
    const fn part_start(&self, block: u32, layer: u32, part: u32) -> u64 {
        let (block, layer, part) = (block as u64, layer as u64, part as u64);
        let (blocks, layers, parts) =
            (self.num_blocks as u64, self.layers as u64, self.parts as u64);
        let index = match self.order {
            PageOrder::PartFirst => (layer * parts + part) * blocks + block,
            PageOrder::BlockFirst | PageOrder::BlockFirstHeadsOuter => {
                (layer * blocks + block) * parts + part
            }
            PageOrder::BlockMajor => (block * layers + layer) * parts + part,
        };
        index * self.bytes_per_part()
    }

    fn vector_index(&self, slot: u32, head: u32) -> Result<u64, PageError> {
        self.check(Index::Slot, slot, self.block_size)?;
        self.check(Index::Head, head, self.heads)?;
        let (slot, head) = (u64::from(slot), u64::from(head));
        Ok(match self.order {
            PageOrder::BlockFirstHeadsOuter => head * u64::from(self.block_size) + slot,
            PageOrder::PartFirst | PageOrder::BlockFirst | PageOrder::BlockMajor => {
                slot * u64::from(self.heads) + head
            }
        })
    }

    const fn part_index(&self, part: PagePart) -> Result<u32, PageError> {
        match (part, self.parts) {
            (PagePart::Key, 2) | (PagePart::Latent, 1) => Ok(0),
            (PagePart::Value, 2) => Ok(1),
            _ => Err(PageError::NoSuchPart { part }),
        }
    }

    const fn check(&self, index: Index, value: u32, bound: u32) -> Result<(), PageError> {
        if value < bound {
            Ok(())
        } else {
            Err(PageError::OutOfBounds { index: index.name(), value, bound })
        }
    }
}

#[derive(Clone, Copy)]
enum Index {
    Block,
    Layer,
    Slot,
    Head,
}

impl Index {
    const fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Layer => "layer",
            Self::Slot => "slot",
            Self::Head => "head",
        }
    }
}

/// The contiguous pieces of a block; see [`PageLayout::block_runs`].
#[derive(Clone, Debug)]
pub struct BlockRuns {
    pages: PageLayout,
    block: u32,
    next: u64,
}

impl BlockRuns {
    /// Parts per run. Parts of a run lie side by side in layer and part order.
    const fn parts_per_run(&self) -> u64 {
        let parts = self.pages.parts as u64;
        match self.pages.order {
            PageOrder::PartFirst => 1,
            PageOrder::BlockFirst | PageOrder::BlockFirstHeadsOuter => parts,
            PageOrder::BlockMajor => parts * self.pages.layers as u64,
        }
    }
}

impl Iterator for BlockRuns {
    type Item = Range<u64>;

    fn next(&mut self) -> Option<Self::Item> {
        let parts = u64::from(self.pages.parts);
        // Counts parts in layer order, so a run starts at a multiple of its length.
        let first_part = self.next * self.parts_per_run();
        if first_part >= parts * u64::from(self.pages.layers) {
            return None;
        }
        self.next += 1;
        let (layer, part) = ((first_part / parts) as u32, (first_part % parts) as u32);
        let start = self.pages.part_start(self.block, layer, part);
        Some(start..start + self.parts_per_run() * self.pages.bytes_per_part())
    }
}

/// One contiguous copy inside an arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyRun {
    /// Byte offset to read from.
    pub source_offset: u64,
    /// Byte offset to write to.
    pub destination_offset: u64,
    /// Bytes to copy.
    pub bytes: u64,
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
