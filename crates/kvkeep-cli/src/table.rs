//! How figures look in the tables of reports.

use std::fmt;

/// Widths of a table's columns.
pub(crate) const LABEL: usize = 32;
pub(crate) const COUNT: usize = 16;
pub(crate) const SHARE: usize = 10;

/// `part / whole`, which nothing has of nothing.
pub(crate) fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

pub(crate) fn row(f: &mut fmt::Formatter<'_>, label: &str, figure: &str) -> fmt::Result {
    writeln!(f, "{label:<LABEL$}{figure:>COUNT$}")
}

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

/// GiB with about three digits: `0.063`, `25.1`, `10,681`.
pub(crate) fn gib(gib: f64) -> String {
    match gib {
        0.0..0.1 => format!("{gib:.3}"),
        0.1..10.0 => format!("{gib:.2}"),
        10.0..1_000.0 => format!("{gib:.1}"),
        _ => grouped(gib.round() as u64),
    }
}

/// Seconds as a length of time that reads well.
pub(crate) fn time_span(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds:.1} s"),
        ..7_200.0 => format!("{:.1} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3_600.0),
    }
}

pub(crate) fn percent(rate: Option<f64>) -> String {
    rate.map_or_else(|| "n/a".into(), |rate| format!("{:.2} %", rate * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let groups = [0, 7, 999, 1_000, 12_881, 206_096, 1_234_567].map(grouped);
        assert_eq!(groups, ["0", "7", "999", "1,000", "12,881", "206,096", "1,234,567"]);
        assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
        let sizes = [0.0, 0.0625, 0.25, 25.125, 999.0, 10_681.2].map(gib);
        assert_eq!(sizes, ["0.000", "0.062", "0.25", "25.1", "999.0", "10,681"]);
        assert_eq!(percent(Some(0.045_926)), "4.59 %");
        assert_eq!(percent(Some(1.0)), "100.00 %");
        assert_eq!(percent(None), "n/a");
        assert_eq!(time_span(0.0), "0.0 s");
        assert_eq!(time_span(119.9), "119.9 s");
        assert_eq!(time_span(3_536.0), "58.9 min");
        assert_eq!(time_span(18_540.0), "5.2 h");
    }

    #[test]
    fn nothing_of_nothing_is_no_rate() {
        assert_eq!(ratio(0, 0), None);
        assert_eq!(ratio(1, 4), Some(0.25));
    }
}
