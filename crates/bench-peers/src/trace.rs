//! Replay of the Mooncake conversation trace: prompts only, one request after another.
//!
//! A row names its prompt as one id per 512 tokens; the replay turns an id into 512
//! tokens of its own, in front of the manager and outside the time that is measured.

use std::fs;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use serde::Deserialize;

use crate::clock;
use crate::peer::{Peer, prefill};

/// The file looked for in the directory of traces.
pub(crate) const FILE_NAME: &str = "mooncake_conversation_trace.jsonl";

/// Tokens that one id of the trace stands for.
const TOKENS_PER_ID: usize = 512;

/// Blocks of the pool that the trace runs against.
const POOL_BLOCKS: usize = 100_000;

/// A request of the trace.
#[derive(Deserialize)]
pub(crate) struct Row {
    input_length: usize,
    hash_ids: Vec<u32>,
}

impl Row {
    /// Writes the prompt's tokens over `out`.
    fn expand(&self, out: &mut Vec<u32>) {
        out.clear();
        for &id in &self.hash_ids {
            let count = TOKENS_PER_ID.min(self.input_length - out.len());
            // Ids stay far below 2^23 (`read` checks), so ids never share a token.
            out.extend((0..count as u32).map(|j| id * TOKENS_PER_ID as u32 + j));
        }
    }

    fn is_consistent(&self) -> bool {
        self.hash_ids.len() == self.input_length.div_ceil(TOKENS_PER_ID)
            && self.hash_ids.iter().all(|&id| id < 1 << 23)
    }
}

/// Reads the trace from a directory.
pub(crate) fn read(directory: &Path) -> io::Result<Rc<[Row]>> {
    let path = directory.join(FILE_NAME);
    let bad = |line: usize, what: &str| {
        let message = format!("{}:{}: {what}", path.display(), line + 1);
        io::Error::new(io::ErrorKind::InvalidData, message)
    };
    let text = fs::read_to_string(&path)
        .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
    let rows = text.lines().enumerate().map(|(line, text)| {
        let row: Row = serde_json::from_str(text).map_err(|e| bad(line, &e.to_string()))?;
        if row.is_consistent() {
            Ok(row)
        } else {
            Err(bad(line, "hash_ids must hold one id below 2^23 per 512 tokens of input_length"))
        }
    });
    rows.collect()
}

/// What a replay gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replay {
    /// Requests per second of time inside the manager.
    pub(crate) requests_per_s: f64,
    /// Cached prompt tokens per prompt token, as the manager reported them.
    pub(crate) hit_rate: f64,
}

/// Replays all rows through a new manager.
pub(crate) fn replay<P: Peer>(rows: &[Row]) -> Replay {
    let mut peer = P::new(POOL_BLOCKS);
    let mut prompt = Vec::new();
    let mut elapsed = Duration::ZERO;
    let (mut tokens_cached, mut tokens) = (0, 0);
    for row in rows {
        row.expand(&mut prompt);
        let start = clock::now();
        tokens_cached += prefill(&mut peer, &prompt);
        elapsed += clock::now() - start;
        tokens += prompt.len();
    }
    Replay {
        requests_per_s: rows.len() as f64 / elapsed.as_secs_f64(),
        hit_rate: tokens_cached as f64 / tokens as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_id_is_cut_to_the_input_length() {
        let row = Row { input_length: 514, hash_ids: vec![3, 9] };
        let mut prompt = vec![1];
        row.expand(&mut prompt);
        assert_eq!(prompt.len(), 514);
        assert_eq!(prompt[0], 3 * 512);
        assert_eq!(prompt[511..], [4 * 512 - 1, 9 * 512, 9 * 512 + 1]);
    }

    #[test]
    fn rows_that_do_not_add_up_are_refused() {
        assert!(Row { input_length: 512, hash_ids: vec![1] }.is_consistent());
        assert!(!Row { input_length: 513, hash_ids: vec![1] }.is_consistent());
        assert!(!Row { input_length: 512, hash_ids: vec![1 << 23] }.is_consistent());
    }
}
