//! The segments: files that records are appended to, one behind the other. The oldest segment is dropped when there is
//! no room. One thread writes; others read.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::record::{HEADER_BYTES, RecordHeader, RecordPosition};
use crate::base::limits;

/// The first bytes of a segment, with the version of the form; the number of the segment follows.
const MAGIC: [u8; 8] = *b"pal-seg\x01";
/// Bytes in front of the first record.
pub const SEGMENT_HEADER_BYTES: u64 = 16;
/// The beginning of the names of segments; the number follows.
const NAME: &str = "segment-";
/// The files of a folder are counted in blocks of so many bytes.
const BLOCK: u64 = 4_096;

/// A file with records.
#[derive(Debug)]
pub struct LogSegment {
    /// The number.
    pub number: u32,
    path: PathBuf,
    /// The file while the segment grows. Others are opened when they are read, so that the number of descriptors does
    /// not grow with the folder.
    growing: Mutex<Option<Arc<File>>>,
    /// Bytes of the records and of what is in front of them.
    bytes: AtomicU64,
    /// The number of the last purge of the disk when the first record was written; `u64::MAX`: there is no record.
    first_purge: AtomicU64,
}

/// All segments, for those who read.
#[derive(Debug, Default)]
pub struct LogSegments(RwLock<BTreeMap<u32, Arc<LogSegment>>>);

/// The sizes of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FolderBounds {
    /// Bytes of all files.
    pub most: u64,
    /// Bytes of a segment, unless one record is larger.
    pub segment: u64,
    /// Bytes of a record.
    pub record: u64,
    /// Bytes of the journal. While the journal is made anew there are two of them.
    pub journal: u64,
}

/// The end of a walk through a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkEnd {
    /// The segment is whole.
    Whole,
    /// The last record was cut. The segment is whole up to this byte.
    Cut(u64),
    /// From this byte on, the segment is not what was written.
    Damaged(u64),
}

impl FolderBounds {
    /// The bounds of a folder with at most so many bytes, beside a memory of so many.
    pub fn of(max_bytes: u64, memory_bytes: u64) -> FolderBounds {
        let usual = (max_bytes / 256).clamp(limits::SEGMENT_BYTES_LEAST, limits::SEGMENT_BYTES);
        FolderBounds {
            most: max_bytes,
            segment: usual
                .max(max_bytes / limits::SEGMENTS)
                .min(limits::RECORD_BYTES),
            record: (max_bytes.min(memory_bytes) / limits::RECORD_PART).min(limits::RECORD_BYTES),
            journal: max_bytes / limits::JOURNAL_PART,
        }
    }

    /// Bytes that all segments may take.
    pub fn of_segments(&self) -> u64 {
        self.most.saturating_sub(2 * self.journal + 4 * BLOCK)
    }
}

/// The name of a segment.
pub fn name_of(number: u32) -> String {
    format!("{NAME}{number:010}")
}

/// The number of the segment of a name; `None`: the file is none.
pub fn number_of(name: &str) -> Option<u32> {
    let number: u32 = name.strip_prefix(NAME)?.parse().ok()?;
    (number > 0 && name == name_of(number)).then_some(number)
}

impl LogSegment {
    /// A new segment in a folder. Errors: the disk cannot take it.
    pub fn create(folder: &Path, number: u32) -> io::Result<LogSegment> {
        let path = folder.join(name_of(number));
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(&path)?;
        let mut header = MAGIC.to_vec();
        header.extend_from_slice(&u64::from(number).to_le_bytes());
        if let Err(error) = file.write_all_at(&header, 0) {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(LogSegment {
            number,
            path,
            growing: Mutex::new(Some(Arc::new(file))),
            bytes: AtomicU64::new(SEGMENT_HEADER_BYTES),
            first_purge: AtomicU64::new(u64::MAX),
        })
    }

    /// A segment that is there; `None`: the file is of another form or of another number. Errors: the file cannot be
    /// read.
    pub fn open(folder: &Path, number: u32) -> io::Result<Option<LogSegment>> {
        let path = folder.join(name_of(number));
        let file = open_file(&path)?;
        let metadata = file.metadata()?;
        let mut header = [0; SEGMENT_HEADER_BYTES as usize];
        if !metadata.is_file() || metadata.len() < SEGMENT_HEADER_BYTES {
            return Ok(None);
        }
        file.read_exact_at(&mut header, 0)?;
        let (magic, own) = header.split_at(MAGIC.len());
        let is_ours = magic == MAGIC && own == u64::from(number).to_le_bytes();
        Ok(is_ours.then(|| LogSegment {
            number,
            path,
            growing: Mutex::default(),
            bytes: AtomicU64::new(metadata.len()),
            first_purge: AtomicU64::new(u64::MAX),
        }))
    }

    /// Bytes of the records and of what is in front of them.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Acquire)
    }

    /// Bytes that the file takes of the disk.
    pub fn cost(&self) -> u64 {
        self.bytes().next_multiple_of(BLOCK)
    }

