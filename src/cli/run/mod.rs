//! `palantir run`: everything is started that may fail, then every thread is let go, and the control thread runs until
//! the end.

mod configuration;
mod go;
mod sockets;
mod start;
mod workers;

use std::io;
use std::path::Path;

use crate::base::time::Micros;
use crate::control::upgrade::Predecessor;
use crate::control::{self, StartSignals};
use crate::net::{self, Engine};

/// Runs, in the place of another process if that process has started this one; the other process then hears why this
/// one cannot run.
///
/// Returns the exit code. Errors: the reason why palantir cannot start.
pub(super) fn run_or_tell(path: &Path) -> Result<u8, String> {
    let predecessor = Predecessor::find()?;
    let ended = run(path, predecessor.as_ref());
    if let (Err(reason), Some(predecessor)) = (&ended, &predecessor) {
        predecessor.refuse(reason);
    }
    ended
}

/// Starts everything and runs until a signal; returns the exit code. Errors: the one reason why palantir cannot start,
/// with nothing left running.
fn run(path: &Path, predecessor: Option<&Predecessor>) -> Result<u8, String> {
    Micros::now(); // The clock begins here.
    control::hold_signals();
    let start_signals = StartSignals::watch().map_err(cannot_start)?;
    net::raise_descriptor_limit();
    net::forgo_huge_pages();
    let chosen = Engine::choose()?;
    let mut ready = start::make_ready(path, chosen.engine, predecessor)?;
    if let Some(predecessor) = predecessor {
        predecessor.wait_for_go()?;
    }
    drop(start_signals);
    ready.left.write()?;
    ready.accept()?;
    if let Some(predecessor) = predecessor {
        let await_end = predecessor.await_end(ready.control.stopping());
        ready.follow(await_end).map_err(cannot_start)?;
    }
    Ok(ready.announce(&chosen).run())
}

fn cannot_start(error: io::Error) -> String {
    format!("cannot start: {error}")
}
