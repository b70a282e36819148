//! The cache, which the new process takes over with its entries: its memory goes over the line as a descriptor, and
//! what else the new process has to know as a message.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::net::{BlobKind, Handed};
use crate::shared::SharedStore;
use crate::shared::cache::{CacheStore, HandedIndex, HandedStore, StoreSettings};

/// The bytes are a JSON object, see [`Content`].
pub const CACHE: BlobKind = BlobKind {
    name: "cache",
    version: 1,
};

/// The content of the message.
#[derive(Serialize, Deserialize)]
struct Content {
    /// The purge number up to which all entries were checked.
    purge_number: u64,
    /// The zones by their numbers.
    zones: Vec<String>,
    /// The first of the changes that are not in the memory yet.
    change: u32,
}

/// The cache of this process, if there is one.
#[derive(Clone, Debug, Default)]
pub struct CacheHandover {
    store: Option<SharedStore>,
    /// Whether a process that has the memory, and will not be the service, still answers its last requests from it.
    is_read: Arc<AtomicBool>,
}

impl CacheHandover {
    /// For a process with this cache.
    pub fn of(store: Option<SharedStore>) -> CacheHandover {
        CacheHandover {
            store,
            is_read: Arc::default(),
        }
    }

    /// Freezes the cache, and adds it to what the new process receives. Where that fails, the new process begins with
    /// an empty cache, and the log says so. Blocks.
    pub fn hand(&self, handed: &mut Handed) {
        let Some(store) = &self.store else { return };
        let HandedStore {
            memory,
            readers,
            state,
        } = match store.freeze() {
            Ok(handed) => handed,
            Err(error) => {
                return warn!("the new process begins with an empty cache: {error}");
            }
        };
        let content = Content {
            purge_number: state.purge_number,
            zones: state.zones,
            change: state.change,
        };
        let bytes = serde_json::to_vec(&content).unwrap_or_default();
        handed.blobs.push(CACHE.blob(bytes));
        handed.cache = std::iter::once(memory).chain(readers).collect();
    }

    /// Lets the cache go on, because the upgrade has failed; later, if the new process still answers requests.
    pub fn thaw(&self) {
        if let Some(store) = &self.store
            && !self.is_read.load(SeqCst)
        {
            store.thaw();
        }
    }

    /// Notes that the new process ends by itself, after its last requests: what it reads must stay as it is.
    pub fn leave_to_reader(&self) {
        self.is_read.store(true, SeqCst);
    }

    /// Lets the cache go on, because that process has ended.
    pub fn reader_has_ended(&self) {
        self.is_read.store(false, SeqCst);
        self.thaw();
    }
}

/// The cache that the old process hands over, taken out of what came; `None`: it handed over none, or in a form that
/// this version does not know.
pub fn take_from(handed: &mut Handed) -> Option<HandedStore> {
    let mut descriptors = std::mem::take(&mut handed.cache).into_iter();
    let memory = descriptors.next()?;
    let content: Content = match serde_json::from_slice(CACHE.find(&handed.blobs)?) {
        Ok(content) => content,
        Err(error) => {
            warn!("the cache of the old process cannot be taken over: {error}");
            return None;
        }
    };
    Some(HandedStore {
        memory,
        readers: descriptors.collect(),
        state: HandedIndex {
            purge_number: content.purge_number,
            zones: content.zones,
            change: content.change,
        },
    })
}

/// A store with the entries of the old process; `None`: its memory cannot be used, which the log then says.
pub fn rebuild(handed: HandedStore, settings: StoreSettings) -> Option<SharedStore> {
    let HandedStore {
        memory,
        readers,
        state,
    } = handed;
    match CacheStore::from_memfd(memory, settings, readers, state) {
        Ok((store, rebuilt)) => {
            let (entries, lost, millis) = (rebuilt.entries, rebuilt.lost, rebuilt.millis);
            info!("cache: {entries} entries were taken over in {millis} ms; {lost} were damaged");
            Some(store)
        }
        Err(error) => {
            warn!("the cache of the old process cannot be taken over: {error}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_goes_from_one_process_to_the_next_and_what_cannot_be_read_is_none() {
        let settings = StoreSettings {
            max_bytes: 1 << 20,
            cores: 1,
        };
        let store = CacheStore::new(settings).unwrap();
        store.zone("api");
        let mut handed = Handed::default();
        assert!(take_from(&mut handed).is_none());
        CacheHandover::default().hand(&mut handed);
        assert!(handed.cache.is_empty());
        let cache = CacheHandover::of(Some(store.clone()));
        cache.hand(&mut handed);
        assert_eq!(handed.cache.len(), 2, "the memory, and a sign of life");
        let taken = take_from(&mut handed).unwrap();
        assert_eq!(taken.state.zones, ["api"]);
        assert!(rebuild(taken, settings).is_some());
        // A process that still reads the memory keeps the cache as it is.
        cache.leave_to_reader();
        cache.thaw();
        assert!(store.freeze().is_err());
        cache.reader_has_ended();
        cache.hand(&mut handed);
        handed.blobs = vec![CACHE.blob(b"{".to_vec())];
        assert!(take_from(&mut handed).is_none());
        cache.thaw();
        cache.hand(&mut handed);
        handed.blobs.clear();
        assert!(take_from(&mut handed).is_none());
    }
}
