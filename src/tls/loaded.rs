//! One thing that was loaded from files: loaded anew when they have changed, and left as it was when that is for the
//! worse.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;
use std::path::Path;
use std::sync::Arc;

use tracing::{error, info};

use super::pem::FileFault;
use super::{FilesRead, PairFault};

/// One thing from files.
#[derive(Debug)]
pub(super) struct Loaded<T> {
    /// The files when they were last read, for better or worse.
    files: FilesRead,
    /// The last logged change for the worse, so that each is logged once.
    told: Option<String>,
    thing: Arc<T>,
    pub is_in_use: bool,
}

/// Why something cannot be loaded.
pub(super) trait Fault: Display {
    /// The file, if it could not be read: that may pass although the file stays the same.
    fn unread(&self) -> Option<&Path>;
}

impl Fault for PairFault {
    fn unread(&self) -> Option<&Path> {
        self.is_of_reading.then_some(&*self.path)
    }
}

impl Fault for FileFault {
    fn unread(&self) -> Option<&Path> {
        self.is_of_reading.then_some(&*self.path)
    }
}

/// The thing for `key`, loaded anew if its files have changed or could not be read. `now` is the state of its files
/// before the reading, so that a change meanwhile is seen the next time; all files are added to `read`.
pub(super) fn take<K: Clone + Eq + Hash, T, E: Fault>(
    kept: &mut HashMap<K, Loaded<T>>,
    read: &mut FilesRead,
    key: &K,
    now: FilesRead,
    name: &dyn Display,
    load: impl FnOnce() -> Result<T, E>,
) -> Result<Arc<T>, E> {
    let Some(known) = kept.get_mut(key) else {
        let loaded = load();
        read.extend(&after(now.clone(), loaded.as_ref().err()));
        let thing = Arc::new(loaded?);
        let loaded = Loaded {
            files: now,
            told: None,
            thing: thing.clone(),
            is_in_use: true,
        };
        kept.insert(key.clone(), loaded);
        return Ok(thing);
    };
    known.is_in_use = true;
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

/// The files as they are remembered after reading them, which failed for this reason or did not.
fn after<E: Fault>(now: FilesRead, fault: Option<&E>) -> FilesRead {
    match fault.and_then(Fault::unread) {
        Some(path) => now.without(path),
        None => now,
    }
}

impl<T> Loaded<T> {
    /// Logs a change for the worse, once.
    fn tell(&mut self, name: &dyn Display, why: &str) {
        if self.told.as_deref() != Some(why) {
            error!("{name} has changed and cannot be used; what was read before stays: {why}");
            self.told = Some(why.to_owned());
        }
    }
}
