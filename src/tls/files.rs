//! The state of the files that TLS was built from, as it was before they were read, which tells whether they must be
//! read again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::base::file::{self, Stamp};

/// Files, each with its state at the last look. By default none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilesRead(BTreeMap<PathBuf, Seen>);

/// The state of one file when it was last read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// The stamp of the file before it was read; `None`: the file's metadata could not be read.
    As(Option<Stamp>),
    /// Reading the file failed, which may pass although the file stays the same.
    Unread,
}

impl FilesRead {
    /// The present state of these files.
    pub(super) fn now<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> FilesRead {
        let seen = paths
            .into_iter()
            .map(|path| (path.clone(), Seen::As(Stamp::of(path))));
        FilesRead(seen.collect())
    }

    /// Notes that this file could not be read.
    pub(super) fn without(mut self, path: &Path) -> FilesRead {
        self.0.insert(path.to_owned(), Seen::Unread);
        self
    }

    /// Adds the states of other files.
    pub(super) fn extend(&mut self, others: &FilesRead) {
        let others = others.0.iter().map(|(path, seen)| (path.clone(), *seen));
        self.0.extend(others);
    }

    /// Whether a file has changed since, or an unread file can be read again.
    pub fn have_changed(&self) -> bool {
        self.0.iter().any(|(path, seen)| match seen {
            Seen::As(stamp) => Stamp::of(path) != *stamp,
            Seen::Unread => file::open_regular(path).is_ok(),
        })
    }

    /// Whether this file is in the list.
    pub fn contains(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::tls::tests::Folder;

    #[test]
    fn what_must_be_read_again_table() {
        let folder = Folder::new("files-read");
        let path = folder.write("a", "one");
        let absent = path.with_extension("absent");
        let seen = FilesRead::now([&path, &absent]);
        assert!(!seen.have_changed());
        assert!(!FilesRead::default().have_changed());
        // An unread file that still cannot be opened does not count as changed; one that can be opened does.
        assert!(!seen.clone().without(&absent).have_changed());
        assert!(seen.clone().without(&path).have_changed());
        fs::write(&path, "another").unwrap();
        assert!(seen.have_changed());
        let seen = FilesRead::now([&path, &absent]);
        fs::write(&absent, "").unwrap();
        assert!(seen.have_changed(), "a file that appears has changed");
        assert!(seen.contains(&absent) && !seen.contains(Path::new("/nowhere")));
    }
}
