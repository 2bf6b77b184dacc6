//! Calls for all sequences of a batch: arrays in, arrays out, one crossing per engine step.

use crate::errors::{Raise, refused};
use crate::ints::{Ints, PerSequence};
use crate::manager::{BlockManager, locked};
use kvkeep::{Advance, BlockId, Error, SeqId, Step};
use numpy::ndarray::{Array2, ArrayViewMut2};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadwriteArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Answer of `advance`.
#[pyclass(frozen, module = "kvkeep")]
pub(crate) struct Advanced {
    advanced: kvkeep::Advanced,
    steps: Vec<Step>,
}

impl Advanced {
    fn blocks<'py>(
        &self,
        py: Python<'py>,
        of: impl Fn(&Step) -> usize,
    ) -> Bound<'py, PyArray1<i32>> {
        // A manager has at most 2^31 blocks.
        PyArray1::from_iter(py, self.steps.iter().map(|step| of(step) as i32))
    }
}

#[pymethods]
impl Advanced {
    /// Sequences, from the first of the batch on, whose next step is granted.
    #[getter]
    fn granted(&self) -> usize {
        self.advanced.granted
    }

    /// Why the next one's is not: an OutOfBlocksError; None if all are granted.
    #[getter]
    fn refused(&self) -> Option<PyErr> {
        self.advanced.refused.clone().map(Raise::raise)
    }

    /// Blocks that became visible.
    #[getter]
    fn blocks_published(&self) -> usize {
        self.advanced.blocks_published
    }

    /// Full blocks whose content was published by somebody else.
    #[getter]
    fn blocks_duplicate(&self) -> usize {
        self.advanced.blocks_duplicate
    }

    /// Position of each step's first token: int64, shape (granted,).
    #[getter]
    fn first_tokens<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        PyArray1::from_iter(py, self.steps.iter().map(|step| step.first_token as i64))
    }

    /// First new entry of each block table: int32, shape (granted,).
    #[getter]
    fn first_new_blocks<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i32>> {
        self.blocks(py, |step| step.first_new_block)
    }

    /// Length of each block table: int32, shape (granted,).
    #[getter]
    fn num_blocks<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i32>> {
        self.blocks(py, |step| step.num_blocks)
    }

    /// Pages to copy before any KV of the steps is written: int32, shape (copies, 3), with
    /// source, destination, and the slots that hold KV.
    #[getter]
    fn copies<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<i32>>> {
        let copies: Vec<_> = self.steps.iter().filter_map(|step| step.copy).collect();
        let row = |n: usize| {
            let copy = copies[n];
            [copy.source.get() as i32, copy.destination.get() as i32, copy.tokens as i32]
        };
        let array = Array2::from_shape_fn((copies.len(), 3), |(n, column)| row(n)[column]);
        Ok(array.into_pyarray(py))
    }

    fn __repr__(&self) -> String {
        let kvkeep::Advanced { granted, blocks_published, blocks_duplicate, .. } = self.advanced;
        format!(
            "Advanced(granted={granted}, blocks_published={blocks_published}, \
             blocks_duplicate={blocks_duplicate})"
        )
    }
}

impl Raise for kvkeep::BatchError {
    fn raise(self) -> PyErr {
        refused(&self.error).saying(&self).with("index", self.index).raise()
    }
}

/// The arguments of `advance` besides the sequences.
pub(crate) struct Moves<'py> {
    pub(crate) append: Option<Ints<'py, u32>>,
    pub(crate) append_counts: Option<PerSequence<'py>>,
    pub(crate) commit: PerSequence<'py>,
    pub(crate) reserve: PerSequence<'py>,
    pub(crate) lookahead: PerSequence<'py>,
    pub(crate) block_tables: Option<PyReadwriteArray2<'py, i32>>,
}

