//! The dynamic table (RFC 7541 section 2.3.2): the newest entries, as many as fit.

use std::collections::VecDeque;

use super::{ENTRY_OVERHEAD, LINE_EXTRA, SEPARATOR};
use crate::http::h2::field::Class;

/// A field with what is known of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct TableEntry<'t> {
    /// `name: value CRLF`.
    pub(super) bytes: &'t [u8],
    pub(super) name_len: u32,
    pub(super) class: Class,
    pub(super) bad_value: bool,
}

impl<'t> TableEntry<'t> {
    #[inline]
    pub(super) fn name(&self) -> &'t [u8] {
        &self.bytes[..self.name_len as usize]
    }

    #[inline]
    pub(super) fn value(&self) -> &'t [u8] {
        let start = self.name_len as usize + SEPARATOR.len();
        &self.bytes[start..self.bytes.len() - b"\r\n".len()]
    }

    /// Size by the count of RFC 7541 section 4.1.
    fn size(&self) -> usize {
        self.bytes.len() - LINE_EXTRA + ENTRY_OVERHEAD
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u32,
    len: u32,
    name_len: u32,
    class: Class,
    bad_value: bool,
}

/// Entries in a text that grows at its end and is moved to its front now and then, so that adding and dropping an entry
/// is cheap and every line stays in one piece.
#[derive(Debug)]
pub(super) struct DynamicTable {
    text: Vec<u8>,
    /// Oldest first.
    entries: VecDeque<Entry>,
    size: usize,
    max_size: usize,
    /// Entries ever inserted.
    inserted: u32,
}

impl DynamicTable {
    /// An empty table that may grow to `max_size` by the count of RFC 7541. Takes no memory before its first entry.
    pub(super) fn new(max_size: usize) -> DynamicTable {
        DynamicTable {
            text: Vec::new(),
            entries: VecDeque::new(),
            size: 0,
            max_size,
            inserted: 0,
        }
    }

    /// The entry of this age; 0 is the newest.
    #[inline]
    pub(super) fn get(&self, age: usize) -> Option<TableEntry<'_>> {
        let index = self.entries.len().checked_sub(age + 1)?;
        let entry = &self.entries[index];
        Some(TableEntry {
            bytes: &self.text[entry.start as usize..][..entry.len as usize],
            name_len: entry.name_len,
            class: entry.class,
            bad_value: entry.bad_value,
        })
    }

    /// The age of the entry that was the `number`th ever inserted, counted from 1, if it is still there.
    #[inline]
    pub(super) fn age(&self, number: u32) -> Option<usize> {
        let age = self.inserted.wrapping_sub(number) as usize;
        (age < self.entries.len()).then_some(age)
    }

    /// Entries ever inserted.
    pub(super) fn inserted(&self) -> u32 {
        self.inserted
    }

    pub(super) fn max_size(&self) -> usize {
        self.max_size
    }

    /// Changes the bound; drops what no longer fits.
    pub(super) fn set_max_size(&mut self, max_size: usize) {
        self.max_size = max_size;
        self.make_room(0);
        debug_assert!(self.size <= self.max_size);
    }

    /// Adds an entry and drops the oldest ones that it displaces: all, and itself too, if it is larger than the table.
    pub(super) fn insert(&mut self, line: TableEntry<'_>) {
        let size = line.size();
        self.make_room(size);
        self.inserted = self.inserted.wrapping_add(1);
        if size > self.max_size {
            return;
        }
        debug_assert!(self.size + size <= self.max_size);
        if self.text.len() + line.bytes.len() > 2 * self.max_size {
            self.move_to_front();
        }
        self.entries.push_back(Entry {
            start: self.text.len() as u32,
            len: line.bytes.len() as u32,
            name_len: line.name_len,
            class: line.class,
            bad_value: line.bad_value,
        });
        self.text.extend_from_slice(line.bytes);
        self.size += size;
    }

    /// Drops the oldest entries until `size` more would fit or none is left.
    fn make_room(&mut self, size: usize) {
        while self.size + size > self.max_size {
            let Some(oldest) = self.entries.pop_front() else {
                break;
            };
            debug_assert!(self.size >= oldest.len as usize - LINE_EXTRA + ENTRY_OVERHEAD);
            self.size -= oldest.len as usize - LINE_EXTRA + ENTRY_OVERHEAD;
        }
    }

    fn move_to_front(&mut self) {
        let unused = match self.entries.front() {
            Some(oldest) => oldest.start,
            None => self.text.len() as u32,
        };
        self.text.drain(..unused as usize);
        for entry in &mut self.entries {
            debug_assert!(
                entry.start >= unused,
                "entries lie in the order of their age"
            );
            entry.start -= unused;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(table: &mut DynamicTable, name: &str, value: &str) {
        let line = format!("{name}: {value}\r\n");
        table.insert(TableEntry {
            bytes: line.as_bytes(),
            name_len: name.len() as u32,
            class: Class::Plain,
            bad_value: false,
        });
    }

    fn names(table: &DynamicTable) -> String {
        let names = (0..).map_while(|age| table.get(age));
        names
            .map(|line| String::from_utf8(line.name().to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn the_oldest_entries_make_room() {
        let mut table = DynamicTable::new(3 * 34);
        for name in ["a", "b", "c"] {
            insert(&mut table, name, "1");
        }
        assert_eq!(names(&table), "cba");
        insert(&mut table, "d", "2");
        assert_eq!(names(&table), "dcb");
        assert_eq!(table.get(0).unwrap().value(), b"2");
        assert_eq!(
            (table.age(4), table.age(2), table.age(1)),
            (Some(0), Some(2), None)
        );
        insert(&mut table, "e", "12");
        assert_eq!(names(&table), "ed");
        table.set_max_size(68);
        assert_eq!(names(&table), "e");
        insert(&mut table, "f", &"x".repeat(40));
        assert_eq!(
            names(&table),
            "",
            "an entry larger than the table empties it"
        );
        assert!(table.get(0).is_none());
    }

    #[test]
    fn lines_stay_whole_when_the_text_is_moved() {
        let mut table = DynamicTable::new(200);
        for number in 0..1000 {
            let value = number.to_string();
            insert(&mut table, "name", &value);
            assert_eq!(table.get(0).unwrap().value(), value.as_bytes());
            if number > 4 {
                assert_eq!(
                    table.get(4).unwrap().value(),
                    (number - 4).to_string().as_bytes()
                );
            }
            assert!(table.text.len() <= 400);
        }
    }
}
