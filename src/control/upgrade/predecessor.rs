//! The old process, as the new one sees it.

use std::env;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use tracing::warn;

use super::blobs;
use super::messages::{
    self, ACCEPTING, GO, HERE, MORE, READY, READY_AND_TELLS, STILL_THERE, STOPPING,
};
use super::socket_files;
use super::{LINE_VARIABLE, STANDARD_DESCRIPTORS, TOLD_VARIABLE};
use crate::messages::LeftToDo;
use crate::net::{Handed, HandoverLine};

/// The process that this one is to take over from.
#[derive(Debug)]
pub struct Predecessor {
    /// The end of the line that this process holds.
    pub(super) line: Arc<HandoverLine>,
    /// Whether the old process goes on accepting until it hears that this process accepts.
    pub(super) listens: bool,
}

impl Predecessor {
    /// `None` if this process was started by anybody else. Errors: what the environment names is no line. To be called
    /// once.
    #[expect(
        unsafe_code,
        reason = "the number of a descriptor says nothing of its owner"
    )]
    pub fn find() -> Result<Option<Predecessor>, String> {
        let Ok(number) = env::var(LINE_VARIABLE) else {
            return Ok(None);
        };
        let fd = number.parse().ok().filter(|fd| *fd >= STANDARD_DESCRIPTORS);
        let fd: RawFd = fd.ok_or_else(|| format!("{LINE_VARIABLE}={number}: no descriptor"))?;
        // SAFETY: the process that started this one opened it for this purpose, and nobody has taken it yet.
        let line = unsafe { HandoverLine::from_raw(fd) };
        let line = line.map_err(|error| format!("{LINE_VARIABLE}={number}: {error}"))?;
        let told = env::var(TOLD_VARIABLE).ok();
        let identity = line.identity().map(|identity| identity.to_string());
        Ok(Some(Predecessor {
            listens: told.is_some() && told == identity.ok(),
            line: Arc::new(line),
        }))
    }

    /// The sockets that the old process listens on, in its workers' order, with the purpose of each, and its other
    /// messages. `None`: the old process has died, and this process starts as if there had been none. Errors: the old
    /// process has gone away, or a socket is not what it should be.
    pub fn handed(&self) -> Result<Option<Handed>, String> {
        match self.take() {
            Ok(mut handed) => {
                blobs::tell_ignored(&handed);
                socket_files::take_over(&mut handed);
                Ok(Some(handed))
            }
            Err(error) if self.listens && has_died(&error) => {
                warn!("the old process has died; this one starts in its place");
                Ok(None)
            }
            Err(error) => Err(format!("cannot take over the listening sockets: {error}")),
        }
    }

    fn take(&self) -> io::Result<Handed> {
        let mut handed = self.line.take()?;
        if self.listens {
            // If it has died, or gives this process up, hearing says so.
            let _ = self.line.say(MORE);
            let rest = self.line.take()?;
            (handed.blobs, handed.lock) = (rest.blobs, rest.lock);
            (handed.unreadable, handed.cache) = (rest.unreadable, rest.cache);
        }
        Ok(handed)
    }

    /// Tells it why this process cannot take over.
    pub fn refuse(&self, reason: &str) {
        // Without it, it sees this process end.
        let _ = self.line.say(reason);
    }

    /// Tells the old process that everything is started, and waits for leave to accept. If the old process has died
    /// meanwhile, no other process accepts. Errors: the old process no longer wants this process.
    pub fn wait_for_go(&self) -> Result<(), String> {
        let ready = if self.listens { READY_AND_TELLS } else { READY };
        // If the old process has died, the next message reports that.
        let _ = self.line.say(ready);
        let heard = self.line.hear();
        match heard {
            Ok(Some(word)) if word == GO => Ok(()),
            Ok(Some(word)) => Err(format!("the old process says {word:?} instead of {GO:?}")),
            Ok(None) if self.listens => {
                warn!("the old process has died; this one goes on alone");
                Ok(())
            }
            Ok(None) => Err("the old process did not let go".to_owned()),
            Err(error) => Err(format!("the old process did not let go: {error}")),
        }
    }

    /// A function that tells the old process that this process accepts, and waits until this process alone is the
    /// service: until the old process says so, has died, or is silent for long. The function then calls `over` with the
    /// work that the old process leaves to this one. An old process that was only silent may go on later: it still gets
    /// its answers, and `over` is called once more. If this process is stopping when the old one asks, `over` is not
    /// called, and the old process goes on.
    pub fn await_end(
        &self,
        stopping: Arc<AtomicBool>,
    ) -> impl FnOnce(&mut dyn FnMut(LeftToDo)) + Send + use<> {
        let (line, listens) = (self.line.clone(), self.listens);
        move |over| {
            if !listens || line.say(ACCEPTING).is_err() {
                return over(LeftToDo::default());
            }
            let mut is_over = false;
            loop {
                match line.hear() {
                    Ok(Some(word)) if word == STILL_THERE && stopping.load(SeqCst) => {
                        return drop(line.say(STOPPING));
                    }
                    // The end of the line says whether it has heard this.
                    Ok(Some(word)) if word == STILL_THERE => drop(line.say(HERE)),
                    Ok(Some(word)) => return over(messages::left(&word)),
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                        if !std::mem::replace(&mut is_over, true) {
                            warn!("the old process is silent; this one goes on as the service");
                            over(LeftToDo::default());
                        }
                    }
                    _ if is_over => return,
                    _ => return over(LeftToDo::default()),
                }
            }
        }
    }
}

fn has_died(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | BrokenPipe)
}
