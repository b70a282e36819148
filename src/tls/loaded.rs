//! A value that is loaded from files. When its files change, the value is loaded again; if that fails, the former value
//! stays.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;
use std::path::Path;
use std::sync::Arc;

use tracing::{error, info};

use super::pem::FileFault;
use super::{FilesRead, PairFault};

/// A value that was loaded from files.
#[derive(Debug)]
pub(super) struct Loaded<T> {
    /// The state of the files when they were last read, whether or not loading succeeded.
    files: FilesRead,
    /// The last failure that was logged, so that each failure is logged once.
    told: Option<String>,
    thing: Arc<T>,
    pub need: Need,
}

/// The configurations that need a value.
#[derive(Debug, Default)]
pub(super) struct Need {
    /// Whether the compilation that began last needs the value.
    is_needed_now: bool,
    /// The last revision in force that needs the value; `None`: no configuration in force has needed the value yet.
    last: Option<u64>,
}

impl Need {
    /// The need of the compilation that is under way.
    pub fn of_now() -> Need {
        Need {
            is_needed_now: true,
            last: None,
        }
    }

    /// Notes that the compilation that is under way needs the value.
    pub fn note(&mut self) {
        self.is_needed_now = true;
    }

    /// Ends the last compilation, which has come into force as `revision`, or was given up if there is none. Returns
    /// the last revision in force that needs the value.
    pub fn settle(&mut self, revision: Option<u64>) -> Option<u64> {
        if std::mem::take(&mut self.is_needed_now) {
            self.last = revision.or(self.last);
        }
        self.last
    }
}

/// The reason why a value cannot be loaded.
pub(super) trait LoadFault: Display {
    /// The file, if the failure is that it could not be read, which may pass although the file stays the same.
    fn unread(&self) -> Option<&Path>;
}

impl LoadFault for PairFault {
    fn unread(&self) -> Option<&Path> {
        self.is_of_reading.then_some(&*self.path)
    }
}

impl LoadFault for FileFault {
    fn unread(&self) -> Option<&Path> {
        self.is_of_reading.then_some(&*self.path)
    }
}

/// A value that is wanted.
pub(super) struct Wanted<'w, K> {
    pub key: &'w K,
    /// The name of the value in the log.
    pub name: &'w dyn Display,
    /// The state of the files before the reading, so that a change during the reading is noticed the next time.
    pub now: FilesRead,
}

/// The value that is wanted, loaded again if its files have changed or could not be read. All files are added to
/// `read`.
pub(super) fn take<K: Clone + Eq + Hash, T, E: LoadFault>(
    kept: &mut HashMap<K, Loaded<T>>,
    read: &mut FilesRead,
    wanted: Wanted<'_, K>,
    load: impl FnOnce() -> Result<T, E>,
) -> Result<Arc<T>, E> {
    let Wanted { key, name, now } = wanted;
    let Some(known) = kept.get_mut(key) else {
        let loaded = load();
        read.extend(&after(now.clone(), loaded.as_ref().err()));
        let thing = Arc::new(loaded?);
        let loaded = Loaded {
            files: now,
            told: None,
            thing: thing.clone(),
            need: Need::of_now(),
        };
        kept.insert(key.clone(), loaded);
        return Ok(thing);
    };
    known.need.note();
    if known.files != now {
        let loaded = load();
        known.files = after(now, loaded.as_ref().err());
        match loaded {
            Ok(thing) => {
                known.thing = Arc::new(thing);
                known.told = None;
                info!("{name} has changed and is used from now on");
            }
            Err(why) => known.tell(name, &why.to_string()),
        }
    }
    read.extend(&known.files);
    Ok(known.thing.clone())
}

/// The state of the files to remember after the reading, which failed if there is a `fault`.
fn after<E: LoadFault>(now: FilesRead, fault: Option<&E>) -> FilesRead {
    match fault.and_then(LoadFault::unread) {
        Some(path) => now.without(path),
        None => now,
    }
}

impl<T> Loaded<T> {
    /// Logs a failure, once.
    fn tell(&mut self, name: &dyn Display, why: &str) {
        if self.told.as_deref() != Some(why) {
            error!("{name} has changed and cannot be used; what was read before stays: {why}");
            self.told = Some(why.to_owned());
        }
    }
}
