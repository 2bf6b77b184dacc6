//! Block hashes of vLLM's requests.

use kvkeep::hash::{VllmSha256, VllmSha256Cbor};
use kvkeep::{ExtraKeys, Identity};
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

#[derive(Clone, Copy)]
enum Form {
    Pickle(VllmSha256),
    Cbor(VllmSha256Cbor),
}

/// What vLLM calls to hash the blocks of a request that have become full; bit-identical to
/// its own. Requests with images, prompt embeddings or tokens that are no `u32` go to
/// `otherwise`.
#[pyclass(frozen, module = "kvkeep._kvkeep")]
pub(crate) struct RequestHasher {
    block_size: usize,
    form: Form,
    /// The module that has `NONE_HASH`.
    constants: Py<PyAny>,
    otherwise: Py<PyAny>,
    nothing: Py<PyTuple>,
}

#[pymethods]
impl RequestHasher {
    #[new]
    fn new(
        py: Python<'_>,
        block_size: usize,
        form: &str,
        constants: Py<PyAny>,
        otherwise: Py<PyAny>,
    ) -> PyResult<Self> {
        let form = match form {
            "sha256" => Form::Pickle(VllmSha256::default()),
            "sha256_cbor" => Form::Cbor(VllmSha256Cbor::default()),
            _ => return Err(PyValueError::new_err(format!("no hash is called {form}"))),
        };
        if block_size == 0 {
            return Err(PyValueError::new_err("blocks have at least one token"));
        }
        let nothing = PyTuple::empty(py).unbind();
        Ok(RequestHasher { block_size, form, constants, otherwise, nothing })
    }

    /// The hashes of the request's full blocks that have none yet.
    ///
    /// A method and no `__call__`, since Python makes no tuple of a method's arguments; most
    /// calls, one for each token, find no full block.
    fn new_hashes<'py>(&self, request: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = request.py();
        let hashes = request.getattr(intern!(py, "block_hashes"))?;
        let tokens = request.getattr(intern!(py, "_all_token_ids"))?;
        let (have, tokens) = (hashes.len()?, tokens.cast_into::<PyList>()?);
        let full = tokens.len() / self.block_size;
        if full <= have {
            return Ok(self.nothing.bind(py).clone().into_any());
        }
        match self.hash(request, &hashes, &tokens, have..full)? {
            Some(new) => Ok(new.into_any()),
            None => self.otherwise.bind(py).call1((request,)),
        }
    }
}

impl RequestHasher {
    /// The hashes of these blocks, or None if they are for vLLM to hash.
    fn hash<'py>(
        &self,
        request: &Bound<'py, PyAny>,
        hashes: &Bound<'py, PyAny>,
        tokens: &Bound<'py, PyList>,
        blocks: std::ops::Range<usize>,
    ) -> PyResult<Option<Bound<'py, PyList>>> {
        let py = request.py();
        let mut buffer = Vec::new();
        let Some(identity) = identity(request)? else { return Ok(None) };
        let parent = match blocks.start.checked_sub(1) {
            Some(last) => hashes.get_item(last)?,
            None => self.constants.bind(py).getattr(intern!(py, "NONE_HASH"))?,
        };
        let Some(&(mut parent)) = parent.cast::<PyBytes>()?.as_bytes().first_chunk::<32>() else {
            return Ok(None);
        };
        // Items of a tuple can be read without taking a reference to each.
        let tokens = match blocks.start {
            0 => tokens.to_tuple(),
            first => {
                tokens.get_slice(first * self.block_size, blocks.end * self.block_size).to_tuple()
            }
        };
        let mut tokens = tokens.iter_borrowed();
        let mut odd = false;
        let mut read = |block: &mut Vec<u32>, most: usize| {
            for token in tokens.by_ref().take(most.min(self.block_size - block.len())) {
                match token.extract() {
                    Ok(token) => block.push(token),
                    Err(_) => odd = true,
                }
            }
        };
        let new = PyList::empty(py);
        let mut block = Vec::with_capacity(self.block_size);
        let mut next = Vec::with_capacity(self.block_size);
        let share = self.block_size.div_ceil(3);
        read(&mut block, self.block_size);
        for at in blocks {
            let start = at * self.block_size;
            let keys = match &identity {
                Some(identity) => identity.extra_keys(start..start + self.block_size, &mut buffer),
                None => ExtraKeys::default(),
            };
            next.clear();
            let meanwhile = || read(&mut next, share);
            parent = match &self.form {
                Form::Pickle(hasher) => hasher.hash_meanwhile(&parent, &block, keys, meanwhile),
                Form::Cbor(hasher) => hasher.hash_meanwhile(&parent, &block, keys, meanwhile),
            };
            new.append(PyBytes::new(py, &parent))?;
            read(&mut next, self.block_size);
            std::mem::swap(&mut block, &mut next);
        }
        Ok((!odd).then_some(new))
    }
}

/// The extra keys of a request: `Some(None)` for none, `None` for what vLLM has to hash.
fn identity(request: &Bound<'_, PyAny>) -> PyResult<Option<Option<Identity>>> {
    let py = request.py();
    if !request.getattr(intern!(py, "prompt_embeds"))?.is_none()
        || request.getattr(intern!(py, "mm_features"))?.is_truthy()?
    {
        return Ok(None);
    }
    let lora = request.getattr(intern!(py, "lora_request"))?;
    let salt = request.getattr(intern!(py, "cache_salt"))?;
    if !lora.is_truthy()? && !salt.is_truthy()? {
        return Ok(Some(None));
    }
    let text = |object: &Bound<'_, PyAny>| {
        object.cast::<PyString>().ok().and_then(|text| text.to_str().map(str::to_owned).ok())
    };
    let mut fields = Vec::new();
    let mut identity = Ok(Identity::new());
    if salt.is_truthy()? {
        let Some(salt) = text(&salt) else { return Ok(None) };
        identity = identity.and_then(|identity| identity.salt(&salt));
        fields.push(salt);
    }
    if lora.is_truthy()? {
        let name = text(&lora.getattr(intern!(py, "lora_name"))?);
        let path = text(&lora.getattr(intern!(py, "lora_path"))?);
        let (Some(name), Some(path)) = (name, path) else { return Ok(None) };
        identity = identity.and_then(|identity| identity.adapter(&name, &path));
        fields.extend([name, path, "lora".to_owned()]);
    }
    fields.push("cache_salt".to_owned());
    fields.sort_unstable();
    // Equal fields may be one object, which a pickle writes once. Fields beyond the library's
    // bounds are vLLM's as well.
    if fields.windows(2).any(|pair| pair[0] == pair[1]) {
        return Ok(None);
    }
    Ok(identity.ok().map(Some))
}
