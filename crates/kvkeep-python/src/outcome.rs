//! What calls answer: small frozen objects.

use kvkeep::{Admission as Admitted, BlockCopy as Copied, Commit as Committed, Step as Opened};
use pyo3::prelude::*;

/// Answer of `admit`.
#[pyclass(frozen, eq, get_all, module = "kvkeep")]
#[derive(PartialEq)]
pub(crate) struct Admission {
    /// Handle of the new sequence; `free` it at the end.
    seq: u64,
    /// Prompt tokens whose KV is there: whole blocks, never the last token.
    tokens_cached: usize,
    /// Why the hit ended there, one of `MISS_REASONS`.
    miss: &'static str,
    /// Further tokens that the next block shares with a cached one. Best effort.
    tokens_partial: usize,
}

impl From<Admitted> for Admission {
    fn from(admission: Admitted) -> Self {
        Admission {
            seq: admission.seq.to_u64(),
            tokens_cached: admission.tokens_cached,
            miss: admission.miss.name(),
            tokens_partial: admission.tokens_partial,
        }
    }
}

#[pymethods]
impl Admission {
    fn __repr__(&self) -> String {
        let Admission { seq, tokens_cached, miss, tokens_partial } = self;
        format!(
            "Admission(seq={seq}, tokens_cached={tokens_cached}, miss='{miss}', \
             tokens_partial={tokens_partial})"
        )
    }
}

/// A page that the engine has to copy, in full or its first `tokens` slots.
#[pyclass(frozen, eq, get_all, module = "kvkeep")]
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct BlockCopy {
    /// Block to read. It stays as it is until the step is closed.
    source: u32,
    /// Block to write: the new last entry of the block table.
    destination: u32,
    /// Slots that hold KV.
    tokens: usize,
}

impl From<Copied> for BlockCopy {
    fn from(copy: Copied) -> Self {
        let (source, destination) = (copy.source.get(), copy.destination.get());
        BlockCopy { source, destination, tokens: copy.tokens }
    }
}

#[pymethods]
impl BlockCopy {
    fn __repr__(&self) -> String {
        let BlockCopy { source, destination, tokens } = self;
        format!("BlockCopy(source={source}, destination={destination}, tokens={tokens})")
    }
}

/// Answer of `reserve`.
#[pyclass(frozen, eq, get_all, module = "kvkeep")]
#[derive(PartialEq)]
pub(crate) struct Step {
    /// Position of its first token in the sequence.
    first_token: usize,
    /// Entries of the block table from this one on are new.
    first_new_block: usize,
    /// Length of the block table now.
    num_blocks: usize,
    /// A page to copy before any KV of this step is written, or None.
    copy: Option<BlockCopy>,
}

impl From<Opened> for Step {
    fn from(step: Opened) -> Self {
        Step {
            first_token: step.first_token,
            first_new_block: step.first_new_block,
            num_blocks: step.num_blocks,
            copy: step.copy.map(BlockCopy::from),
        }
    }
}

#[pymethods]
impl Step {
    fn __repr__(&self) -> String {
        let Step { first_token, first_new_block, num_blocks, copy } = self;
        let copy = copy.map_or("None".to_owned(), |copy| copy.__repr__());
        format!(
            "Step(first_token={first_token}, first_new_block={first_new_block}, \
             num_blocks={num_blocks}, copy={copy})"
        )
    }
}

/// Answer of `commit`.
#[pyclass(frozen, eq, get_all, module = "kvkeep")]
#[derive(PartialEq)]
pub(crate) struct Commit {
    /// Blocks that became visible.
    blocks_published: usize,
    /// Full blocks whose content was published by somebody else; see `duplicates`.
    blocks_duplicate: usize,
}

impl From<Committed> for Commit {
    fn from(commit: Committed) -> Self {
        let Committed { blocks_published, blocks_duplicate, .. } = commit;
        Commit { blocks_published, blocks_duplicate }
    }
}

#[pymethods]
impl Commit {
    fn __repr__(&self) -> String {
        let Commit { blocks_published, blocks_duplicate } = self;
        format!("Commit(blocks_published={blocks_published}, blocks_duplicate={blocks_duplicate})")
    }
}
