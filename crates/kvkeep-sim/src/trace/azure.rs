//! Reads the Azure LLM inference traces: CSV with `TIMESTAMP,ContextTokens,GeneratedTokens`.
//!
//! They have lengths only. Nobody knows which prompts share a prefix, so every block has an
//! id of its own and nothing ever hits. Times are dates with a time of day to any fraction of
//! a second, in UTC.
//!
//! "Splitwise", ISCA 2024; "DynamoLLM", HPCA 2025.

use super::{
    Input, LineProblem, Request, Source, TraceError, chain,
    fresh::FreshIds,
    lines::{Lines, prompt_tokens, tokens},
};
use std::num::NonZeroU32;

/// The first line.
pub(super) const HEADER: &str = "TIMESTAMP,ContextTokens,GeneratedTokens";

/// Streams the requests of a trace in this format.
pub struct Azure {
    lines: Lines,
    requests: u64,
    block_size: u32,
    fresh: FreshIds,
}

impl Azure {
    /// Reads the header of `input`; prompts are cut into blocks of `block_size` tokens, 16
    /// where that is not given.
    ///
    /// # Errors
    /// The header is another one.
    pub fn new(input: Input, block_size: Option<NonZeroU32>) -> Result<Self, TraceError> {
        let mut lines = Lines::new(input);
        let is_header = lines.next()?.map(|line| line.trim_ascii() == HEADER.as_bytes());
        match is_header {
            None => return Err(lines.no_requests()),
            Some(false) => {
                let why = format!("expected {HEADER}");
                return Err(lines.error(LineProblem::field("header", why)));
            }
            Some(true) => {}
        }
        let block_size = chain::block_size(block_size);
        Ok(Self { lines, requests: 0, block_size, fresh: FreshIds::new() })
    }

    /// Time in ms and both lengths of the next line.
    fn next_line(&mut self) -> Result<Option<(u64, u32, u32)>, TraceError> {
        let Some(line) = self.lines.next()? else { return Ok(None) };
        parse(line).map(Some).map_err(|problem| self.lines.error(problem))
    }
}

fn parse(line: &[u8]) -> Result<(u64, u32, u32), LineProblem> {
    let line = str::from_utf8(line)
        .map_err(|_| LineProblem::field("line", "expected text in UTF-8"))?
        .trim();
    let mut fields = line.split(',');
    let (Some(time), Some(context), Some(generated), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(LineProblem::field("line", format!("expected {HEADER}")));
    };
    let number = |field, text: &str| {
        text.trim().parse::<u64>().map_err(|_| {
            LineProblem::field(field, format!("expected a number of tokens, found {text:?}"))
        })
    };
    Ok((
        time_ms(time).ok_or_else(|| {
            let why = format!("expected a time like 2023-11-16 18:17:03.97996, found {time:?}");
            LineProblem::field("TIMESTAMP", why)
        })?,
        prompt_tokens("ContextTokens", number("ContextTokens", context)?)?,
        tokens("GeneratedTokens", number("GeneratedTokens", generated)?)?,
    ))
}

/// Milliseconds since 1970 of a date and a time of day in UTC.
fn time_ms(text: &str) -> Option<u64> {
    let text = text.trim();
    let text = text.strip_suffix("+00:00").or(text.strip_suffix('Z')).unwrap_or(text);
    let (date, time) = text.split_once([' ', 'T'])?;
    let mut date = date.splitn(3, '-').map(digits);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.splitn(3, ':').map(digits);
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let is_sound = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60
        && !fraction.is_empty()
        && fraction.bytes().all(|digit| digit.is_ascii_digit());
    if !is_sound {
        return None;
    }
    let ms = fraction
        .bytes()
        .chain(*b"000")
        .take(3)
        .fold(0, |ms, digit| ms * 10 + u64::from(digit - b'0'));
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(seconds * 1_000 + ms)
}

