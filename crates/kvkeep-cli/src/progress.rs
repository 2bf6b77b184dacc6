//! A line on stderr that says how far a long run over a trace is. Only a terminal gets it.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

/// Runs shorter than this stay silent.
const SILENCE: Duration = Duration::from_millis(500);
/// Between two updates.
const PERIOD: Duration = Duration::from_millis(100);
/// Requests between two looks at the clock.
const REQUESTS_PER_LOOK: u64 = 64;

/// The progress line; dropping it clears it, on errors as well.
pub(crate) struct Progress {
    /// What is done with requests.
    verb: &'static str,
    is_terminal: bool,
    is_shown: bool,
    next_update: Instant,
}

impl Progress {
    /// Nothing is shown yet. `verb` says what is done with requests: "replayed".
    pub(crate) fn start(verb: &'static str) -> Self {
        Self {
            verb,
            is_terminal: io::stderr().is_terminal(),
            is_shown: false,
            next_update: Instant::now() + SILENCE,
        }
    }

    /// Tells how many requests are done, and how much of the workload where that is known.
    pub(crate) fn update(&mut self, requests: u64, fraction: Option<f64>) {
        if !requests.is_multiple_of(REQUESTS_PER_LOOK) {
            return;
        }
        let verb = self.verb;
        self.say(|| {
            let percent = fraction.map_or(String::new(), |part| format!(", {:.0} %", part * 100.0));
            format!("{verb} {requests} requests{percent}")
        });
    }

    /// Shows a line, unless the one before is too young.
    pub(crate) fn say(&mut self, line: impl FnOnce() -> String) {
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
