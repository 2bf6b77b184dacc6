//! Writing the answer to stdout, and the exit code of that; and over what nothing is written.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
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

/// What was typed, as well as it can be shown.
pub(crate) fn command_line() -> Vec<String> {
    env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect()
}

/// Whether `output` is one of `inputs`: creating it would empty it first.
pub(crate) fn is_one_of(output: &Path, inputs: &[PathBuf]) -> bool {
    let is_same = |input: &PathBuf| match (fs::canonicalize(input), fs::canonicalize(output)) {
        (Ok(input), Ok(output)) => input == output,
        _ => false,
    };
    inputs.iter().any(is_same)
}
