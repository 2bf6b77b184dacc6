//! The calls of vLLM's `BlockPool`.

use super::block::{PoolBlock, value_error};
use kvkeep::BlockId;
use kvkeep::evict::{Access, EvictionPolicy, Kind};
use kvkeep::hashed::{BlockKey, HashedPool, Place};
use parking_lot::Mutex;
use pyo3::exceptions::{PyAssertionError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyList, PyString, PyWeakrefMethods, PyWeakrefReference};
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::Instant;

pub(super) type Pool = HashedPool<Box<dyn EvictionPolicy + Send>>;

/// What a pool and its blocks share. The lock is never contended: vLLM's scheduler is one
/// thread. Nobody runs Python code or makes Python containers (whose allocation may collect
/// garbage, which runs Python code) with the lock in hand: another thread that has the
/// interpreter could wait for the lock meanwhile.
pub(crate) struct Shared {
    pub(super) pool: Mutex<Pool>,
    clock: Clock,
    /// What was written to the count of free blocks, less what it was: see `set_num_free`.
    written: AtomicIsize,
    /// The Python pool, weakly.
    owner: PyOnceLock<Py<PyWeakrefReference>>,
}

impl Shared {
    pub(super) fn owner(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.owner.get(py)?.bind(py).upgrade().map(Bound::unbind)
    }

    /// Blocks that can be had.
    #[inline]
    pub(super) fn num_free(&self, pool: &Pool) -> usize {
        pool.num_available().saturating_add_signed(self.written.load(Ordering::Relaxed))
    }

    /// The request behind a call, for policies that ask.
    pub(super) fn access(&self, begins: bool) -> Access {
        self.clock.access(begins)
    }
}

/// Numbers requests and tells the time, for policies that ask.
struct Clock {
    watched: bool,
    requests: Mutex<u64>,
    start: Instant,
}

impl Clock {
    #[inline]
    fn access(&self, begins: bool) -> Access {
        let mut access = Access::default();
        if self.watched {
            let mut requests = self.requests.lock();
            *requests += u64::from(begins);
            access.request = *requests;
            access.now_ms = self.start.elapsed().as_millis() as u64;
        }
        access
    }
}

/// The pool behind `kvkeep.vllm.BlockPool`: all blocks, as objects made once.
#[pyclass(frozen, module = "kvkeep._kvkeep")]
pub(crate) struct PoolCore {
    pub(super) shared: Arc<Shared>,
    objects: Vec<Py<PoolBlock>>,
}

impl PoolCore {
    #[inline]
    pub(super) fn object<'py>(&self, py: Python<'py>, id: BlockId) -> Bound<'py, PoolBlock> {
        self.objects[id.index()].bind(py).clone()
    }

    pub(super) fn list<'py>(
        &self,
        py: Python<'py>,
        ids: &[BlockId],
    ) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, ids.iter().map(|&id| &self.objects[id.index()]))
    }

    /// The id of one of this pool's blocks.
    #[inline]
    pub(super) fn id(&self, object: &Bound<'_, PyAny>) -> Option<BlockId> {
        let block = object.cast::<PoolBlock>().ok()?.get();
        Arc::ptr_eq(&block.shared, &self.shared).then_some(block.id)
    }

    #[inline]
    pub(super) fn own(&self, object: &Bound<'_, PyAny>) -> PyResult<BlockId> {
        self.id(object).ok_or_else(|| PyTypeError::new_err("not a block of this pool"))
    }

    /// The first blocks found by the first `most` hashes, up to the first that is not there.
    pub(super) fn prefix(
        &self,
        hashes: &Bound<'_, PyList>,
        most: usize,
        group: u32,
    ) -> PyResult<Vec<BlockId>> {
        let pool = self.shared.pool.lock();
        let mut found = Vec::new();
        for hash in hashes.iter().take(most) {
            match pool.find(&key(hash.cast::<PyBytes>()?.as_bytes(), group)?) {
                Some(block) => found.push(block),
                None => break,
            }
        }
        Ok(found)
    }
}

/// The key of a content: hash and cache group, as vLLM packs them.
#[inline]
pub(super) fn key(hash: &[u8], group: u32) -> PyResult<BlockKey> {
    BlockKey::new(hash, &group.to_be_bytes()).map_err(value_error)
}

