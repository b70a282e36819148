//! The journal: what must not get lost of the folder's state, although it is small. Purges stand in it, each synced
//! before whoever ordered it has the answer, and which segments there are.
//!
//! A journal that is damaged is of no use, since a purge may be lost: then nothing of the folder is used any more. An
//! event that was cut when its process was killed has not been answered, and does not count.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::record::{RunningSum, u32_at, u64_at};
use crate::base::limits;
use crate::shared::cache::purges::{Purge, PurgeEffect};

/// The first bytes of a journal, with the version of the form in the last one.
const MAGIC: [u8; 8] = *b"pal-jnl\x01";
/// Bytes in front of the text of an event.
const HEADER_BYTES: usize = 40;
/// The name of the file.
pub const JOURNAL: &str = "journal";
/// The name of a journal that is being made.
pub const NEW_JOURNAL: &str = "journal.new";

const URL: u8 = 1;
const PREFIX: u8 = 2;
const TAG: u8 = 3;
const ALL: u8 = 4;
const FLOOR: u8 = 5;
const SEGMENT: u8 = 6;
const CLEAN: u8 = 7;
const OPENED: u8 = 8;
const ZONE: u8 = 9;

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A purge of this number.
    Purge(u64, OwnedPurge, PurgeEffect),
    /// Records with a lower number do not count, since a purge that they would have to be compared with was forgotten.
    Floor(u64),
    /// A segment of this number is going to be made.
    Segment(u32),
    /// The last process has ended in good order, when the last segment had this number and so many bytes.
    Clean(u32, u64),
    /// A process began to use the folder. The number is that of the start of the machine.
    Opened(u64),
    /// A record of this zone is going to be made.
    Zone(Box<str>),
}

/// The subject of a purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedPurge {
    /// A URL.
    Url(Box<[u8]>),
    /// The beginning of keys.
    Prefix(Box<[u8]>),
    /// A tag.
    Tag(Box<[u8]>),
    /// Everything.
    All,
}

/// The journal is not what palantir has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    file: File,
    bytes: u64,
    /// The bytes after the last time that it was made anew.
    kept: u64,
}

impl OwnedPurge {
    /// The subject of a purge. A text that is too long is cut, so that the purge concerns more.
    pub fn of(purge: Purge<'_>) -> OwnedPurge {
        const MOST: usize = limits::JOURNAL_TEXT_BYTES;
        match purge {
            Purge::Url(text) | Purge::Prefix(text) if text.len() > MOST => {
                OwnedPurge::Prefix(text[..MOST].into())
            }
            Purge::Tag(text) if text.len() > MOST => OwnedPurge::All,
            Purge::Url(text) => OwnedPurge::Url(text.into()),
            Purge::Prefix(text) => OwnedPurge::Prefix(text.into()),
            Purge::Tag(text) => OwnedPurge::Tag(text.into()),
            Purge::All => OwnedPurge::All,
        }
    }

    /// The text; empty for everything.
    pub fn text(&self) -> &[u8] {
        match self {
            OwnedPurge::Url(text) | OwnedPurge::Prefix(text) | OwnedPurge::Tag(text) => text,
            OwnedPurge::All => &[],
        }
    }

    /// The purge.
    pub fn get(&self) -> Purge<'_> {
        match self {
            OwnedPurge::Url(text) => Purge::Url(text),
            OwnedPurge::Prefix(text) => Purge::Prefix(text),
            OwnedPurge::Tag(text) => Purge::Tag(text),
            OwnedPurge::All => Purge::All,
        }
    }
}

