//! The clock of every timed workload: CPU time of this thread.
//!
//! The work is single-threaded and waits for nothing, so CPU time is what it costs; it
//! leaves out the time in which a shared machine runs somebody else's program. A wall
//! clock would count that, and count it for whichever side had the bad luck.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// CPU time that this thread has used.
pub(crate) fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // Neither part of a CPU time is negative, nor are 10^9 or more nanoseconds left over.
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeping_costs_nothing() {
        let start = now();
        std::thread::sleep(Duration::from_millis(50));
        assert!(now() - start < Duration::from_millis(25));
    }
}
