//! The old process, as the new one sees it.

use std::env;
use std::os::fd::RawFd;

use super::{GO, LINE_VARIABLE, READY, STANDARD_DESCRIPTORS};
use crate::net::{Handed, Line};

/// The process that this one is to take over from.
#[derive(Debug)]
pub struct Predecessor {
    pub(super) line: Line,
}

impl Predecessor {
    /// `None` if this process was started by anybody else. Errors: what the environment names is no line. To be called once.
    pub fn find() -> Result<Option<Predecessor>, String> {
        let Ok(number) = env::var(LINE_VARIABLE) else {
            return Ok(None);
        };
        let fd = number.parse().ok().filter(|fd| *fd >= STANDARD_DESCRIPTORS);
        let fd: RawFd = fd.ok_or_else(|| format!("{LINE_VARIABLE}={number}: no descriptor"))?;
        // SAFETY: the process that started this one opened it for this purpose, and nobody has taken it yet.
        let line = unsafe { Line::from_raw(fd) };
        line.map(|line| Some(Predecessor { line }))
            .map_err(|error| format!("{LINE_VARIABLE}={number}: {error}"))
    }

    /// The sockets that it listens on, in its workers' order, and what each is for, and what else it tells. Errors: it has
    /// ended, or a socket is not what it should be.
    pub fn handed(&self) -> Result<Handed, String> {
        let received = self.line.take();
        received.map_err(|error| format!("cannot take over the listening sockets: {error}"))
    }

    /// Tells it why this process cannot take over.
    pub fn refuse(&self, reason: &str) {
        // Without it, it sees this process end.
        let _ = self.line.say(reason);
    }

    /// Tells it that everything is started, and waits until it lets go: from then on this process accepts. Errors: it
    /// has ended, or does not want this process any more.
    pub fn wait_for_go(&self) -> Result<(), String> {
        let heard = self.line.say(READY).and_then(|()| self.line.hear());
        match heard {
            Ok(Some(word)) if word == GO => Ok(()),
            Ok(Some(word)) => Err(format!("the old process says {word:?} instead of {GO:?}")),
            Ok(None) => Err("the old process did not let go".to_owned()),
            Err(error) => Err(format!("the old process did not let go: {error}")),
        }
    }
}
