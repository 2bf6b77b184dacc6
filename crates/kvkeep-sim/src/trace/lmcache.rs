//! Reads the hash logs of LMCache: JSON Lines, one lookup a line.
//!
//! Two of its logs have the same fields, the lookup hash log (`--lookup-hash-log-dir`) and the
//! chunk statistics (strategy `file_hash`):
//!
//! * `timestamp`: Unix time in s.
//! * `chunk_hashes`: one chained hash for each *full* chunk of the prompt, as a hexadecimal
//!   string of any length, with or without `0x`, or as a number below 2^64.
//! * `chunk_size`: tokens per chunk, the same in all lines. The chunk statistics lack it: 256
//!   unless said otherwise.
//! * `seq_len`: tokens of the prompt. The chunk statistics lack it: the full chunks are
//!   taken for the prompt, and a lookup without any chunk is skipped.
//!
//! Others are ignored. The partial last chunk gets an id that nothing shares. Hashes longer
//! than 64 bits are folded to 64. Outputs are unknown: their length is 0. Logs are put into
//! order of time among the next 4,096 lookups; one that is later than that is an error.

use super::{
    Input, LineProblem, Request, TraceError,
    fresh::FreshIds,
    lines::{block_size, id_count, seconds, tokens},
    unordered::{Log, Unordered},
};
use serde::{Deserialize, Deserializer, de};
use std::{fmt, num::NonZeroU32};

/// Tokens per chunk where neither the log nor the caller says.
const CHUNK_SIZE: u32 = 256;

/// One line.
#[derive(Deserialize)]
#[serde(expecting = "a JSON object with timestamp and chunk_hashes")]
pub struct Line {
    timestamp: f64,
    chunk_hashes: Vec<ChunkHash>,
    chunk_size: Option<u32>,
    seq_len: Option<u64>,
}

/// Streams the lookups of a log.
pub type LmCache = Unordered<Lookups>;

/// What is known from the lines so far.
pub struct Lookups {
    /// Of lines that do not say.
    default_chunk_size: u32,
    /// None before the first line.
    chunk_size: Option<u32>,
    fresh: FreshIds,
}

impl LmCache {
    /// Reads the first lookups of `input`. `chunk_size` is that of lines that do not say.
    ///
    /// # Errors
    /// There is no lookup, or one of the first is malformed.
    pub fn new(input: Input, chunk_size: Option<NonZeroU32>) -> Result<Self, TraceError> {
        let default_chunk_size = chunk_size.map_or(CHUNK_SIZE, NonZeroU32::get);
        let fresh = FreshIds::new();
        Self::open(input, Lookups { default_chunk_size, chunk_size: None, fresh })
    }
}

impl Log for Lookups {
    type Line = Line;

    const TIME_FIELD: &'static str = "timestamp";

    fn block_size(&self) -> u32 {
        self.chunk_size.unwrap_or(self.default_chunk_size)
    }

    /// The request of a line, if it looked anything up.
    fn request(&mut self, line: Line) -> Result<Option<Request>, LineProblem> {
        let size = line.chunk_size.unwrap_or(self.default_chunk_size);
        let size = block_size("chunk_size", size)?;
        let expected = *self.chunk_size.get_or_insert(size);
        if size != expected {
            let why = format!("expected {expected} as in the first line, found {size}");
            return Err(LineProblem::field("chunk_size", why));
        }
        let full_tokens = (line.chunk_hashes.len() as u64).saturating_mul(u64::from(size));
        let input_tokens = tokens("seq_len", line.seq_len.unwrap_or(full_tokens))?;
        if input_tokens == 0 && line.chunk_hashes.is_empty() {
            return Ok(None);
        }
        let mut blocks: Vec<u64> = line.chunk_hashes.into_iter().map(|hash| hash.0).collect();
        self.fresh.complete(&mut blocks, input_tokens, size);
        id_count("chunk_hashes", "seq_len", blocks.len(), input_tokens, size)?;
        Ok(Some(Request {
            time_ms: seconds("timestamp", line.timestamp)?,
            input_tokens,
            blocks,
            ..Request::default()
        }))
    }
}

/// A hash as 64 bits.
struct ChunkHash(u64);

impl<'de> Deserialize<'de> for ChunkHash {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = ChunkHash;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a hexadecimal string or a number below 2^64")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<ChunkHash, E> {
                Ok(ChunkHash(number))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ChunkHash, E> {
                let wrong = || E::invalid_value(de::Unexpected::Str(text), &Visitor);
                let digits = text.strip_prefix("0x").unwrap_or(text);
                if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                    return Err(wrong());
                }
                // Groups of 16 digits from the end, so that leading zeros mean nothing.
                let mut hash = 0_u64;
                for group in digits.as_bytes().rchunks(16) {
                    let group = str::from_utf8(group).map_err(|_| wrong())?;
                    hash ^= u64::from_str_radix(group, 16).map_err(|_| wrong())?;
                }
                Ok(ChunkHash(hash))
            }
        }
        from.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::testing::read_all;

    fn read(trace: &str) -> Result<Vec<Request>, String> {
        let log = LmCache::new(Input::from_bytes("t", trace).unwrap(), None);
        read_all(log.map_err(|error| error.to_string())?)
    }

    #[test]
    fn a_lookup_hash_log_has_sizes_and_the_tail_is_nobodys() {
        let line = |time: &str| {
            format!(
                r#"{{"timestamp": {time}, "request_id": "r", "model_name": "m", "chunk_size": 4, "seq_len": 9, "dtypes": [], "shapes": [], "chunk_hashes": ["0x0a", "000000000000000000000000000000010000000000000003"]}}"#
            )
        };
        let requests = read(&format!("{}\n{}", line("2.5"), line("1.25"))).unwrap();
        assert_eq!(requests[0].time_ms, 1_250);
        assert_eq!((requests[0].input_tokens, requests[0].output_tokens), (9, 0));
        assert_eq!(requests[0].blocks[..2], [10, 2]);
        assert_eq!(requests[1].blocks[..2], [10, 2]);
        assert_ne!(requests[0].blocks[2], requests[1].blocks[2]);
    }

    #[test]
    fn chunk_statistics_have_hashes_only() {
        let requests = read(
            r#"{"timestamp": 1, "lookup_id": "x", "chunk_hashes": []}
               {"timestamp": 1, "lookup_id": "x", "chunk_hashes": ["ff", 7]}"#,
        )
        .unwrap();
        assert_eq!(requests.len(), 1);
        assert_eq!((requests[0].input_tokens, &*requests[0].blocks), (512, &[255, 7][..]));
    }

    #[test]
    fn malformed_lines_are_named() {
        let good = r#"{"timestamp": 1, "chunk_size": 4, "seq_len": 5, "chunk_hashes": ["a"]}"#;
        for (from, to, message) in [
            (": 4", ": 8", "chunk_size: expected 4 as in the first line, found 8"),
            (": 5", ": 9", "chunk_hashes: expected 3 ids of 4 tokens for seq_len 9, found 1"),
            (": 1", ": -1", "timestamp: expected seconds"),
            ("\"a\"", "\"0xg\"", "chunk_hashes[0]: invalid value: string \"0xg\", expected a hexa"),
            ("\"a\"", "\"\"", "chunk_hashes[0]: invalid value"),
            ("\"timestamp\": 1, ", "", "missing field `timestamp`"),
        ] {
            let found = read(&format!("{good}\n{}", good.replace(from, to))).unwrap_err();
            assert!(found.starts_with(&format!("t:2: {message}")), "{found}");
        }
    }
}