impl Event {
    /// Whether no record counts after this event.
    pub fn ends_all(&self) -> bool {
        matches!(self, Event::Purge(_, OwnedPurge::All, PurgeEffect::Hard))
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> u64 {
        let text = match self {
            Event::Purge(_, purge, _) => purge.text().len(),
            Event::Zone(name) => name.len(),
            _ => 0,
        };
        (size_of::<Event>() + text) as u64
    }

    fn write(&self, out: &mut Vec<u8>) {
        let (kind, soft, numbers, text): (u8, bool, [u64; 2], &[u8]) = match self {
            Event::Purge(number, purge, effect) => {
                let (kind, text) = match purge.get() {
                    Purge::Url(text) => (URL, text),
                    Purge::Prefix(text) => (PREFIX, text),
                    Purge::Tag(text) => (TAG, text),
                    Purge::All => (ALL, &[][..]),
                };
                (kind, *effect == PurgeEffect::Soft, [*number, 0], text)
            }
            Event::Floor(number) => (FLOOR, false, [*number, 0], &[]),
            Event::Segment(number) => (SEGMENT, false, [u64::from(*number), 0], &[]),
            Event::Clean(number, bytes) => (CLEAN, false, [u64::from(*number), *bytes], &[]),
            Event::Opened(start) => (OPENED, false, [*start, 0], &[]),
            Event::Zone(name) => (ZONE, false, [0, 0], name.as_bytes()),
        };
        let start = out.len();
        out.extend_from_slice(&(text.len() as u32).to_le_bytes());
        out.extend_from_slice(&[kind, u8::from(soft), 0, 0]);
        numbers
            .iter()
            .for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        out.extend_from_slice(&sum_of(text).to_le_bytes());
        let sum = sum_of(&out[start..]);
        out.extend_from_slice(&sum.to_le_bytes());
        out.extend_from_slice(text);
    }

    /// The event at the beginning of these bytes and its length; `None`: the event was cut.
    fn read(bytes: &[u8]) -> Result<Option<(Event, usize)>, Damaged> {
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        if sum_of(&header[..HEADER_BYTES - 8]) != u64_at(header, HEADER_BYTES - 8) {
            return Err(Damaged);
        }
        let end = HEADER_BYTES + u32_at(header, 0) as usize;
        let Some(text) = bytes.get(HEADER_BYTES..end) else {
            return Ok(None);
        };
        if sum_of(text) != u64_at(header, 24) {
            return Err(Damaged);
        }
        let effect = match header[5] {
            0 => PurgeEffect::Hard,
            _ => PurgeEffect::Soft,
        };
        let (first, second) = (u64_at(header, 8), u64_at(header, 16));
        let segment = first as u32;
        let purge = |purge| Event::Purge(first, purge, effect);
        let event = match header[4] {
            URL => purge(OwnedPurge::Url(text.into())),
            PREFIX => purge(OwnedPurge::Prefix(text.into())),
            TAG => purge(OwnedPurge::Tag(text.into())),
            ALL => purge(OwnedPurge::All),
            FLOOR => Event::Floor(first),
            SEGMENT => Event::Segment(segment),
            CLEAN => Event::Clean(segment, second),
            OPENED => Event::Opened(first),
            ZONE => Event::Zone(std::str::from_utf8(text).map_err(|_| Damaged)?.into()),
            _ => return Err(Damaged),
        };
        Ok(Some((event, end)))
    }
}

fn sum_of(bytes: &[u8]) -> u64 {
    let mut sum = RunningSum::default();
    sum.add(bytes);
    sum.end()
}

/// The events of a journal.
pub fn events(bytes: &[u8]) -> Result<Vec<Event>, Damaged> {
    let mut rest = bytes.strip_prefix(&MAGIC).ok_or(Damaged)?;
    let mut events = Vec::new();
    while let Some((event, length)) = Event::read(rest)? {
        events.push(event);
        rest = &rest[length..];
    }
    Ok(events)
}

/// The bytes of the journal in a folder; `None`: there is none. Of a journal of more than `most` bytes nothing is
/// given: it is damaged.
pub fn read(folder: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = open(&folder.join(JOURNAL))? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        // The events that are not read would be missing.
        bytes.clear();
    }
    Ok(Some(bytes))
}