/// `advance`; see the stubs.
pub(crate) fn advance(
    manager: &BlockManager,
    seqs: &[u64],
    moves: Moves<'_>,
) -> PyResult<Advanced> {
    let len = seqs.len();
    let tokens = moves.append.as_ref().map_or(Ok(&[][..]), Ints::as_slice)?;
    let one_each = PerSequence::Same(usize::from(moves.append.is_some()));
    let counts = moves.append_counts.as_ref().unwrap_or(&one_each).of("append_counts", len)?;
    let commit = moves.commit.of("commit", len)?;
    let reserve = moves.reserve.of("reserve", len)?;
    let lookahead = moves.lookahead.of("lookahead", len)?;
    let mut batch = Vec::with_capacity(len);
    let mut rest = tokens;
    for (n, &seq) in seqs.iter().enumerate() {
        let Some((append, behind)) = rest.split_at_checked(counts(n)) else {
            return Err(wrong_tokens(tokens.len(), len, counts));
        };
        rest = behind;
        let (seq, commit) = (SeqId::from_u64(seq), commit(n));
        batch.push(Advance { seq, append, commit, reserve: reserve(n), lookahead: lookahead(n) });
    }
    if !rest.is_empty() {
        return Err(wrong_tokens(tokens.len(), len, counts));
    }
    let mut tables = moves.block_tables;
    let mut tables = tables.as_mut().map(|tables| tables.as_array_mut());
    let mut steps = Vec::with_capacity(len);
    let advanced = locked!(manager, kv => {
        let block_size = kv.block_size();
        let num_blocks = |n: usize| {
            // A sequence that does not exist is for `advance` to refuse.
            let one: &Advance<'_> = &batch[n];
            let computed = kv.tokens_computed(one.seq).unwrap_or(0).saturating_add(one.commit);
            computed.saturating_add(one.reserve).saturating_add(one.lookahead).div_ceil(block_size)
        };
        check_shape(tables.as_ref(), len, num_blocks).and_then(|()| {
            let advanced = kv.advance(&batch, &mut steps).map_err(Failure::Batch)?;
            if let Some(tables) = &mut tables {
                for (n, (one, step)) in batch.iter().zip(&steps).enumerate() {
                    let first = step.first_new_block - usize::from(step.copy.is_some());
                    let table = kv.block_table(one.seq).unwrap_or(&[]);
                    write_row(tables, n, first, table);
                }
            }
            Ok(advanced)
        })
    });
    Ok(Advanced { advanced: advanced.map_err(Raise::raise)?, steps })
}

/// `block_tables`; see the stubs.
pub(crate) fn block_tables(
    manager: &BlockManager,
    seqs: &[u64],
    mut out: PyReadwriteArray2<'_, i32>,
) -> PyResult<Vec<i32>> {
    let mut out = out.as_array_mut();
    let lengths = locked!(manager, kv => {
        let tables = seqs.iter().map(|&seq| kv.block_table(SeqId::from_u64(seq)));
        let tables: Result<Vec<_>, _> = tables.collect();
        tables.map_err(Failure::Refused).and_then(|tables| {
            check_shape(Some(&out), seqs.len(), |n| tables[n].len())?;
            for (n, table) in tables.iter().enumerate() {
                write_row(&mut out, n, 0, table);
            }
            Ok(tables.iter().map(|table| table.len() as i32).collect())
        })
    });
    lengths.map_err(Raise::raise)
}

/// Why a batch did nothing. Not yet an exception, since the manager is locked.
enum Failure {
    Batch(kvkeep::BatchError),
    Refused(Error),
    Rows { rows: usize, needed: usize },
    Columns { index: usize, columns: usize, needed: usize },
}

impl Raise for Failure {
    fn raise(self) -> PyErr {
        match self {
            Failure::Batch(error) => error.raise(),
            Failure::Refused(error) => error.raise(),
            Failure::Rows { rows, needed } => PyValueError::new_err(format!(
                "the block tables have {rows} rows for a batch of {needed} sequences"
            )),
            Failure::Columns { index, columns, needed } => PyValueError::new_err(format!(
                "the block tables have {columns} columns; sequence {index} of the batch needs {needed}"
            )),
        }
    }
}

/// Whether all rows fit, before anything is written.
fn check_shape(
    tables: Option<&ArrayViewMut2<'_, i32>>,
    len: usize,
    num_blocks: impl Fn(usize) -> usize,
) -> Result<(), Failure> {
    let Some(tables) = tables else { return Ok(()) };
    let (rows, columns) = tables.dim();
    if rows < len {
        return Err(Failure::Rows { rows, needed: len });
    }
    match (0..len).find(|&n| num_blocks(n) > columns) {
        None => Ok(()),
        Some(index) => Err(Failure::Columns { index, columns, needed: num_blocks(index) }),
    }
}

/// Writes a table from entry `first` on.
fn write_row(tables: &mut ArrayViewMut2<'_, i32>, row: usize, first: usize, table: &[BlockId]) {
    let mut row = tables.row_mut(row);
    for (entry, block) in row.iter_mut().zip(table).skip(first) {
        *entry = block.get() as i32;
    }
}

fn wrong_tokens(found: usize, len: usize, counts: impl Fn(usize) -> usize) -> PyErr {
    let needed = (0..len).fold(0_usize, |sum, n| sum.saturating_add(counts(n)));
    PyValueError::new_err(format!("append has {found} tokens where the counts add up to {needed}"))
}
