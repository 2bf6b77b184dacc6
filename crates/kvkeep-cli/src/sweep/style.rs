//! Colours and fonts of the pictures, for light and dark screens and for paper.
//!
//! Six hues that colour-blind readers tell apart (Okabe and Ito 2008, without the yellow that
//! white paper swallows), each with four dash patterns.

use kvkeep_sim::Policy;

/// Hues of policies.
const HUES: usize = 6;
/// Dash patterns of policies.
const DASHES: [&str; 4] = ["none", "7 3", "2 3", "9 3 2 3"];

/// For the `style` element of a page, or of a picture on its own.
pub(super) const COLOURS: &str = "\
:root{--paper:#fff;--ink:#1b1b1b;--soft:#595959;--grid:#e2e2e2;--heat:#56b4e9;
--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#b8558f;--c4:#e69f00;--c5:#56b4e9}
@media screen and (prefers-color-scheme:dark){
:root{--paper:#16181b;--ink:#ececec;--soft:#a8a8a8;--grid:#34373b;--heat:#1f6fa3;
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
    /// LRU and the bounds stand out, the others are told apart by their place in the sweep.
    pub(super) fn of(policy: Policy, place: usize) -> Stroke {
        let (colour, dash, width) = match policy {
            Policy::LRU => ("var(--ink)".to_owned(), "none", 2.6),
            Policy::Opt => ("var(--soft)".to_owned(), "12 4", 2.0),
            Policy::Infinite => ("var(--soft)".to_owned(), "2 4", 2.0),
            Policy::Evict(_) => {
                let dash = DASHES[place / HUES % DASHES.len()];
                (format!("var(--c{})", place % HUES), dash, 1.8)
            }
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
    fn no_two_policies_look_alike() {
        let strokes: HashSet<String> = Policy::all()
            .enumerate()
            .map(|(place, policy)| Stroke::of(policy, place).line())
            .collect();
        assert_eq!(strokes.len(), Policy::all().count());
    }
}
