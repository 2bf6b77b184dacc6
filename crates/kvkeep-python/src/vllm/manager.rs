//! The hot calls of vLLM's `KVCacheManager` for one full-attention group.
//!
//! State stays where vLLM keeps it: block tables in `req_to_blocks`, counts in
//! `num_cached_block`, blocks in the pool. So whatever is not here, vLLM's own code does on
//! the same state, at any time. A call with arguments that are not for here goes to vLLM's
//! own method.

use super::block::value_error;
use super::pool::PoolCore;
use kvkeep::BlockId;
use pyo3::exceptions::{PyAssertionError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

/// What a manager consists of, apart from its own methods.
#[pyclass(frozen, module = "kvkeep._kvkeep")]
pub(crate) struct ManagerCore {
    pool: Py<PoolCore>,
    block_size: usize,
    max_model_len: usize,
    watermark_blocks: usize,
    /// Blocks at the end of a hit that speculative decoding computes again.
    dropped_blocks: usize,
    /// Tokens at the end that may be computed again, and are not cached.
    reprefillable_tokens: usize,
    caching: bool,
    /// Values of `request.status` for which the watermark counts.
    waiting: Py<PyTuple>,
    req_to_blocks: Py<PyDict>,
    num_cached_block: Py<PyDict>,
    /// The `KVCacheBlocks` without blocks, and what makes others.
    empty: Py<PyAny>,
    kv_cache_blocks: Py<PyAny>,
    /// vLLM's own `allocate_slots`.
    otherwise: Py<PyAny>,
}

/// An argument by its truth, as vLLM tests it: connectors give numbers and None, too.
struct Truth(bool);

impl<'py> FromPyObject<'_, 'py> for Truth {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        object.is_truthy().map(Truth)
    }
}

/// A request's attributes that every call needs.
struct Asked<'py> {
    id: Bound<'py, PyAny>,
    /// Its known tokens.
    tokens: usize,
}

fn asked<'py>(request: &Bound<'py, PyAny>) -> PyResult<Asked<'py>> {
    let py = request.py();
    let tokens = request.getattr(intern!(py, "_all_token_ids"))?.len()?;
    Ok(Asked { id: request.getattr(intern!(py, "request_id"))?, tokens })
}

