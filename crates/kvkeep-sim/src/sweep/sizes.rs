//! Cache sizes: as they are named, and which to sweep where none are.

use super::memory::Memory;
use crate::amount::{parse_bytes, parse_count};
use std::fmt;

/// Sizes from the longest request to the working set.
const STEPS: u32 = 12;
/// The largest pool that the manager makes.
const MAX_BLOCKS: u64 = 1 << 31;

/// A size as it was named.
#[derive(Clone, Debug, PartialEq)]
pub struct Size {
    name: String,
    amount: Amount,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Amount {
    Blocks(u64),
    Bytes(u64),
    /// Of the working set.
    Percent(f64),
}

impl Size {
    /// Parses `300`, `1k`, `2.5M` (blocks), `12.58GiB` (memory), `10%` (of the working set).
    ///
    /// # Errors
    /// Says what was expected.
    pub fn parse(name: &str) -> Result<Size, String> {
        let text = name.trim();
        let amount = if let Some(number) = text.strip_suffix('%') {
            let percent = number.trim().parse::<f64>().ok().filter(|percent| {
                // `inf`, `nan` and `1e9` are numbers to Rust.
                *percent > 0.0 && *percent <= 1_000.0 && !number.contains(['e', 'E'])
            });
            Amount::Percent(
                percent.ok_or("expected above 0 % and at most 1000 % of the working set")?,
            )
        } else if text.ends_with(['b', 'B']) {
            Amount::Bytes(parse_bytes(text)?)
        } else if text.ends_with(['g', 't', 'G', 'T']) {
            return Err(format!("blocks or memory? write {text}iB for memory"));
        } else {
            Amount::Blocks(parse_count(text).map_err(|_| {
                "expected blocks (300, 1k, 2.5M), memory (12.58GiB, 24GB) or a part of the working \
             set (10%)"
            })?)
        };
        Ok(Size { name: name.to_owned(), amount })
    }

    /// The blocks of it.
    fn blocks(&self, working_set: u64, memory: &Memory) -> Result<u32, SizeError> {
        let blocks = match self.amount {
            Amount::Blocks(blocks) => blocks,
            Amount::Bytes(bytes) => bytes / memory.bytes_per_block,
            Amount::Percent(percent) => (working_set as f64 * percent / 100.0) as u64,
        };
        let wrong = |why| Err(SizeError { size: self.name.clone(), why });
        match blocks {
            0 => wrong("that is less than one block".to_owned()),
            1..MAX_BLOCKS => Ok(blocks as u32),
            _ => wrong(format!("{blocks} blocks are more than a cache can have (2^31 - 1)")),
        }
    }
}

/// No cache can have this size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SizeError {
    size: String,
    why: String,
}

impl fmt::Display for SizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.size, self.why)
    }
}

impl std::error::Error for SizeError {}

/// The sizes to sweep, in blocks, ascending: those that are named, or the usual ones for a
/// working set and a longest request (blocks).
///
/// # Errors
/// No cache can have one of the sizes.
pub fn sizes(
    sizes: &[Size],
    working_set: u64,
    longest: u32,
    memory: &Memory,
) -> Result<Vec<u32>, SizeError> {
    let mut blocks = match sizes {
        [] => usual(working_set, longest, memory),
        _ => sizes.iter().map(|size| size.blocks(working_set, memory)).collect::<Result<_, _>>()?,
    };
    blocks.sort_unstable();
    blocks.dedup();
    Ok(blocks)
}

/// The deployment's, and steps of equal ratio between what runs the longest request and what
/// holds everything, rounded up to two digits.
fn usual(working_set: u64, longest: u32, memory: &Memory) -> Vec<u32> {
    let least = longest.saturating_add(1).min(MAX_BLOCKS as u32 - 1);
    let most = working_set.clamp(least.into(), MAX_BLOCKS - 1) as u32;
    let ratio = f64::from(most) / f64::from(least);
    let step = |n: u32| {
        let exact = f64::from(least) * ratio.powf(f64::from(n) / f64::from(STEPS - 1));
        let unit = 10_f64.powf((exact.log10().floor() - 1.0).max(0.0));
        ((exact / unit).ceil() * unit) as u32
    };
    // A step beside the deployment's size would say the same again.
    let is_beside = |blocks: u32| {
        let of_deployment = |here| (0.8..1.25).contains(&(f64::from(blocks) / f64::from(here)));
        memory.deployment.is_some_and(of_deployment)
    };
    let between = (1..STEPS - 1)
        .map(step)
        .filter(|blocks| (least..most).contains(blocks) && !is_beside(*blocks));
    between.chain([least, most]).chain(memory.deployment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Memory {
        Memory { name: String::new(), bytes_per_block: 64 << 20, deployment: Some(402) }
    }

    #[test]
    fn blocks_memory_and_parts() {
        for (name, blocks) in [
            ("300", 300),
            ("1k", 1_000),
            ("2.5K", 2_500),
            ("1.5M", 1_500_000),
            ("12.58GiB", 201),
            ("64MiB", 1),
            ("10%", 1_000),
            ("0.01%", 1),
            (" 250 % ", 25_000),
        ] {
            let size = Size::parse(name).unwrap();
            assert_eq!(size.blocks(10_000, &memory()).unwrap(), blocks, "{name}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for name in
            ["", "0", "k", "-3", "1.5", "0%", "-1%", "inf%", "nan%", "1e2%", "12 apples", "%"]
        {
            assert!(Size::parse(name).is_err(), "{name}");
        }
        assert!(Size::parse("3G").unwrap_err().contains("3GiB"));
        for (name, what) in [("63MiB", "less than"), ("3000M", "more than")] {
            let error =
                Size::parse(name).unwrap().blocks(10_000, &memory()).unwrap_err().to_string();
            assert!(error.contains(what) && error.contains(name), "{error}");
        }
    }

    #[test]
    fn the_usual_sizes_have_the_deployment_and_both_ends() {
        let chosen = sizes(&[], 170_000, 246, &memory()).unwrap();
        assert_eq!((chosen[0], chosen[1], *chosen.last().unwrap()), (247, 402, 170_000));
        assert_eq!(chosen.len(), 12);
        assert!(chosen[2..11].iter().all(|size| size % 10 == 0), "{chosen:?}");
        // A working set that no request fits beside.
        assert_eq!(sizes(&[], 5, 5, &memory()).unwrap(), [6, 402]);
        assert_eq!(sizes(&[], 0, 0, &memory()).unwrap(), [1, 402]);
    }
}
