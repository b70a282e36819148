//! Files as a whole: read with a bound, replaced at once, told apart from what they were.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tracing::warn;

use super::limits;

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    /// Seconds and nanoseconds.
    written: (i64, i64),
    /// Also when its mode or its name changed.
    changed: (i64, i64),
}

impl Stamp {
    /// The file's stamp, through links; `None` if it cannot be looked at.
    pub fn of(path: &Path) -> Option<Stamp> {
        let metadata = fs::metadata(path).ok()?;
        Some(Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            written: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// What the file holds. Errors: it cannot be read, or is larger than `most` bytes.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_all(File::open(path)?, most)
}

/// The same of a regular file, without waiting for whoever has the other end of a pipe. Errors: it is something else, too.
pub fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    match file.metadata()?.is_file() {
        true => read_all(file, most),
        false => Err(io::Error::other("it is no regular file")),
    }
}

fn read_all(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let text = format!("larger than {most} bytes");
        return Err(io::Error::new(ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

/// Whether everybody on the machine may read the file.
pub fn is_public(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o004 != 0)
}

/// Puts `bytes` in the place of what the file holds, readable by its owner alone, and returns when they are on the
/// disk. A kill at any moment leaves the old file or the new one. Blocks. Errors: they are not, and the file is as it
/// was.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_if(path, bytes, || true).map(drop)
}

/// The same, unless `may` says, once everything that can fail is done but the last step, that it must not be. Whether
/// it was done.
///
/// A rename is atomic, but only what was synced before it is sure to be there after a loss of power; and the rename
/// itself only once the folder is synced. The folder is opened before: after the rename nothing may fail any more.
pub fn replace_if(path: &Path, bytes: &[u8], may: impl FnOnce() -> bool) -> io::Result<bool> {
    let path = behind_links(path)?;
    let folder = File::open(folder_of(&path))?;
    let new = beside(&path);
    let written = write_new(&new, bytes).and_then(|()| match may() {
        true => fs::rename(&new, &path).map(|()| true),
        false => Ok(false),
    });
    match written {
        Ok(true) => {
            if let Err(error) = folder.sync_all() {
                let path = path.display();
                warn!("{path} is written, and may be lost with the machine's power: {error}");
            }
        }
        _ => drop(fs::remove_file(&new)),
    }
    written
}

/// Writes a file that is not there yet: what lies in its place, a link of somebody else or the rest of a write that a
/// kill ended, is taken away before.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The file that the path leads to, so that a symbolic link stays what it is.
pub fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..limits::LINKS {
        match fs::read_link(&path) {
            Ok(to) => path = folder_of(&path).join(to),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::from_raw_os_error(libc::ELOOP))
}

/// Where [`replace`] writes first: in the same folder, and so on the same file system. Always the same one: a kill
/// leaves at most one such file.
pub fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own, which goes away with its owner.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let name = format!("palantir-file-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn join(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_must_not_be_is_not_written() {
        let folder = Folder::new("withdrawn");
        let path = folder.join("file");
        replace(&path, b"one").unwrap();
        assert!(!replace_if(&path, b"two", || false).unwrap());
        assert_eq!(read(&path, 3).unwrap(), b"one");
        assert!(!beside(&path).exists());
        assert!(replace_if(&path, b"two", || true).unwrap());
        assert_eq!(read(&path, 3).unwrap(), b"two");
    }

    #[test]
    fn a_link_in_the_place_of_the_file_stays_and_one_in_the_place_of_the_new_file_is_not_followed()
    {
        let folder = Folder::new("links");
        let [path, target, stranger] = ["file", "target", "stranger"].map(|name| folder.join(name));
        std::os::unix::fs::symlink("target", &path).unwrap();
        fs::write(&stranger, "precious").unwrap();
        std::os::unix::fs::symlink(&stranger, beside(&target)).unwrap();
        for bytes in [b"one", b"two"] {
            replace(&path, bytes).unwrap();
            assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
            assert_eq!(read(&target, 3).unwrap(), bytes);
        }
        assert_eq!(fs::read_to_string(&stranger).unwrap(), "precious");
        let circle = folder.join("circle");
        std::os::unix::fs::symlink(&circle, &circle).unwrap();
        let error = replace(&circle, b"x").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
    }

    #[test]
    fn a_new_file_is_its_owners_whatever_was_left_there() {
        let folder = Folder::new("left");
        let path = folder.join("file");
        fs::write(beside(&path), "half a wri").unwrap();
        replace(&path, b"one").unwrap();
        let mode = fs::metadata(&path).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_is_replaced_whole_and_its_stamp_tells() {
        let path = std::env::temp_dir().join(format!("palantir-file-{}", std::process::id()));
        assert_eq!(Stamp::of(&path), None);
        assert!(!is_public(&path));
        replace(&path, b"one").unwrap();
        let first = Stamp::of(&path);
        assert_eq!(Stamp::of(&path), first);
        assert!(!is_public(&path), "the owner's alone");
        replace(&path, b"two").unwrap();
        assert_ne!(Stamp::of(&path), first);
        assert_eq!(read(&path, 3).unwrap(), b"two");
        let too_large = read(&path, 2).unwrap_err();
        assert_eq!(too_large.to_string(), "larger than 2 bytes");
        assert!(!beside(&path).exists());
        fs::remove_file(&path).unwrap();
    }
}
