//! A line on stderr that says how far a long run is. Only a terminal gets it.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

/// Runs shorter than this stay silent.
const SILENCE: Duration = Duration::from_millis(500);
/// Between two updates.
const PERIOD: Duration = Duration::from_millis(100);

/// The progress line; dropping it clears it, on errors as well.
pub(crate) struct Progress {
    is_terminal: bool,
    is_shown: bool,
    next_update: Instant,
}

impl Progress {
    /// Nothing is shown yet.
    pub(crate) fn start() -> Self {
        Self {
            is_terminal: io::stderr().is_terminal(),
            is_shown: false,
            next_update: Instant::now() + SILENCE,
        }
    }

    /// Shows the line, unless the last one is too young.
    pub(crate) fn update(&mut self, line: impl FnOnce() -> String) {
        if !self.is_terminal {
            return;
        }
        let now = Instant::now();
        if now < self.next_update {
            return;
        }
        self.next_update = now + PERIOD;
        self.is_shown = true;
        // Progress is a courtesy: that it cannot be written is no reason to stop.
        let _ = write!(io::stderr(), "\r\x1b[K{}", line());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
