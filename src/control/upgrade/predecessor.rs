//! The old process, as the new one sees it.

use std::collections::BTreeMap;
use std::env;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::parent_id;
use std::path::PathBuf;
use std::sync::Arc;

use tracing::warn;

use super::{
    ACCEPTING, FILES_VARIABLE, GO, LINE_VARIABLE, LISTENER_VARIABLE, READY, READY_AND_TELLS,
    STANDARD_DESCRIPTORS,
};
use crate::net::{Line, Passed};
use crate::shared::socket_files::{SharedSocketFile, SocketFile};
use crate::snapshot::ListenAddr;

/// The process that this one is to take over from.
#[derive(Debug)]
pub struct Predecessor {
    pub(super) line: Arc<Line>,
    /// It goes on accepting until it hears that this process does.
    pub(super) listens: bool,
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
        let line = line.map_err(|error| format!("{LINE_VARIABLE}={number}: {error}"))?;
        let line = Arc::new(line);
        let listener = env::var(LISTENER_VARIABLE).ok();
        let listens = listener.is_some_and(|pid| pid == parent_id().to_string());
        Ok(Some(Predecessor { line, listens }))
    }

    /// The sockets that it listens on, in its workers' order, and what each is for. Errors: it has ended, or one is
    /// not what it should be.
    pub fn listeners(&self) -> Result<Vec<Passed>, String> {
        let received = self.line.receive_listeners();
        let mut received =
            received.map_err(|error| format!("cannot take over the listening sockets: {error}"))?;
        let files = env::var_os(FILES_VARIABLE).unwrap_or_default();
        let files: Vec<&[u8]> = files.as_bytes().split(|byte| *byte == b'\n').collect();
        // One for all descriptors of a socket.
        let mut taken: BTreeMap<PathBuf, Option<SharedSocketFile>> = BTreeMap::new();
        for (socket, _) in &mut received {
            if let ListenAddr::Unix(path) = &socket.addr
                && files.contains(&path.as_os_str().as_bytes())
            {
                let file = taken.entry(path.clone());
                let file = file.or_insert_with(|| SocketFile::taken_over(path));
                socket.file.clone_from(file);
            }
        }
        Ok(received)
    }

    /// Tells it why this process cannot take over.
    pub fn refuse(&self, reason: &str) {
        // Without it, it sees this process end.
        let _ = self.line.say(reason);
    }

    /// Tells it that everything is started, and waits until it lets go: from then on this process accepts. If it has
    /// died meanwhile, nobody else does. Errors: it does not want this process any more.
    pub fn wait_for_go(&self) -> Result<(), String> {
        let ready = match self.listens {
            true => READY_AND_TELLS,
            false => READY,
        };
        // If it has died, hearing says so.
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

    /// What tells it that this process accepts, and waits until it is over: until this process alone is the service. If
    /// it has died, that is so.
    pub fn farewell(&self) -> impl FnOnce() + Send + use<> {
        let (line, listens) = (self.line.clone(), self.listens);
        move || {
            if listens && line.say(ACCEPTING).is_ok() {
                // Its word, its end, and its silence come to the same.
                let _ = line.hear();
            }
        }
    }
}
