//! The files of Unix sockets that this process has to remove.
//!
//! A file is removed with its listener, or at the end of the process. The file stays if another process has the socket
//! then (because it took over, or passed the socket to this one), or if the path names another file by now.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tracing::warn;

/// All files that this process has to remove at some time. The table belongs to the process and not to a thread,
/// because any thread may listen, and a signal during the start has to find the files.
static FILES: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

/// Notified when a file has been removed.
static REMOVED: Condvar = Condvar::new();

#[derive(Debug)]
struct Entry {
    path: PathBuf,
    id: FileId,
    /// Whether the old process, from which this one takes over, still has the file, so that it must not be removed yet.
    is_anothers: bool,
    /// Whether no socket of this process listens at the file any more.
    is_left: bool,
    /// Whether a thread is removing the file at the moment.
    is_going: bool,
}

/// Device and inode.
pub type FileId = (u64, u64);

/// The file of a socket that this process has to remove: when this value is dropped, or else at the end of the process.
#[derive(Debug)]
pub struct SocketFile {
    id: FileId,
}

/// One value for all descriptors of a socket.
pub type SharedSocketFile = Arc<SocketFile>;

impl SocketFile {
    /// The file of a socket that this process has just bound. Errors: there is no such file.
    pub fn bound(path: &Path) -> io::Result<SharedSocketFile> {
        Ok(SocketFile::note(path, id_of(path)?, false))
    }

    /// The file of a socket that another process has passed to this one. Nothing is removed before [`own_all`].
    pub fn taken_over(path: &Path, id: FileId) -> SharedSocketFile {
        SocketFile::note(path, id, true)
    }

    fn note(path: &Path, id: FileId, is_anothers: bool) -> SharedSocketFile {
        files().push(Entry {
            path: path.to_owned(),
            id,
            is_anothers,
            is_left: false,
            is_going: false,
        });
        Arc::new(SocketFile { id })
    }

    /// The device and inode of the file, which tell it from all others.
    pub fn id(&self) -> FileId {
        self.id
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        remove_if(|entry| {
            entry.is_left |= entry.id == self.id;
            entry.is_left && !entry.is_anothers
        });
    }
}

/// The file at this path that this process has to remove, now or once it is the service. `None`: there is none.
pub fn own_at(path: &Path) -> Option<FileId> {
    let files = files();
    let mut known = files.iter().filter(|entry| !entry.is_left);
    known.find(|entry| entry.path == path).map(|entry| entry.id)
}

/// Notes that the old process is over, and the files are this process's to remove. Blocks as long as a disk does.
pub fn own_all() {
    files()
        .iter_mut()
        .for_each(|entry| entry.is_anothers = false);
    remove_if(|entry| entry.is_left);
}

/// Notes that another process has taken over, and the files are its own to remove.
pub fn forget_all() {
    files().clear();
}

/// Removes the files of this process at its end, and waits for those that other threads are removing. Blocks as long as
/// a disk does.
pub fn remove_all() {
    remove_if(|entry| !entry.is_anothers);
    let is_going = |files: &mut Vec<Entry>| files.iter().any(|entry| entry.is_going);
    drop(REMOVED.wait_while(files(), is_going));
}

fn remove_if(mut removes: impl FnMut(&mut Entry) -> bool) {
    // The lock is not held during a removal, so that no thread waits for a disk.
    let mut removed: Vec<(PathBuf, FileId)> = Vec::new();
    for entry in files().iter_mut() {
        if !entry.is_going && removes(entry) {
            entry.is_going = true;
            removed.push((entry.path.clone(), entry.id));
        }
    }
    for (path, id) in removed {
        if id_of(&path).is_ok_and(|there| there == id)
            && let Err(error) = fs::remove_file(&path)
        {
            let path = path.display();
            warn!("the file of the socket {path} cannot be removed: {error}");
        }
        files().retain(|entry| !entry.is_going || (&entry.path, entry.id) != (&path, id));
        REMOVED.notify_all();
    }
}

fn files() -> MutexGuard<'static, Vec<Entry>> {
    FILES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The device and inode of a socket's file. Errors: there is no file, or it is no socket.
pub fn id_of(path: &Path) -> io::Result<FileId> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.file_type().is_socket() {
        Ok((metadata.dev(), metadata.ino()))
    } else {
        Err(ErrorKind::AddrInUse.into())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn place(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("socket-file-{name}-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        path
    }

    #[test]
    fn a_file_goes_with_its_socket_unless_it_is_another_one() {
        let path = place("goes");
        let listener = UnixListener::bind(&path).unwrap();
        let file = SocketFile::bound(&path).unwrap();
        drop(file);
        assert!(!path.exists());
        let again = UnixListener::bind(&path).unwrap();
        let file = SocketFile::bound(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "somebody else's").unwrap();
        drop(file);
        assert!(path.exists());
        fs::remove_file(&path).unwrap();
        drop((listener, again));
    }
}
