//! The file that a thread is working on at the moment, so that another thread can name it when the work takes too long.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

thread_local! {
    static HERE: RefCell<FileAtWork> = RefCell::default();
}

/// The file that one thread is working on; none by default.
#[derive(Clone, Debug, Default)]
pub struct FileAtWork(Arc<Mutex<Option<PathBuf>>>);

impl FileAtWork {
    /// Makes this value show the files that the calling thread works on from now on.
    pub fn follow_this_thread(&self) {
        HERE.set(self.clone());
    }

    /// The path of the file.
    pub fn path(&self) -> Option<PathBuf> {
        let path = self.0.lock();
        path.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, path: Option<PathBuf>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = path;
    }
}

/// Marks that the calling thread works on a file, for as long as the value lives.
pub(super) struct AtWork;

impl AtWork {
    /// Marks the file at this path.
    pub fn on(path: &Path) -> AtWork {
        HERE.with_borrow(|here| here.set(Some(path.to_owned())));
        AtWork
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        HERE.with_borrow(|here| here.set(None));
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn another_thread_can_tell_the_file() {
        let here = FileAtWork::default();
        let there = here.clone();
        let working = thread::spawn(move || {
            there.follow_this_thread();
            let at_work = AtWork::on(Path::new("/srv/key"));
            assert_eq!(there.path().as_deref(), Some(Path::new("/srv/key")));
            drop(at_work);
        });
        working.join().unwrap();
        assert_eq!(here.path(), None);
        let _elsewhere = AtWork::on(Path::new("/srv/other"));
        assert_eq!(here.path(), None);
    }
}
