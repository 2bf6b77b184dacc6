//! Traces of LLM requests, and what a prefix cache makes of them.
//!
//! * [`trace`]: where requests come from.

pub mod trace;
