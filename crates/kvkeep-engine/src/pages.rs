//! The KV memory of one rank: bytes, and vectors written to and read from them.
//!
//! Whoever wants a vector names it by block, layer, part, slot and head; where it lies is
//! asked of [`PageLayout`] each time. Memory that holds no KV is full of `0xff` bytes,
//! which are a NaN in each of the dtypes: whoever reads it is found out by the logits.

use crate::{Error, Shape, fp8};
use half::bf16;
use kvkeep::BlockId;
use kvkeep::budget::{Attention, KvDtype, KvLayout, PageError, PageLayout, PageOrder, PagePart};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// NaN in fp8, bf16 and f32.
const NO_KV: u8 = 0xff;

/// Element type of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageDtype {
    /// 8 bits, e4m3, with one scale per layer and KV head for K and V each.
    Fp8,
    /// bfloat16.
    Bf16,
    /// 32 bits: what was computed, unrounded.
    F32,
}

impl FromStr for PageDtype {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "fp8" | "fp8_e4m3" => Ok(Self::Fp8),
            "bf16" | "bfloat16" => Ok(Self::Bf16),
            "f32" | "float32" => Ok(Self::F32),
            _ => Err(format!("unknown dtype {name:?}; use fp8, bf16 or f32")),
        }
    }
}

impl fmt::Display for PageDtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fp8 => "fp8",
            Self::Bf16 => "bf16",
            Self::F32 => "f32",
        })
    }
}

/// What the pages look like.
#[derive(Clone, Copy, Debug)]
pub struct PageConfig {
    /// Blocks of the pool.
    pub num_blocks: u32,
    /// Tokens per block.
    pub block_size: u32,
    /// Element type.
    pub dtype: PageDtype,
    /// Ranks that share the KV heads, each with a pool of its own.
    pub tensor_parallel_size: u32,
    /// Order of the dimensions in memory.
    pub order: PageOrder,
}

/// One vector's name: what [`PageLayout::vector`] takes.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) block: BlockId,
    pub(crate) layer: usize,
    pub(crate) part: PagePart,
    pub(crate) slot: usize,
    /// Among the heads of the rank.
    pub(crate) head: usize,
}

/// The pages of one rank.
pub(crate) struct Pages {
    bytes: Vec<u8>,
    layout: PageLayout,
    dtype: PageDtype,
}

impl Pages {
    pub(crate) fn new(shape: &Shape, config: &PageConfig) -> Result<Self, Error> {
        let (dtype, elements) = match config.dtype {
            PageDtype::Fp8 => (KvDtype::Fp8E4m3, shape.head_dim),
            PageDtype::Bf16 => (KvDtype::Bf16, shape.head_dim),
            // No server caches KV in 32 bits, so the library has no name for it: it takes
            // the bytes of twice as many 16-bit elements.
            PageDtype::F32 => (KvDtype::Bf16, 2 * shape.head_dim),
        };
        let heads = shape.num_key_value_heads;
        let attention = Attention::Grouped { kv_heads: heads as u32, head_size: elements as u32 };
        let layout = KvLayout::builder(shape.num_hidden_layers as u32, attention, dtype)
            .block_size(config.block_size)
            .tensor_parallel_size(config.tensor_parallel_size)
            .build()?;
        if layout.replication() > 1 {
            return Err(Error::Shape {
                field: "tensor_parallel_size",
                value: config.tensor_parallel_size as usize,
                rule: "it must divide num_key_value_heads: this engine shards heads, it does not replicate them",
            });
        }
        let layout = PageLayout::new(&layout, 0, config.num_blocks, config.order)?;
        let memory = || Error::Memory { bytes: layout.total_bytes() };
        let total = usize::try_from(layout.total_bytes()).map_err(|_| memory())?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(total).map_err(|_| memory())?;
        bytes.resize(total, NO_KV);
        Ok(Pages { bytes, layout, dtype: config.dtype })
    }

    /// Writes a vector, in units of `scale`.
    pub(crate) fn write(&mut self, at: Place, vector: &[f32], scale: f32) -> Result<(), PageError> {
        let range = self.range(at)?;
        let page = &mut self.bytes[range];
        match self.dtype {
            PageDtype::Fp8 => {
                for (byte, value) in page.iter_mut().zip(vector) {
                    *byte = fp8::encode(value / scale);
                }
            }
            PageDtype::Bf16 => {
                for (bytes, value) in page.as_chunks_mut().0.iter_mut().zip(vector) {
                    *bytes = bf16::from_f32(*value).to_le_bytes();
                }
            }
            PageDtype::F32 => {
                for (bytes, value) in page.as_chunks_mut().0.iter_mut().zip(vector) {
                    *bytes = value.to_le_bytes();
                }
            }
        }
        Ok(())
    }