#[pymethods]
impl PoolCore {
    #[new]
    fn new(py: Python<'_>, num_blocks: usize, block_size: usize, policy: &str) -> PyResult<Self> {
        let kind: Kind =
            policy.parse().map_err(|error| PyValueError::new_err(format!("{error}")))?;
        let pool = Pool::with_policy(num_blocks, kind.build(block_size)).map_err(value_error)?;
        let clock =
            Clock { watched: pool.watches(), requests: Mutex::new(0), start: Instant::now() };
        let owner = PyOnceLock::new();
        let written = AtomicIsize::new(0);
        let shared = Arc::new(Shared { pool: Mutex::new(pool), clock, written, owner });
        let objects = (0..num_blocks as u32)
            .map(|id| Py::new(py, PoolBlock::new(py, id, Arc::clone(&shared))?))
            .collect::<PyResult<_>>()?;
        Ok(PoolCore { shared, objects })
    }

    /// Tells the blocks which Python pool they belong to.
    fn set_owner(&self, owner: &Bound<'_, PyAny>) -> PyResult<()> {
        let weak = PyWeakrefReference::new(owner)?.unbind();
        let _ = self.shared.owner.set(owner.py(), weak);
        Ok(())
    }

    /// All blocks, by id.
    fn blocks<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, &self.objects)
    }

    /// Blocks in the queue.
    fn num_free(&self) -> usize {
        self.shared.num_free(&self.shared.pool.lock())
    }

    /// Writes their count, which goes on from there, as vLLM's does: its tests pretend so that
    /// a pool is empty.
    fn set_num_free(&self, num_free: usize) {
        let is = self.shared.pool.lock().num_available();
        self.shared.written.store(num_free as isize - is as isize, Ordering::Relaxed);
    }

    /// The block with this hash in each of these groups, or None if one of them has none.
    fn get_cached_block<'py>(
        &self,
        py: Python<'py>,
        block_hash: &[u8],
        kv_cache_group_ids: &Bound<'py, PyList>,
    ) -> PyResult<Option<Bound<'py, PyList>>> {
        let found = PyList::empty(py);
        for group in kv_cache_group_ids.iter() {
            let key = key(block_hash, group.extract()?)?;
            let Some(block) = self.shared.pool.lock().find(&key) else { return Ok(None) };
            found.append(self.object(py, block))?;
        }
        Ok(Some(found))
    }

    /// The block that got this key (hash and group) first.
    fn find<'py>(&self, py: Python<'py>, key: &[u8]) -> PyResult<Option<Bound<'py, PoolBlock>>> {
        let key = BlockKey::new(key, &[]).map_err(value_error)?;
        Ok(self.shared.pool.lock().find(&key).map(|block| self.object(py, block)))
    }

    /// Whether a block has a key.
    fn has_key(&self, key: &[u8], block_id: u32) -> PyResult<bool> {
        let key = BlockKey::new(key, &[]).map_err(value_error)?;
        Ok(self.shared.pool.lock().has_key(block_id.into(), &key))
    }

    /// Whether several blocks have had this key at once since the last time that none had it.
    fn was_shared(&self, key: &[u8]) -> PyResult<bool> {
        let key = BlockKey::new(key, &[]).map_err(value_error)?;
        Ok(self.shared.pool.lock().was_shared(&key))
    }

    /// All blocks with this key, in the order in which they got it.
    fn find_all<'py>(&self, py: Python<'py>, key: &[u8]) -> PyResult<Bound<'py, PyList>> {
        let key = BlockKey::new(key, &[]).map_err(value_error)?;
        let found = self.shared.pool.lock().find_all(&key);
        self.list(py, &found)
    }

    /// The different keys.
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let keys: Vec<BlockKey> = self.shared.pool.lock().keys().collect();
        PyList::new(py, keys.iter().map(|key| PyBytes::new(py, key.as_bytes())))
    }

    /// Keys of a block after its first.
    fn further_keys<'py>(&self, py: Python<'py>, block_id: u32) -> PyResult<Bound<'py, PyList>> {
        let keys: Vec<_> = self.shared.pool.lock().further_keys(block_id.into()).collect();
        PyList::new(py, keys.iter().map(|key| PyBytes::new(py, key.as_bytes())))
    }

    /// Blocks that have further keys.
    fn with_further_keys(&self) -> Vec<u32> {
        self.shared.pool.lock().with_further_keys().map(BlockId::get).collect()
    }

    /// Hands out blocks.
    fn get_new_blocks<'py>(
        &self,
        py: Python<'py>,
        num_blocks: usize,
    ) -> PyResult<Bound<'py, PyList>> {
        let mut ids = Vec::new();
        self.shared.pool.lock().take(num_blocks, &mut ids, |_, _| ()).map_err(value_error)?;
        self.list(py, &ids)
    }

    /// Hands out blocks; also the keys that are lost by it, in order.
    fn get_new_blocks_and_lost<'py>(
        &self,
        py: Python<'py>,
        num_blocks: usize,
    ) -> PyResult<(Bound<'py, PyList>, Bound<'py, PyList>)> {
        let (mut ids, mut lost) = (Vec::new(), Vec::new());
        let taken = self.shared.pool.lock().take(num_blocks, &mut ids, |_, key| lost.push(key));
        taken.map_err(value_error)?;
        let lost = PyList::new(py, lost.iter().map(|key| PyBytes::new(py, key.as_bytes())))?;
        Ok((self.list(py, &ids)?, lost))
    }

    /// A holder more for each block.
    fn touch(&self, blocks: &Bound<'_, PyAny>) -> PyResult<()> {
        let ids = ids(blocks, |object| self.own(object))?;
        let access = self.shared.access(true);
        self.shared.pool.lock().touch(ids.iter().copied(), &access).map_err(value_error)
    }

    /// A holder less for each block. Blocks of other pools go to those.
    fn free_blocks(&self, ordered_blocks: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut others: Vec<(Bound<'_, PyAny>, Bound<'_, PyList>)> = Vec::new();
        let mut ids = Vec::new();
        for object in ordered_blocks.try_iter()? {
            let object = object?;
            match self.id(&object) {
                Some(id) => ids.push(id),
                None => {
                    let pool = object.getattr("pool")?;
                    if pool.is_none() {
                        // Made by hand, and in no queue.
                        let refs: i64 = object.getattr("ref_cnt")?.extract()?;
                        object.setattr("ref_cnt", refs - 1)?;
                        continue;
                    }
                    match others.iter().find(|(other, _)| other.is(&pool)) {
                        Some((_, list)) => list.append(object)?,
                        None => others.push((pool, PyList::new(object.py(), [object])?)),
                    }
                }
            }
        }
        let access = self.shared.access(false);
        self.shared.pool.lock().release(ids.iter().copied(), &access).map_err(value_error)?;
        for (pool, list) in others {
            pool.call_method1("free_blocks", (list,))?;
        }
        Ok(())
    }

    /// Makes full blocks findable: those from `first` to `end`, by the hashes of the same
    /// positions.
    #[pyo3(signature = (blocks, block_hashes, first, end, block_size, group, mask=None))]
    pub(super) fn cache_full_blocks(
        &self,
        blocks: &Bound<'_, PyList>,
        block_hashes: &Bound<'_, PyAny>,
        first: usize,
        end: usize,
        block_size: usize,
        group: u32,
        mask: Option<Vec<bool>>,
    ) -> PyResult<()> {
        // As a slice in vLLM: a request beyond the longest length has more tokens than slots.
        let end = end.min(blocks.len());
        let mut named = Vec::with_capacity(end.saturating_sub(first));
        for at in first..end {
            let id = self.own(&blocks.get_item(at)?)?;
            if id.get() == 0 || mask.as_ref().is_some_and(|mask| !mask[at - first]) {
                continue;
            }
            let hash = block_hashes.get_item(at)?;
            let key = key(hash.cast::<PyBytes>()?.as_bytes(), group)?;
            let before = if at > 0 { self.id(&blocks.get_item(at - 1)?) } else { None };
            named.push((id, key, Place { parent: before, depth: at as u32 }));
        }
        let access = self.shared.access(first == 0);
        let mut pool = self.shared.pool.lock();
        for (id, key, place) in named {
            let tokens = ((place.depth as usize + 1) * block_size) as u32;
            if let Some((_, had)) = pool.key(id) {
                // Only a block that was findable by a part of its content may have a hash.
                if had >= tokens {
                    return Err(PyAssertionError::new_err(format!(
                        "block {id} has a hash already"
                    )));
                }
                pool.remove_keys(id, |_| ()).map_err(value_error)?;
            }
            pool.insert(id, key, tokens, place, &access).map_err(value_error)?;
        }
        Ok(())
    }

    /// Makes a block findable by one more key. `chain` says where it stands in a prompt: the
    /// block before it, if there is one, and how many are before it.
    #[pyo3(signature = (key, block, num_tokens=None, chain=None))]
    fn insert_key(
        &self,
        key: &[u8],
        block: &PoolBlock,
        num_tokens: Option<u32>,
        chain: Option<(Option<Bound<'_, PyAny>>, u32)>,
    ) -> PyResult<()> {
        let key = BlockKey::new(key, &[]).map_err(value_error)?;
        let access = self.shared.access(chain.as_ref().is_some_and(|&(_, depth)| depth == 0));
        let place = chain.map_or_else(Place::default, |(before, depth)| Place {
            parent: before.and_then(|before| self.id(&before)),
            depth,
        });
        let mut pool = self.shared.pool.lock();
        pool.insert(block.id, key, num_tokens.unwrap_or(0), place, &access).map_err(value_error)
    }

    /// Takes all keys off a block and returns them, the first one first.
    fn remove_keys<'py>(&self, py: Python<'py>, block: &PoolBlock) -> PyResult<Bound<'py, PyList>> {
        let mut keys = Vec::new();
        self.shared.pool.lock().remove_keys(block.id, |key| keys.push(key)).map_err(value_error)?;
        PyList::new(py, keys.iter().map(|key| PyBytes::new(py, key.as_bytes())))
    }

    /// Takes the keys off all blocks, unless somebody holds one.
    fn reset(&self) -> bool {
        self.shared.pool.lock().reset()
    }

    /// Takes a block out of the queue.
    fn dequeue(&self, block: &PoolBlock) -> PyResult<()> {
        self.shared.pool.lock().dequeue(block.id).map_err(value_error)
    }

    /// Puts a block at the end of the queue.
    fn enqueue(&self, block: &PoolBlock) -> PyResult<()> {
        self.shared.pool.lock().enqueue(block.id).map_err(value_error)
    }

    /// The blocks of the queue behind `block`, or all of them.
    #[pyo3(signature = (block=None, most=None))]
    fn queue_after<'py>(
        &self,
        py: Python<'py>,
        block: Option<&PoolBlock>,
        most: Option<usize>,
    ) -> PyResult<Bound<'py, PyList>> {
        let most = most.unwrap_or(usize::MAX);
        let after = block.map(|block| block.id);
        let ids: Vec<BlockId> = self.shared.pool.lock().queue_after(after).take(most).collect();
        self.list(py, &ids)
    }

    /// Checks the books; raises AssertionError if they are wrong.
    fn validate(&self) -> PyResult<()> {
        let wrong = |error| PyAssertionError::new_err(format!("{error}"));
        self.shared.pool.lock().validate().map_err(wrong)
    }

    /// The ids of a list of blocks of any pool.
    #[staticmethod]
    fn block_ids<'py>(py: Python<'py>, blocks: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let name = pyo3::intern!(py, "block_id");
        let ids = PyList::empty(py);
        for block in blocks.try_iter()? {
            ids.append(block_id(&block?, name)?)?;
        }
        Ok(ids)
    }
}

fn block_id<'py>(
    block: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
) -> PyResult<Bound<'py, PyAny>> {
    match block.cast::<PoolBlock>() {
        Ok(block) => Ok(block.get().block_id.bind(block.py()).clone().into_any()),
        Err(_) => block.getattr(name),
    }
}

/// The ids of an iterable of blocks.
pub(super) fn ids(
    blocks: &Bound<'_, PyAny>,
    mut id: impl FnMut(&Bound<'_, PyAny>) -> PyResult<BlockId>,
) -> PyResult<Vec<BlockId>> {
    match blocks.cast::<PyList>() {
        Ok(list) => list.iter().map(|object| id(&object)).collect(),
        Err(_) => blocks.try_iter()?.map(|object| id(&object?)).collect(),
    }
}
