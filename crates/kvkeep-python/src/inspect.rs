//! The block manager: what only looks.

use crate::errors::Raise;
use crate::manager::{BlockManager, locked};
use kvkeep::{BlockId, BlockState, SeqId};
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

#[pymethods]
impl BlockManager {
    /// How often `invalidate_all` was called.
    #[getter]
    fn epoch(&self) -> u64 {
        locked!(self, kv => kv.epoch())
    }

    /// Blocks of the pool.
    #[getter]
    fn num_blocks(&self) -> usize {
        locked!(self, kv => kv.num_blocks())
    }

    /// Tokens per block.
    #[getter]
    fn block_size(&self) -> usize {
        locked!(self, kv => kv.block_size())
    }

    /// Tokens that the pool holds; also the most of one sequence.
    #[getter]
    fn num_tokens(&self) -> usize {
        locked!(self, kv => kv.num_tokens())
    }

    /// Name of the eviction policy.
    #[getter]
    fn policy(&self) -> &'static str {
        self.policy.name()
    }

    /// Name of the hasher.
    #[getter]
    fn hasher(&self) -> &'static str {
        self.hasher
    }

    /// The blocks of a sequence in order, as a new int32 array of shape (num_blocks,). Entry
    /// `t // block_size` holds token `t` in slot `t % block_size`.
    ///
    /// Raises:
    ///     UnknownSequenceError.
    fn block_table<'py>(&self, py: Python<'py>, seq: u64) -> PyResult<Bound<'py, PyArray1<i32>>> {
        let table = locked!(self, kv => kv.block_table(SeqId::from_u64(seq)).map(|blocks| {
            // A manager has at most 2^31 blocks.
            blocks.iter().map(|block| block.get() as i32).collect()
        }));
        Ok(PyArray1::from_vec(py, table.map_err(Raise::raise)?))
    }

    /// Tokens of a sequence whose KV is there: hit, or committed.
    ///
    /// Raises:
    ///     UnknownSequenceError.
    fn tokens_computed(&self, seq: u64) -> PyResult<usize> {
        locked!(self, kv => kv.tokens_computed(SeqId::from_u64(seq))).map_err(Raise::raise)
    }

    /// Tokens of a sequence that are known: prompt and appended ones.
    ///
    /// Raises:
    ///     UnknownSequenceError.
    fn tokens_known(&self, seq: u64) -> PyResult<usize> {
        locked!(self, kv => kv.tokens_known(SeqId::from_u64(seq))).map_err(Raise::raise)
    }

    /// The entries of a sequence's block table whose content is also published elsewhere: pairs
    /// of position and published block.
    ///
    /// Raises:
    ///     UnknownSequenceError.
    fn duplicates(&self, seq: u64) -> PyResult<Vec<(usize, u32)>> {
        let seq = SeqId::from_u64(seq);
        let duplicates = locked!(self, kv => kv.duplicates(seq).map(|duplicates| {
            duplicates.iter().map(|found| (found.position, found.published.get())).collect()
        }));
        duplicates.map_err(Raise::raise)
    }

    /// The state of a block and how many hold it: ("free", 0), ("cached", 0) or ("in_use", n);
    /// None if the pool has no such block. For debugging.
    fn block_state(&self, block: u32) -> Option<(&'static str, u32)> {
        let state = locked!(self, kv => kv.block_state(BlockId::from(block)));
        state.and_then(|state| match state {
            BlockState::Free => Some(("free", 0)),
            BlockState::Cached => Some(("cached", 0)),
            BlockState::InUse(holders) => Some(("in_use", holders)),
            _ => None,
        })
    }

    /// The hash of a block that lookups can reach: 16 bytes of xxh3, 32 of sha256_cbor; None
    /// for any other block.
    fn block_hash<'py>(&self, py: Python<'py>, block: u32) -> Option<Bound<'py, PyBytes>> {
        let hash = locked!(self, kv => {
            kv.block_hash(BlockId::from(block)).map(|hash| hash.as_ref().to_vec())
        });
        hash.map(|hash| PyBytes::new(py, &hash))
    }

    /// Where the blocks are now: a dict of `free`, `cached` and `in_use` blocks, and `sequences`.
    fn usage<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let usage = locked!(self, kv => kv.usage());
        let dict = PyDict::new(py);
        for (name, count) in [
            ("free", usage.free),
            ("cached", usage.cached),
            ("in_use", usage.in_use),
            ("sequences", usage.sequences),
        ] {
            dict.set_item(name, count)?;
        }
        Ok(dict)
    }

    /// Counters since the manager was made, as a dict. Tokens and blocks as the names say;
    /// `hit_rate` is cached_tokens / prompt_tokens; `miss_reasons` counts requests, and
    /// `missed_tokens` their tokens that were not cached, by the reason why their hit ended.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = locked!(self, kv => *kv.stats());
        let dict = PyDict::new(py);
        for (name, count) in [
            ("requests", stats.requests),
            ("prompt_tokens", stats.prompt_tokens),
            ("cached_tokens", stats.cached_tokens),
            ("preemptions", stats.preemptions),
            ("readmitted_requests", stats.readmitted_requests),
            ("readmitted_tokens", stats.readmitted_tokens),
            ("readmitted_cached_tokens", stats.readmitted_cached_tokens),
            ("recomputed_tokens", stats.recomputed_tokens),
            ("committed_tokens", stats.committed_tokens),
            ("reverted_steps", stats.reverted_steps),
            ("published_blocks", stats.published_blocks),
            ("evicted_blocks", stats.evicted_blocks),
            ("invalidated_blocks", stats.invalidated_blocks),
            ("duplicate_blocks", stats.duplicate_blocks),
            ("collisions", stats.collisions),
            ("refused_retentions", stats.refused_retentions),
            ("overruled_victims", stats.overruled_victims),
            ("resident_block_ms", stats.resident_block_ms),
        ] {
            dict.set_item(name, count)?;
        }
        dict.set_item("hit_rate", stats.hit_rate())?;
        let (requests, tokens) = (PyDict::new(py), PyDict::new(py));
        for (reason, count) in stats.misses.iter() {
            requests.set_item(reason.name(), count.requests)?;
            tokens.set_item(reason.name(), count.tokens)?;
        }
        dict.set_item("miss_reasons", requests)?;
        dict.set_item("missed_tokens", tokens)?;
        Ok(dict)
    }

    /// Recounts all blocks, references and links. O(blocks); for tests.
    ///
    /// Raises:
    ///     InvariantError: a defect of kvkeep.
    fn validate(&self) -> PyResult<()> {
        locked!(self, kv => kv.validate()).map_err(kvkeep::InvariantError::raise)
    }

    fn __repr__(&self) -> String {
        let usage = locked!(self, kv => kv.usage());
        format!(
            "<BlockManager of {} blocks of {} tokens, {}, {}: {} free, {} cached, {} in use, {} sequences>",
            self.num_blocks(),
            self.block_size(),
            self.policy,
            self.hasher,
            usage.free,
            usage.cached,
            usage.in_use,
            usage.sequences
        )
    }
}