#[pymethods]
impl ManagerCore {
    #[new]
    #[pyo3(signature = (*, pool, block_size, max_model_len, watermark_blocks, dropped_blocks,
        reprefillable_tokens, caching, waiting, req_to_blocks, num_cached_block, empty,
        kv_cache_blocks, otherwise))]
    fn new(
        pool: Py<PoolCore>,
        block_size: usize,
        max_model_len: usize,
        watermark_blocks: usize,
        dropped_blocks: usize,
        reprefillable_tokens: usize,
        caching: bool,
        waiting: Py<PyTuple>,
        req_to_blocks: Py<PyDict>,
        num_cached_block: Py<PyDict>,
        empty: Py<PyAny>,
        kv_cache_blocks: Py<PyAny>,
        otherwise: Py<PyAny>,
    ) -> PyResult<Self> {
        if block_size == 0 {
            return Err(PyValueError::new_err("blocks have at least one token"));
        }
        Ok(ManagerCore {
            pool,
            block_size,
            max_model_len,
            watermark_blocks,
            dropped_blocks,
            reprefillable_tokens,
            caching,
            waiting,
            req_to_blocks,
            num_cached_block,
            empty,
            kv_cache_blocks,
            otherwise,
        })
    }

    /// For the collector: the manager has this, and this may lead to the manager.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.req_to_blocks)?;
        visit.call(&self.num_cached_block)?;
        visit.call(&self.otherwise)
    }

    /// The blocks that a request hits, at most `max_cache_hit_length` tokens; their tokens;
    /// and 0, since there is no other group that might hit more.
    #[pyo3(signature = (request, max_cache_hit_length=None))]
    fn get_computed_blocks<'py>(
        &self,
        request: &Bound<'py, PyAny>,
        max_cache_hit_length: Option<usize>,
    ) -> PyResult<(Bound<'py, PyAny>, usize, usize)> {
        let py = request.py();
        let nothing = || (self.empty.bind(py).clone(), 0, 0);
        if !self.caching
            || request.getattr(intern!(py, "skip_reading_prefix_cache"))?.is_truthy()?
        {
            return Ok(nothing());
        }
        let hashes = request.getattr(intern!(py, "block_hashes"))?.cast_into::<PyList>()?;
        let most = match max_cache_hit_length {
            Some(most) => most,
            // The last token is always computed.
            None => asked(request)?.tokens.saturating_sub(1),
        };
        let most = most / self.block_size;
        let pool = self.pool.get();
        let mut found = pool.prefix(&hashes, most, 0)?;
        found.truncate(found.len().saturating_sub(self.dropped_blocks));
        if found.is_empty() {
            return Ok(nothing());
        }
        let blocks = pool.list(py, &found)?;
        Ok((self.wrap(blocks)?, found.len() * self.block_size, 0))
    }

    /// Slots for the next tokens of a request, or None if there are not enough blocks.
    #[pyo3(signature = (request, num_new_tokens, num_new_computed_tokens=0,
        new_computed_blocks=None, num_lookahead_tokens=0, num_external_computed_tokens=0,
        delay_cache_blocks=Truth(false), num_encoder_tokens=0, full_sequence_must_fit=Truth(false),
        reserved_blocks=0, has_scheduled_reqs=Truth(true), **more))]
    fn allocate_slots<'py>(
        &self,
        request: &Bound<'py, PyAny>,
        num_new_tokens: usize,
        num_new_computed_tokens: usize,
        new_computed_blocks: Option<Bound<'py, PyAny>>,
        num_lookahead_tokens: usize,
        num_external_computed_tokens: usize,
        delay_cache_blocks: Truth,
        num_encoder_tokens: usize,
        full_sequence_must_fit: Truth,
        reserved_blocks: usize,
        has_scheduled_reqs: Truth,
        more: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = request.py();
        let (Truth(delay_cache_blocks), Truth(full_sequence_must_fit), Truth(has_scheduled_reqs)) =
            (delay_cache_blocks, full_sequence_must_fit, has_scheduled_reqs);
        // What an async load writes is not zeroed, and here nothing is.
        let only_zeroing = |more: &Bound<'_, PyDict>| -> PyResult<bool> {
            Ok(more.len() == usize::from(more.contains("skip_zeroing_group_ids")?))
        };
        let unknown = !more.map_or(Ok(true), only_zeroing)?;
        if num_external_computed_tokens > 0 || delay_cache_blocks || num_new_tokens == 0 || unknown
        {
            let args = PyDict::new(py);
            if let Some(more) = more {
                args.update(more.as_mapping())?;
            }
            args.set_item("num_new_computed_tokens", num_new_computed_tokens)?;
            args.set_item("new_computed_blocks", new_computed_blocks)?;
            args.set_item("num_lookahead_tokens", num_lookahead_tokens)?;
            args.set_item("num_external_computed_tokens", num_external_computed_tokens)?;
            args.set_item("delay_cache_blocks", delay_cache_blocks)?;
            args.set_item("num_encoder_tokens", num_encoder_tokens)?;
            args.set_item("full_sequence_must_fit", full_sequence_must_fit)?;
            args.set_item("reserved_blocks", reserved_blocks)?;
            args.set_item("has_scheduled_reqs", has_scheduled_reqs)?;
            let slots = self.otherwise.bind(py).call((request, num_new_tokens), Some(&args))?;
            return Ok((!slots.is_none()).then_some(slots));
        }
        let Asked { id, tokens } = asked(request)?;
        let computed: usize = request.getattr(intern!(py, "num_computed_tokens"))?.extract()?;
        let total = (computed + num_new_computed_tokens).min(self.max_model_len);
        let slots = (total + num_new_tokens + num_lookahead_tokens).min(self.max_model_len);
        let required = slots.div_ceil(self.block_size);

        let cached = self.cached(&id)?;
        let table = self.table(&id)?;
        let held = table.as_ref().map_or(0, PyListMethods::len);
        let hit = match &new_computed_blocks {
            Some(blocks) if !blocks.is(&self.empty) => {
                Some(blocks.getattr(intern!(py, "blocks"))?.get_item(0)?)
            }
            _ => None,
        };
        // As vLLM asserts: whoever runs, or has blocks, hits nothing more.
        if let Some(hit) = &hit {
            if hit.len()? > 0 && cached.is_some() {
                return Err(PyAssertionError::new_err("a running request has a new hit"));
            }
            if cached.is_none() && held > 0 {
                return Err(PyAssertionError::new_err("a request with blocks adopts a hit"));
            }
        }
        // The step of a decoding request whose last block has room.
        let unconditional =
            !full_sequence_must_fit && reserved_blocks == 0 && self.watermark_blocks == 0;
        if cached.is_some() && required <= held && unconditional {
            self.cache(request, &id, table.as_ref(), cached, (total + num_new_tokens).min(tokens))?;
            return Ok(Some(self.empty.bind(py).clone()));
        }

        let pool = self.pool.get();
        let hit = match hit {
            Some(hit) => Some(super::pool::ids(&hit, |object| pool.own(object))?),
            None => None,
        };
        let (idle, available) = {
            let locked = pool.shared.pool.lock();
            let idle = |&&id: &&BlockId| locked.refs(id) == 0 && id.get() != 0;
            (hit.iter().flatten().filter(idle).count(), pool.shared.num_free(&locked))
        };
        let has = held + hit.as_ref().map_or(0, Vec::len);
        let needed = |required: usize| required.saturating_sub(has) + idle;
        let mut watermark = 0;
        if self.watermark_blocks > 0
            && has_scheduled_reqs
            && self.waiting.bind(py).contains(request.getattr(intern!(py, "status"))?)?
        {
            watermark = self.watermark_blocks;
        }
        if full_sequence_must_fit {
            let whole = tokens.min(self.max_model_len).div_ceil(self.block_size);
            if needed(whole) + watermark > available {
                return Ok(None);
            }
        }
        if needed(required) + watermark + reserved_blocks > available {
            return Ok(None);
        }
        self.grow(request, &id, table, cached, hit, required, (total + num_new_tokens).min(tokens))
            .map(Some)
    }

    /// Makes the full blocks of the first tokens findable.
    fn cache_blocks(&self, request: &Bound<'_, PyAny>, num_computed_tokens: usize) -> PyResult<()> {
        let id = request.getattr(intern!(request.py(), "request_id"))?;
        let (table, cached) = (self.table(&id)?, self.cached(&id)?);
        self.cache(request, &id, table.as_ref(), cached, num_computed_tokens)
    }

    /// Ends a request: its blocks are released, the last one first.
    fn free(&self, request: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = request.py();
        let id = request.getattr(intern!(py, "request_id"))?;
        let (tables, counts) = (self.req_to_blocks.bind(py), self.num_cached_block.bind(py));
        let table = self.table(&id)?;
        let pool = self.pool.get();
        // Before anything is gone: a foreign block leaves the request as it was.
        let own = |object: &Bound<'_, PyAny>| pool.own(object);
        let ids = table.as_ref().map(|table| super::pool::ids(table.as_any(), own)).transpose()?;
        if counts.contains(&id)? {
            counts.del_item(&id)?;
        }
        let Some(ids) = ids else { return Ok(()) };
        tables.del_item(&id)?;
        let access = pool.shared.access(false);
        let mut shared = pool.shared.pool.lock();
        shared.release(ids.iter().rev().copied(), &access).map_err(value_error)
    }
}

