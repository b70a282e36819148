//! The entries that this core serves most, in front of the store. Who finds an entry here takes no lock, and the head
//! that the client gets lies ready.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;

use crate::base::limits;
use crate::shared::SharedEntry;
use crate::shared::cache::{CacheStore, EntryState};
use crate::worker::cache::rendered::Rendered;

/// The entries of one core.
pub struct Front {
    sets: RefCell<Box<[Set]>>,
    /// The set that the next sweep looks at.
    next: Cell<usize>,
    /// The shortages of the store after which all sets were looked at.
    shortages: Cell<u64>,
}

/// The places for keys whose hashes have the same lowest bits.
#[derive(Clone, Default)]
struct Set {
    held: [Option<Rc<FrontEntry>>; limits::FRONT_WAYS],
    /// The place that is used next.
    next: u8,
}

/// An entry in the front.
pub struct FrontEntry {
    /// The entry.
    pub entry: SharedEntry,
    /// The head for clients; `None`: no client has needed it.
    pub rendered: RefCell<Option<Rc<Rendered>>>,
    /// Hits since the store was told of one.
    hits: Cell<u8>,
}

impl Default for Front {
    fn default() -> Front {
        Front {
            sets: RefCell::new(vec![Set::default(); limits::FRONT_SETS].into()),
            next: Cell::default(),
            shortages: Cell::default(),
        }
    }
}

impl FrontEntry {
    fn new(entry: SharedEntry) -> Rc<FrontEntry> {
        Rc::new(FrontEntry {
            entry,
            rendered: RefCell::default(),
            hits: Cell::default(),
        })
    }

    /// Notes a hit. The store is told of a part of them: otherwise the entries that are used most would look unused
    /// there, and be evicted.
    fn note_hit(&self) {
        let hits = self.hits.get() + 1;
        if hits == limits::FRONT_HITS_PER_NOTE {
            self.entry.note_used();
            self.hits.set(0);
        } else {
            self.hits.set(hits);
        }
    }
}

impl Front {
    /// The entry of a key, and whether it was purged softly. `None`: the front does not have the entry, or may not
    /// decide alone which of several answers the request.
    pub fn find(
        &self,
        store: &CacheStore,
        hash: u64,
        key: &[u8],
        matches: impl Fn(&[u8]) -> bool,
    ) -> Option<(Rc<FrontEntry>, EntryState)> {
        let sets = self.sets.borrow();
        let set = &sets[hash as usize % limits::FRONT_SETS];
        let mut held = set.held.iter().flatten();
        let held = held.find(|held| held.entry.hash() == hash && held.entry.key() == key)?;
        let entry = &held.entry;
        let is_checked = entry.checked() >= store.purge_number();
        #[cfg(test)]
        let is_checked =
            is_checked || crate::simulated::is_planted(crate::simulated::Fault::ForgetsPurges);
        let state = if is_checked {
            entry.state()
        } else {
            store.check(entry)
        };
        // Of several variants that suit the request, the newest answers (RFC 9111 section 4.1), which the store knows.
        if state == EntryState::Dead || entry.has_siblings() || !matches(entry.variant()) {
            return None;
        }
        held.note_hit();
        Some((held.clone(), state))
    }

    /// Puts an entry in front.
    pub fn put(&self, entry: &SharedEntry) -> Rc<FrontEntry> {
        let mut sets = self.sets.borrow_mut();
        let set = &mut sets[entry.hash() as usize % limits::FRONT_SETS];
        let is_replaced = |held: &Option<Rc<FrontEntry>>| {
            held.as_ref().is_none_or(|held| {
                held.entry.state() == EntryState::Dead
                    || (held.entry.hash() == entry.hash() && held.entry.key() == entry.key())
            })
        };
        let known = |held: &&Rc<FrontEntry>| SharedEntry::ptr_eq(&held.entry, entry);
        if let Some(held) = set.held.iter().flatten().find(known) {
            return held.clone();
        }
        let at = set.held.iter().position(is_replaced).unwrap_or_else(|| {
            set.next = (set.next + 1) % limits::FRONT_WAYS as u8;
            usize::from(set.next)
        });
        let held = FrontEntry::new(entry.clone());
        set.held[at] = Some(held.clone());
        held
    }

    /// Lets a part of the dead entries go, so that the store gets their memory back.
    pub fn sweep(&self) {
        let from = self.next.get();
        let to = (from + limits::FRONT_SWEEP).min(limits::FRONT_SETS);
        self.sweep_sets(from..to);
        self.next.set(to % limits::FRONT_SETS);
    }

    /// Lets all dead entries go if the store was short of memory since the last time.
    #[inline]
    pub fn give_way(&self, store: &CacheStore) {
        let shortages = store.shortages();
        if self.shortages.replace(shortages) != shortages {
            self.sweep_sets(0..limits::FRONT_SETS);
        }
    }

    fn sweep_sets(&self, which: Range<usize>) {
        let mut sets = self.sets.borrow_mut();
        for set in &mut sets[which] {
            for place in &mut set.held {
                if place
                    .as_ref()
                    .is_some_and(|held| held.entry.state() == EntryState::Dead)
                {
                    *place = None;
                }
            }
        }
    }
}
