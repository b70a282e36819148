//! Files as a whole: read with a bound, replaced at once, told apart from what they were.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

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
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
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
///
/// A rename is atomic, but only what was synced before it is sure to be there after a loss of power; and the rename
/// itself only once the folder is synced.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = beside(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(folder_of(path))?.sync_all()
}

/// Where [`replace`] writes first: in the same folder, and so on the same file system. Always the same one: a kill leaves at most one such file.
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
