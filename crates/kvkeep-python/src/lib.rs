//! kvkeep for Python: the library's block manager, budget, hashes and simulator.
//!
//! A binding and nothing else: each file turns Python values into the library's and back.
//! What an engine can do, the library does. The names here are those of `kvkeep._kvkeep`,
//! which the package `kvkeep` exports; `python/kvkeep/_kvkeep.pyi` has their types.

#![expect(
    clippy::needless_pass_by_value,
    clippy::too_many_arguments,
    reason = "arguments are what Python passes"
)]

mod batch;
mod budget;
mod errors;
mod hashing;
mod identity;
mod inspect;
mod interrupt;
mod ints;
mod manager;
mod outcome;
mod pages;
mod simulate;
mod tables;
mod vllm;

use pyo3::prelude::*;

#[pymodule]
fn _kvkeep(module: &Bound<'_, PyModule>) -> PyResult<()> {
    manager::register(module)?;
    identity::register(module)?;
    hashing::register(module)?;
    budget::register(module)?;
    pages::register(module)?;
    simulate::register(module)?;
    vllm::register(module)?;
    Ok(())
}
