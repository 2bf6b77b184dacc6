//! Measures what prefix caching gives on a running, OpenAI-compatible server.
//!
//! Four tests: a *conversation* (5 turns, 2,000 tokens at first and 500 more each turn), a
//! *long prefix* (8,000 shared tokens and a fresh question, 3 turns), *independent* messages
//! (5 of 2,000 tokens, where nothing can hit), and *short* ones (a conversation of 100 to
//! 400 tokens, too short to tell anything apart on fast hardware).
//!
//! Every request is streamed and its first token timed. Each prompt is sent twice, once in
//! each *arm*: `on`, where it begins as its conversation did, and `off`, where its first
//! tokens are fresh, so that no server can find anything. The arms take turns in going
//! first, and all is repeated. Two ratios come out:
//!
//! * the *note's*: the first message over the following ones, within the arm `on`. It mixes
//!   prompts of different lengths, and sees first messages as slow for any reason.
//! * the *sound* one: the same prompts, arm `off` over arm `on`.
//!
//! The prompts are token ids, or common words where a server takes no ids ([`Prompts`]). No
//! tokenizer is needed.

mod client;
mod error;
mod key;
mod measure;
mod prompts;
mod report;
mod suite;
mod tls;

pub use error::Error;
pub use key::ApiKey;
pub use measure::{Options, validate};
pub use prompts::Prompts;
pub use report::{Report, Summary, Target, TestReport, TurnReport};
