//! What tells blocks apart before they are used again.
//!
//! Three things: where in the forest a block lies, how often its conversation came back,
//! and after how long it did the last time. In conversations the chance of another turn
//! grows with the turns so far, and a short pause is followed by a short one.

use std::ops::Range;

/// Groups of classes, by place.
pub(super) const GROUPS: usize = 6;
/// One class for what was used once, then four ranges of uses by five of the last pause.
const PER_GROUP: usize = 1 + 4 * 5;
pub(super) const CLASSES: usize = GROUPS * PER_GROUP;

/// Where a block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At a fork, or above one: different continuations have used it.
    Trunk,
    /// Used by the last request and by one before it.
    Stem,
    /// New with the last request, so many blocks before its end. What a request ends with is
    /// often its own (a question), what it starts with often is not (a document).
    New { from_end: usize },
}

/// Blocks of one class are taken to have the same future at the same age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Class(u8);

impl Class {
    /// The class of a block that was used `uses` times, the last time after `pause`.
    pub(super) fn new(place: Place, uses: u32, pause: u64) -> Class {
        let group = match place {
            Place::Trunk => 0,
            Place::New { from_end: 0 } => 1,
            Place::New { from_end: 1..4 } => 2,
            Place::New { from_end: 4..16 } => 3,
            Place::New { from_end: 16..64 } | Place::Stem => 4,
            Place::New { .. } => 5,
        };
        let range = match uses {
            0..=1 => return Class::at(group * PER_GROUP),
            2 => 0,
            3..=4 => 1,
            5..=16 => 2,
            _ => 3,
        };
        let pause = match pause {
            0..32 => 0,
            32..96 => 1,
            96..288 => 2,
            288..864 => 3,
            _ => 4,
        };
        Class::at(group * PER_GROUP + 1 + range * 5 + pause)
    }

    pub(super) const fn at(index: usize) -> Class {
        Class(index as u8)
    }

    #[inline]
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }

    pub(super) const fn of_group(group: usize) -> Range<usize> {
        group * PER_GROUP..(group + 1) * PER_GROUP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_apart_and_within_their_group() {
        let mut seen = vec![0; CLASSES];
        let places = [
            Place::Trunk,
            Place::New { from_end: 0 },
            Place::New { from_end: 3 },
            Place::New { from_end: 15 },
            Place::Stem,
            Place::New { from_end: 1_000 },
        ];
        for (group, place) in places.into_iter().enumerate() {
            seen[Class::new(place, 1, 99).index()] += 1;
            for uses in [2, 4, 16, 17] {
                for pause in [0, 95, 96, 863, 864] {
                    let class = Class::new(place, uses, pause);
                    assert!(Class::of_group(group).contains(&class.index()));
                    seen[class.index()] += 1;
                }
            }
        }
        assert_eq!(seen, vec![1; CLASSES]);
        assert_eq!(Class::new(Place::Stem, 2, 5), Class::new(Place::New { from_end: 16 }, 2, 31));
    }
}