fn digits(text: &str) -> Option<u64> {
    let is_number = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

/// Days from 1970-01-01 in the Gregorian calendar. Years start in March here, so that the
/// leap day is a year's last.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    // 153 days are five months from March on: 31 30 31 30 31.
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

impl Source for Azure {
    type Error = TraceError;

    fn block_size(&self) -> u32 {
        self.block_size
    }

    fn read_next(&mut self, request: &mut Request) -> Result<bool, TraceError> {
        let Some((time_ms, input_tokens, output_tokens)) = self.next_line()? else {
            return if self.requests == 0 { Err(self.lines.no_requests()) } else { Ok(false) };
        };
        let time_ms = self.lines.advance("TIMESTAMP", time_ms);
        request.time_ms = time_ms.map_err(|problem| self.lines.error(problem))?;
        request.input_tokens = input_tokens;
        request.output_tokens = output_tokens;
        request.blocks.clear();
        let blocks = input_tokens.div_ceil(self.block_size);
        request.blocks.extend((0..blocks).map(|_| self.fresh.next()));
        (request.session, request.turn, request.category) = (None, None, None);
        self.requests += 1;
        Ok(true)
    }

    fn fraction_read(&self) -> Option<f64> {
        self.lines.fraction_read()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::testing::read_all;

    fn read(trace: &str) -> Result<Vec<Request>, String> {
        let azure = Azure::new(Input::from_bytes("t", trace).unwrap(), None);
        read_all(azure.map_err(|error| error.to_string())?)
    }

    #[test]
    fn times_are_milliseconds_since_1970() {
        for (text, expected) in [
            ("1970-01-01 00:00:00", 0),
            ("1970-03-01 00:00:00.5", 59 * 86_400_000 + 500),
            // 30 years, of which 7 leap years; 2000 is one.
            ("2000-02-29T23:59:59.999Z", (10_957 + 31 + 29) * 86_400_000 - 1),
            ("2000-03-01 00:00:00.0000000+00:00", (10_957 + 60) * 86_400_000),
            // 1700158623 is this second in Unix time.
            ("2023-11-16 18:17:03.9799600", 1_700_158_623_979),
        ] {
            assert_eq!(time_ms(text), Some(expected), "{text}");
        }
        for bad in ["", "2023-11-16", "2023-13-16 00:00:00", "2023-11-16 24:00:00", "1-1-1 1:1:1.x"]
        {
            assert_eq!(time_ms(bad), None, "{bad}");
        }
    }

    #[test]
    fn nothing_is_shared() {
        let line = "2023-11-16 18:17:03.9799600,33,10";
        let requests = read(&format!("{HEADER}\r\n{line}\r\n{line}")).unwrap();
        let mut ids: Vec<u64> = requests.iter().flat_map(|r| r.blocks.clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 6);
        assert_eq!((requests[0].input_tokens, requests[0].output_tokens), (33, 10));
    }

    #[test]
    fn malformed_lines_are_named() {
        let good = "2023-11-16 18:17:03,33,10";
        for (bad, message) in [
            ("2023-11-16 18:17:03,33", "line: expected TIMESTAMP"),
            ("2023-11-16 18:17:03,33,1,1", "line: expected TIMESTAMP"),
            ("yesterday,33,1", "TIMESTAMP: expected a time like"),
            ("2023-11-16 18:17:03,x,1", "ContextTokens: expected a number of tokens, found \"x\""),
            ("2023-11-16 18:17:03,0,1", "ContextTokens: expected at least one prompt token"),
            ("2023-11-16 18:17:02,3,1", "TIMESTAMP: 1700158622000 ms is before"),
        ] {
            let found = read(&format!("{HEADER}\n{good}\n{bad}")).unwrap_err();
            assert!(found.starts_with(&format!("t:3: {message}")), "{found}");
        }
        assert_eq!(read(HEADER).unwrap_err(), "t: the trace has no requests");
        assert!(read("a,b,c").unwrap_err().starts_with("t:1: header: expected TIMESTAMP"));
    }
}
