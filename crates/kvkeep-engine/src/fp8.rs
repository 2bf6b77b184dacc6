//! 8-bit floats with 4 exponent and 3 mantissa bits (e4m3fn, OCP 8-bit floating point
//! specification): bias 7, subnormals, no infinities, NaN only at `0x7f` and `0xff`.

use std::sync::LazyLock;

/// The largest finite value.
pub(crate) const MAX: f32 = 448.0;

const MANTISSA_BITS: i32 = 3;
const MIN_EXPONENT: i32 = -6;

/// The values of all 256 bytes.
pub(crate) static VALUES: LazyLock<[f32; 256]> =
    LazyLock::new(|| std::array::from_fn(|b| decode(b as u8)));

fn decode(byte: u8) -> f32 {
    let sign = if byte & 0x80 == 0 { 1.0 } else { -1.0 };
    let (exponent, mantissa) = (i32::from(byte >> 3 & 0xf), f32::from(byte & 7));
    match (exponent, byte & 7) {
        (15, 7) => f32::NAN,
        (0, _) => sign * mantissa / 8.0 * power_of_two(MIN_EXPONENT),
        _ => sign * (1.0 + mantissa / 8.0) * power_of_two(exponent - 7),
    }
}

/// Exact, for exponents of normal numbers.
fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits(((127 + exponent) as u32) << 23)
}

/// Rounds to the nearest value, ties to even; beyond [`MAX`] to `MAX`. NaN stays NaN.
#[must_use]
pub(crate) fn encode(value: f32) -> u8 {
    let sign = if value.is_sign_negative() { 0x80 } else { 0 };
    let magnitude = value.abs();
    if magnitude.is_nan() {
        return sign | 0x7f;
    }
    if magnitude >= MAX {
        return sign | 0x7e;
    }
    // The exponent of an f32 is in its bits; what is below the smallest normal e4m3 counts
    // in steps of the subnormals.
    let exponent = ((magnitude.to_bits() >> 23) as i32 - 127).max(MIN_EXPONENT);
    // Exact: a product with a power of two.
    let steps = (magnitude * power_of_two(MANTISSA_BITS - exponent)).round_ties_even() as u8;
    // `steps` is 8 to 16 for normal values, 0 to 8 for subnormal ones; both run on into
    // the next exponent as the bits do.
    let base = ((exponent - MIN_EXPONENT) as u8) << 3;
    sign | (base + steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // From the tables of the specification.
        for (byte, value) in [
            (0x00_u8, 0.0),
            (0x01, 2_f32.powi(-9)),
            (0x07, 0.875 * 2_f32.powi(-6)),
            (0x08, 2_f32.powi(-6)),
            (0x38, 1.0),
            (0x3c, 1.5),
            (0x7e, 448.0),
            (0xb8, -1.0),
            (0xfe, -448.0),
        ] {
            assert_eq!(VALUES[usize::from(byte)], value);
            assert_eq!(encode(value), byte);
        }
        assert!(VALUES[0x7f].is_nan() && VALUES[0xff].is_nan());
    }

    #[test]
    fn every_value_is_its_own_nearest_and_neighbours_meet_at_the_middle() {
        for byte in 0..0x7e_u8 {
            let (value, next) = (VALUES[usize::from(byte)], VALUES[usize::from(byte) + 1]);
            assert!(value < next);
            assert_eq!(encode(value), byte);
            assert_eq!(encode(-value), byte | 0x80);
            // Exact in f32: both have few bits.
            let middle = (value + next) / 2.0;
            let even = byte + (byte & 1);
            assert_eq!(encode(middle), even, "tie between {value} and {next}");
            assert_eq!(encode(f32::from_bits(middle.to_bits() - 1)), byte);
            assert_eq!(encode(f32::from_bits(middle.to_bits() + 1)), byte + 1);
        }
    }

    #[test]
    fn what_is_too_large_is_the_largest_and_nan_stays() {
        for large in [448.0, 449.0, 1e30, f32::INFINITY] {
            assert_eq!((encode(large), encode(-large)), (0x7e, 0xfe));
        }
        assert!(VALUES[usize::from(encode(f32::NAN))].is_nan());
        assert_eq!(encode(f32::MIN_POSITIVE / 4.0), 0);
    }
}
