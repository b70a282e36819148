//! Tests of the tier on disk.

mod damage;
mod ends;
mod work;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};
use std::{fs, thread};

use super::*;

/// A folder that goes with the value.
struct TestFolder(PathBuf);

impl TestFolder {
    fn new() -> TestFolder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, SeqCst);
        let name = format!("palantir-disk-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        TestFolder(path)
    }

    /// A copy of all files as they are now, as a process leaves them that is killed.
    fn copy(&self) -> TestFolder {
        let copy = TestFolder::new();
        fs::create_dir_all(&copy.0).unwrap();
        for file in fs::read_dir(&self.0).unwrap() {
            let file = file.unwrap();
            // A file may go meanwhile.
            let _ = fs::copy(file.path(), copy.0.join(file.file_name()));
        }
        copy
    }

    fn segments(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(&self.0).unwrap();
        let paths = files.map(|file| file.unwrap().path());
        let is_segment = |path: &PathBuf| {
            let name = path.file_name().unwrap();
            name.to_str().unwrap().starts_with("segment-")
        };
        let mut segments: Vec<PathBuf> = paths.filter(is_segment).collect();
        segments.sort();
        segments
    }

    fn bytes(&self) -> u64 {
        let files = fs::read_dir(&self.0).unwrap();
        let sizes = files.map(|file| file.unwrap().metadata().map_or(0, |file| file.len()));
        sizes.sum()
    }
}

impl Drop for TestFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A store with a disk that has not been opened yet.
fn beginning(folder: &Path, memory: u64, disk: u64) -> Arc<CacheStore> {
    let store = store(memory);
    store.zone("zone");
    let settings = DiskSettings {
        path: folder.to_owned(),
        max_bytes: disk,
    };
    store.add_disk(settings).unwrap();
    store
}

fn usage(store: &CacheStore) -> DiskUsage {
    store.disk_usage().unwrap()
}

/// A store with a disk whose records are known.
fn open(folder: &TestFolder, memory: u64, disk: u64) -> Arc<CacheStore> {
    let store = beginning(&folder.0, memory, disk);
    until("the folder is scanned", || usage(&store).is_scanned);
    store
}

/// Ends a store in good order.
fn end(store: Arc<CacheStore>) {
    store.begin_disk_end();
    until("the disk ends", || store.has_disk_ended());
}

/// Waits until nothing waits to be written.
fn settled(store: &CacheStore) {
    until("all is written", || usage(store).queued_bytes == 0);
}

/// The entry of a key, from memory or from the disk.
fn fetch(store: &Arc<CacheStore>, key: &[u8]) -> Option<Arc<Entry>> {
    get(store, key).or_else(|| {
        let recall = store.recall(key)?;
        until("the recall ends", || {
            !matches!(recall.outcome(), Outcome::Undecided)
        });
        get(store, key)
    })
}

fn key(number: usize) -> Vec<u8> {
    key_of(&format!("http://a.test/{number}"), b"")
}

/// A body that tells its key and its turn.
fn body(number: usize, turn: usize, length: usize) -> Vec<u8> {
    let text = format!("{number} {turn} ");
    text.bytes().cycle().take(length).collect()
}
