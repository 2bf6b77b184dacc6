//! Numbers as people read them.

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (position, digit) in digits.char_indices() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// GiB with about three digits: `0.063`, `25.1`, `10,700`.
pub(crate) fn gib(gib: f64) -> String {
    match gib {
        0.0..0.1 => format!("{gib:.3}"),
        0.1..10.0 => format!("{gib:.2}"),
        10.0..1_000.0 => format!("{gib:.1}"),
        _ => grouped(gib.round() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let groups = [0, 7, 999, 1_000, 12_881, 206_096, 1_234_567].map(grouped);
        assert_eq!(groups, ["0", "7", "999", "1,000", "12,881", "206,096", "1,234,567"]);
        assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
        let sizes = [0.0, 0.0625, 0.25, 25.125, 999.0, 10_652.4].map(gib);
        assert_eq!(sizes, ["0.000", "0.062", "0.25", "25.1", "999.0", "10,652"]);
    }
}
