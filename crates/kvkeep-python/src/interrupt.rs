//! Work that Ctrl-C ends: it goes on in a thread of its own, while Python's waits for signals.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Between two looks at whether Python wants to stop.
const PERIOD: Duration = Duration::from_millis(100);

/// Runs `work` without the GIL. On a signal that raises it is told to stop and not waited for: it
/// may hang in a read of stdin.
pub(crate) fn interruptible<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce(&Arc<AtomicBool>) -> T + Send + 'static,
) -> PyResult<T> {
    let stop = Arc::new(AtomicBool::new(false));
    let (done, result) = mpsc::channel();
    let told = Arc::clone(&stop);
    // Nobody may be there to hear of it.
    let worker = thread::spawn(move || drop(done.send(work(&told))));
    py.detach(move || {
        loop {
            match result.recv_timeout(PERIOD) {
                Ok(result) => return Ok(result),
                Err(RecvTimeoutError::Timeout) => {
                    let checked = Python::attach(|py| -> PyResult<()> { py.check_signals() });
                    checked.inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // Without a result: it panicked.
        match worker.join() {
            Err(panic) => resume_unwind(panic),
            Ok(()) => Err(PyRuntimeError::new_err("the work ended without a result")),
        }
    })
}
