//! The lock of a state file: of several processes with the same state file only one holds the lock. At an upgrade the
//! new process gets the lock from the old one, so that the lock is never free meanwhile.
//!
//! The lock (flock(2)) is on a file beside the state file, because every write replaces the state file itself. The
//! lock's file is never removed: otherwise two processes could lock two files of the same name.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tracing::warn;

use crate::base::{file, limits};

/// A held lock. The lock is held for as long as this value exists, or one made from [`StateLock::descriptor`] in
/// another process.
#[derive(Debug)]
pub struct StateLock {
    file: File,
}

impl StateLock {
    /// Takes the lock of the state file at `state`, which need not exist yet. Waits up to `patience` for another
    /// process that holds the lock. Errors: the other process still holds it, or the lock's file cannot be opened.
    pub fn take(state: &Path, patience: Duration) -> Result<StateLock, String> {
        let path = place(state)?;
        let cannot = |error: io::Error| format!("{}: {error}", path.display());
        let lock = StateLock {
            file: open(&path).map_err(cannot)?,
        };
        let pauses = patience.as_millis() as u64 / limits::BIND_PAUSE_MILLIS;
        for _ in 0..pauses {
            if lock.try_to_take(&path)? {
                return Ok(lock);
            }
            thread::sleep(Duration::from_millis(limits::BIND_PAUSE_MILLIS));
        }
        match lock.try_to_take(&path)? {
            true => Ok(lock),
            false => Err(lock.held(state, &path)),
        }
    }

    /// The lock that the old process has handed over, if it is the one of this state file.
    pub fn handed(state: &Path, descriptor: OwnedFd) -> Option<StateLock> {
        let lock = StateLock {
            file: File::from(descriptor),
        };
        lock.is_of(state).then_some(lock)
    }

    /// Whether this is the lock of this state file, by whatever path.
    pub fn is_of(&self, state: &Path) -> bool {
        let there =
            place(state).and_then(|path| path.metadata().map_err(|error| error.to_string()));
        let own = self.file.metadata();
        there.is_ok_and(|there| {
            own.is_ok_and(|own| (own.dev(), own.ino()) == (there.dev(), there.ino()))
        })
    }

    /// A descriptor for the process that takes over, which holds the lock by it. Errors: no descriptors are left.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        Ok(self.file.try_clone()?.into())
    }

    /// Writes this process's id into the lock's file, for people to read.
    pub fn sign(&self) {
        let text = format!("{:<10}\n", process::id());
        // The lock does not depend on the text, so that a failed write does not matter.
        let _ = self.file.write_all_at(text.as_bytes(), 0);
    }

    fn try_to_take(&self, path: &Path) -> Result<bool, String> {
        match flock(&self.file, FlockOperation::NonBlockingLockExclusive).map_err(io::Error::from) {
            Ok(()) => {
                self.sign();
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(false),
            Err(error) => {
                let path = path.display();
                warn!(
                    "{path} cannot be locked, so that another palantir may write the same state file: {error}"
                );
                Ok(true)
            }
        }
    }

    fn held(&self, state: &Path, path: &Path) -> String {
        let mut bytes = [0; 10];
        let read = self.file.read_at(&mut bytes, 0).unwrap_or_default();
        let pid = String::from_utf8_lossy(&bytes[..read]);
        let (state, path, pid) = (state.display(), path.display(), pid.trim());
        format!(
            "state file {state}: another palantir, process {pid}, uses it and holds the lock {path}"
        )
    }
}

/// The path of a state file's lock: `STATE.lock` beside the file that `state` leads to through links.
fn place(state: &Path) -> Result<PathBuf, String> {
    let state = file::behind_links(state);
    let mut name = state.map_err(|error| error.to_string())?.into_os_string();
    name.push(".lock");
    Ok(PathBuf::from(name))
}

/// Opens the lock's file. The open follows no link in the place of the file, and does not block if the file is a pipe.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.mode(0o600);
    let file = options
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no regular file")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn one_at_a_time_has_it_and_it_goes_with_its_descriptors() {
        let folder = std::env::temp_dir().join(format!("palantir-lock-{}", process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let [state, link, other] = ["state", "link", "other"].map(|name| folder.join(name));
        std::os::unix::fs::symlink("state", &link).unwrap();
        let take = |path: &Path| StateLock::take(path, Duration::ZERO);
        let lock = take(&state).unwrap();
        for path in [&state, &link] {
            let held = take(path).unwrap_err();
            assert!(held.contains(&process::id().to_string()), "{held}");
            assert!(lock.is_of(path));
        }
        assert!(!lock.is_of(&other));
        assert!(StateLock::handed(&other, lock.descriptor().unwrap()).is_none());
        let handed = StateLock::handed(&state, lock.descriptor().unwrap()).unwrap();
        drop(lock);
        assert!(take(&state).is_err(), "it was handed on");
        drop(handed);
        take(&state).unwrap();
        std::os::unix::fs::symlink("elsewhere", folder.join("other.lock")).unwrap();
        assert!(take(&other).is_err());
        assert!(!folder.join("elsewhere").exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
