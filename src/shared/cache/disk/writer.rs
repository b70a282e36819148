//! The thread that has the folder: it writes what leaves memory, keeps the journal, and looks through old segments
//! while the process serves already.

use std::io::{self, ErrorKind};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use tracing::info;

use super::folder::Folder;
use super::journal::Event;
use super::opening::{self, OpenedFolder};
use super::{CLOSED, Command, DiskTier, END, EvictedEntry, OPEN, SCANNING, USE, count};
use crate::base::limits;
use crate::shared::cache::CacheStore;

/// The thread that writes.
#[derive(Debug)]
pub struct DiskWriter {
    tier: Arc<DiskTier>,
    store: Weak<CacheStore>,
    commands: Receiver<Command>,
    /// Bytes of the heap that the store counts for the index and the purges.
    counted: u64,
}

impl DiskWriter {
    /// A thread for a tier of a store.
    pub fn new(
        tier: Arc<DiskTier>,
        store: Weak<CacheStore>,
        commands: Receiver<Command>,
    ) -> DiskWriter {
        DiskWriter {
            tier,
            store,
            commands,
            counted: 0,
        }
    }

    /// Works until the process ends, or nobody has the store any more.
    pub fn run(mut self) {
        while self.store.strong_count() > 0 {
            self.hear();
            let order = self.tier.order.load(Acquire);
            match order {
                END => break,
                USE => match opening::open(&self.tier) {
                    Ok(Some(opened)) => {
                        let ended = self.serve(opened);
                        self.close(ended);
                    }
                    Ok(None) => self.idle(order, limits::DISK_LOCK_PAUSE_MILLIS),
                    Err(error) => self.close(Err(error)),
                },
                _ => self.idle(order, limits::DISK_RETRY_MILLIS),
            }
        }
        self.tier.purges.give_up_waiting();
    }

    /// Does what other processes have told the store; returns whether they may tell more.
    fn hear(&self) -> bool {
        let Some(store) = self.store.upgrade() else {
            return false;
        };
        store.hear();
        store.sharing.changes.has_peer()
    }

    /// Lets entries go while the folder is not in use, for as long as `order` stands.
    fn idle(&self, order: u8, millis: u64) {
        let until = Instant::now() + Duration::from_millis(millis);
        while self.tier.order.load(Acquire) == order {
            match self.commands.recv_deadline(until) {
                Ok(Command::Write(evicted)) => self.tier.give_up(&evicted),
                Ok(Command::Look) => {}
                Err(_) => return,
            }
        }
    }

    /// Forgets the folder, which another process may use from here on.
    fn close(&mut self, ended: io::Result<()>) {
        let tier = &self.tier;
        tier.stage.store(CLOSED, Release);
        tier.purges.close();
        let mut removals = tier.removals();
        if ended.is_err() || !removals.is_empty() {
            // No record says what was removed.
            tier.is_doubtful.store(true, Release);
        }
        removals.clear();
        drop(removals);
        tier.rows.clear();
        tier.segments.clear();
        tier.counters.bytes.store(0, Relaxed);
        self.count_heap();
        if let Err(error) = ended {
            self.tier.has_failed.store(true, Release);
            self.tier.purges.give_up_waiting();
            self.tier.tell(&error);
            // A folder that is gone can be made anew.
            let pause = match error.kind() {
                ErrorKind::NotFound => limits::DISK_PAUSE_MILLIS,
                _ => limits::DISK_RETRY_MILLIS,
            };
            self.idle(USE, pause);
        }
    }

