//! Where the pages of blocks lie in a GPU's KV memory.

use crate::budget::KvLayout;
use crate::errors::Raise;
use crate::ints::Ints;
use kvkeep::BlockId;
use kvkeep::budget::{self, PageError, PageOrder, PagePart};
use numpy::ndarray::Array2;
use numpy::{IntoPyArray, PyArray1, PyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Byte offsets of the pages on one GPU, from the start of its KV memory.
///
/// Args:
///     layout: what a block holds.
///     num_blocks: blocks of the memory.
///     order: dimensions from the outermost, heads and vectors inside:
///         "part_first" (per layer 2, num_blocks, block_size, heads), "block_first" (per
///         layer num_blocks, 2, block_size, heads), "block_first_heads_outer" (per layer
///         num_blocks, 2, heads, block_size) or "block_major" (num_blocks, layers, 2,
///         block_size, heads).
///     stage: the pipeline stage.
///
/// Raises:
///     PageError: no such stage, or more than 2**64 bytes.
///     ValueError: no such order.
#[pyclass(frozen, eq, module = "kvkeep")]
#[derive(PartialEq)]
pub(crate) struct PageLayout(budget::PageLayout);

#[pymethods]
impl PageLayout {
    #[new]
    #[pyo3(signature = (layout, num_blocks, *, order="block_first", stage=0))]
    fn new(layout: &KvLayout, num_blocks: u32, order: &str, stage: u32) -> PyResult<Self> {
        let order = match order {
            "part_first" => PageOrder::PartFirst,
            "block_first" => PageOrder::BlockFirst,
            "block_first_heads_outer" => PageOrder::BlockFirstHeadsOuter,
            "block_major" => PageOrder::BlockMajor,
            _ => {
                return Err(PyValueError::new_err(format!(
                    "no page order is called {order:?}; there are part_first, block_first, \
                     block_first_heads_outer, block_major"
                )));
            }
        };
        let pages = budget::PageLayout::new(&layout.0, stage, num_blocks, order);
        pages.map(PageLayout).map_err(PageError::raise)
    }

    /// Bytes of the K, the V, or the latent vectors of one block in one layer.
    #[getter]
    fn bytes_per_part(&self) -> u64 {
        self.0.bytes_per_part()
    }

    /// Bytes of one block in all layers of this GPU.
    #[getter]
    fn bytes_per_block(&self) -> u64 {
        self.0.bytes_per_block()
    }

    /// Bytes of one layer of all blocks.
    #[getter]
    fn bytes_per_layer(&self) -> u64 {
        self.0.bytes_per_layer()
    }

    /// Bytes of all blocks.
    #[getter]
    fn total_bytes(&self) -> u64 {
        self.0.total_bytes()
    }

    /// Where one part of each block starts, in bytes.
    ///
    /// Args:
    ///     blocks: block ids, shape (n,).
    ///     layer: counts from 0 in each stage.
    ///     part: "key", "value" or "latent".
    ///
    /// Returns:
    ///     uint64, shape (n,).
    ///
    /// Raises:
    ///     PageError: no such block, layer or part.
    fn offsets<'py>(
        &self,
        py: Python<'py>,
        blocks: Ints<'py, u32>,
        layer: u32,
        part: &str,
    ) -> PyResult<Bound<'py, PyArray1<u64>>> {
        let part = match part {
            "key" => PagePart::Key,
            "value" => PagePart::Value,
            "latent" => PagePart::Latent,
            _ => {
                let message = format!("no part is called {part:?}; there are key, value, latent");
                return Err(PyValueError::new_err(message));
            }
        };
        let blocks = blocks.as_slice()?.iter().copied().map(BlockId::from);
        let starts = blocks.map(|block| Ok(self.0.part(block, layer, part)?.start));
        let starts: Result<Vec<u64>, PageError> = starts.collect();
        Ok(PyArray1::from_vec(py, starts.map_err(PageError::raise)?))
    }

    /// The pieces to copy so that each block of `destinations` holds what its block of
    /// `sources` holds.
    ///
    /// Args:
    ///     sources, destinations: block ids, shape (n,) each.
    ///
    /// Returns:
    ///     uint64, shape (pieces, 3): offset to read from, offset to write to, bytes.
    ///
    /// Raises:
    ///     PageError: no such block.
    ///     ValueError: the lengths differ.
    fn copy_runs<'py>(
        &self,
        py: Python<'py>,
        sources: Ints<'py, u32>,
        destinations: Ints<'py, u32>,
    ) -> PyResult<Bound<'py, PyArray2<u64>>> {
        let (sources, destinations) = (sources.as_slice()?, destinations.as_slice()?);
        if sources.len() != destinations.len() {
            let (sources, destinations) = (sources.len(), destinations.len());
            let message = format!("{sources} sources but {destinations} destinations");
            return Err(PyValueError::new_err(message));
        }
        let mut runs = Vec::new();
        for (&source, &destination) in sources.iter().zip(destinations) {
            let pieces = self.0.copy_runs(source.into(), destination.into());
            runs.extend(pieces.map_err(PageError::raise)?);
        }
        let row = |n: usize| [runs[n].source_offset, runs[n].destination_offset, runs[n].bytes];
        Ok(Array2::from_shape_fn((runs.len(), 3), |(n, column)| row(n)[column]).into_pyarray(py))
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.0)
    }
}

/// Adds this file's names.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PageLayout>()
}
