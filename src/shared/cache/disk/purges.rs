//! The purges that concern records of the disk: those of earlier processes, which the journal tells, and those of this
//! one. The numbers are the disk's own and grow from process to process; those of memory begin anew with each process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::journal::{Event, OwnedPurge};
use super::record::lasting_hash;
use crate::base::limits;
use crate::shared::cache::entry::EntryState;
use crate::shared::cache::fills::RunningFill;
use crate::shared::cache::purges::{Purge, PurgeEffect, Purgeable, Purges};

/// The purges of the disk.
#[derive(Debug, Default)]
pub struct DiskPurges(Mutex<PurgeState>);

#[derive(Debug)]
struct PurgeState {
    table: Purges,
    /// The purges that came before the journal was read; `None`: the journal was read.
    early: Option<Vec<(OwnedPurge, PurgeEffect)>>,
    /// The purges up to this number are forgotten if no record was older.
    forgotten: u64,
    /// The events that are not in the journal yet.
    unwritten: Vec<Event>,
    /// Bytes of `early` and `unwritten`.
    bytes: u64,
    /// The number of purges that were ordered, and of those that are in the journal.
    ordered: u64,
    written: u64,
    /// The waits for so many purges to be in the journal, by the numbers of their fills.
    waiting: HashMap<u64, (u64, Arc<RunningFill>)>,
}

/// The events that are to be written.
#[derive(Debug, Default)]
pub struct Unwritten {
    /// The events.
    pub events: Vec<Event>,
    /// The number of purges that were ordered up to the last event.
    pub ordered: u64,
}

impl Default for PurgeState {
    fn default() -> PurgeState {
        PurgeState {
            table: Purges::default(),
            early: Some(Vec::new()),
            forgotten: 0,
            unwritten: Vec::new(),
            bytes: 0,
            ordered: 0,
            written: 0,
            waiting: HashMap::new(),
        }
    }
}

impl PurgeState {
    fn add(&mut self, purge: OwnedPurge, effect: PurgeEffect) {
        if self.table.is_full() {
            self.forget_half();
        }
        let number = add_to(&self.table, purge.get(), effect);
        self.push(Event::Purge(number, purge, effect));
        self.bound();
    }

    /// Adds a purge before the journal is read; gives it back if that was done.
    fn add_early(
        &mut self,
        purge: OwnedPurge,
        effect: PurgeEffect,
    ) -> Option<(OwnedPurge, PurgeEffect)> {
        let Some(early) = &mut self.early else {
            return Some((purge, effect));
        };
        self.bytes += bytes_of(&purge);
        early.push((purge, effect));
        if is_too_much(early.len(), self.bytes) {
            *early = vec![(OwnedPurge::All, PurgeEffect::Hard)];
            self.bytes = bytes_of(&OwnedPurge::All);
        }
        None
    }

    fn push(&mut self, event: Event) {
        self.bytes += event.bytes();
        self.unwritten.push(event);
    }

    /// Where the purges that have not been written are too many to remember, one takes their place.
    fn bound(&mut self) {
        if is_too_much(self.unwritten.len(), self.bytes) {
            let number = add_to(&self.table, Purge::All, PurgeEffect::Hard);
            self.unwritten = Vec::new();
            self.bytes = 0;
            self.push(Event::Purge(number, OwnedPurge::All, PurgeEffect::Hard));
        }
    }

    /// Forgets half of the purges of URLs and tags: the records that are older than these do not count any more.
    fn forget_half(&mut self) {
        let Some(middle) = self.table.middle() else {
            return;
        };
        self.table.end(middle, 0);
        self.push(Event::Floor(middle));
    }
}

/// Whether purges that wait for the journal are more than may wait.
fn is_too_much(count: usize, bytes: u64) -> bool {
    count > limits::DISK_PURGES || bytes > limits::DISK_PURGES_BYTES
}

fn bytes_of(purge: &OwnedPurge) -> u64 {
    (size_of::<Event>() + purge.text().len()) as u64
}

fn add_to(table: &Purges, purge: Purge<'_>, effect: PurgeEffect) -> u64 {
    let hash = match purge {
        Purge::Url(text) | Purge::Tag(text) => lasting_hash(text),
        Purge::Prefix(_) | Purge::All => 0,
    };
    table.add(purge, hash, effect)
}

impl DiskPurges {
    fn state(&self) -> MutexGuard<'_, PurgeState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a purge, which `add_to_memory` adds to the purges of memory first: nobody sees one without the other.
    pub fn add<T>(
        &self,
        purge: Purge<'_>,
        effect: PurgeEffect,
        add_to_memory: impl FnOnce() -> T,
    ) -> T {
        let mut state = self.state();
        let added = add_to_memory();
        let purge = OwnedPurge::of(purge);
        if let Some((purge, effect)) = state.add_early(purge, effect) {
            state.add(purge, effect);
        }
        state.ordered += 1;
        added
    }

    /// Does something while no purge comes.
    pub fn between<T>(&self, act: impl FnOnce() -> T) -> T {
        let _state = self.state();
        act()
    }

    /// The number of the last purge.
    pub fn number(&self) -> u64 {
        self.state().table.number()
    }