    /// Works with the folder until another order comes. Errors: the folder cannot be used any more.
    fn serve(&mut self, mut opened: OpenedFolder) -> io::Result<()> {
        let began = Instant::now();
        if let Some(store) = self.store.upgrade() {
            opened.folder.zones().for_each(|zone| {
                store.zone(zone);
            });
        }
        while self.tier.order.load(Acquire) == USE && self.store.strong_count() > 0 {
            let has_peer = self.hear();
            self.write_changes(&mut opened.folder)?;
            let is_scanning = self.tier.stage.load(Acquire) == SCANNING;
            if is_scanning && !self.scan(&mut opened, began)? {
                continue;
            }
            let has_more = is_scanning || !opened.folder.buffer.is_empty();
            let patience = match (has_more, has_peer) {
                (true, _) => 0,
                (false, true) => limits::DISK_HEAR_MILLIS,
                (false, false) => limits::DISK_IDLE_MILLIS,
            };
            match self.commands.recv_timeout(Duration::from_millis(patience)) {
                Ok(Command::Look) => {}
                Ok(Command::Write(evicted)) => self.write(&mut opened.folder, evicted)?,
                Err(RecvTimeoutError::Timeout) => {
                    self.flush(&mut opened.folder)?;
                    self.count_heap();
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.end(&mut opened.folder)
    }

    /// Looks through one old segment; false: it was the last one.
    fn scan(&mut self, opened: &mut OpenedFolder, began: Instant) -> io::Result<bool> {
        let tier = self.tier.clone();
        match opened.scan(&tier) {
            Ok(true) => {
                self.keep_index(&mut opened.folder)?;
                return Ok(true);
            }
            Ok(false) => {}
            Err(opening::UnusableFolder) => {
                count(&tier.counters.damaged);
                opened.unread.clear();
                opened.folder.give_up_all(&tier)?;
            }
        }
        tier.rows.end_scan();
        tier.stage.store(OPEN, Release);
        let (entries, millis) = (tier.rows.len(), began.elapsed().as_millis() as u64);
        let path = tier.path.display();
        info!("cache: {entries} entries were found in {path} within {millis} ms");
        Ok(false)
    }

    /// Writes the purges and the removals that have come. Errors: they cannot be written, nor what they concern be
    /// removed.
    fn write_changes(&mut self, folder: &mut Folder) -> io::Result<()> {
        let tier = self.tier.clone();
        let purges = tier.purges.take_unwritten();
        if !purges.events.is_empty() {
            let ends_all = purges.events.iter().any(Event::ends_all);
            let noted = folder.note(&purges.events, true);
            if let Err(error) = &noted {
                self.tier.tell(error);
            }
            if (noted.is_err() || ends_all)
                && let Err(error) = folder.give_up_all(&tier)
            {
                tier.purges.give_back(purges.events);
                return Err(error);
            }
        }
        tier.purges.note_written(purges.ordered);
        let is_due = folder.has_grown() && tier.stage.load(Acquire) == OPEN;
        if (is_due || folder.journal_bytes() > tier.bounds.journal / 2)
            && let Err(error) = folder.shorten_journal(&tier)
        {
            tier.tell(&error);
            folder.give_up_all(&tier)?;
        }
        if tier.is_doubtful.swap(false, Relaxed) {
            tier.removals().clear();
            folder.give_up_all(&tier)?;
        }
        self.write_removals(folder)
    }

    fn write_removals(&mut self, folder: &mut Folder) -> io::Result<()> {
        let tier = self.tier.clone();
        let removals = std::mem::take(&mut *tier.removals());
        if removals.is_empty() {
            return Ok(());
        }
        let mut rest = removals.iter();
        let appended = rest.try_for_each(|removal| folder.append_removal(&tier, *removal));
        let written = appended.and_then(|()| folder.flush(&tier));
        if let Err(error) = written {
            self.failed(folder, &error)?;
            // A segment that is gone needs no removal.
            tier.removals().extend(removals);
            let removals = std::mem::take(&mut *tier.removals());
            for removal in removals {
                if tier.segments.get(removal.position.segment).is_some() {
                    folder.drop_segment(&tier, removal.position.segment)?;
                }
            }
        }
        Ok(())
    }

    /// Writes an entry. Errors: the folder cannot be used any more.
    fn write(&mut self, folder: &mut Folder, evicted: EvictedEntry) -> io::Result<()> {
        let tier = self.tier.clone();
        if tier.is_paused() {
            tier.give_up(&evicted);
            return Ok(());
        }
        let appended = folder.append_entry(&tier, &evicted);
        match appended {
            Ok(()) => {
                tier.queued.fetch_sub(evicted.cost, Relaxed);
                Ok(())
            }
            Err(error) => {
                tier.give_up(&evicted);
                self.failed(folder, &error)
            }
        }
    }

    fn flush(&mut self, folder: &mut Folder) -> io::Result<()> {
        let tier = self.tier.clone();
        if let Err(error) = folder.flush(&tier) {
            self.failed(folder, &error)?;
        }
        self.keep_index(folder)
    }

    /// Makes room after a write that has failed, and pauses. Errors: the folder cannot be used any more.
    fn failed(&mut self, folder: &mut Folder, error: &io::Error) -> io::Result<()> {
        let tier = self.tier.clone();
        // Nothing can be made in the folder as it was opened: it is opened anew, and made if it is gone.
        let is_gone = [
            ErrorKind::NotFound,
            ErrorKind::NotADirectory,
            ErrorKind::ReadOnlyFilesystem,
        ];
        if is_gone.contains(&error.kind()) {
            return Err(error.kind().into());
        }
        self.tier.tell(error);
        tier.pause();
        let is_full = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded].contains(&error.kind());
        if is_full && !folder.drop_oldest(&tier)? {
            // The segment that grows is the only one.
            if let Some(only) = tier.segments.oldest() {
                folder.drop_segment(&tier, only)?;
            }
        }
        Ok(())
    }

    /// Keeps the index within its bound.
    fn keep_index(&mut self, folder: &mut Folder) -> io::Result<()> {
        let tier = self.tier.clone();
        while tier.rows.len() > tier.most_rows && folder.drop_oldest(&tier)? {}
        self.count_heap();
        Ok(())
    }

    /// Lets the store count the heap of the index and of the purges.
    fn count_heap(&mut self) {
        let now = self.tier.rows.heap_bytes() + self.tier.purges.heap_bytes();
        if let Some(store) = self.store.upgrade() {
            store.count_disk_heap(self.counted, now);
            self.counted = now;
        }
    }

    /// Ends in good order. At the end of the process what is in memory is written, within a bound.
    fn end(&mut self, folder: &mut Folder) -> io::Result<()> {
        let deadline = Instant::now() + Duration::from_millis(limits::DISK_END_MILLIS);
        let is_end = self.tier.order.load(Acquire) == END;
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Write(evicted) = command {
                self.write(folder, evicted)?;
            }
        }
        if is_end && let Some(store) = self.store.upgrade() {
            let mut node = 0;
            while Instant::now() < deadline {
                let step = limits::LISTED_AT_ONCE as u32;
                let (entries, is_last) = store.entries_from(node, step);
                node += step;
                for entry in entries {
                    if Instant::now() < deadline
                        && let Some(evicted) = store.copy_to_disk(&self.tier, &entry)
                    {
                        self.write(folder, evicted)?;
                    }
                }
                if is_last {
                    break;
                }
            }
        }
        self.write_changes(folder)?;
        folder.end(&self.tier)?;
        // Removals may have come meanwhile.
        self.write_changes(folder)
    }
}
