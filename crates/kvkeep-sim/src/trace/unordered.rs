//! Reads logs that are nearly in order of arrival, in order, with bounded memory.

use super::{Input, LineProblem, Request, Source, TraceError, lines::Lines};
use serde::de::DeserializeOwned;
use std::{cmp::Ordering, collections::BinaryHeap};

/// Requests that are held at most. A log written at the end of each request is out of order
/// by the requests in flight, which are far fewer.
const WINDOW: usize = 4_096;

/// What the lines of a log mean.
pub trait Log {
    /// One line.
    type Line: DeserializeOwned;

    /// Its field with the time of arrival.
    const TIME_FIELD: &'static str;

    /// Tokens per block, once a line has been read.
    fn block_size(&self) -> u32;

    /// The request of a line, if it has one.
    ///
    /// # Errors
    /// The line makes no sense.
    fn request(&mut self, line: Self::Line) -> Result<Option<Request>, LineProblem>;
}

/// Streams the requests of a log, in order of arrival.
pub struct Unordered<L> {
    lines: Lines,
    log: L,
    held: BinaryHeap<Held>,
    taken: u64,
    is_at_end: bool,
}

/// A request, and its place among those that arrive at the same time.
struct Held {
    request: Request,
    number: u64,
}

impl<L: Log> Unordered<L> {
    /// Reads the first requests of `input`.
    pub(super) fn open(input: Input, log: L) -> Result<Self, TraceError> {
        let mut opened = Self {
            lines: Lines::new(input),
            log,
            held: BinaryHeap::new(),
            taken: 0,
            is_at_end: false,
        };
        opened.fill()?;
        if opened.held.is_empty() {
            return Err(opened.lines.no_requests());
        }
        Ok(opened)
    }

    /// Fills the window. An error when a request is later in the log than the window can put
    /// right.
    fn fill(&mut self) -> Result<(), TraceError> {
        let Self { lines, log, .. } = self;
        while !self.is_at_end && self.held.len() < WINDOW {
            let Some(line) = lines.next_json()? else {
                self.is_at_end = true;
                break;
            };
            let request = log.request(line).map_err(|problem| lines.error(problem))?;
            let Some(request) = request else { continue };
            let (from_ms, to_ms) = (lines.last_ms(), request.time_ms);
            if to_ms < from_ms {
                let problem = LineProblem::TimeGoesBack { field: L::TIME_FIELD, from_ms, to_ms };
                return Err(lines.error(problem));
            }
            self.held.push(Held { request, number: self.taken });
            self.taken += 1;
        }
        Ok(())
    }
}

impl<L: Log> Source for Unordered<L> {
    type Error = TraceError;

    fn block_size(&self) -> u32 {
        self.log.block_size()
    }

    fn read_next(&mut self, request: &mut Request) -> Result<bool, TraceError> {
        self.fill()?;
        let Some(earliest) = self.held.pop() else { return Ok(false) };
        *request = earliest.request;
        let advanced = self.lines.advance(L::TIME_FIELD, request.time_ms);
        advanced.map_err(|problem| self.lines.error(problem))?;
        Ok(true)
    }

    fn fraction_read(&self) -> Option<f64> {
        self.lines.fraction_read()
    }
}

/// The earliest request is the greatest: the heap gives the greatest first.
impl Ord for Held {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |held: &Self| (held.request.time_ms, held.number);
        key(other).cmp(&key(self))
    }
}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Held {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::testing::read_all;

    /// Each line is a time; prompts are as long as the lines before.
    struct Times(u32);

    impl Log for Times {
        type Line = u64;

        const TIME_FIELD: &'static str = "time";

        fn block_size(&self) -> u32 {
            u32::MAX
        }

        fn request(&mut self, time_ms: u64) -> Result<Option<Request>, LineProblem> {
            self.0 += 1;
            let (input_tokens, blocks) = (self.0, vec![0]);
            Ok(Some(Request { time_ms, input_tokens, blocks, ..Request::default() }))
        }
    }

    fn order(times: &[u64]) -> Result<Vec<(u64, u32)>, String> {
        let text = times.iter().map(|time| format!("{time}\n")).collect::<String>();
        let opened = Unordered::open(Input::from_bytes("t", text).unwrap(), Times(0));
        let requests = read_all(opened.map_err(|error| error.to_string())?)?;
        Ok(requests.iter().map(|request| (request.time_ms, request.input_tokens)).collect())
    }

    #[test]
    fn equal_times_keep_the_order_of_the_log() {
        let expected = vec![(1, 2), (2, 4), (3, 1), (3, 3), (3, 5)];
        assert_eq!(order(&[3, 1, 3, 2, 3]).unwrap(), expected);
        assert_eq!(order(&[]).unwrap_err(), "t: the trace has no requests");
    }

    #[test]
    fn what_is_too_late_for_the_window_is_an_error() {
        let mut times: Vec<u64> = (10..10 + WINDOW as u64).collect();
        times.push(10);
        assert!(order(&times).is_ok());
        times.push(10);
        assert_eq!(order(&times).unwrap()[2], (10, WINDOW as u32 + 2));
        times.push(1);
        let message = order(&times).unwrap_err();
        assert!(
            message.starts_with(&format!("t:{}: time: 1 ms is before", WINDOW + 3)),
            "{message}"
        );
    }
}
