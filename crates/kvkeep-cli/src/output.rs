//! Writing the answer to stdout, and the exit code of that.

use std::io::{self, Write};
use std::process::ExitCode;

/// Writes an answer. Fails where it cannot be written, but not for a reader that has seen
/// enough and closed the pipe, such as `head`.
pub(crate) fn print(answer: &[u8]) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(answer).and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: the answer cannot be written to stdout: {error}");
            ExitCode::FAILURE
        }
    }
}
