//! The arithmetic of a budget as data: one line per step, so that a reader can redo it.

use std::fmt;

/// A result in the unit it is counted in.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Bytes.
    Bytes(u64),
    /// Transformer layers.
    Layers(u64),
    /// KV heads.
    Heads(u64),
    /// Blocks.
    Blocks(u64),
    /// Tokens.
    Tokens(u64),
    /// Requests that run at once; fractional, as vLLM reports it.
    Requests(f64),
}

impl Value {
    /// The unit, in the plural.
    #[must_use]
    pub const fn unit(&self) -> &'static str {
        match self {
            Self::Bytes(_) => "bytes",
            Self::Layers(_) => "layers",
            Self::Heads(_) => "KV heads",
            Self::Blocks(_) => "blocks",
            Self::Tokens(_) => "tokens",
            Self::Requests(_) => "requests",
        }
    }

    /// The amount without its unit, digits grouped: `12,881`.
    #[must_use]
    pub fn amount(&self) -> String {
        match *self {
            Self::Bytes(n)
            | Self::Layers(n)
            | Self::Heads(n)
            | Self::Blocks(n)
            | Self::Tokens(n) => Grouped(n).to_string(),
            Self::Requests(n) => format!("{n:.2}"),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => Bytes(*bytes).fmt(f),
            _ => write!(f, "{} {}", self.amount(), self.unit()),
        }
    }
}

/// One step of a [`Derivation`].
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What is computed.
    pub name: &'static str,
    /// How, with the numbers filled in: `16 tokens x 65,536 B`.
    pub formula: String,
    /// The result.
    pub value: Value,
}

/// The steps from the layout and the memory to the blocks, for the GPU that bounds them
/// (the first one, when several do).
///
/// `Display` prints a line each, in aligned columns.
///
/// ```
/// use kvkeep::budget::{Attention, KvDtype, KvLayout, Memory, Value, plan};
///
/// let attention = Attention::Grouped { kv_heads: 8, head_size: 128 };
/// let layout = KvLayout::builder(64, attention, KvDtype::Fp8E4m3).build()?;
/// let budget = plan(&layout, &Memory::kv_bytes_per_gpu(1 << 30), None)?;
/// let blocks = budget.derivation.lines().iter().find(|line| line.name == "blocks").unwrap();
/// assert_eq!(blocks.formula, "floor(1,073,741,824 B / 2,097,152 B)");
/// assert_eq!(blocks.value, Value::Blocks(512));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Derivation {
    lines: Vec<Line>,
}

impl Derivation {
    /// The steps, in order.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    pub(super) fn push(&mut self, name: &'static str, formula: String, value: Value) {
        self.lines.push(Line { name, formula, value });
    }
}

impl fmt::Display for Derivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |text: &dyn Fn(&Line) -> usize| self.lines.iter().map(text).max().unwrap_or(0);
        let names = width(&|line| line.name.len());
        let formulas = width(&|line| line.formula.len());
        let amounts = width(&|line| line.value.amount().len());
        for (index, line) in self.lines.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            let Line { name, formula, value } = line;
            let (amount, unit) = (value.amount(), value.unit());
            write!(f, "{name:<names$}  {formula:<formulas$}  {amount:>amounts$} {unit}")?;
            if let Value::Bytes(bytes) = value
                && let Some((scaled, unit)) = binary_prefix(*bytes)
            {
                write!(f, " ({scaled:.2} {unit})")?;
            }
        }
        Ok(())
    }
}

/// Bytes in digits, with the binary multiple where there is one: `1,048,576 B (1.00 MiB)`.
pub(super) struct Bytes(pub(super) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} B", Grouped(self.0))?;
        match binary_prefix(self.0) {
            Some((scaled, unit)) => write!(f, " ({scaled:.2} {unit})"),
            None => Ok(()),
        }
    }
}

/// A number in groups of three digits: `12,881`.
pub(super) struct Grouped(pub(super) u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        f.pad(&grouped)
    }
}

/// The largest binary unit that is not above `bytes`; `None` below 1 KiB.
fn binary_prefix(bytes: u64) -> Option<(f64, &'static str)> {
    [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")]
        .into_iter()
        .find(|(shift, _)| bytes >> shift > 0)
        .map(|(shift, unit)| (bytes as f64 / (1_u64 << shift) as f64, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (206_096, "206,096"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(Grouped(number).to_string(), text);
        }
    }

    #[test]
    fn bytes_name_their_binary_multiple() {
        assert_eq!(Bytes(1_023).to_string(), "1,023 B");
        assert_eq!(Bytes(1_048_576).to_string(), "1,048,576 B (1.00 MiB)");
        assert_eq!(Bytes(13_507_672_145).to_string(), "13,507,672,145 B (12.58 GiB)");
    }

    #[test]
    fn lines_are_aligned() {
        let mut derivation = Derivation::default();
        derivation.push("KV heads", "8 / 2".to_owned(), Value::Heads(4));
        derivation.push("block", "16 tokens x 64 B".to_owned(), Value::Bytes(1_024));
        assert_eq!(
            derivation.to_string(),
            "KV heads  8 / 2                 4 KV heads\n\
             block     16 tokens x 64 B  1,024 bytes (1.00 KiB)"
        );
    }
}
