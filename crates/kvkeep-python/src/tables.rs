//! The caller's block tables of a batch: int32, two dimensions, written in place.

use kvkeep::BlockId;
use numpy::{PyReadwriteArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// An array that can be written, row by row.
pub(crate) struct Tables<'py> {
    array: PyReadwriteArray2<'py, i32>,
    rows: usize,
    columns: usize,
}

impl<'a, 'py> FromPyObject<'a, 'py> for Tables<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let array: PyReadwriteArray2<'py, i32> = object.extract()?;
        if !array.is_c_contiguous() {
            let message = "block tables must be C-contiguous; pass the whole array, or rows of it";
            return Err(PyValueError::new_err(message));
        }
        let (rows, columns) = (array.shape()[0], array.shape()[1]);
        Ok(Tables { array, rows, columns })
    }
}

impl Tables<'_> {
    /// Access to the rows.
    pub(crate) fn rows(&mut self) -> PyResult<Rows<'_>> {
        let (rows, columns) = (self.rows, self.columns);
        Ok(Rows { entries: self.array.as_slice_mut()?, rows, columns })
    }
}

/// The rows of block tables.
pub(crate) struct Rows<'a> {
    entries: &'a mut [i32],
    rows: usize,
    columns: usize,
}

/// Why a batch does not fit its block tables.
pub(crate) enum Misfit {
    /// There are too few rows.
    Rows { rows: usize, needed: usize },
    /// The rows are too short.
    Columns { index: usize, columns: usize, needed: usize },
}

impl Rows<'_> {
    /// Whether the tables of `len` sequences fit, of which the n-th has `num_blocks(n)` entries.
    pub(crate) fn check(
        &self,
        len: usize,
        num_blocks: impl Fn(usize) -> usize,
    ) -> Result<(), Misfit> {
        let (rows, columns) = (self.rows, self.columns);
        if rows < len {
            return Err(Misfit::Rows { rows, needed: len });
        }
        match (0..len).find(|&n| num_blocks(n) > columns) {
            None => Ok(()),
            Some(index) => Err(Misfit::Columns { index, columns, needed: num_blocks(index) }),
        }
    }

    /// Writes a table, which fits, from entry `first` on.
    #[inline]
    pub(crate) fn write(&mut self, row: usize, first: usize, table: &[BlockId]) {
        let row = &mut self.entries[row * self.columns..][..self.columns];
        for (entry, block) in row.iter_mut().zip(table).skip(first) {
            // A manager has at most 2^31 blocks.
            *entry = block.get() as i32;
        }
    }
}

impl crate::errors::Raise for Misfit {
    fn raise(self) -> PyErr {
        PyValueError::new_err(match self {
            Misfit::Rows { rows, needed } => {
                format!("the block tables have {rows} rows for a batch of {needed} sequences")
            }
            Misfit::Columns { index, columns, needed } => format!(
                "the block tables have {columns} columns; sequence {index} of the batch needs \
                 {needed}"
            ),
        })
    }
}
