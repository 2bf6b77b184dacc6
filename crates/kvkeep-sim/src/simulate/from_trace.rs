//! Feeds a trace to the replay. A trace names blocks and the block manager wants tokens, so they
//! are made up: the n-th distinct id stands for the tokens `n * block_size ..`, and different
//! ids never share one. Outputs are unknown, so each takes tokens that nothing else has, from
//! the other end of the token space.

use super::workload::{Request, Workload, WorkloadError};
use crate::trace::{self, Source, TraceError};
use std::{collections::HashMap, ops::Range};

/// The requests of a trace, with tokens.
pub(super) struct FromTrace<S> {
    source: S,
    /// What to call the trace in messages.
    name: String,
    /// The request at hand, as the trace has it.
    request: trace::Request,
    requests: u64,
    /// Trace ids, numbered in order of appearance.
    ids: HashMap<u64, u32>,
    /// Output tokens are taken downwards from here.
    outputs_from: u32,
}

impl<S: Source<Error = TraceError>> FromTrace<S> {
    /// Adds tokens to `source`, called `name` in messages.
    pub(super) fn new(source: S, name: &str) -> Self {
        Self {
            source,
            name: name.into(),
            request: trace::Request::default(),
            requests: 0,
            ids: HashMap::new(),
            outputs_from: u32::MAX,
        }
    }

    /// Writes the tokens that the request's ids stand for; none when they run out.
    fn write_prompt(&mut self, prompt: &mut Vec<u32>) -> Option<()> {
        prompt.clear();
        let tokens_per_id = u64::from(self.source.block_size());
        let mut tokens_left = u64::from(self.request.input_tokens);
        for &id in &self.request.blocks {
            let next = self.ids.len() as u64;
            if (next + 1) * tokens_per_id > u64::from(self.outputs_from)
                && !self.ids.contains_key(&id)
            {
                return None;
            }
            // The check above keeps every id's tokens below 2^32, and so the casts.
            let index = *self.ids.entry(id).or_insert(next as u32);
            let first = index * tokens_per_id as u32;
            let covered = tokens_left.min(tokens_per_id) as u32;
            prompt.extend(first..first + covered);
            tokens_left -= u64::from(covered);
        }
        Some(())
    }

    /// Takes tokens for the output that no other output and no prompt has.
    fn take_output(&mut self) -> Option<Range<u32>> {
        let prompts_end = self.ids.len() as u64 * u64::from(self.source.block_size());
        let start = self.outputs_from.checked_sub(self.request.output_tokens)?;
        if u64::from(start) < prompts_end {
            return None;
        }
        let output = start..self.outputs_from;
        self.outputs_from = start;
        Some(output)
    }
}

impl<S: Source<Error = TraceError>> Workload for FromTrace<S> {
    fn read_next(&mut self, request: &mut Request) -> Result<bool, WorkloadError> {
        if !self.source.read_next(&mut self.request)? {
            return Ok(false);
        }
        self.requests += 1;
        let output = self.write_prompt(&mut request.prompt).and_then(|()| self.take_output());
        request.output = output.ok_or_else(|| WorkloadError::TraceTooLong {
            name: self.name.clone(),
            request: self.requests,
        })?;
        request.timestamp_ms = self.request.time_ms;
        Ok(true)
    }

    fn fraction_read(&self) -> Option<f64> {
        self.source.fraction_read()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Input, Mooncake};

    /// Requests as (timestamp, prompt, output), or the message of the first error.
    fn read(trace: &str) -> Result<Vec<Request>, String> {
        let source = Mooncake::new(Input::from_bytes("t.jsonl", trace).unwrap(), None).unwrap();
        let mut reader = FromTrace::new(source, "t.jsonl");
        let mut requests = Vec::new();
        loop {
            let mut request = Request::default();
            match reader.read_next(&mut request) {
                Ok(true) => requests.push(request),
                Ok(false) => return Ok(requests),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    fn line(input_length: u32, output_length: u32, hash_ids: &[u64]) -> String {
        format!(
            r#"{{"timestamp": 5, "input_length": {input_length}, "output_length": {output_length}, "hash_ids": {hash_ids:?}}}"#
        )
    }

    #[test]
    fn ids_are_numbered_in_order_of_appearance_and_the_last_is_partial() {
        let trace = format!("{}\n{}\n", line(514, 3, &[900, 7]), line(1024, 2, &[900, 8]));
        let requests = read(&trace).unwrap();
        assert_eq!(requests.len(), 2);
        assert_eq!(requests[0].timestamp_ms, 5);
        assert_eq!(requests[0].prompt, (0..514).collect::<Vec<u32>>());
        // Id 8 is the third: its tokens start at 2 * 512.
        assert_eq!(requests[1].prompt, (0..512).chain(1024..1536).collect::<Vec<u32>>());
        let top = u32::MAX;
        assert_eq!(requests[0].output, top - 3..top);
        assert_eq!(requests[1].output, top - 5..top - 3);
    }

    #[test]
    fn a_buffer_that_is_used_again_keeps_nothing() {
        let trace = format!("{}\n{}", line(600, 9, &[1, 2]), line(2, 0, &[3]));
        let source = Mooncake::new(Input::from_bytes("t", trace).unwrap(), None).unwrap();
        let mut reader = FromTrace::new(source, "t");
        let mut request = Request::default();
        assert!(reader.read_next(&mut request).unwrap());
        assert!(reader.read_next(&mut request).unwrap());
        assert_eq!(request.prompt, [1024, 1025]);
        assert!(request.output.is_empty());
        assert!(!reader.read_next(&mut request).unwrap());
    }

    #[test]
    fn tokens_that_do_not_fit_u32_are_refused_not_shared() {
        let message = "t.jsonl: the distinct blocks and the outputs up to request 2 exceed 2^32 \
                       tokens; stop after fewer requests, or split the trace";
        // All but the tokens of two ids go to the first output.
        let full = line(1, u32::MAX - 2 * 512, &[1]);
        assert!(read(&format!("{full}\n{}", line(513, 0, &[1, 2]))).is_ok());
        assert!(read(&format!("{full}\n{}", line(1, 512, &[1]))).is_ok());
        for too_long in [line(1025, 0, &[1, 2, 3]), line(1, 513, &[1]), line(1, u32::MAX, &[1])] {
            assert_eq!(read(&format!("{full}\n{too_long}")).unwrap_err(), message);
        }
    }
}
