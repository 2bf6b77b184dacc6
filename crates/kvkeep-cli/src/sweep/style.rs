//! Colours and fonts of the pictures, for light and dark screens and for paper.
//!
//! Six hues that colour-blind readers tell apart (Okabe and Ito 2008, without the yellow that
//! white paper swallows). More lines than that nobody tells apart: the others are grey.

use kvkeep_sim::Policy;

/// Hues of policies.
pub(super) const HUES: usize = 6;

/// For the `style` element of a page, or of a picture on its own.
pub(super) const COLOURS: &str = "\
:root{--paper:#fff;--ink:#1b1b1b;--soft:#595959;--grid:#e2e2e2;--faint:#b9bdc2;--heat:#56b4e9;
--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#b8558f;--c4:#e69f00;--c5:#56b4e9}
@media screen and (prefers-color-scheme:dark){
:root{--paper:#16181b;--ink:#ececec;--soft:#a8a8a8;--grid:#34373b;--faint:#5d6268;--heat:#1f6fa3;
--c0:#6aa9ff;--c1:#ff8c55;--c2:#3ccf9f;--c3:#e79cc9;--c4:#ffc247;--c5:#a5ddff}}
svg{font:13px system-ui,'Segoe UI','DejaVu Sans',sans-serif}
svg text{fill:var(--ink)}svg .soft{fill:var(--soft)}
svg .grid{stroke:var(--grid)}svg .axis{stroke:var(--soft)}
svg .line{fill:none;stroke-linejoin:round}svg .dot{stroke:var(--paper)}
svg .here{stroke:var(--soft);stroke-dasharray:3 3}
";

/// How a policy's line is drawn: SVG attributes.
#[derive(Clone, Debug)]
pub(super) struct Stroke {
    colour: String,
    dash: &'static str,
    width: f64,
}

impl Stroke {
    /// LRU and the bounds stand out, `hue` tells the others apart; without one they are grey.
    pub(super) fn of(policy: Policy, hue: Option<usize>) -> Stroke {
        let (colour, dash, width) = match (policy, hue) {
            (Policy::LRU, _) => ("var(--ink)".to_owned(), "none", 2.6),
            (Policy::Opt, _) => ("var(--soft)".to_owned(), "12 4", 2.0),
            (Policy::Infinite, _) => ("var(--soft)".to_owned(), "2 4", 2.0),
            (Policy::Evict(_), Some(hue)) => (format!("var(--c{})", hue % HUES), "none", 1.8),
            (Policy::Evict(_), None) => ("var(--faint)".to_owned(), "none", 1.0),
        };
        Stroke { colour, dash, width }
    }

    /// Of a line.
    pub(super) fn line(&self) -> String {
        let Stroke { colour, dash, width } = self;
        format!(
            "class=\"line\" style=\"stroke:{colour}\" stroke-width=\"{width}\" \
             stroke-dasharray=\"{dash}\""
        )
    }

    /// Whether it is one of the many in grey.
    pub(super) fn is_faint(&self) -> bool {
        self.colour == "var(--faint)"
    }

    /// Of a dot.
    pub(super) fn dot(&self) -> String {
        format!("class=\"dot\" style=\"fill:{}\"", self.colour)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn hues_bounds_and_the_rest_differ() {
        let other = "sieve".parse().unwrap();
        let special = [Policy::LRU, Policy::Opt, Policy::Infinite].map(|policy| (policy, Some(0)));
        let hues = (0..HUES).map(Some).chain([None]).map(|hue| (other, hue));
        let strokes: HashSet<String> =
            hues.chain(special).map(|(policy, hue)| Stroke::of(policy, hue).line()).collect();
        assert_eq!(strokes.len(), HUES + 1 + special.len());
    }
}