impl ManagerCore {
    /// Blocks of a request that are cached, if it is running.
    fn cached(&self, id: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
        let count = self.num_cached_block.bind(id.py()).get_item(id)?;
        count.map(|count| count.extract()).transpose()
    }

    /// The block table of a request.
    fn table<'py>(&self, id: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyList>>> {
        let table = self.req_to_blocks.bind(id.py()).get_item(id)?;
        Ok(table.map(Bound::cast_into).transpose()?)
    }

    /// A `KVCacheBlocks` of one group.
    fn wrap<'py>(&self, blocks: Bound<'py, PyList>) -> PyResult<Bound<'py, PyAny>> {
        self.kv_cache_blocks.bind(blocks.py()).call1(((blocks,),))
    }

    /// Adopts a hit and takes the missing blocks, of which there are enough.
    fn grow<'py>(
        &self,
        request: &Bound<'py, PyAny>,
        id: &Bound<'py, PyAny>,
        table: Option<Bound<'py, PyList>>,
        mut cached: Option<usize>,
        hit: Option<Vec<BlockId>>,
        required: usize,
        tokens: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = request.py();
        let pool = self.pool.get();
        let table = match table {
            Some(table) => table,
            None => {
                let table = PyList::empty(py);
                self.req_to_blocks.bind(py).set_item(id, &table)?;
                table
            }
        };
        let mut new = Vec::new();
        let adopted = hit.as_deref().unwrap_or_default();
        {
            let access = pool.shared.access(!adopted.is_empty());
            let mut shared = pool.shared.pool.lock();
            shared.touch(adopted.iter().copied(), &access).map_err(value_error)?;
            let missing = required.saturating_sub(table.len() + adopted.len());
            shared.take(missing, &mut new, |_, _| ()).map_err(value_error)?;
        }
        for &block in adopted {
            table.append(pool.object(py, block))?;
        }
        if hit.is_some() && cached.is_none() {
            cached = Some(table.len());
            self.num_cached_block.bind(py).set_item(id, table.len())?;
        }
        let blocks = pool.list(py, &new)?;
        for &block in &new {
            table.append(pool.object(py, block))?;
        }
        self.cache(request, id, Some(&table), cached, tokens)?;
        if new.is_empty() { Ok(self.empty.bind(py).clone()) } else { self.wrap(blocks) }
    }

    /// Makes the full blocks of the first `tokens` tokens findable, those after `cached`.
    #[inline]
    fn cache(
        &self,
        request: &Bound<'_, PyAny>,
        id: &Bound<'_, PyAny>,
        table: Option<&Bound<'_, PyList>>,
        cached: Option<usize>,
        tokens: usize,
    ) -> PyResult<()> {
        let full = tokens.saturating_sub(self.reprefillable_tokens) / self.block_size;
        let first = cached.unwrap_or(0);
        let Some(table) = table.filter(|_| self.caching && full > first) else { return Ok(()) };
        let py = request.py();
        let hashes = request.getattr(intern!(py, "block_hashes"))?;
        let full = full.min(hashes.len()?);
        if full <= first {
            return Ok(());
        }
        let pool = self.pool.get();
        pool.cache_full_blocks(table, &hashes, first, full, self.block_size, 0, None)?;
        self.num_cached_block.bind(py).set_item(id, full)
    }
}
