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

/// A number, filled up with blanks, and the end of the line: fewer bytes than a token or a key has.
const SIGNATURE_BYTES: usize = 11;

/// Held for as long as this exists, or what was made of [`StateLock::descriptor`] in another process.
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
            file: open(&path, true).map_err(cannot)?,
        };
        let pauses = patience.as_millis() as u64 / limits::BIND_PAUSE_MILLIS;
        for _ in 0..pauses {
            if lock.try_to_take(&path)? {
                return Ok(lock);
            }
            thread::sleep(Duration::from_millis(limits::BIND_PAUSE_MILLIS));
        }
        if lock.try_to_take(&path)? {
            Ok(lock)
        } else {
            Err(lock.held(state, &path))
        }
    }

    /// Whether the lock could be opened, whoever has it. Nothing is made or locked. Errors: why it could not.
    pub fn check(state: &Path) -> Result<(), String> {
        let path = place(state)?;
        match open(&path, false) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(format!("{}: {error}", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// The lock that the process before this one has handed over, if it is the one of this state file.
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
        if !is_own(&self.file).unwrap_or(false) {
            return;
        }
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
    Ok(file::lock_of(&state.map_err(|error| error.to_string())?))
}

/// Follows no link in the place of the file, waits for nobody if it is a pipe, and wants no file of somebody else.
fn open(path: &Path, may_make: bool) -> io::Result<File> {
    let is_regular = |is_file: bool| {
        if is_file {
            Ok(())
        } else {
            Err(io::Error::other("the lock is no regular file"))
        }
    };
    // To open a pipe or a device would tell somebody something.
    if let Ok(found) = path.symlink_metadata() {
        is_regular(found.is_file())?;
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(may_make);
    options.truncate(false).mode(0o600);
    let file = options
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    is_regular(file.metadata()?.is_file())?;
    if is_own(&file)? {
        Ok(file)
    } else {
        Err(io::Error::other(
            "the file holds something else than the number of a process, so that the file is no lock of palantir",
        ))
    }
}

/// Whether the file holds nothing, or what [`StateLock::sign`] writes.
fn is_own(file: &File) -> io::Result<bool> {
    let mut bytes = [0; SIGNATURE_BYTES + 1];
    let read = file.read_at(&mut bytes, 0)?;
    let text = String::from_utf8_lossy(&bytes[..read]);
    let number = text.trim_end();
    let is_signature = number.bytes().all(|byte| byte.is_ascii_digit());
    Ok(is_signature && read <= SIGNATURE_BYTES)
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
        assert!(StateLock::check(&other).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_file_of_somebody_else_is_neither_taken_nor_written() {
        let folder = std::env::temp_dir().join(format!("palantir-signed-{}", process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let (state, path) = (folder.join("state"), folder.join("state.lock"));
        StateLock::check(&state).unwrap();
        assert!(!path.exists(), "to look makes nothing");
        let rows = [
            ("", true),
            ("7         \n", true),
            ("4194304   \n", true),
            ("12", true),
            ("123456789012", false),
            ("1234567890123\n", false),
            ("0123456789abcdef\n", false),
            ("a\n", false),
            ("1\n2\n", false),
            ("-----BEGIN CERTIFICATE-----", false),
        ];
        for (text, is_own) in rows {
            fs::write(&path, text).unwrap();
            assert_eq!(StateLock::check(&state).is_ok(), is_own, "{text:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            let taken = StateLock::take(&state, Duration::ZERO);
            assert_eq!(taken.is_ok(), is_own, "{text:?}");
            let left = fs::read_to_string(&path).unwrap();
            assert_eq!(left == text, !is_own, "{text:?}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
