//! The output of commands. A reader that has gone, as in `palantir explain … | head -1`, is no failure, but a full disk
//! is one.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// Prints to standard output, and returns how the command ends: with a failure if the text could not be written, unless
/// its reader has gone.
pub fn print(text: &str) -> ExitCode {
    let mut output = io::stdout().lock();
    let written = output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            complain(&format!("palantir: standard output: {error}"));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Prints a line to standard error, if that is possible.
pub fn complain(line: &str) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}
