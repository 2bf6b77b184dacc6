//! A small inference engine on the CPU whose KV pages kvkeep manages: a Qwen3-style
//! decoder, pages in fp8, bf16 or f32 on one or several simulated ranks, continuous
//! batching with preemption, and an OpenAI-compatible server.
//!
//! It shows how an engine uses the manager, and proves that a prefix hit is safe: the
//! logits of a request that hits are those of a cold run, bit for bit.
//!
//! ```
//! use kvkeep::{Identity, budget::PageOrder};
//! use kvkeep_engine::{Engine, EngineConfig, Model, PageConfig, PageDtype};
//! use kvkeep_engine::{Request, Sampling, Shape, Weights};
//!
//! let model = Model::new(Shape::tiny(), Weights::Random(0))?;
//! let pages = PageConfig {
//!     num_blocks: 32,
//!     block_size: 4,
//!     dtype: PageDtype::Fp8,
//!     tensor_parallel_size: 2,
//!     order: PageOrder::BlockFirst,
//! };
//! let config =
//!     EngineConfig { pages, tokens_per_step: 16, prefix_caching: true, poison: false };
//! let mut engine = Engine::new(model, config)?;
//! for tokens_cached in [0, 36] {
//!     engine.submit(Request {
//!         prompt: (0..40).collect(),
//!         max_new_tokens: 2,
//!         samples: 1,
//!         sampling: Sampling { temperature: 0.0, seed: 0 },
//!         ignore_end: false,
//!         identity: Identity::default(),
//!     })?;
//!     while !engine.is_idle() {
//!         for output in engine.step()? {
//!             assert_eq!(output.tokens_cached, tokens_cached);
//!         }
//!     }
//! }
//! # Ok::<(), kvkeep_engine::Error>(())
//! ```

mod attention;
mod cache;
mod engine;
mod error;
mod fp8;
mod linear;
mod metrics;
mod model;
mod pages;
mod random;
mod request;
mod rows;
mod sampler;
mod schedule;
mod server;
mod shape;
mod weights;

pub use cache::{KvCache, KvScales};
pub use engine::{Engine, EngineConfig};
pub use error::Error;
pub use model::{Model, Segment};
pub use pages::{PageConfig, PageDtype};
pub use request::{Finish, MAX_SAMPLES, Output, Request, RequestId};
pub use sampler::Sampling;
pub use server::{ServeError, serve};
pub use shape::{EndTokens, Shape};
pub use weights::Weights;
