//! Calls for all sequences of a batch: arrays in, arrays out, one crossing per engine step.

use crate::errors::{Raise, refused};
use crate::ints::{Ints, PerSequence};
use crate::manager::{BlockManager, locked};
use crate::tables::{Misfit, Tables};
use kvkeep::{Advance, Error, SeqId, Step};
use numpy::ndarray::Array2;
use numpy::{IntoPyArray, PyArray1, PyArray2};
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

#[pymethods]
impl BlockManager {
    /// Goes from one forward pass to the next with all sequences of a batch, in one call:
    /// appends, commits the open steps, then opens the next ones.
    ///
    /// Args:
    ///     seqs: handles, shape (n,); uint64 is read in place.
    ///     append: token ids to add: one for each sequence, or, with `append_counts`, those of
    ///         all sequences one after another.
    ///     append_counts: how many of them each sequence takes.
    ///     commit: tokens to commit of the open steps, 0 where none is open.
    ///     reserve: tokens of the next steps, 0 to open none.
    ///     lookahead: slots for so many more.
    ///     block_tables: C-contiguous int32, shape (at least n, columns), whose row i holds the block table of
    ///         sequence i as of its last step. The entries that the next step adds are written.
    ///
    /// `commit`, `reserve`, `lookahead` and `append_counts` are one number for all sequences, or
    /// an array of shape (n,).
    ///
    /// If memory runs out, the sequences from `Advanced.granted` on have appended and committed
    /// only: preempt some, and call again for the rest without `append` and `commit`.
    ///
    /// Raises:
    ///     KvkeepError: the first error of `extend`, `commit` or `reserve` other than
    ///         OutOfBlocksError, or TwiceInBatchError; its `index` is the sequence's place in
    ///         the batch. Nothing has changed.
    ///     ValueError: lengths do not agree, or a row is too short. Nothing has changed.
    #[pyo3(signature = (
        seqs, *, append=None, append_counts=None, commit=PerSequence::Same(0),
        reserve=PerSequence::Same(0), lookahead=PerSequence::Same(0), block_tables=None,
    ))]
    #[pyo3(text_signature = "($self, seqs, *, append=None, append_counts=None, commit=0, \
                             reserve=0, lookahead=0, block_tables=None)")]
    fn advance<'py>(
        &self,
        seqs: Ints<'py, u64>,
        append: Option<Ints<'py, u32>>,
        append_counts: Option<PerSequence<'py>>,
        commit: PerSequence<'py>,
        reserve: PerSequence<'py>,
        lookahead: PerSequence<'py>,
        block_tables: Option<Tables<'py>>,
    ) -> PyResult<Advanced> {
        let seqs = seqs.as_slice()?;
        let len = seqs.len();
        let tokens = append.as_ref().map_or(Ok(&[][..]), Ints::as_slice)?;
        let one_each = PerSequence::Same(usize::from(append.is_some()));
        let counts = append_counts.as_ref().unwrap_or(&one_each).of("append_counts", len)?;
        let commit = commit.of("commit", len)?;
        let reserve = reserve.of("reserve", len)?;
        let lookahead = lookahead.of("lookahead", len)?;
        let mut batch = Vec::with_capacity(len);
        let mut rest = tokens;
        for (n, &seq) in seqs.iter().enumerate() {
            let Some((append, behind)) = rest.split_at_checked(counts(n)) else {
                return Err(wrong_tokens(tokens.len(), len, counts));
            };
            rest = behind;
            let (seq, commit) = (SeqId::from_u64(seq), commit(n));
            batch.push(Advance {
                seq,
                append,
                commit,
                reserve: reserve(n),
                lookahead: lookahead(n),
            });
        }
        if !rest.is_empty() {
            return Err(wrong_tokens(tokens.len(), len, counts));
        }
        let mut tables = block_tables;
        let mut tables = tables.as_mut().map(Tables::rows).transpose()?;
        let mut steps = Vec::with_capacity(len);
        let advanced = locked!(self, kv => {
            let block_size = kv.block_size();
            let num_blocks = |n: usize| {
                // A sequence that does not exist is for `advance` to refuse.
                let one: &Advance<'_> = &batch[n];
                let computed = kv.tokens_computed(one.seq).unwrap_or(0).saturating_add(one.commit);
                computed.saturating_add(one.reserve).saturating_add(one.lookahead).div_ceil(block_size)
            };
            let fits = tables.as_ref().map_or(Ok(()), |tables| tables.check(len, num_blocks));
            fits.map_err(Failure::Misfit).and_then(|()| {
                let advanced = kv.advance(&batch, &mut steps).map_err(Failure::Batch)?;
                if let Some(tables) = &mut tables {
                    for (n, (one, step)) in batch.iter().zip(&steps).enumerate() {
                        let first = step.first_new_block - usize::from(step.copy.is_some());
                        let table = kv.block_table(one.seq).unwrap_or(&[]);
                        tables.write(n, first, table);
                    }
                }
                Ok(advanced)
            })
        });
        Ok(Advanced { advanced: advanced.map_err(Raise::raise)?, steps })
    }

    /// Writes the block tables of a batch into the rows of `out`, and returns their lengths as
    /// an int32 array of shape (n,). What is behind them in a row stays as it is.
    ///
    /// Args:
    ///     seqs: handles, shape (n,).
    ///     out: C-contiguous int32, shape (at least n, columns).
    ///
    /// Raises:
    ///     UnknownSequenceError.
    ///     ValueError: `out` has too few rows or columns. Nothing is written.
    fn block_tables<'py>(
        &self,
        py: Python<'py>,
        seqs: Ints<'py, u64>,
        mut out: Tables<'py>,
    ) -> PyResult<Bound<'py, PyArray1<i32>>> {
        let (seqs, mut out) = (seqs.as_slice()?, out.rows()?);
        let lengths = locked!(self, kv => {
            let tables = seqs.iter().map(|&seq| kv.block_table(SeqId::from_u64(seq)));
            let tables: Result<Vec<_>, _> = tables.collect();
            tables.map_err(Failure::Refused).and_then(|tables| {
                out.check(seqs.len(), |n| tables[n].len()).map_err(Failure::Misfit)?;
                for (n, table) in tables.iter().enumerate() {
                    out.write(n, 0, table);
                }
                Ok(tables.iter().map(|table| table.len() as i32).collect())
            })
        });
        Ok(PyArray1::from_vec(py, lengths.map_err(Raise::raise)?))
    }
}

/// Why a batch did nothing. Not yet an exception, since the manager is locked.
enum Failure {
    Batch(kvkeep::BatchError),
    Refused(Error),
    Misfit(Misfit),
}

impl Raise for Failure {
    fn raise(self) -> PyErr {
        match self {
            Failure::Batch(error) => error.raise(),
            Failure::Refused(error) => error.raise(),
            Failure::Misfit(error) => error.raise(),
        }
    }
}

fn wrong_tokens(found: usize, len: usize, counts: impl Fn(usize) -> usize) -> PyErr {
    let needed = (0..len).fold(0_usize, |sum, n| sum.saturating_add(counts(n)));
    PyValueError::new_err(format!("append has {found} tokens where the counts add up to {needed}"))
}
