//! Puts logs that are nearly in order of arrival into it, with bounded memory.

use super::{LineProblem, Request, TraceError, lines::Lines};
use std::{cmp::Ordering, collections::BinaryHeap};

/// Requests that are held at most. A log written at the end of each request is out of order
/// by the requests in flight, which are far fewer.
const WINDOW: usize = 4_096;

/// The next requests of a log, in order of arrival.
#[derive(Default)]
pub(super) struct Window {
    held: BinaryHeap<Held>,
    taken: u64,
    is_at_end: bool,
}

/// A request, and its place among those that arrive at the same time.
struct Held {
    request: Request,
    number: u64,
}

impl Window {
    /// Gives the earliest request of the window, which `read` fills first. An error when a
    /// request is later in the log than the window can put right.
    pub(super) fn next(
        &mut self,
        lines: &mut Lines,
        time_field: &'static str,
        mut read: impl FnMut(&mut Lines) -> Result<Option<Request>, TraceError>,
    ) -> Result<Option<Request>, TraceError> {
        while !self.is_at_end && self.held.len() < WINDOW {
            let Some(request) = read(lines)? else {
                self.is_at_end = true;
                break;
            };
            let (from_ms, to_ms) = (lines.last_ms(), request.time_ms);
            if to_ms < from_ms {
                let problem = LineProblem::TimeGoesBack { field: time_field, from_ms, to_ms };
                return Err(lines.error(problem));
            }
            self.held.push(Held { request, number: self.taken });
            self.taken += 1;
        }
        let Some(Held { request, .. }) = self.held.pop() else { return Ok(None) };
        lines.advance(time_field, request.time_ms).map_err(|problem| lines.error(problem))?;
        Ok(Some(request))
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
    use crate::trace::Input;

    fn order(times: &[u64]) -> Result<Vec<(u64, u32)>, String> {
        let text = times.iter().map(|time| format!("{time}\n")).collect::<String>();
        let mut lines = Lines::new(Input::from_bytes("t", text).unwrap());
        let mut window = Window::default();
        let mut number = 0;
        let mut ordered = Vec::new();
        let mut read = |lines: &mut Lines| {
            number += 1;
            let time = lines.next_json()?;
            Ok(time.map(|time_ms| Request { time_ms, input_tokens: number, ..Request::default() }))
        };
        while let Some(request) =
            window.next(&mut lines, "time", &mut read).map_err(|error| error.to_string())?
        {
            ordered.push((request.time_ms, request.input_tokens));
        }
        Ok(ordered)
    }

    #[test]
    fn equal_times_keep_the_order_of_the_log() {
        let expected = vec![(1, 2), (2, 4), (3, 1), (3, 3), (3, 5)];
        assert_eq!(order(&[3, 1, 3, 2, 3]).unwrap(), expected);
        assert!(order(&[]).unwrap().is_empty());
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
