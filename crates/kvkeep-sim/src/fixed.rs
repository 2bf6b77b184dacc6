//! Logarithms and powers in integers: the same digits on every platform.
//!
//! The mathematical functions of floating point differ between platforms in the last digit,
//! which would make a seed mean different workloads. Numbers here have 32 bits after the
//! point; results are good to about eight decimal digits.

/// 1 with 32 bits after the point.
pub(crate) const ONE: u64 = 1 << 32;
/// The natural logarithm of 2.
const LN_2: u64 = 2_977_044_472;

/// Log base 2 of an integer of at least 1.
pub(crate) fn log2(x: u64) -> u64 {
    let whole = u64::from(x.max(1).ilog2());
    // The mantissa, from 1 up to 2, with 63 bits after the point. Squaring it doubles its
    // logarithm, and whether that reaches 2 is the next bit.
    let mut mantissa = x.max(1) << (63 - whole);
    let mut log = whole;
    for _ in 0..32 {
        let square = (u128::from(mantissa) * u128::from(mantissa)) >> 63;
        let is_two = square >> 64 != 0;
        log = log << 1 | u64::from(is_two);
        mantissa = (if is_two { square >> 1 } else { square }) as u64;
    }
    log
}

/// 2 to the power of `x`, up to 2^31; 0 where that is too small to say.
pub(crate) fn exp2(x: i64) -> u64 {
    let whole = (x >> 32).min(30);
    let mut bits = x as u32;
    // 2^(1/2), 2^(1/4), 2^(1/8) ..., with 62 bits after the point.
    let mut root = 2_u128 << 62;
    let mut power = 1_u128 << 62;
    while bits != 0 {
        root = (root << 62).isqrt();
        if bits >> 31 == 1 {
            power = (power * root) >> 62;
        }
        bits <<= 1;
    }
    // From 62 bits after the point to 32.
    u32::try_from(30 - whole).map_or(0, |shift| power.checked_shr(shift).unwrap_or(0) as u64)
}

/// The product of two numbers.
pub(crate) fn multiply(a: u64, b: u64) -> u64 {
    u64::try_from((u128::from(a) * u128::from(b)) >> 32).unwrap_or(u64::MAX)
}

/// A draw from the exponential distribution of mean 1, from 32 random bits.
pub(crate) fn exponential(random: u32) -> u64 {
    multiply((32 << 32) - log2(u64::from(random) + 1), LN_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn float(x: u64) -> f64 {
        x as f64 / ONE as f64
    }

    #[test]
    fn logarithms_and_powers_are_those_of_floating_point_to_eight_digits() {
        for x in [1, 2, 3, 7, 1_000, 65_537, u64::from(u32::MAX), u64::MAX] {
            assert!((float(log2(x)) - (x as f64).log2()).abs() < 1e-8, "{x}");
        }
        for x in [-20.5, -3.0, -0.1, 0.0, 0.3, 1.0, 5.75, 29.999] {
            let found = float(exp2((x * ONE as f64) as i64));
            let tolerance = 1e-8 * f64::exp2(x) + 1.0 / ONE as f64;
            assert!((found - f64::exp2(x)).abs() < tolerance, "{x}: {found}");
        }
        assert_eq!(exp2(-100 << 32), 0);
        assert_eq!(exp2(i64::MIN), 0);
    }

    #[test]
    fn exponential_draws_have_their_mean_and_reach_zero() {
        let draws = 1 << 16;
        let sum: f64 = (0..draws).map(|n| float(exponential(n << 16 | 1 << 15))).sum();
        assert!((sum / f64::from(draws) - 1.0).abs() < 1e-3, "{sum}");
        assert_eq!(exponential(u32::MAX), 0);
    }
}