    /// The number of the last purge of the disk when the first record was written; `u64::MAX`: there is no record.
    pub fn first_purge(&self) -> u64 {
        self.first_purge.load(Relaxed)
    }

    /// Notes a record of this number.
    pub fn note_purge(&self, number: u64) {
        self.first_purge.fetch_min(number, Relaxed);
    }

    /// The file. Errors: it cannot be opened.
    pub fn file(&self) -> io::Result<Arc<File>> {
        let growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        match &*growing {
            Some(file) => Ok(file.clone()),
            None => open_file(&self.path).map(Arc::new),
        }
    }

    /// Notes that the segment does not grow any more.
    pub fn end_growth(&self) {
        let mut growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        *growing = None;
    }

    /// Writes bytes behind the others. Errors: the disk cannot take them; the segment is as before, unless the disk
    /// fails altogether.
    pub fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let before = self.bytes();
        if let Err(error) = self.file()?.write_all_at(bytes, before) {
            self.cut(before)?;
            return Err(error);
        }
        self.bytes.store(before + bytes.len() as u64, Release);
        Ok(())
    }

    /// Takes the bytes from a position on away. Errors: the disk fails.
    pub fn cut(&self, bytes: u64) -> io::Result<()> {
        self.file()?.set_len(bytes)?;
        self.bytes.store(bytes, Release);
        Ok(())
    }

    /// Syncs the segment. Errors: the disk fails.
    pub fn sync(&self) -> io::Result<()> {
        self.file()?.sync_data()
    }

    /// Shows `found` the fields of all records, one behind the other. Errors: the disk fails.
    pub fn walk(
        &self,
        mut found: impl FnMut(RecordPosition, &RecordHeader),
    ) -> io::Result<WalkEnd> {
        let (file, end) = (self.file()?, self.bytes());
        let mut buffer = Vec::new();
        let (mut from, mut at) = (0, SEGMENT_HEADER_BYTES);
        while at < end {
            if end - at < HEADER_BYTES as u64 {
                return Ok(WalkEnd::Cut(at));
            }
            if at < from || at + HEADER_BYTES as u64 > from + buffer.len() as u64 {
                let length = (end - at).min(limits::DISK_SCAN_BYTES as u64) as usize;
                buffer.resize(length, 0);
                file.read_exact_at(&mut buffer, at)?;
                from = at;
            }
            let bytes = &buffer[(at - from) as usize..];
            let (Some(header), Ok(offset)) = (RecordHeader::read(bytes), u32::try_from(at)) else {
                return Ok(WalkEnd::Damaged(at));
            };
            if header.total() > end - at {
                return Ok(WalkEnd::Cut(at));
            }
            let segment = self.number;
            found(RecordPosition { segment, offset }, &header);
            at += header.total();
        }
        Ok(WalkEnd::Whole)
    }
}

impl LogSegments {
    /// The segment of a number.
    pub fn get(&self, number: u32) -> Option<Arc<LogSegment>> {
        let segments = self.0.read().unwrap_or_else(PoisonError::into_inner);
        segments.get(&number).cloned()
    }

    /// All segments, the oldest first.
    pub fn all(&self) -> Vec<Arc<LogSegment>> {
        let segments = self.0.read().unwrap_or_else(PoisonError::into_inner);
        segments.values().cloned().collect()
    }

    /// The number of the oldest segment.
    pub fn oldest(&self) -> Option<u32> {
        let segments = self.0.read().unwrap_or_else(PoisonError::into_inner);
        segments.keys().next().copied()
    }

    /// The number of the first segment behind the oldest quarter.
    pub fn kept_from(&self) -> u32 {
        let segments = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut numbers = segments.keys();
        numbers.nth(segments.len() / 4).copied().unwrap_or_default()
    }

    /// Bytes of all files.
    pub fn cost(&self) -> u64 {
        let segments = self.0.read().unwrap_or_else(PoisonError::into_inner);
        segments.values().map(|segment| segment.cost()).sum()
    }

    /// Adds a segment.
    pub fn add(&self, segment: Arc<LogSegment>) {
        let mut segments = self.0.write().unwrap_or_else(PoisonError::into_inner);
        segments.insert(segment.number, segment);
    }

    /// Forgets a segment.
    pub fn remove(&self, number: u32) {
        let mut segments = self.0.write().unwrap_or_else(PoisonError::into_inner);
        segments.remove(&number);
    }

    /// Forgets all segments.
    pub fn clear(&self) {
        let mut segments = self.0.write().unwrap_or_else(PoisonError::into_inner);
        segments.clear();
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    options
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(path)
}

/// Removes the file of a segment; a file that is gone is removed. Errors: the disk fails.
pub fn remove_file(folder: &Path, number: u32) -> io::Result<()> {
    remove_named(&folder.join(name_of(number)))
}

/// Removes a file that may be gone. Errors: the disk fails.
pub fn remove_named(path: &PathBuf) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
