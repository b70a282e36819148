//! One value of the document, and the kinds of values that a configuration has.

use std::fmt::Display;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::{DocumentTable, Item, instead_of, joined, shown};
use crate::base::setting::{Kind, OFF, Section, Value, Word, words};
use crate::base::{limits, quantity};
use crate::config::mask::{self, MASK};
use crate::config::notes::{Notes, Position, Positioned};

/// The place of a value; `key` is the way to it.
pub(super) fn place_of(value: &Spanned<DeValue<'_>>, key: String, notes: &Notes<'_>) -> Position {
    let span = value.span();
    let text = notes.text().get(span.clone()).unwrap_or_default();
    // A list or a table has its header's span, or just a key's: only what is written as a value is worth showing.
    let shown = match value.get_ref() {
        DeValue::Array(_) => String::new(),
        DeValue::Table(_)
            if !text.starts_with('{') || mask::is_credential(text) || mask::names_user(text) =>
        {
            String::new()
        }
        _ if mask::hides(&key) || mask::is_telling(&key, text) => MASK.to_owned(),
        _ => shown(text),
    };
    Position {
        key,
        offset: span.start,
        shown,
    }
}

impl<'d> Item<'d> {
    /// A value of the document; `key` is the way to it.
    pub(super) fn new(
        value: &'d Spanned<DeValue<'d>>,
        key: String,
        kind: Kind,
        notes: &'d Notes<'d>,
    ) -> Item<'d> {
        Item {
            value: value.get_ref(),
            position: place_of(value, key, notes),
            kind,
            notes,
        }
    }

    /// The part of the declared kind of the value that `find` finds.
    ///
    /// # Panics
    ///
    /// The declaration of the setting and its reader disagree.
    fn declared<T>(&self, find: impl Fn(Kind) -> Option<T>) -> T {
        let found = self.kind.find(find);
        found.unwrap_or_else(|| panic!("{} is declared as {:?}", self.position.key, self.kind))
    }

    /// The value as read, with its place.
    pub fn positioned<T>(&self, value: T) -> Positioned<T> {
        Positioned {
            position: self.position.clone(),
            value,
        }
    }

    /// Notes that the value is not `right`.
    pub fn wrong<T>(&self, right: impl Display) -> Option<T> {
        self.notes.add(&self.position, right);
        None
    }

    /// A string.
    pub fn text(&self) -> Option<&'d str> {
        let value: &'d DeValue<'d> = self.value;
        match value {
            DeValue::String(text) => Some(text),
            _ => self.wrong("must be a text in quotes"),
        }
    }

    /// A text that `parse` understands; its error says what would be right.
    pub fn parsed<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match parse(self.text()?) {
            Ok(value) => Some(value),
            Err(right) => self.wrong(right),
        }
    }

    /// One of the words of a type.
    pub fn word<T: Word>(&self) -> Option<T> {
        let text = self.text()?;
        if let Some((_, value)) = T::WORDS.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        self.wrong(format!("unknown; {}", instead_of(text, &words::<T>())))
    }

    /// A value of a kind that depends on nothing else.
    pub fn value(&self) -> Option<Value> {
        match self.kind {
            Kind::Flag => self.flag().map(Value::Flag),
            Kind::Whole { .. } => self.whole().map(Value::Whole),
            Kind::Time { .. } => self.time().map(Value::Time),
            Kind::Lifetime => self.time().map(Value::Time),
            Kind::Size { .. } => self.size().map(Value::Size),
            Kind::Word(known) => self.known_word(&known()).map(Value::Word),
            _ => self.declared(|_| None),
        }
    }

    fn known_word(&self, known: &[&'static str]) -> Option<&'static str> {
        let text = self.text()?;
        match known.iter().find(|word| **word == text) {
            Some(word) => Some(word),
            None => self.wrong(format!("unknown; {}", instead_of(text, known))),
        }
    }

    /// True or false.
    pub fn flag(&self) -> Option<bool> {
        match self.value {
            DeValue::Boolean(value) => Some(*value),
            _ => self.wrong("must be true or false"),
        }
    }

    /// True, false, or else a text.
    pub fn flag_or_text(&self) -> Option<Result<bool, &'d str>> {
        let value: &'d DeValue<'d> = self.value;
        match value {
            DeValue::Boolean(flag) => Some(Ok(*flag)),
            DeValue::String(text) => Some(Err(text)),
            _ => self.wrong("must be true, false or a text in quotes"),
        }
    }

    /// A text that `parse` understands, or true for what is meant without one.
    pub fn name_or_true<T: Default>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match self.value {
            DeValue::Boolean(true) => Some(T::default()),
            DeValue::String(_) => self.parsed(parse),
            _ => self.wrong("must be true or a text in quotes"),
        }
    }

    /// A whole number within the declared bounds.
    pub fn whole<T: TryFrom<u64>>(&self) -> Option<T> {
        let range = self.declared(|kind| match kind {
            Kind::Whole { least, most } => Some(least..=most),
            _ => None,
        });
        let number = match self.value {
            DeValue::Integer(digits) => u64::from_str_radix(digits.as_str(), digits.radix()).ok(),
            _ => None,
        };
        let number = number.filter(|number| range.contains(number));
        match number.and_then(|number| T::try_from(number).ok()) {
            Some(number) => Some(number),
            None => self.wrong(format!(
                "must be a whole number from {} to {}",
                range.start(),
                range.end()
            )),
        }
    }

    /// A time within the declared bounds: a number of seconds, which may have a fraction, or a text with a unit.
    pub fn time(&self) -> Option<Duration> {
        let (range, is_whole) = self.declared(|kind| match kind {
            Kind::Time { least } => Some((least..=limits::LONGEST_TIMEOUT, false)),
            Kind::Lifetime => Some((Duration::ZERO..=limits::LONGEST_LIFETIME, true)),
            _ => None,
        });
        let time = match self.value {
            DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
                .ok()
                .and_then(|whole| quantity::seconds(whole as f64)),
            DeValue::Float(number) => {
                let number = number.as_str().parse().ok();
                number.and_then(quantity::seconds)
            }
            DeValue::String(text) => quantity::time_with_unit(text),
            _ => None,
        };
        match time.filter(|time| range.contains(time)) {
            Some(time) if is_whole && time.subsec_nanos() > 0 => {
                self.wrong("must be a whole number of seconds")
            }
            Some(time) => Some(time),
            None => self.wrong(self.or_off(quantity::right_time(&range))),
        }
    }

    /// A size within the declared bounds: a whole number of bytes, or a text with a unit.
    pub fn size<T: TryFrom<u64>>(&self) -> Option<T> {
        let range = self.declared(|kind| match kind {
            Kind::Size { least, most } => Some(least..=most),
            _ => None,
        });
        // One of several kinds may be 0 alone.
        let is_zero = |kind| matches!(kind, Kind::Size { most: 0, .. }).then_some(());
        let may_be_zero = self.kind.find(is_zero).is_some();
        let bytes = match self.value {
            DeValue::Integer(digits) => u64::from_str_radix(digits.as_str(), digits.radix()).ok(),
            DeValue::String(text) => quantity::size_with_unit(text),
            _ => None,
        };
        let is_right = |bytes: &u64| range.contains(bytes) || (may_be_zero && *bytes == 0);
        let bytes = bytes.filter(is_right);
        match bytes.and_then(|bytes| T::try_from(bytes).ok()) {
            Some(bytes) => Some(bytes),
            None if may_be_zero => {
                let right = quantity::right_size(&range);
                self.wrong(right.replacen("must be", "must be 0, or", 1))
            }
            None => self.wrong(self.or_off(quantity::right_size(&range))),
        }
    }

    /// A list of no more entries than declared.
    pub fn list(&self) -> Option<Vec<Item<'d>>> {
        let (of, most) = self.declared(|kind| match kind {
            Kind::List { of, most, .. } => Some((*of, most)),
            _ => None,
        });
        let DeValue::Array(values) = self.value else {
            return self.wrong("must be a list in brackets");
        };
        if values.len() > most {
            return self.wrong(format!(
                "has {} entries; at most {most} are possible",
                values.len()
            ));
        }
        let items = values.iter().enumerate().map(|(index, value)| {
            let key = format!("{}[{index}]", self.position.key);
            Item::new(value, key, of, self.notes)
        });
        Some(items.collect())
    }

    /// A list, or one value that stands for a list of one.
    pub fn one_or_list<T>(&self, read: impl Fn(&Item<'d>) -> Option<T>) -> Option<Vec<T>> {
        match self.value {
            DeValue::Array(_) => Some(self.list()?.iter().filter_map(read).collect()),
            _ => Some(vec![read(self)?]),
        }
    }

    /// A table of this section without any setting, in the place of a value that is short for it.
    pub fn defaults_of<T>(
        &self,
        section: &'static Section,
        read: impl FnOnce(&mut DocumentTable<'d>) -> T,
    ) -> T {
        DocumentTable::new(section, None, self.position.clone(), self.notes).read(read)
    }

    /// Whether the value is a table.
    pub fn is_table(&self) -> bool {
        self.value.is_table()
    }

    /// A table with the declared settings.
    pub fn table<T>(&self, read: impl FnOnce(&mut DocumentTable<'d>) -> T) -> Option<T> {
        match self.value {
            DeValue::Table(entries) => {
                let position = self.position.clone();
                let table = DocumentTable::new(self.section(), Some(entries), position, self.notes);
                Some(table.read(read))
            }
            _ => self.wrong(self.or_off("must be a table".to_owned())),
        }
    }

    /// The value as `read` understands it; `None` for the word `off`, too.
    pub fn unless_off<T>(&self, read: impl FnOnce(&Item<'d>) -> Option<T>) -> Option<T> {
        match self.value {
            DeValue::String(text) if text == OFF => None,
            _ => read(self),
        }
    }

    /// The end of a message, in which the word `off` is named if the value may be that, too.
    fn or_off(&self, right: String) -> String {
        let may_be_off = self.kind.find(|kind| match kind {
            Kind::Word(words) => words().contains(&OFF).then_some(()),
            _ => None,
        });
        match may_be_off {
            Some(()) => right.replacen("must be", &format!("must be {OFF:?}, or"), 1),
            None => right,
        }
    }

    /// A table with statuses and the settings of a section as its keys: what `read` makes of the settings, and each
    /// status with its value, in the order of the statuses.
    pub fn by_status<T>(
        &self,
        read: impl FnOnce(&mut DocumentTable<'d>) -> T,
    ) -> Option<(Vec<(u16, Item<'d>)>, T)> {
        let (of, beside) = self.declared(|kind| match kind {
            Kind::ByStatus { of, beside, .. } => Some((*of, beside)),
            _ => None,
        });
        let DeValue::Table(entries) = self.value else {
            return self.wrong("must be a table");
        };
        let position = self.position.clone();
        let table = DocumentTable::new(beside, Some(entries), position, self.notes);
        let value = table.beside_statuses().read(read);
        let mut statuses = Vec::new();
        for (key, value) in entries {
            let name: &str = key.get_ref();
            if is_number(name) {
                let way = joined(&self.position.key, name);
                let item = Item::new(value, way, of, self.notes);
                match name.parse() {
                    Ok(status @ 200..=599) if name.len() == 3 => statuses.push((status, item)),
                    _ => item
                        .wrong("is for no status: the statuses are from 200 to 599")
                        .unwrap_or(()),
                }
            }
        }
        statuses.sort_by_key(|(status, _)| *status);
        Some((statuses, value))
    }

    fn section(&self) -> &'static Section {
        self.declared(|kind| match kind {
            Kind::Table(section) => Some(section),
            _ => None,
        })
    }

    /// A table whose keys are the operator's own, in the order of the file.
    pub fn entries(&self) -> Option<Vec<(String, Item<'d>)>> {
        let most = self.declared(|kind| match kind {
            Kind::Map { most, .. } => Some(most),
            _ => None,
        });
        let DeValue::Table(entries) = self.value else {
            return self.wrong("must be a table");
        };
        if entries.len() > most {
            return self.wrong(format!(
                "has {} entries; at most {most} are possible",
                entries.len()
            ));
        }
        let mut entries: Vec<_> = entries.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let items = entries.into_iter().map(|(key, value)| {
            let name = key.get_ref().to_string();
            let way = joined(&self.position.key, &name);
            (name, Item::new(value, way, Kind::text("", ""), self.notes))
        });
        Some(items.collect())
    }
}

/// Whether a key of a table is written as statuses are.
pub(super) fn is_number(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit())
}
