//! One request of a trace, and whatever gives requests in order of arrival.

use std::error::Error;

/// One request. Its prompt is known by the ids of its blocks.
///
/// An id names a block *and everything before it*: two requests with an equal id at some
/// position have equal prompts up to the end of that block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Arrival, in ms from any fixed point; never before the request ahead of it.
    pub time_ms: u64,
    /// Tokens of the prompt, at least one.
    pub input_tokens: u32,
    /// Tokens of the output.
    pub output_tokens: u32,
    /// One id per block of the prompt, `input_tokens / block_size` rounded up: the last
    /// block may be partial.
    pub blocks: Vec<u64>,
    /// The conversation it belongs to, where the trace says.
    pub session: Option<u64>,
    /// Its turn in the conversation, from 0, where the trace says.
    pub turn: Option<u32>,
    /// The kind of work (chat, API, search ...), numbered by the trace.
    pub category: Option<u16>,
}

/// Gives the requests of a trace in order of arrival, one at a time: a trace may be larger
/// than memory.
pub trait Source {
    /// Why a request could not be given.
    type Error: Error;

    /// Tokens per block id.
    fn block_size(&self) -> u32;

    /// Overwrites `request` with the next one; `false` when there is none left.
    ///
    /// # Errors
    /// The trace cannot be read, or is malformed; the message names the place.
    fn read_next(&mut self, request: &mut Request) -> Result<bool, Self::Error>;

    /// How much of the trace has been read, from 0 to 1, where its size is known.
    fn fraction_read(&self) -> Option<f64> {
        None
    }
}

impl<S: Source + ?Sized> Source for Box<S> {
    type Error = S::Error;

    fn block_size(&self) -> u32 {
        (**self).block_size()
    }

    fn read_next(&mut self, request: &mut Request) -> Result<bool, Self::Error> {
        (**self).read_next(request)
    }

    fn fraction_read(&self) -> Option<f64> {
        (**self).fraction_read()
    }
}
