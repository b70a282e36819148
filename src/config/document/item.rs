//! One value of the document, and the kinds of values that a configuration has.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::{Item, Table, instead_of, joined, shown};
use crate::base::{limits, quantity};
use crate::config::mask::{self, MASK};
use crate::config::notes::{Notes, Place, Placed};

impl<'d> Item<'d> {
    /// A value of the document; `key` is the way to it.
    pub(super) fn new(
        value: &'d Spanned<DeValue<'d>>,
        key: String,
        notes: &'d Notes<'d>,
    ) -> Item<'d> {
        let span = value.span();
        let text = notes.text().get(span.clone()).unwrap_or_default();
        // A list or a table has its header's span, or just a key's: only what is written as a value is worth showing.
        let shown = match value.get_ref() {
            DeValue::Array(_) => String::new(),
            DeValue::Table(_)
                if !text.starts_with('{')
                    || mask::is_credential(text)
                    || mask::names_user(text) =>
            {
                String::new()
            }
            _ if mask::hides(&key) || mask::is_telling(&key, text) => MASK.to_owned(),
            _ => shown(text),
        };
        let place = Place {
            key,
            offset: span.start,
            shown,
        };
        Item {
            value: value.get_ref(),
            place,
            notes,
        }
    }

    /// The value as read, with its place.
    pub fn placed<T>(&self, value: T) -> Placed<T> {
        Placed {
            place: self.place.clone(),
            value,
        }
    }

    /// Notes that the value is not `right`.
    pub fn wrong<T>(&self, right: impl Display) -> Option<T> {
        self.notes.add(&self.place, right);
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

    /// One of the known words, as what it stands for.
    pub fn word<T: Copy>(&self, known: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        if let Some((_, value)) = known.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
        self.wrong(format!("unknown; {}", instead_of(text, &words)))
    }

    /// True or false.
    pub fn flag(&self) -> Option<bool> {
        match self.value {
            DeValue::Boolean(value) => Some(*value),
            _ => self.wrong("must be true or false"),
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

    /// A whole number within `range`.
    pub fn whole<T>(&self, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        let number = match self.value {
            DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix()).ok(),
            _ => None,
        };
        let number = number.and_then(|number| T::try_from(number).ok());
        match number.filter(|number| range.contains(number)) {
            Some(number) => Some(number),
            None => self.wrong(format!(
                "must be a whole number from {} to {}",
                range.start(),
                range.end()
            )),
        }
    }

    /// A time of at least `least`: a number of seconds, which may have a fraction, or a text with a unit.
    pub fn time(&self, least: Duration) -> Option<Duration> {
        let range = least..=limits::LONGEST_TIMEOUT;
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
            Some(time) => Some(time),
            None => self.wrong(quantity::right_time(&range)),
        }
    }

    /// A size within `range`: a whole number of bytes, or a text with a unit.
    pub fn size<T>(&self, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<u64> + Into<u64> + PartialOrd + Copy,
    {
        let bytes = match self.value {
            DeValue::Integer(digits) => u64::from_str_radix(digits.as_str(), digits.radix()).ok(),
            DeValue::String(text) => quantity::size_with_unit(text),
            _ => None,
        };
        let bytes = bytes.and_then(|bytes| T::try_from(bytes).ok());
        match bytes.filter(|bytes| range.contains(bytes)) {
            Some(bytes) => Some(bytes),
            None => {
                let range = (*range.start()).into()..=(*range.end()).into();
                self.wrong(quantity::right_size(&range))
            }
        }
    }

    /// A list of at most `most`.
    pub fn list(&self, most: usize) -> Option<Vec<Item<'d>>> {
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
            let key = format!("{}[{index}]", self.place.key);
            Item::new(value, key, self.notes)
        });
        Some(items.collect())
    }

    /// A list of at most `most`, or one value that stands for a list of one.
    pub fn one_or_list<T>(
        &self,
        most: usize,
        read: impl Fn(&Item<'d>) -> Option<T>,
    ) -> Option<Vec<T>> {
        match self.value {
            DeValue::Array(_) => Some(self.list(most)?.iter().filter_map(read).collect()),
            _ => Some(vec![read(self)?]),
        }
    }

    /// Whether the value is a table.
    pub fn is_table(&self) -> bool {
        self.value.is_table()
    }

    /// A table, of which every key that `read` does not ask for is unknown.
    pub fn table<T>(&self, read: impl FnOnce(&mut Table<'d>) -> T) -> Option<T> {
        match self.value {
            DeValue::Table(entries) => Some(Table::of(
                Some(entries),
                self.place.clone(),
                self.notes,
                read,
            )),
            _ => self.wrong("must be a table"),
        }
    }

    /// A table whose keys are the operator's own, in the order of the file.
    pub fn entries(&self, most: usize) -> Option<Vec<(String, Item<'d>)>> {
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
            let item = Item::new(value, joined(&self.place.key, &name), self.notes);
            (name, item)
        });
        Some(items.collect())
    }
}