    /// Reads a vector that was written in units of `scale`.
    pub(crate) fn read(&self, at: Place, vector: &mut [f32], scale: f32) -> Result<(), PageError> {
        let page = &self.bytes[self.range(at)?];
        match self.dtype {
            PageDtype::Fp8 => {
                let values = &*fp8::VALUES;
                for (byte, value) in page.iter().zip(vector) {
                    *value = values[usize::from(*byte)] * scale;
                }
            }
            PageDtype::Bf16 => {
                for (bytes, value) in page.as_chunks().0.iter().zip(vector) {
                    *value = bf16::from_le_bytes(*bytes).to_f32();
                }
            }
            PageDtype::F32 => {
                for (bytes, value) in page.as_chunks().0.iter().zip(vector) {
                    *value = f32::from_le_bytes(*bytes);
                }
            }
        }
        Ok(())
    }

    /// Copy on write: the whole page, as a device would copy it.
    pub(crate) fn copy(&mut self, source: BlockId, destination: BlockId) -> Result<(), PageError> {
        for run in self.layout.copy_runs(source, destination)? {
            let source = run.source_offset as usize..(run.source_offset + run.bytes) as usize;
            self.bytes.copy_within(source, run.destination_offset as usize);
        }
        Ok(())
    }

    /// Overwrites a block with NaN.
    pub(crate) fn poison(&mut self, block: BlockId) -> Result<(), PageError> {
        for run in self.layout.block_runs(block)? {
            self.bytes[run.start as usize..run.end as usize].fill(NO_KV);
        }
        Ok(())
    }

    fn range(&self, at: Place) -> Result<Range<usize>, PageError> {
        let Place { block, layer, part, slot, head } = at;
        let range = self.layout.vector(block, layer as u32, part, slot as u32, head as u32)?;
        Ok(range.start as usize..range.end as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(dtype: PageDtype, order: PageOrder) -> Pages {
        let config =
            PageConfig { num_blocks: 3, block_size: 4, dtype, tensor_parallel_size: 1, order };
        Pages::new(&Shape::tiny(), &config).unwrap()
    }

    const ORDERS: [PageOrder; 4] = [
        PageOrder::PartFirst,
        PageOrder::BlockFirst,
        PageOrder::BlockFirstHeadsOuter,
        PageOrder::BlockMajor,
    ];

    /// All places of a block, each with a vector of its own that every dtype holds exactly.
    fn places(block: u32) -> impl Iterator<Item = (Place, [f32; 8])> {
        (0..2 * 2 * 4 * 2).map(move |n| {
            let part = [PagePart::Key, PagePart::Value][n % 2];
            let (layer, slot, head) = (n / 2 % 2, n / 4 % 4, n / 16);
            let place = Place { block: block.into(), layer, part, slot, head };
            (
                place,
                std::array::from_fn(|i| ((n + i) % 8 + 8) as f32 * if n < 16 { 1.0 } else { -2.0 }),
            )
        })
    }

    fn read(pages: &Pages, place: Place) -> [f32; 8] {
        let mut vector = [0.0; 8];
        pages.read(place, &mut vector, 0.5).unwrap();
        vector
    }

    #[test]
    fn every_place_holds_its_own_vector_in_every_order_and_dtype() {
        for dtype in [PageDtype::Fp8, PageDtype::Bf16, PageDtype::F32] {
            for order in ORDERS {
                let mut pages = pages(dtype, order);
                for (place, vector) in places(1) {
                    pages.write(place, &vector, 0.5).unwrap();
                }
                for (place, vector) in places(1) {
                    assert_eq!(read(&pages, place), vector, "{dtype} {order:?}");
                }
                for (place, _) in places(0).chain(places(2)) {
                    assert!(read(&pages, place).iter().all(|value| value.is_nan()));
                }
            }
        }
    }

    #[test]
    fn copies_and_poison_take_the_whole_block_and_no_other() {
        for order in ORDERS {
            let mut pages = pages(PageDtype::Fp8, order);
            for (place, vector) in places(0).chain(places(2)) {
                pages.write(place, &vector, 0.5).unwrap();
            }
            pages.poison(0.into()).unwrap();
            pages.copy(2.into(), 1.into()).unwrap();
            assert!(places(0).all(|(place, _)| read(&pages, place)[0].is_nan()));
            for (place, vector) in places(1).chain(places(2)) {
                assert_eq!(read(&pages, place), vector, "{order:?}");
            }
        }
    }

    #[test]
    fn heads_that_do_not_divide_are_refused() {
        let mut config = PageConfig {
            num_blocks: 1,
            block_size: 1,
            dtype: PageDtype::Fp8,
            tensor_parallel_size: 4,
            order: PageOrder::PartFirst,
        };
        assert!(matches!(Pages::new(&Shape::tiny(), &config), Err(Error::Shape { .. })));
        config.tensor_parallel_size = 3;
        assert!(matches!(Pages::new(&Shape::tiny(), &config), Err(Error::Layout(_))));
        config.tensor_parallel_size = 1;
        config.num_blocks = u32::MAX;
        config.block_size = u32::MAX;
        assert!(matches!(
            Pages::new(&Shape::tiny(), &config),
            Err(Error::Memory { .. } | Error::Page(_))
        ));
    }
}
