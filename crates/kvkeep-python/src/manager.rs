//! The block manager: the life of a sequence, one call each. Calls for a whole batch are in
//! `batch`, what only looks is in `inspect`.

use crate::batch::Advanced;
use crate::errors::Raise;
use crate::hashing::Hasher;
use crate::identity::Identity;
use crate::ints::Ints;
use crate::outcome::{Admission, Commit, Step};
use kvkeep::evict::{EvictionPolicy, Kind};
use kvkeep::hash::{VllmSha256Cbor, Xxh3};
use kvkeep::{BlockId, Config, MissReason, Retention, SeqId};
use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

type Policy = Box<dyn EvictionPolicy + Send>;

/// The library's manager, by hasher.
pub(crate) enum Manager {
    Xxh3(kvkeep::BlockManager<Xxh3, Policy>),
    Sha256Cbor(kvkeep::BlockManager<VllmSha256Cbor, Policy>),
}

/// Runs `$call` with `$kv`, the library's manager, under the lock. No Python code may run in
/// it: it could call the manager again, and wait for itself.
macro_rules! locked {
    ($self:ident, $kv:ident => $call:expr) => {
        match &mut *$self.manager.lock() {
            $crate::manager::Manager::Xxh3($kv) => $call,
            $crate::manager::Manager::Sha256Cbor($kv) => $call,
        }
    };
}
pub(crate) use locked;

/// A pool of KV blocks with a prefix cache, for one model on one replica.
///
/// Args:
///     num_blocks: blocks of the pool, 1 to 2**31; `plan` computes it.
///     block_size: tokens per block, 1 to 65,536.
///     policy: which cached block goes first, one of `POLICIES`.
///     hasher: "xxh3", or "sha256_cbor", whose hashes are those of vLLM.
///     hash_seed: vLLM's `PYTHONHASHSEED`, for "sha256_cbor" only.
///     hash_only: trust block hashes instead of comparing tokens on a hit.
///     remember_evicted: evictions to remember, for the miss reason "evicted";
///         `num_blocks` if not given.
///     max_retained_blocks: most blocks that hints may hold above the default priority;
///         half of the blocks if not given.
///     max_sequences: most sequences at a time; 524,287 if not given.
///
/// Raises:
///     ConfigError: a setting is out of range; the message lists all of them.
///     UnknownPolicyError: there is no such policy.
///     ValueError: there is no such hasher.
///
/// Each method is atomic, from any thread. A call that raises has changed nothing. Integers
/// that are negative or too large raise OverflowError; in arrays and lists ValueError.
///
/// Token ids are 0 to 2**32 - 1. A contiguous uint32 array is read in place; other integer
/// arrays, lists and tuples are copied and checked; bytes are read in place as uint32 of the
/// machine; anything else goes through `numpy.asarray`.
#[pyclass(frozen, module = "kvkeep")]
pub(crate) struct BlockManager {
    pub(crate) manager: Mutex<Manager>,
    pub(crate) policy: Kind,
    pub(crate) hasher: &'static str,
}

