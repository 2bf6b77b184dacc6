//! Prefix-caching KV block manager for LLM inference engines.

pub mod budget;
mod config;
mod content;
mod error;
mod evict;
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
mod replicas;
mod retention;
mod sequence;
mod shared;
mod slot;
mod stats;
mod table;

pub use config::{Config, ConfigError, ConfigProblem, MAX_BLOCK_SIZE, MAX_BLOCKS, MAX_SEQUENCES};
pub use error::Error;
pub use identity::{ExtraKey, ExtraKeys, Identity, IdentityError};
pub use identity::{MAX_CUSTOM_KEYS, MAX_FIELD_BYTES, MAX_MEDIA_ITEMS};
pub use ids::{BlockId, SeqId};
pub use manager::{Admission, BlockCopy, BlockManager, BlockState, Commit, InvariantError, Step};
pub use miss::{MissCount, MissCounts, MissReason};
pub use replicas::{NoReplica, Replicas, Route};
pub use retention::{DEFAULT_PRIORITY, MAX_HINTS, Retention};
pub use sequence::Duplicate;
pub use shared::SharedBlockManager;
pub use stats::{Stats, Usage};
