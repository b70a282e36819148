//! Records are appended: collected in memory, and written in large pieces.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::folder::{Appended, Content, Folder};
use super::journal::Event;
use super::record::{RecordHeader, RecordKind, RecordPosition, RecordRemoval, RunningSum};
use super::segments::{LogSegment, SEGMENT_HEADER_BYTES};
use super::{DiskTier, EvictedEntry, count};
use crate::base::limits;
use crate::shared::cache::entry::{Entry, EntryState};
use crate::shared::cache::purges::Purgeable;

impl Folder {
    /// Appends the record of an entry, unless the entry does not count any more. Errors: the disk cannot take it; what
    /// was appended and not written is lost, and the rest is as before.
    pub fn append_entry(&mut self, tier: &DiskTier, evicted: &EvictedEntry) -> io::Result<()> {
        if !tier.rows.is_wanted(evicted.name.hash, evicted.row) {
            return Ok(());
        }
        let number = tier.purges.number();
        let of = Purgeable {
            key: evicted.entry.key(),
            tags: evicted.entry.tags(),
        };
        let state = tier.purges.state_of_waiting(evicted.purge, of);
        let header = header_of(evicted, number, state);
        let is_bounded = header.is_bounded() && header.total() <= tier.bounds.record;
        if state == EntryState::Dead || !is_bounded {
            tier.rows.forget_queued(evicted.name.hash, evicted.row);
            return Ok(());
        }
        self.note_zone(evicted.entry.key())?;
        let position = self.begin(tier, header.total())?;
        if let Some(current) = &self.current {
            current.note_purge(number);
        }
        self.push_record(tier, &header, &evicted.entry)?;
        let content = Content::Entry(evicted.name.hash, evicted.row);
        self.end_record(content, position, &header);
        Ok(())
    }

    fn push_record(
        &mut self,
        tier: &DiskTier,
        header: &RecordHeader,
        entry: &Entry,
    ) -> io::Result<()> {
        let mut sum = RunningSum::default();
        self.push(tier, &header.to_bytes())?;
        let texts = [
            entry.key(),
            entry.variant(),
            entry.tags(),
            entry.head(),
            entry.trailers(),
        ];
        for piece in texts.into_iter().chain(entry.pieces()) {
            sum.add(piece);
            self.push(tier, piece)?;
        }
        self.push(tier, &[0; 8][..header.padding()])?;
        self.push(tier, &sum.end().to_le_bytes())
    }

    fn end_record(&mut self, content: Content, position: RecordPosition, header: &RecordHeader) {
        self.appended.push(Appended {
            content,
            position,
            length: header.total() as u32,
        });
    }

    /// Appends the removal of a record. Errors: as [`Folder::append_entry`].
    pub fn append_removal(&mut self, tier: &DiskTier, removal: RecordRemoval) -> io::Result<()> {
        // The record of a segment that is gone is gone.
        if tier.segments.get(removal.position.segment).is_none() {
            return Ok(());
        }
        let header = RecordHeader::removal(removal);
        let position = self.begin(tier, header.total())?;
        self.push(tier, &header.to_bytes())?;
        self.push(tier, &RunningSum::default().end().to_le_bytes())?;
        self.end_record(Content::Removal(removal), position, &header);
        Ok(())
    }

    /// Begins a record of so many bytes, in another segment if the present one has no room.
    fn begin(&mut self, tier: &DiskTier, total: u64) -> io::Result<RecordPosition> {
        if self.dirty >= limits::DISK_SYNC_BYTES {
            self.sync_growing(tier)?;
        }
        let at = |folder: &Folder| {
            let current = folder.current.as_ref();
            current.map(|current| (current.number, current.bytes() + folder.buffer.len() as u64))
        };
        let fits = at(self).is_some_and(|(_, end)| {
            end + total <= tier.bounds.segment || end == SEGMENT_HEADER_BYTES
        });
        if !fits {
            self.flush(tier)?;
            self.begin_segment(tier, total)?;
        }
        let (segment, end) = at(self).ok_or(ErrorKind::NotFound)?;
        self.open = end;
        let offset = u32::try_from(end).map_err(|_| ErrorKind::FileTooLarge)?;
        Ok(RecordPosition { segment, offset })
    }

