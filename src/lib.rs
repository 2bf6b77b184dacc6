//! Prefix-caching KV block manager for LLM inference engines.

#[allow(unsafe_code, dead_code)]
mod prefetch;

pub mod budget;