/// Whether a file in the place of the journal, or of one that is being made, is not of palantir, in whatever version.
pub fn is_foreign(folder: &Path) -> io::Result<bool> {
    let (name, _) = MAGIC.split_at(MAGIC.len() - 1);
    for file in [JOURNAL, NEW_JOURNAL] {
        let Some(file) = open(&folder.join(file))? else {
            continue;
        };
        let mut first = Vec::new();
        file.take(name.len() as u64).read_to_end(&mut first)?;
        // A file may have been cut.
        if !name.starts_with(&first) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn open(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    // A pipe of that name must not hang the thread.
    let options = options.read(true).custom_flags(libc::O_NONBLOCK);
    match options.open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Journal {
    /// A journal with these events, in the place of the one that is there. Errors: the disk cannot take it, and the one
    /// that is there stays.
    pub fn create(folder: &Path, events: &[Event]) -> io::Result<Journal> {
        let new = folder.join(NEW_JOURNAL);
        let path = folder.join(JOURNAL);
        if let Err(error) = fs::remove_file(&new)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut options = OpenOptions::new();
        let options = options.append(true).create_new(true).mode(0o600);
        let mut file = options.open(&new)?;
        let mut bytes = MAGIC.to_vec();
        events.iter().for_each(|event| event.write(&mut bytes));
        file.write_all(&bytes)?;
        file.sync_data()?;
        fs::rename(&new, &path)?;
        File::open(folder)?.sync_all()?;
        let bytes = bytes.len() as u64;
        Ok(Journal {
            file,
            bytes,
            kept: bytes,
        })
    }

    /// Appends events, and syncs them if `is_synced`. Errors: the disk cannot take them; the journal is as before,
    /// unless the disk fails altogether.
    pub fn append(&mut self, events: &[Event], is_synced: bool) -> io::Result<()> {
        let mut bytes = Vec::new();
        events.iter().for_each(|event| event.write(&mut bytes));
        let written = self.file.write_all(&bytes).and_then(|()| {
            if is_synced {
                self.file.sync_data()
            } else {
                Ok(())
            }
        });
        if let Err(error) = written {
            self.file.set_len(self.bytes)?;
            return Err(error);
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the journal has grown so much that it should be made anew.
    pub fn is_grown(&self) -> bool {
        self.bytes > limits::JOURNAL_BYTES_LEAST.max(2 * self.kept)
    }
}

/// The journal as a process would have written it after another start of the machine.
#[cfg(test)]
pub fn of_another_start(bytes: &[u8]) -> Vec<u8> {
    let mut written = MAGIC.to_vec();
    for event in events(bytes).unwrap() {
        match event {
            Event::Opened(start) => Event::Opened(start ^ 1).write(&mut written),
            event => event.write(&mut written),
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<Event> {
        let purge = |number, purge, effect| Event::Purge(number, OwnedPurge::of(purge), effect);
        vec![
            Event::Opened(99),
            Event::Segment(1),
            purge(7, Purge::Url(b"url"), PurgeEffect::Hard),
            purge(8, Purge::Prefix(b""), PurgeEffect::Soft),
            purge(9, Purge::Tag(b"a tag"), PurgeEffect::Soft),
            purge(10, Purge::All, PurgeEffect::Hard),
            Event::Floor(3),
            Event::Zone("api".into()),
            Event::Clean(1, 4_096),
        ]
    }

    fn written(events: &[Event]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        events.iter().for_each(|event| event.write(&mut bytes));
        bytes
    }

    #[test]
    fn a_journal_is_read_as_it_was_written() {
        assert_eq!(events(&written(&sample())), Ok(sample()));
        assert_eq!(events(&written(&[])), Ok(Vec::new()));
        assert_eq!(events(b""), Err(Damaged));
        assert_eq!(events(b"something else"), Err(Damaged));
    }

    #[test]
    fn a_journal_that_is_cut_has_its_beginning_and_a_flipped_bit_is_found() {
        let bytes = written(&sample());
        for cut in MAGIC.len()..bytes.len() {
            let found = events(&bytes[..cut]).unwrap();
            assert!(sample().starts_with(&found) && found.len() < 9, "{cut}");
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert_eq!(events(&damaged), Err(Damaged), "{at} {bit}");
            }
        }
    }

    #[test]
    fn a_text_that_is_too_long_purges_more() {
        let long = vec![b'x'; limits::JOURNAL_TEXT_BYTES + 1];
        let cut: Box<[u8]> = long[1..].into();
        assert_eq!(
            OwnedPurge::of(Purge::Url(&long)),
            OwnedPurge::Prefix(cut.clone())
        );
        assert_eq!(
            OwnedPurge::of(Purge::Prefix(&long)),
            OwnedPurge::Prefix(cut)
        );
        assert_eq!(OwnedPurge::of(Purge::Tag(&long)), OwnedPurge::All);
    }

    #[test]
    fn a_journal_in_a_folder_grows_and_is_made_anew() {
        let folder = std::env::temp_dir().join(format!("palantir-journal-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(read(&folder, 1 << 20).unwrap(), None);
        let mut journal = Journal::create(&folder, &sample()[..1]).unwrap();
        journal.append(&sample()[1..], true).unwrap();
        let bytes = read(&folder, 1 << 20).unwrap().unwrap();
        assert_eq!(events(&bytes), Ok(sample()));
        assert_eq!(bytes.len() as u64, journal.bytes());
        // The events that are not read would be missing.
        let cut = read(&folder, journal.bytes() - 1).unwrap().unwrap();
        assert_eq!(events(&cut), Err(Damaged));
        assert!(!journal.is_grown());
        let long = Event::Purge(
            1,
            OwnedPurge::Tag(vec![b'x'; 100_000].into()),
            PurgeEffect::Hard,
        );
        journal
            .append(&[long.clone(), long.clone(), long], false)
            .unwrap();
        assert!(journal.is_grown());
        let journal = Journal::create(&folder, &sample()).unwrap();
        assert!(!journal.is_grown());
        let bytes = read(&folder, 1 << 20).unwrap().unwrap();
        assert_eq!(events(&bytes), Ok(sample()));
        assert!(!folder.join(NEW_JOURNAL).exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