    fn begin_segment(&mut self, tier: &DiskTier, total: u64) -> io::Result<()> {
        // The segment that has grown so far may be dropped, too.
        self.end_segment(tier)?;
        let wanted = tier.bounds.segment.max(total + SEGMENT_HEADER_BYTES);
        while tier.segments.cost() + wanted > tier.bounds.of_segments() {
            if !self.drop_oldest(tier)? {
                return Err(ErrorKind::StorageFull.into());
            }
        }
        let number = self.next;
        self.next = number.checked_add(1).ok_or(ErrorKind::StorageFull)?;
        self.note(&[Event::Segment(number)], false)?;
        let segment = Arc::new(LogSegment::create(&self.path, number)?);
        tier.segments.add(segment.clone());
        self.unsynced.insert(number);
        self.current = Some(segment);
        Ok(())
    }

    /// The segment that grows is full. Errors: the segment cannot be synced.
    fn end_segment(&mut self, tier: &DiskTier) -> io::Result<()> {
        self.sync_growing(tier)?;
        if let Some(full) = self.let_go() {
            self.unsynced.remove(&full.number);
        }
        Ok(())
    }

    /// Syncs what was written. Errors: the disk fails, and nothing more is appended to the segment.
    fn sync_growing(&mut self, tier: &DiskTier) -> io::Result<()> {
        self.dirty = 0;
        let Some(current) = &self.current else {
            return Ok(());
        };
        if let Err(error) = current.sync() {
            // Removed responses may come back. A second sync would hide that.
            tier.purges.add_doubt();
            self.unsynced.remove(&current.number);
            self.let_go();
            return Err(error);
        }
        Ok(())
    }

    fn push(&mut self, tier: &DiskTier, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = limits::DISK_WRITE_BYTES - self.buffer.len();
            let (piece, rest) = bytes.split_at(bytes.len().min(room));
            self.buffer.extend_from_slice(piece);
            bytes = rest;
            if self.buffer.len() == limits::DISK_WRITE_BYTES {
                self.write(tier)?;
            }
        }
        Ok(())
    }

    /// Writes all records that were appended. Errors: the disk cannot take the records, which are lost, but removals
    /// wait again.
    pub fn flush(&mut self, tier: &DiskTier) -> io::Result<()> {
        self.write(tier)?;
        self.note_written(tier);
        self.count_bytes(tier);
        Ok(())
    }

    fn write(&mut self, tier: &DiskTier) -> io::Result<()> {
        let Some(current) = self.current.clone() else {
            self.discard(tier);
            return Ok(());
        };
        if self.buffer.is_empty() {
            return Ok(());
        }
        let before = current.bytes();
        if let Err(error) = current.append(&self.buffer) {
            // The beginnings of records that are not whole go, too.
            let first = self.appended.first();
            let first = first.map_or(self.open, |first| first.position.offset.into());
            let end = before.min(self.open).min(first);
            if current.cut(end).is_err() {
                // Nothing is appended behind what may be damaged.
                self.let_go();
            }
            self.discard(tier);
            return Err(error);
        }
        self.dirty += self.buffer.len() as u64;
        self.buffer.clear();
        self.note_written(tier);
        Ok(())
    }

    /// Makes the records known that are whole on the disk.
    fn note_written(&mut self, tier: &DiskTier) {
        let end = self.current.as_ref().map_or(0, |current| current.bytes());
        let is_whole = |appended: &Appended| {
            u64::from(appended.position.offset) + u64::from(appended.length) <= end
        };
        let whole = self.appended.partition_point(is_whole);
        for appended in self.appended.drain(..whole) {
            let Appended {
                content,
                position,
                length,
            } = appended;
            let Content::Entry(hash, row) = content else {
                continue;
            };
            if tier.rows.set_written(hash, row, position, length) {
                count(&tier.counters.written);
                let bytes = &tier.counters.written_bytes;
                bytes.fetch_add(u64::from(length), Relaxed);
            } else {
                // The entry was removed while its record was being written.
                tier.removals().push(RecordRemoval { hash, position });
            }
        }
    }
}

fn header_of(evicted: &EvictedEntry, number: u64, state: EntryState) -> RecordHeader {
    let entry = &evicted.entry;
    let texts = [
        entry.key(),
        entry.variant(),
        entry.tags(),
        entry.head(),
        entry.trailers(),
    ];
    RecordHeader {
        kind: RecordKind::Entry {
            is_stale: evicted.is_stale || state == EntryState::Stale,
        },
        lengths: texts.map(|text| text.len() as u32),
        body: entry.pieces().map(|piece| piece.len() as u64).sum(),
        number,
        hash: evicted.name.hash,
        variant: evicted.name.variant,
        stamp: evicted.name.stamp,
        facts: entry.facts().to_bytes(),
    }
}
