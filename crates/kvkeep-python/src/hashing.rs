//! Hashers by name, and the block hashes of a token sequence.

use crate::identity::Identity;
use crate::ints::Ints;
use kvkeep::hash::{BlockHasher, VllmSha256Cbor, Xxh3, block_hashes};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use std::num::NonZeroUsize;

/// Inputs of so many tokens are hashed without the GIL.
const LONG_TOKENS: usize = 4_096;

/// A hasher of the library.
#[derive(Clone, Copy)]
pub(crate) enum Hasher {
    Xxh3(Xxh3),
    Sha256Cbor(VllmSha256Cbor),
}

impl Hasher {
    /// Their names.
    pub(crate) const NAMES: [&'static str; 2] = ["xxh3", "sha256_cbor"];

    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Hasher::Xxh3(_) => Hasher::NAMES[0],
            Hasher::Sha256Cbor(_) => Hasher::NAMES[1],
        }
    }

    /// The hasher of this name; `seed` is `PYTHONHASHSEED`, for SHA-256.
    pub(crate) fn new(name: &str, seed: Option<&str>) -> PyResult<Self> {
        match (name, seed) {
            ("xxh3", None) => Ok(Hasher::Xxh3(Xxh3)),
            ("xxh3", Some(_)) => {
                Err(PyValueError::new_err("xxh3 has no seed; drop hash_seed, or use sha256_cbor"))
            }
            ("sha256_cbor", None) => Ok(Hasher::Sha256Cbor(VllmSha256Cbor::default())),
            ("sha256_cbor", Some(seed)) => Ok(Hasher::Sha256Cbor(VllmSha256Cbor::with_seed(seed))),
            _ => {
                let names = Hasher::NAMES.join(", ");
                Err(PyValueError::new_err(format!(
                    "no hasher is called {name:?}; there are {names}"
                )))
            }
        }
    }
}

/// The block hashes of a prompt, in order: what a manager of this hasher and block size
/// calls its blocks. Tokens at the end that fill no block have none.
///
/// Args:
///     tokens: token ids. From 4,096 on they are copied and hashed without the GIL.
///     block_size: tokens per block.
///     hasher: "xxh3" (16 bytes a hash), or vLLM's "sha256_cbor" (32 bytes).
///     hash_seed: vLLM's `PYTHONHASHSEED`, for "sha256_cbor" only.
///     identity: what the KV depends on besides the tokens.
#[pyfunction]
#[pyo3(name = "block_hashes")]
#[pyo3(signature = (tokens, block_size=16, *, hasher="xxh3", hash_seed=None, identity=None))]
fn hash_tokens<'py>(
    py: Python<'py>,
    tokens: Ints<'py, u32>,
    block_size: usize,
    hasher: &str,
    hash_seed: Option<&str>,
    identity: Option<&Identity>,
) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    let none = kvkeep::Identity::default();
    let identity = identity.map_or(&none, |identity| &identity.0);
    let block_size = NonZeroUsize::new(block_size)
        .ok_or_else(|| PyValueError::new_err("block_size is 0; pass at least 1 token"))?;
    match Hasher::new(hasher, hash_seed)? {
        Hasher::Xxh3(hasher) => hash(py, &hasher, tokens, block_size, identity),
        Hasher::Sha256Cbor(hasher) => hash(py, &hasher, tokens, block_size, identity),
    }
}

fn hash<'py, H: BlockHasher<Digest: Send> + Sync>(
    py: Python<'py>,
    hasher: &H,
    tokens: Ints<'py, u32>,
    block_size: NonZeroUsize,
    identity: &kvkeep::Identity,
) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    let hashes = if tokens.as_slice()?.len() < LONG_TOKENS {
        block_hashes(hasher, block_size, tokens.as_slice()?, identity)
    } else {
        let tokens = tokens.into_vec()?;
        py.detach(|| block_hashes(hasher, block_size, &tokens, identity))
    };
    Ok(hashes.iter().map(|hash| PyBytes::new(py, hash.as_ref())).collect())
}

/// Adds this file's names.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("HASHERS", PyTuple::new(module.py(), Hasher::NAMES)?)?;
    module.add_function(wrap_pyfunction!(hash_tokens, module)?)
}