#[pymethods]
impl BlockManager {
    #[new]
    #[pyo3(signature = (
        num_blocks, *, block_size=16, policy="lru", hasher="xxh3", hash_seed=None,
        hash_only=false, remember_evicted=None, max_retained_blocks=None, max_sequences=None,
    ))]
    fn new(
        num_blocks: u32,
        block_size: usize,
        policy: &str,
        hasher: &str,
        hash_seed: Option<&str>,
        hash_only: bool,
        remember_evicted: Option<u32>,
        max_retained_blocks: Option<u32>,
        max_sequences: Option<usize>,
    ) -> PyResult<Self> {
        let mut config = Config::new(num_blocks).block_size(block_size);
        if hash_only {
            config = config.hash_only();
        }
        if let Some(blocks) = remember_evicted {
            config = config.remember_evicted(blocks);
        }
        if let Some(blocks) = max_retained_blocks {
            config = config.max_retained_blocks(blocks);
        }
        if let Some(sequences) = max_sequences {
            config = config.max_sequences(sequences);
        }
        let kind: Kind = policy.parse().map_err(kvkeep::evict::UnknownPolicy::raise)?;
        let policy = kind.build(block_size);
        let hasher = Hasher::new(hasher, hash_seed)?;
        let manager = match hasher {
            Hasher::Xxh3(hasher) => {
                kvkeep::BlockManager::with_hasher_and_policy(config, hasher, policy)
                    .map(Manager::Xxh3)
            }
            Hasher::Sha256Cbor(hasher) => {
                kvkeep::BlockManager::with_hasher_and_policy(config, hasher, policy)
                    .map(Manager::Sha256Cbor)
            }
        };
        let manager = Mutex::new(manager.map_err(kvkeep::ConfigError::raise)?);
        Ok(BlockManager { manager, policy: kind, hasher: hasher.name() })
    }

    /// Starts a sequence: finds the longest cached prefix of `prompt`, pins it, and says why it
    /// ended. Takes no further blocks. O(prompt).
    ///
    /// Args:
    ///     prompt: token ids, at least one.
    ///     identity: what the KV depends on besides the tokens.
    ///
    /// Raises:
    ///     EmptyPromptError, TooManySequencesError, MediaBeyondPromptError.
    ///     TooLongError: the prompt can never fit the pool.
    #[pyo3(signature = (prompt, identity=None))]
    fn admit(&self, prompt: Ints<'_, u32>, identity: Option<&Identity>) -> PyResult<Admission> {
        let (prompt, none) = (prompt.as_slice()?, kvkeep::Identity::default());
        let identity = identity.map_or(&none, |identity| &identity.0);
        let admitted = locked!(self, kv => kv.admit(prompt, identity));
        admitted.map(Admission::from).map_err(Raise::raise)
    }

    /// `admit` for a sequence that was preempted: its prompt and the tokens generated so far.
    /// Counted apart in `stats`.
    #[pyo3(signature = (tokens, identity=None))]
    fn readmit(&self, tokens: Ints<'_, u32>, identity: Option<&Identity>) -> PyResult<Admission> {
        let (tokens, none) = (tokens.as_slice()?, kvkeep::Identity::default());
        let identity = identity.map_or(&none, |identity| &identity.0);
        let admitted = locked!(self, kv => kv.readmit(tokens, identity));
        admitted.map(Admission::from).map_err(Raise::raise)
    }

    /// Tokens that `admit` would find cached, without admitting. Changes nothing. O(prompt).
    #[pyo3(signature = (prompt, identity=None))]
    fn longest_prefix(
        &self,
        prompt: Ints<'_, u32>,
        identity: Option<&Identity>,
    ) -> PyResult<usize> {
        let (prompt, none) = (prompt.as_slice()?, kvkeep::Identity::default());
        let identity = identity.map_or(&none, |identity| &identity.0);
        Ok(locked!(self, kv => kv.longest_prefix(prompt, identity)))
    }

    /// Says what kind of work a request is and which turn of its conversation, for policies that
    /// ask. Before its first step.
    ///
    /// Raises:
    ///     UnknownSequenceError.
    #[pyo3(signature = (seq, category, turn=None))]
    fn describe(&self, seq: u64, category: u16, turn: Option<u32>) -> PyResult<()> {
        let seq = SeqId::from_u64(seq);
        locked!(self, kv => kv.describe(seq, category, turn)).map_err(Raise::raise)
    }

    /// Opens a step: slots for the next `tokens` known tokens, and for `lookahead` more that need
    /// not be known yet (drafts). O(new blocks).
    ///
    /// Raises:
    ///     OutOfBlocksError: preempt a sequence and ask again.
    ///     UnknownTokensError, ZeroTokensError, StepOpenError, UnknownSequenceError.
    #[pyo3(signature = (seq, tokens, lookahead=0))]
    fn reserve(&self, seq: u64, tokens: usize, lookahead: usize) -> PyResult<Step> {
        let seq = SeqId::from_u64(seq);
        let step = locked!(self, kv => kv.reserve_with_lookahead(seq, tokens, lookahead));
        step.map(Step::from).map_err(Raise::raise)
    }

    /// Closes a step: the KV of the next `tokens` tokens is written. Full blocks become visible;
    /// blocks that the step reserved and did not fill go back.
    ///
    /// Raises:
    ///     NoStepError, CommitTooLongError, UnknownTokensError, ZeroTokensError,
    ///     UnknownSequenceError.
    fn commit(&self, seq: u64, tokens: usize) -> PyResult<Commit> {
        let seq = SeqId::from_u64(seq);
        let commit = locked!(self, kv => kv.commit(seq, tokens));
        commit.map(Commit::from).map_err(Raise::raise)
    }

    /// Closes a step without its tokens: its blocks go back.
    ///
    /// Raises:
    ///     NoStepError, UnknownSequenceError.
    fn revert(&self, seq: u64) -> PyResult<()> {
        locked!(self, kv => kv.revert(SeqId::from_u64(seq))).map_err(Raise::raise)
    }

    /// Adds a token, sampled or accepted: it must be one whose KV the engine writes.
    ///
    /// Raises:
    ///     TooLongError, UnknownSequenceError.
    fn append(&self, seq: u64, token: u32) -> PyResult<()> {
        locked!(self, kv => kv.append(SeqId::from_u64(seq), token)).map_err(Raise::raise)
    }

    /// Adds several tokens: accepted drafts, or the user's next turn.
    ///
    /// Raises:
    ///     TooLongError, UnknownSequenceError.
    fn extend(&self, seq: u64, tokens: Ints<'_, u32>) -> PyResult<()> {
        let (seq, tokens) = (SeqId::from_u64(seq), tokens.as_slice()?);
        locked!(self, kv => kv.extend(seq, tokens)).map_err(Raise::raise)
    }

    /// Says how long the blocks of tokens `start` to `end` (all, if not given) are worth keeping
    /// once the sequence has released them. A hint orders victims, it never forbids one.
    ///
    /// Args:
    ///     priority: 0 (goes first) to 100 (goes last); 35 is that of blocks without a hint.
    ///     ttl_ms: from the release on, after which a priority above 35 falls back to it.
    ///     not_reused: instead of a priority: these tokens will not be asked for again.
    ///
    /// Raises:
    ///     EmptyRangeError, PriorityTooHighError, TooManyHintsError, UnknownSequenceError.
    ///     ValueError: neither, or both, of `priority` and `not_reused`.
    #[pyo3(signature = (
        seq, *, start=0, end=None, priority=None, ttl_ms=None, not_reused=false,
    ))]
    fn retain(
        &self,
        seq: u64,
        start: usize,
        end: Option<usize>,
        priority: Option<u8>,
        ttl_ms: Option<u64>,
        not_reused: bool,
    ) -> PyResult<()> {
        let retention = match (priority, ttl_ms, not_reused) {
            (Some(priority), ttl_ms, false) => {
                let retention = Retention::priority(priority).map_err(Raise::raise)?;
                ttl_ms.map_or(retention, |ms| retention.for_ms(ms))
            }
            (None, None, true) => Retention::not_reused(),
            _ => {
                let message = "pass priority (and ttl_ms), or not_reused=True";
                return Err(PyValueError::new_err(message));
            }
        };
        let (seq, end) = (SeqId::from_u64(seq), end.unwrap_or(usize::MAX));
        locked!(self, kv => kv.retain(seq, start..end, retention)).map_err(Raise::raise)
    }

    /// A second sequence in the same state, and its handle. It shares all blocks; the first to
    /// write into a shared last block gets a copy of it, see `Step.copy`. O(blocks).
    ///
    /// Raises:
    ///     StepOpenError, TooManySequencesError, UnknownSequenceError.
    fn fork(&self, seq: u64) -> PyResult<u64> {
        let fork = locked!(self, kv => kv.fork(SeqId::from_u64(seq)));
        fork.map(SeqId::to_u64).map_err(Raise::raise)
    }

    /// Puts the published block in the place of a private duplicate, and returns it; see
    /// `duplicates`.
    ///
    /// Raises:
    ///     NotDuplicateError, StepOpenError, UnknownSequenceError.
    fn adopt(&self, seq: u64, position: usize) -> PyResult<u32> {
        let block = locked!(self, kv => kv.adopt(SeqId::from_u64(seq), position));
        block.map(BlockId::get).map_err(Raise::raise)
    }

    /// Ends a sequence, at any point. Its published blocks become cached, the others free.
    ///
    /// Raises:
    ///     UnknownSequenceError: also for a second `free`.
    fn free(&self, seq: u64) -> PyResult<()> {
        locked!(self, kv => kv.free(SeqId::from_u64(seq))).map_err(Raise::raise)
    }

    /// `free`, counted as a preemption. Bring it back with `readmit`.
    ///
    /// Raises:
    ///     UnknownSequenceError.
    fn preempt(&self, seq: u64) -> PyResult<()> {
        locked!(self, kv => kv.preempt(SeqId::from_u64(seq))).map_err(Raise::raise)
    }

    /// Takes an admission back, as if it had never been counted: there was no room to start it.
    ///
    /// Raises:
    ///     StartedError: a step was committed since, or it was forked.
    ///     UnknownSequenceError.
    fn withdraw(&self, seq: u64) -> PyResult<()> {
        locked!(self, kv => kv.withdraw(SeqId::from_u64(seq))).map_err(Raise::raise)
    }

    /// Tells the manager the time, in ms since any fixed point: hints expire, residency counts.
    ///
    /// Raises:
    ///     TimeWentBackError.
    fn advance_time(&self, now_ms: u64) -> PyResult<()> {
        locked!(self, kv => kv.advance_time(now_ms)).map_err(Raise::raise)
    }

    /// Makes all cached content unreachable: weights were updated. O(1). Running sequences go on
    /// with their blocks. Returns the new epoch.
    fn invalidate_all(&self) -> u64 {
        locked!(self, kv => kv.invalidate_all())
    }
}

/// Adds this file's names.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("POLICIES", PyTuple::new(py, Kind::ALL.map(Kind::name))?)?;
    let reasons = MissReason::ALL.iter().map(|reason| reason.name());
    module.add("MISS_REASONS", PyTuple::new(py, reasons)?)?;
    module.add_class::<BlockManager>()?;
    module.add_class::<Admission>()?;
    module.add_class::<crate::outcome::BlockCopy>()?;
    module.add_class::<Step>()?;
    module.add_class::<Advanced>()?;
    module.add_class::<Commit>()
}
