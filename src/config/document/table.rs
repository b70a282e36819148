//! One table of the document. It knows its keys from having been asked for them: what nobody asked for is unknown.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::{DeString, DeTable};

use super::{Item, Table, instead_of, joined};
use crate::base::limits;
use crate::config::mask::{self, MASK};
use crate::config::notes::{Notes, Place};

impl<'d> Table<'d> {
    /// Reads a table, then notes its unknown keys.
    pub(super) fn of<T>(
        entries: Option<&'d DeTable<'d>>,
        place: Place,
        notes: &'d Notes<'d>,
        read: impl FnOnce(&mut Table<'d>) -> T,
    ) -> T {
        let mut table = Table {
            entries,
            place,
            notes,
            asked: Vec::new(),
        };
        let value = read(&mut table);
        table.note_unknown_keys();
        value
    }

    /// Where the table begins.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What `read` makes of the key's value; `None` if the key is absent or its value mistaken.
    pub fn get<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Item<'d>) -> Option<T>,
    ) -> Option<T> {
        self.asked.push(key);
        let value = self.entries?.get(key)?;
        read(&Item::new(value, joined(&self.place.key, key), self.notes))
    }

    /// Notes that the key is missing, if it is.
    pub fn require(&self, key: &str) {
        if !self.has(key) {
            self.lacks(format!("{key:?} is missing"));
        }
    }

    /// Like [`Table::get`], for a key that must be there.
    pub fn must<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Item<'d>) -> Option<T>,
    ) -> Option<T> {
        self.require(key);
        self.get(key, read)
    }

    /// Whether the key is there.
    pub fn has(&self, key: &str) -> bool {
        self.entries
            .is_some_and(|entries| entries.contains_key(key))
    }

    /// Notes that a value that was already read is not right.
    pub fn wrong_at(&self, place: &Place, what: impl Display) {
        self.notes.add(place, what);
    }

    /// Notes that the table needs something that it does not have.
    pub fn lacks(&self, what: impl Display) {
        self.notes.add_absence(&self.place, what);
    }

    /// Notes that the key, if it is there, has no place in this table, and why.
    pub fn refuse(&mut self, key: &'static str, why: impl Display) {
        self.get(key, |item| item.wrong::<()>(why));
    }

    /// A table that is read even where it is absent, so that its defaults hold.
    pub fn section<T>(&mut self, key: &'static str, read: impl Fn(&mut Table<'d>) -> T) -> T {
        let present = self.get(key, |item| item.table(&read));
        present.unwrap_or_else(|| Table::of(None, self.place.clone(), self.notes, read))
    }

    /// True or false; `default` if the key is absent.
    pub fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.get(key, Item::flag).unwrap_or(default)
    }

    /// A whole number within `range`; `default` if the key is absent.
    pub fn whole<T>(&mut self, key: &'static str, default: T, range: RangeInclusive<T>) -> T
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        self.get(key, |item| item.whole(range)).unwrap_or(default)
    }

    /// A time, if it is set.
    pub fn timeout(&mut self, key: &'static str) -> Option<Duration> {
        self.get(key, |item| item.time(limits::SHORTEST_TIMEOUT))
    }

    /// A size within `range`; `default` if the key is absent.
    pub fn size<T>(&mut self, key: &'static str, default: T, range: RangeInclusive<T>) -> T
    where
        T: TryFrom<u64> + Into<u64> + PartialOrd + Copy,
    {
        self.get(key, |item| item.size(range)).unwrap_or(default)
    }

    /// A time; `default`, in seconds, if the key is absent.
    pub fn seconds(&mut self, key: &'static str, default: u64) -> Duration {
        self.timeout(key).unwrap_or(Duration::from_secs(default))
    }

    /// A list of at most `most`; empty if the key is absent.
    pub fn list<T>(
        &mut self,
        key: &'static str,
        most: usize,
        read: impl FnMut(&Item<'d>) -> Option<T>,
    ) -> Vec<T> {
        let items = self.get(key, |item| item.list(most)).unwrap_or_default();
        items.iter().filter_map(read).collect()
    }

    fn note_unknown_keys(&self) {
        for (key, value) in self.entries.into_iter().flatten() {
            let name: &DeString<'_> = key.get_ref();
            if self.asked.iter().any(|asked| asked == name) {
                continue;
            }
            let mut place = Item::new(value, joined(&self.place.key, name), self.notes).place;
            place.offset = key.span().start;
            // A header field in the wrong place may still hold a credential.
            if !place.shown.is_empty() && mask::is_credential(name) {
                place.shown = MASK.to_owned();
            }
            let instead = instead_of(name, &self.asked);
            self.notes.add(&place, format!("unknown key; {instead}"));
        }
    }
}
