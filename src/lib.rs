//! Prefix-caching KV block manager for LLM inference engines.
//!
//! An engine that keeps keys and values (KV) in pages asks kvkeep which pages a request
//! gets: those that already hold a prefix of its prompt, verified token by token, and
//! free or least recently used ones for the rest. kvkeep hands out block ids and owns no
//! GPU memory; it starts no thread, reads no clock and does no I/O.
//!
//! * [`BlockManager`]: the manager. [`SharedBlockManager`] puts a lock around it,
//!   [`Replicas`] puts several side by side.
//! * [`budget`]: from GPU memory and a model's KV layout to a number of blocks, with the
//!   derivation; and where in memory each page is.
//! * [`hash`]: how blocks are named.
//!
//! # Embedding
//!
//! ```
//! use kvkeep::{BlockManager, Config, Identity};
//!
//! # fn write_kv(_: &[kvkeep::BlockId], _: std::ops::Range<usize>) -> u32 { 42 }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut kv = BlockManager::new(Config::new(12_881))?;
//! let prompt: Vec<u32> = (0..1000).collect();
//!
//! let hit = kv.admit(&prompt, &Identity::default())?; // looks up and pins
//! let seq = hit.seq;
//! let mut sampled = 0;
//! let mut done = hit.tokens_cached;
//! while done < prompt.len() {
//!     let chunk = (prompt.len() - done).min(512); // chunked prefill
//!     kv.reserve(seq, chunk)?; // the block table grows
//!     sampled = write_kv(kv.block_table(seq)?, done..done + chunk);
//!     kv.commit(seq, chunk)?; // full blocks become visible
//!     done += chunk;
//! }
//! for _ in 0..20 {
//!     kv.append(seq, sampled)?; // decode
//!     kv.reserve(seq, 1)?;
//!     sampled = write_kv(kv.block_table(seq)?, done..done + 1);
//!     kv.commit(seq, 1)?;
//!     done += 1;
//! }
//! kv.free(seq)?; // tail first; cached content stays
//! # Ok(())
//! # }
//! ```
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | *block* | a fixed run of tokens and the page that holds their KV |
//! | *page* | the bytes of one block on one device |
//! | *block table* | a sequence's blocks, in order |
//! | *sequence* | what the engine runs |
//! | *free* | a block without content |
//! | *cached* | a block with content that nobody uses: a hit can take it, and so can eviction |
//! | *in use* | a block that sequences hold |
//! | *published* | a full block, cached or in use, whose KV is written and that lookups find |
//! | *prefix hit* | the published blocks that a prompt starts with; its tokens are the *cached tokens* of a request |
//! | *step* | one reserve ... commit (or revert) of a sequence |
//!
//! # Costs
//!
//! Every operation is O(1) per block that it touches, eviction included, at any number of
//! blocks; retention hints that expire add O(log n). Metadata is about 115 bytes per block
//! of 16 tokens, 50 in hash-only mode. See [`Config`] for the parts, and `docs/design.md`
//! for the reasons.

pub mod budget;
mod config;
pub mod conformance;
mod content;
mod error;
pub mod evict;
mod extras;
mod ghost;
pub mod hash;
mod identity;
mod ids;
mod manager;
mod miss;
mod pool;
mod prefetch;
mod prefix;
mod recency;
mod replicas;
mod retention;
mod sequence;
mod shared;
mod slot;
mod stats;
mod table;
mod tally;

pub use config::{Config, ConfigError, ConfigProblem, MAX_BLOCK_SIZE, MAX_BLOCKS, MAX_SEQUENCES};
pub use error::Error;
pub use identity::{ExtraKey, ExtraKeys, Identity, IdentityError};
pub use identity::{MAX_CUSTOM_KEYS, MAX_FIELD_BYTES, MAX_MEDIA_ITEMS};
pub use ids::{BlockId, SeqId};
pub use manager::{Admission, Advance, Advanced, BatchError, BlockCopy, BlockManager, BlockState};
pub use manager::{Commit, InvariantError, Step};
pub use miss::{MissCount, MissCounts, MissReason};
pub use replicas::{NoReplica, Replicas, Route};
pub use retention::{DEFAULT_PRIORITY, MAX_HINTS, Retention};
pub use sequence::Duplicate;
pub use shared::SharedBlockManager;
pub use stats::{Stats, Usage};
