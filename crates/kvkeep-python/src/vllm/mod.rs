//! vLLM's block pool over [`kvkeep::hashed::HashedPool`], and its hot calls.
//!
//! The rules of the pool and the hashes are the library's. What is here turns vLLM's Python
//! objects into ids and keys and back, and says no where an object is not what it expects:
//! the Python side (`python/kvkeep/vllm`) then does what vLLM itself would do.

mod block;
mod hasher;
mod manager;
mod pool;

use pyo3::prelude::*;

/// Adds the names of `kvkeep._kvkeep` that `kvkeep.vllm` uses.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<block::PoolBlock>()?;
    module.add_class::<pool::PoolCore>()?;
    module.add_class::<manager::ManagerCore>()?;
    module.add_class::<hasher::RequestHasher>()
}
