//! The index of a shard: the entries by their keys, all variants of a key in one slot.

use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as TableEntry;

use super::entry::Entry;

/// The entries of one key with half of the key's hash: one entry mostly; several are in the order of their dates, the
/// newest first.
#[derive(Debug)]
#[expect(clippy::box_collection, reason = "a slot is half as large with it")]
enum Slot {
    One(u32, Arc<Entry>),
    Several(u32, Box<Vec<Arc<Entry>>>),
}

/// The entries of a shard.
#[derive(Debug, Default)]
pub struct EntryIndex {
    table: HashTable<Slot>,
    /// Bytes of the lists of several variants.
    list_bytes: u64,
}

/// The half of a hash by which slots are told apart. The lower half has chosen nothing yet.
fn half(hash: u64) -> u32 {
    hash as u32
}

/// The hash by which the table finds a slot: it looks at the lowest and the highest bits.
fn spread(half: u32) -> u64 {
    u64::from(half) << 32 | u64::from(half)
}

impl Slot {
    fn half(&self) -> u32 {
        match self {
            Slot::One(half, _) | Slot::Several(half, _) => *half,
        }
    }

    fn entries(&self) -> &[Arc<Entry>] {
        match self {
            Slot::One(_, entry) => std::slice::from_ref(entry),
            Slot::Several(_, entries) => entries,
        }
    }

    fn is_of(&self, hash: u64, key: &[u8]) -> bool {
        let first = self.entries().first();
        self.half() == half(hash)
            && first.is_some_and(|entry| entry.hash() == hash && entry.key() == key)
    }

    fn list_bytes(&self) -> u64 {
        match self {
            Slot::One(..) => 0,
            Slot::Several(_, entries) => {
                let list = size_of::<Vec<Arc<Entry>>>();
                (list + entries.capacity() * size_of::<Arc<Entry>>()) as u64
            }
        }
    }
}

impl EntryIndex {
    /// Bytes of the heap.
    pub fn heap_bytes(&self) -> u64 {
        self.table.allocation_size() as u64 + self.list_bytes
    }

    /// The entries of a key, the newest first.
    pub fn entries(&self, hash: u64, key: &[u8]) -> &[Arc<Entry>] {
        let found = self
            .table
            .find(spread(half(hash)), |slot| slot.is_of(hash, key));
        found.map_or(&[], Slot::entries)
    }

    /// Makes room for so many keys.
    pub fn reserve(&mut self, keys: usize) {
        self.table.reserve(keys, |slot| spread(slot.half()));
    }

    /// Adds an entry. Returns the entries that it takes the place of: that of the same variant, and the oldest if
    /// there are more than `most` variants.
    pub fn insert(&mut self, entry: Arc<Entry>, most: usize) -> Vec<Arc<Entry>> {
        let half = half(entry.hash());
        let is_same = |slot: &Slot| slot.is_of(entry.hash(), entry.key());
        let rehash = |slot: &Slot| spread(slot.half());
        let mut slot = match self.table.entry(spread(half), is_same, rehash) {
            TableEntry::Vacant(vacant) => {
                vacant.insert(Slot::One(half, entry));
                return Vec::new();
            }
            TableEntry::Occupied(slot) => slot,
        };
        let slot = slot.get_mut();
        self.list_bytes -= slot.list_bytes();
        let old = std::mem::replace(slot, Slot::Several(half, Box::default()));
        let mut entries = match old {
            Slot::One(_, entry) => vec![entry],
            Slot::Several(_, entries) => *entries,
        };
        let replaced = insert_among(&mut entries, &entry, most);
        *slot = match entries.pop() {
            Some(only) if entries.is_empty() => Slot::One(half, only),
            last => {
                entries.extend(last);
                entries.iter().for_each(|entry| entry.note_siblings());
                Slot::Several(half, Box::new(entries))
            }
        };
        self.list_bytes += slot.list_bytes();
        replaced
    }

    /// Takes an entry out; returns whether it was there.
    pub fn remove(&mut self, entry: &Arc<Entry>) -> bool {
        let is_there = |slot: &Slot| slot.entries().iter().any(|other| Arc::ptr_eq(other, entry));
        let spread = spread(half(entry.hash()));
        let Ok(mut slot) = self.table.find_entry(spread, is_there) else {
            return false;
        };
        let is_empty = match slot.get_mut() {
            Slot::One(..) => true,
            Slot::Several(_, entries) => {
                entries.retain(|other| !Arc::ptr_eq(other, entry));
                entries.is_empty()
            }
        };
        if is_empty {
            self.list_bytes -= slot.get().list_bytes();
            slot.remove();
        }
        true
    }
}

/// Adds an entry to the variants of its key; returns those that have to go.
fn insert_among(entries: &mut Vec<Arc<Entry>>, entry: &Arc<Entry>, most: usize) -> Vec<Arc<Entry>> {
    let mut replaced = Vec::new();
    let variant = entry.variant();
    let same = entries.iter().position(|other| other.variant() == variant);
    if let Some(same) = same {
        replaced.push(entries.remove(same));
    }
    let date = entry.date();
    // RFC 9111 section 4 (MUST, c): of several that suit a request, the most recent one by `Date` comes first.
    let at = entries.partition_point(|other| other.date() > date);
    entries.insert(at, entry.clone());
    while entries.len() > most.max(1) {
        // The entry that has just come stays, even if it is the oldest.
        let last = entries.iter().rposition(|other| !Arc::ptr_eq(other, entry));
        replaced.extend(last.map(|last| entries.remove(last)));
    }
    replaced
}
