//! Numbers for what a trace calls by name: sessions, kinds of work.

use ahash::AHashMap;

/// Numbers names in order of appearance, from 0. Memory is linear in the distinct names.
#[derive(Default)]
pub(super) struct Names {
    numbers: AHashMap<String, u64>,
}

impl Names {
    pub(super) fn number(&mut self, name: &str) -> u64 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = self.numbers.len() as u64;
        self.numbers.insert(name.into(), number);
        number
    }

    /// The number of a kind of work, from 1: 0 stands for unknown.
    pub(super) fn category(&mut self, name: &str) -> u16 {
        u16::try_from(self.number(name).saturating_add(1)).unwrap_or(u16::MAX)
    }
}
