//! A whole trace in memory, its block ids numbered densely.
//!
//! What looks at a trace several times (a sweep, the optimum) holds it like this: 4 bytes
//! per block of each request, and 32 per request.

use super::request::{Request, Source};
use ahash::AHashMap;

/// A trace in memory.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    block_size: u32,
    entries: Vec<Entry>,
    blocks: Vec<u32>,
    distinct: u32,
}

/// One request of a [`Trace`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Arrival in ms.
    pub time_ms: u64,
    /// Tokens of the prompt.
    pub input_tokens: u32,
    /// Kind of work, 0 where the trace does not say.
    pub category: u16,
    /// Turn in its conversation, where the trace says.
    pub turn: Option<u32>,
    /// End of its blocks in the trace's list of blocks.
    end: usize,
}

impl Trace {
    /// Reads all of `source`. Time and memory are linear in the blocks of all requests.
    ///
    /// # Errors
    /// Those of `source`.
    pub fn read<S: Source + ?Sized>(source: &mut S) -> Result<Trace, S::Error> {
        let mut trace = Trace { block_size: source.block_size(), ..Trace::default() };
        let mut numbers = AHashMap::new();
        let mut request = Request::default();
        while source.read_next(&mut request)? {
            trace.push(&request, &mut numbers);
        }
        Ok(trace)
    }

    /// A trace of these requests, with blocks of `block_size` tokens.
    #[must_use]
    pub fn new<'a>(block_size: u32, requests: impl IntoIterator<Item = &'a Request>) -> Trace {
        let mut trace = Trace { block_size, ..Trace::default() };
        let mut numbers = AHashMap::new();
        requests.into_iter().for_each(|request| trace.push(request, &mut numbers));
        trace
    }

    fn push(&mut self, request: &Request, numbers: &mut AHashMap<u64, u32>) {
        for &id in &request.blocks {
            let next = numbers.len() as u32;
            self.blocks.push(*numbers.entry(id).or_insert(next));
        }
        self.entries.push(Entry {
            time_ms: request.time_ms,
            input_tokens: request.input_tokens,
            category: request.category.unwrap_or(0),
            turn: request.turn,
            end: self.blocks.len(),
        });
        self.distinct = numbers.len() as u32;
    }

    /// Tokens per block.
    #[must_use]
    pub fn block_size(&self) -> u32 {
        self.block_size
    }

    /// Number of requests.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no request.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Number of different blocks.
    #[must_use]
    pub fn distinct_blocks(&self) -> u32 {
        self.distinct
    }

    /// The requests in order, each with its blocks, numbered from 0 in order of first
    /// appearance.
    pub fn requests(&self) -> impl Iterator<Item = (&Entry, &[u32])> + '_ {
        let mut start = 0;
        self.entries.iter().map(move |entry| {
            let blocks = &self.blocks[start..entry.end];
            start = entry.end;
            (entry, blocks)
        })
    }
}
