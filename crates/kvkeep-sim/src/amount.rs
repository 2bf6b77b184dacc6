//! Amounts with a unit: `12.58GiB`, `12GB`, `32k`, and counts: `300`, `1k`.
//!
//! Read in exact decimal arithmetic and rounded down, so that `12.58GiB` is the same number
//! of bytes everywhere.

/// Digits after the point; more would not change a byte of a terabyte.
const MAX_FRACTION_DIGITS: usize = 15;

/// Parses a number of bytes.
///
/// `KiB`/`MiB`/`GiB`/`TiB` are powers of 1024, `KB`/`MB`/`GB`/`TB` powers of 1000, in any
/// case. A single letter is read as vLLM reads it: `G` is binary, `g` decimal.
///
/// # Errors
/// Says what was expected.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = number_and_unit(text)?;
    let multiplier = byte_multiplier(unit.trim()).ok_or_else(|| {
        format!("unknown unit {unit:?}; use B, KiB, MiB, GiB, TiB or KB, MB, GB, TB")
    })?;
    scaled(number, multiplier)
}

/// Parses a number of tokens: `32768`, or as vLLM reads it `32k` (decimal) and `32K` (binary).
///
/// # Errors
/// Says what was expected.
pub fn parse_tokens(text: &str) -> Result<u64, String> {
    let (number, unit) = number_and_unit(text)?;
    let multiplier = letter_multiplier(unit)
        .ok_or_else(|| format!("unknown unit {unit:?}; use k or m (decimal), K or M (binary)"))?;
    scaled(number, multiplier)
}

/// Parses a count of blocks or requests, at least 1: `300`, `1k`, `2.5M`, in any case decimal.
///
/// # Errors
/// Says what was expected.
pub fn parse_count<N: TryFrom<u64>>(text: &str) -> Result<N, String> {
    let (number, unit) = number_and_unit(text)?;
    let multiplier = match unit {
        "" => 1,
        "k" | "K" => 1_000,
        "m" | "M" => 1_000_000,
        _ => return Err(format!("unknown unit {unit:?}; use k for thousands or M for millions")),
    };
    match scaled(number, multiplier)? {
        0 => Err("expected at least 1".to_owned()),
        count => N::try_from(count).map_err(|_| format!("{count} is too large")),
    }
}

fn number_and_unit(text: &str) -> Result<(&str, &str), String> {
    match text.find(|c: char| !c.is_ascii_digit() && c != '.') {
        Some(0) => {
            Err(format!("{text:?} does not begin with a digit; it takes a number and a unit"))
        }
        unit_start => Ok(text.split_at(unit_start.unwrap_or(text.len()))),
    }
}

fn byte_multiplier(unit: &str) -> Option<u64> {
    if let Some(multiplier) = letter_multiplier(unit) {
        return Some(multiplier);
    }
    match unit.to_ascii_lowercase().as_str() {
        "b" => Some(1),
        "kib" => Some(1 << 10),
        "mib" => Some(1 << 20),
        "gib" => Some(1 << 30),
        "tib" => Some(1 << 40),
        "kb" => Some(1_000),
        "mb" => Some(1_000_000),
        "gb" => Some(1_000_000_000),
        "tb" => Some(1_000_000_000_000),
        _ => None,
    }
}

fn letter_multiplier(unit: &str) -> Option<u64> {
    match unit {
        "" => Some(1),
        "k" => Some(1_000),
        "m" => Some(1_000_000),
        "g" => Some(1_000_000_000),
        "t" => Some(1_000_000_000_000),
        "K" => Some(1 << 10),
        "M" => Some(1 << 20),
        "G" => Some(1 << 30),
        "T" => Some(1 << 40),
        _ => None,
    }
}

/// `floor(number * multiplier)`.
fn scaled(number: &str, multiplier: u64) -> Result<u64, String> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') || (number.contains('.') && fraction.is_empty()) {
        return Err(format!("{number:?} is not a number"));
    }
    if multiplier == 1 && !fraction.is_empty() {
        return Err(format!("{number:?} has a fraction; name a unit or drop it"));
    }
    if fraction.len() > MAX_FRACTION_DIGITS {
        return Err(format!("more than {MAX_FRACTION_DIGITS} digits after the point"));
    }
    let too_large = || format!("{number} is too large");
    let digits: u128 = format!("{whole}{fraction}").parse().map_err(|_| too_large())?;
    let product = digits.checked_mul(u128::from(multiplier)).ok_or_else(too_large)?;
    let scale = 10_u128.pow(fraction.len() as u32);
    u64::try_from(product / scale).map_err(|_| too_large())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_exact_and_rounded_down() {
        for (text, bytes) in [
            ("0", 0),
            ("13507672145", 13_507_672_145),
            // 12.58 * 2^30 = 13,507,672,145.92
            ("12.58GiB", 13_507_672_145),
            ("12.58 gib", 13_507_672_145),
            ("12GB", 12_000_000_000),
            ("24GiB", 25_769_803_776),
            ("1G", 1 << 30),
            ("1g", 1_000_000_000),
            ("0.5KiB", 512),
            ("512 MiB", 536_870_912),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "GiB",
            "-1",
            "1.5",
            "1..5GiB",
            ".5GiB",
            "1.GiB",
            "12 bananas",
            "1e9",
            "99999999999TiB",
        ] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_sign_is_no_unit() {
        for refused in [parse_bytes("-1"), parse_tokens("-1"), parse_bytes("GiB")] {
            assert!(refused.is_err_and(|why| why.contains("does not begin with a digit")));
        }
    }

    #[test]
    fn counts() {
        for (text, count) in [("300", 300), ("1k", 1_000), ("2.5K", 2_500), ("1.5M", 1_500_000)] {
            assert_eq!(parse_count(text), Ok(count), "{text}");
        }
        for text in ["", "0", "0.1k0", "1.5", "-3", "1G", "1KiB", "12 apples", "4295M"] {
            assert!(parse_count::<u32>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn tokens() {
        assert_eq!(parse_tokens("40960"), Ok(40_960));
        assert_eq!(parse_tokens("32k"), Ok(32_000));
        assert_eq!(parse_tokens("32K"), Ok(32_768));
        assert!(parse_tokens("32KiB").is_err());
    }
}