    /// The state of a record that was compared with the purges up to `since`.
    pub fn state_of(&self, since: u64, of: Purgeable<'_>) -> EntryState {
        let state = self.state();
        if state.table.is_too_old(since) {
            return EntryState::Dead;
        }
        state.table.state(since, of, lasting_hash).0
    }

    /// The state of an entry that waits to be written and was compared with the purges up to `since`.
    pub fn state_of_waiting(&self, since: u64, of: Purgeable<'_>) -> EntryState {
        // Purges are forgotten when no record is older; the entry is no record yet.
        if since < self.state().forgotten {
            return EntryState::Dead;
        }
        self.state_of(since, of)
    }

    /// Begins with the events of a journal.
    pub fn begin(&self, events: &[Event]) {
        let mut state = self.state();
        let table = Purges::default();
        for event in events {
            match event {
                Event::Purge(number, purge, effect) => {
                    table.begin_at(number.saturating_sub(1));
                    if table.is_full()
                        && let Some(middle) = table.middle()
                    {
                        table.end(middle, 0);
                    }
                    add_to(&table, purge.get(), *effect);
                }
                Event::Floor(number) => {
                    table.begin_at(*number);
                    table.set_floor(*number);
                }
                Event::Segment(_) | Event::Clean(..) | Event::Opened(_) | Event::Zone(_) => {}
            }
        }
        state.table = table;
        state.forgotten = 0;
        state.unwritten = Vec::new();
        state.bytes = 0;
        for (purge, effect) in state.early.take().unwrap_or_default() {
            state.add(purge, effect);
        }
    }

    /// Ends until the journal is read anew. The purges that are not in the journal are kept.
    pub fn close(&self) {
        let mut state = self.state();
        if state.early.is_some() {
            return;
        }
        state.early = Some(Vec::new());
        state.bytes = 0;
        for event in std::mem::take(&mut state.unwritten) {
            if let Event::Purge(_, purge, effect) = event {
                state.add_early(purge, effect);
            }
        }
    }

    /// Makes all records stale that there are.
    pub fn add_doubt(&self) {
        let mut state = self.state();
        if state.early.is_none() {
            state.add(OwnedPurge::All, PurgeEffect::Soft);
        }
    }

    /// Takes the events that are not in the journal yet.
    pub fn take_unwritten(&self) -> Unwritten {
        let mut state = self.state();
        if state.early.is_none() {
            state.bytes = 0;
        }
        Unwritten {
            events: std::mem::take(&mut state.unwritten),
            ordered: state.ordered,
        }
    }

    /// Gives events back that could not be written.
    pub fn give_back(&self, mut events: Vec<Event>) {
        let mut state = self.state();
        state.bytes += events.iter().map(Event::bytes).sum::<u64>();
        events.append(&mut state.unwritten);
        state.unwritten = events;
        state.bound();
    }

    /// Notes that so many purges are in the journal, and wakes those who wait for them.
    pub fn note_written(&self, ordered: u64) {
        let mut state = self.state();
        state.written = state.written.max(ordered);
        let written = state.written;
        let is_done = |_: &u64, (ordered, _): &mut (u64, Arc<RunningFill>)| *ordered <= written;
        let done: Vec<_> = state.waiting.extract_if(is_done).collect();
        if state.waiting.is_empty() {
            state.waiting = HashMap::new();
        }
        drop(state);
        done.iter().for_each(|(_, (_, fill))| fill.decide_gone());
    }

    /// Wakes all who wait, since the journal cannot be written.
    pub fn give_up_waiting(&self) {
        let waiting = std::mem::take(&mut self.state().waiting);
        waiting.values().for_each(|(_, fill)| fill.decide_gone());
    }

    /// The number of the purges that were ordered, unless all of them are in the journal.
    pub fn unsynced(&self) -> Option<u64> {
        let state = self.state();
        (state.written < state.ordered).then_some(state.ordered)
    }

    /// Whether so many purges are in the journal.
    pub fn is_written(&self, ordered: u64) -> bool {
        self.state().written >= ordered
    }

    /// Lets `fill` be decided when so many purges are in the journal. Who waits no longer says so by
    /// [`DiskPurges::forget_waiting`].
    pub fn await_written(&self, ordered: u64, fill: Arc<RunningFill>) {
        let mut state = self.state();
        if state.written >= ordered {
            drop(state);
            return fill.decide_gone();
        }
        state.waiting.insert(fill.number(), (ordered, fill));
    }

    /// Forgets the wait of the fill with this number.
    pub fn forget_waiting(&self, fill: u64) {
        self.state().waiting.remove(&fill);
    }

    /// Forgets the purges that no record is older than. `oldest`: the lowest number of a record.
    pub fn forget(&self, oldest: u64) {
        let mut state = self.state();
        state.table.end(oldest, u64::MAX);
        state.forgotten = oldest;
    }

    /// Bytes of the heap.
    pub fn heap_bytes(&self) -> u64 {
        let state = self.state();
        let row = size_of::<(u64, (u64, Arc<RunningFill>))>() + 1;
        let waiting = (state.waiting.capacity() * row) as u64;
        state.table.heap_bytes() + state.bytes + waiting
    }
}

#[cfg(test)]
mod tests;
