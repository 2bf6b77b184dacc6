//! Small traces, made by hand or drawn.

use kvkeep_sim::trace::{Request, Trace};
use proptest::prelude::*;

/// A trace of blocks of one token; each request gives its tokens, and a block is named by
/// its token and all before it.
pub(crate) fn trace(prompts: &[&[u8]]) -> Trace {
    let mut names: Vec<&[u8]> = Vec::new();
    let requests: Vec<Request> = prompts
        .iter()
        .map(|prompt| {
            let name = |length| {
                let prefix = &prompt[..length];
                let known = names.iter().position(|&name| name == prefix);
                known.unwrap_or_else(|| {
                    names.push(prefix);
                    names.len() - 1
                }) as u64
            };
            Request {
                input_tokens: prompt.len() as u32,
                blocks: (1..=prompt.len()).map(name).collect(),
                ..Request::default()
            }
        })
        .collect();
    Trace::new(1, &requests)
}

/// Prompts over few tokens, so that prefixes repeat.
pub(crate) fn prompts(
    tokens: u8,
    longest: usize,
    requests: usize,
) -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(0..tokens, 1..=longest), 1..=requests)
}

/// [`trace`] of owned prompts.
pub(crate) fn trace_of(prompts: &[Vec<u8>]) -> Trace {
    trace(&prompts.iter().map(Vec::as_slice).collect::<Vec<_>>())
}
