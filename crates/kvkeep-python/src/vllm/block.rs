//! One block as vLLM's code sees it.

use super::pool::Shared;
use kvkeep::BlockId;
use kvkeep::hashed::BlockKey;
use pyo3::exceptions::{PyAssertionError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt};
use std::sync::Arc;

/// A block of a pool: vLLM's `KVCacheBlock`. Its state is in the pool; this is a handle,
/// made once for each block, and two handles are equal if they are the same one.
#[pyclass(frozen, module = "kvkeep._kvkeep")]
pub(crate) struct PoolBlock {
    /// Index of the block. An object, so that reading it creates none.
    #[pyo3(get)]
    pub(super) block_id: Py<PyInt>,
    #[pyo3(get)]
    is_null: bool,
    pub(super) id: BlockId,
    pub(super) shared: Arc<Shared>,
}

impl PoolBlock {
    pub(super) fn new(py: Python<'_>, id: u32, shared: Arc<Shared>) -> PyResult<Self> {
        let block_id = id.into_pyobject(py)?.unbind();
        Ok(PoolBlock { block_id, is_null: id == 0, id: BlockId::from(id), shared })
    }
}

#[pymethods]
impl PoolBlock {
    #[getter]
    fn ref_cnt(&self) -> u32 {
        self.shared.pool.lock().refs(self.id)
    }

    #[setter]
    fn set_ref_cnt(&self, refs: u32) -> PyResult<()> {
        self.shared.pool.lock().set_refs(self.id, refs).map_err(value_error)
    }

    /// Hash and cache group of its content, as bytes; None if it has no such.
    #[getter]
    fn block_hash<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        let pool = self.shared.pool.lock();
        pool.key(self.id).map(|(key, _)| PyBytes::new(py, key.as_bytes()))
    }

    /// The same, under the name of vLLM's field, which can be set.
    #[getter(_block_hash)]
    fn hash_field<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.block_hash(py)
    }

    #[setter(_block_hash)]
    fn set_hash_field(&self, block_hash: Option<&[u8]>) -> PyResult<()> {
        self.reset_hash()?;
        block_hash.map_or(Ok(()), |hash| self.set_block_hash(hash, None))
    }

    /// Tokens from the start of a prompt that `block_hash` stands for.
    #[getter]
    fn block_hash_num_tokens(&self) -> Option<u32> {
        self.shared.pool.lock().key(self.id).map(|(_, tokens)| tokens)
    }

    /// The pool that it belongs to.
    #[getter]
    fn pool(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.shared.owner(py)
    }

    /// The block behind it in the queue of free blocks.
    #[getter]
    fn next_free_block<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let next = self.shared.pool.lock().queue_after(Some(self.id)).next();
        let (Some(next), Some(owner)) = (next, self.shared.owner(py)) else { return Ok(None) };
        owner.bind(py).getattr("blocks")?.get_item(next.index()).map(Some)
    }

    /// Gives the block content. It becomes findable by it.
    #[pyo3(signature = (block_hash, num_tokens=None))]
    fn set_block_hash(&self, block_hash: &[u8], num_tokens: Option<u32>) -> PyResult<()> {
        let key = BlockKey::new(block_hash, &[]).map_err(value_error)?;
        let mut pool = self.shared.pool.lock();
        if pool.key(self.id).is_some() {
            return Err(PyAssertionError::new_err("the block already has a hash"));
        }
        let (place, access) = Default::default();
        pool.insert(self.id, key, num_tokens.unwrap_or(0), place, &access).map_err(value_error)
    }

    /// Takes its content off.
    fn reset_hash(&self) -> PyResult<()> {
        self.shared.pool.lock().remove_keys(self.id, |_| ()).map_err(value_error)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let hash = match self.block_hash(py) {
            Some(hash) => hash.repr()?.to_string(),
            None => "None".to_owned(),
        };
        let (id, refs) = (self.id.get(), self.ref_cnt());
        Ok(format!("KVCacheBlock(block_id={id}, ref_cnt={refs}, _block_hash={hash})"))
    }
}

/// vLLM raises `ValueError` where its pool is short.
pub(super) fn value_error(error: kvkeep::hashed::HashedPoolError) -> PyErr {
    PyValueError::new_err(error.to_string())
}
