//! Files as a whole: read with a bound, replaced at once, told apart from what they were.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tracing::warn;

use super::file_at_work::AtWork;
use super::limits;

/// Marks that tell one state of a file from another without reading the file.
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
        let _at_work = AtWork::on(path);
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

/// The content of a regular file. A pipe, a socket or a device is refused before it is opened: reading it may wait for
/// ever, and the next reading would find other bytes. Errors: the file is not regular, cannot be read, or is larger
/// than `most` bytes.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let _at_work = AtWork::on(path);
    read_all(open_regular(path)?, most)
}

/// The content of any file, for a command whose user names a pipe on purpose. Blocks for as long as the pipe is open.
pub fn read_even_pipe(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_all(File::open(path)?, most)
}

/// Opens a regular file for reading. Errors: the file cannot be opened, or is not regular.
pub fn open_regular(path: &Path) -> io::Result<File> {
    must_be_regular(&fs::metadata(path)?)?;
    // Another file may have been put in its place since the check.
    let mut options = OpenOptions::new();
    let options = options.read(true).custom_flags(libc::O_NONBLOCK);
    let file = options.open(path)?;
    must_be_regular(&file.metadata()?)?;
    Ok(file)
}

fn must_be_regular(metadata: &Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    let name = match kind {
        _ if kind.is_file() => return Ok(()),
        _ if kind.is_dir() => return Err(io::Error::from_raw_os_error(libc::EISDIR)),
        _ if kind.is_fifo() => "a pipe (FIFO)",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    };
    let text = format!("{name} and no regular file");
    Err(io::Error::new(ErrorKind::InvalidInput, text))
}

/// Whether a reading error may pass by itself: too few descriptors, a disk that fails.
pub fn may_pass(error: &io::Error) -> bool {
    use ErrorKind::{FileTooLarge, IsADirectory, NotADirectory, NotFound, PermissionDenied};
    let kind = error.kind();
    let is_of_file = [
        FileTooLarge,
        IsADirectory,
        NotADirectory,
        NotFound,
        PermissionDenied,
    ]
    .contains(&kind);
    error.raw_os_error() != Some(libc::ELOOP) && !is_of_file && kind != ErrorKind::InvalidInput
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

/// Replaces the file as [`replace`] does, unless `may` forbids it: `may` is called when only the last step is left.
/// Returns whether the file was replaced.
///
/// A rename is atomic, but after a loss of power only content that was synced before it is certain to be there, and the
/// rename itself only once the folder is synced. The folder is opened before the rename, because nothing may fail after
/// it.
pub fn replace_if(path: &Path, bytes: &[u8], may: impl FnOnce() -> bool) -> io::Result<bool> {
    let _at_work = AtWork::on(path);
    let path = behind_links(path)?;
    match fs::symlink_metadata(&path) {
        // A socket or a pipe may be in use.
        Ok(metadata) => must_be_regular(&metadata)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let folder = File::open(folder_of(&path))?;
    let new = beside(&path);
    let written = write_new(&new, bytes).and_then(|()| {
        if may() {
            fs::rename(&new, &path).map(|()| true)
        } else {
            Ok(false)
        }
    });
    match written {
        Ok(true) => {
            if let Err(error) = folder.sync_all() {
                let path = path.display();
                warn!("{path} is written, but a loss of power may undo that: {error}");
            }
        }
        _ => drop(fs::remove_file(&new)),
    }
    written
}

/// Writes a new file. A file that is already at the path, such as another user's link or the rest of a write that a
/// kill ended, is removed first.
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

/// The file that the path leads to through links, whether the file exists or not, so that a symbolic link is kept when
/// its target is replaced. Errors: the links form a circle, or a link cannot be read.
pub fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..limits::LINKS {
        match fs::read_link(&path) {
            Ok(to) => path = folder_of(&path).join(to),
            Err(error) if is_no_link(&error) => return Ok(path),
            // A link that cannot be read at the moment must not be taken for a file and replaced.
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from_raw_os_error(libc::ELOOP))
}

/// Whether this error of readlink(2) says that the path is no link, or does not exist.
fn is_no_link(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOENT))
}

/// The path that [`replace`] writes to first: in the same folder, and so on the same file system. The path is always
/// the same, so that kills leave at most one such file.
pub fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

/// Where the lock of a file is that is itself replaced as a whole: beside it.
pub fn lock_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
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

    /// A temporary folder, which is removed when the value is dropped.
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
    fn errors_that_say_that_there_is_no_link_table() {
        let rows = [
            (libc::EINVAL, true),
            (libc::ENOENT, true),
            (libc::EIO, false),
            (libc::EACCES, false),
            (libc::ENOMEM, false),
            (libc::ESTALE, false),
        ];
        for (code, expected) in rows {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(is_no_link(&error), expected, "{error}");
        }
    }

    #[test]
    fn what_is_no_regular_file_is_not_read_and_told_by_its_kind() {
        let folder = Folder::new("kinds");
        let [pipe, socket, file] = ["pipe", "socket", "file"].map(|name| folder.join(name));
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
        let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        fs::write(&file, "one").unwrap();
        let rows = [
            (pipe, "a pipe (FIFO) and no regular file"),
            (socket, "a socket and no regular file"),
            (PathBuf::from("/dev/zero"), "a device and no regular file"),
            (folder.0.clone(), "Is a directory (os error 21)"),
            (
                folder.join("absent"),
                "No such file or directory (os error 2)",
            ),
        ];
        for (path, expected) in rows {
            let error = read(&path, 9).unwrap_err();
            assert_eq!(error.to_string(), expected, "{}", path.display());
            if path.exists() {
                let error = replace(&path, b"two").unwrap_err();
                assert_eq!(error.to_string(), expected, "{}", path.display());
            }
        }
        assert_eq!(read(&file, 3).unwrap(), b"one");
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
    fn errors_that_may_pass_table() {
        let rows = [
            (libc::EMFILE, true),
            (libc::ENFILE, true),
            (libc::EIO, true),
            (libc::ENOMEM, true),
            (libc::ESTALE, true),
            (libc::ENOENT, false),
            (libc::EACCES, false),
            (libc::EISDIR, false),
            (libc::ENOTDIR, false),
            (libc::ELOOP, false),
        ];
        for (number, passes) in rows {
            let error = io::Error::from_raw_os_error(number);
            assert_eq!(may_pass(&error), passes, "{error}");
        }
        let error = read(Path::new("/dev/null"), 1).unwrap_err();
        assert!(!may_pass(&error), "{error}");
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
