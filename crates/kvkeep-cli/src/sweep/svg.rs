//! What a chart is drawn with: scales, ticks and escaped text.

/// Escapes text for SVG and HTML, attributes included.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // Not allowed in XML.
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Maps amounts to pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    from: f64,
    to: f64,
    start_px: f64,
    end_px: f64,
    is_log: bool,
}

impl Scale {
    /// Equal differences are equal lengths.
    pub(super) fn linear(from: f64, to: f64, start_px: f64, end_px: f64) -> Scale {
        Scale { from, to, start_px, end_px, is_log: false }
    }

    /// Equal ratios are equal lengths; both ends are above 0.
    pub(super) fn log(from: f64, to: f64, start_px: f64, end_px: f64) -> Scale {
        Scale { from: from.ln(), to: to.ln(), start_px, end_px, is_log: true }
    }

    /// Where an amount lies.
    pub(super) fn px(&self, amount: f64) -> f64 {
        let amount = if self.is_log { amount.ln() } else { amount };
        let part = (amount - self.from) / (self.to - self.from);
        self.start_px + part * (self.end_px - self.start_px)
    }
}

/// A round step that divides `span` into at most `most` parts.
pub(super) fn round_step(span: f64, most: u32) -> f64 {
    let rough = span / f64::from(most);
    let unit = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * unit)
        .into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(rough)
}

/// 1, 2, 5, 10, 20 ... between two amounts above 0; only powers of ten where those would be
/// more than `most`.
pub(super) fn log_ticks(from: f64, to: f64, most: usize) -> Vec<f64> {
    let decades = from.log10().floor() as i32..=to.log10().ceil() as i32;
    let of = |factors: &'static [f64]| -> Vec<f64> {
        let each =
            decades.clone().flat_map(|decade| factors.iter().map(move |f| f * 10_f64.powi(decade)));
        each.filter(|tick| (from * 0.999..=to * 1.001).contains(tick)).collect()
    };
    let all = of(&[1.0, 2.0, 5.0]);
    if all.len() <= most { all } else { of(&[1.0]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_place() {
        assert_eq!(escape("<a \"b\" & 'c'>\n"), "&lt;a &quot;b&quot; &amp; 'c'&gt;\u{fffd}");
    }

    #[test]
    fn scales_and_ticks() {
        assert_eq!(Scale::linear(0.0, 0.5, 400.0, 0.0).px(0.125), 300.0);
        assert!((Scale::log(1.0, 10_000.0, 0.0, 400.0).px(100.0) - 200.0).abs() < 1e-9);
        assert_eq!((round_step(0.37, 8), round_step(1.0, 10)), (0.05, 0.1));
        let ticks = log_ticks(15.4, 10_700.0, 12);
        assert_eq!(ticks, [20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4]);
        assert_eq!(log_ticks(15.4, 10_700.0, 8), [100.0, 1e3, 1e4]);
    }
}
