//! Reads a TOML document value by value. A reader names the keys it wants and what each may hold; whatever is not so is
//! noted with its place, and reading goes on, so that one run finds every mistake. A table knows its keys from having
//! been asked for them: what nobody asked for is unknown.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::notes::{Notes, Place, Placed};
use crate::base::limits;

/// Characters of a value that a message repeats.
const SHOWN_CHARS: usize = 60;

/// Notes every syntax error of the text, then reads the rest as far as it can be trusted.
pub(super) fn read<T>(notes: &Notes<'_>, read: impl FnOnce(&mut Table<'_>) -> T) -> T {
    let (root, errors) = DeTable::parse_recoverable(notes.text());
    let mut last_line = None;
    let mut errors: Vec<(usize, &str)> = errors
        .iter()
        .map(|error| (error.span().map_or(0, |span| span.start), error.message()))
        .collect();
    errors.sort_unstable();
    for (offset, message) in errors {
        let (line_start, line) = line_at(notes.text(), offset);
        // What the parser says further along a line is mostly the echo of its first error there.
        if last_line.replace(line_start) != Some(line_start) {
            notes.add_at(offset, shown(line), message);
        }
        // A key given twice is the one error that leaves the rest of the document as it was meant.
        if message != "duplicate key" {
            notes.distrust_from(line_start);
        }
    }
    let place = Place::default();
    Table::of(Some(root.get_ref()), place, notes, read)
}

fn line_at(text: &str, offset: usize) -> (usize, &str) {
    let offset = text.floor_char_boundary(offset);
    let start = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[offset..]
        .find('\n')
        .map_or(text.len(), |newline| offset + newline);
    (start, text[start..end].trim())
}

/// The beginning of `text` on one line, control characters made visible.
fn shown(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut short: String = line
        .chars()
        .take(SHOWN_CHARS)
        .map(|char| if char.is_control() { '\u{fffd}' } else { char })
        .collect();
    if short.len() < text.trim_end().len() {
        short.push('…');
    }
    short
}

/// One value of the document.
pub(super) struct Item<'d> {
    value: &'d DeValue<'d>,
    place: Place,
    notes: &'d Notes<'d>,
}

impl<'d> Item<'d> {
    fn new(value: &'d Spanned<DeValue<'d>>, key: String, notes: &'d Notes<'d>) -> Item<'d> {
        let span = value.span();
        let text = notes.text().get(span.clone()).unwrap_or_default();
        // A list or a table has its header's span, or just a key's: only what is written as a value is worth showing.
        let is_shown = match value.get_ref() {
            DeValue::Array(_) => false,
            DeValue::Table(_) => text.starts_with('{'),
            _ => true,
        };
        let place = Place {
            key,
            offset: span.start,
            shown: if is_shown { shown(text) } else { String::new() },
        };
        Item {
            value: value.get_ref(),
            place,
            notes,
        }
    }

    /// The value as read, with its place.
    pub(super) fn placed<T>(&self, value: T) -> Placed<T> {
        Placed {
            place: self.place.clone(),
            value,
        }
    }

    /// Notes that the value is not `right`.
    pub(super) fn wrong<T>(&self, right: impl Display) -> Option<T> {
        self.notes.add(&self.place, right);
        None
    }

    pub(super) fn text(&self) -> Option<&'d str> {
        let value: &'d DeValue<'d> = self.value;
        match value {
            DeValue::String(text) => Some(text),
            _ => self.wrong("must be a text in quotes"),
        }
    }

    /// A text that `parse` understands; its error says what would be right.
    pub(super) fn parsed<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match parse(self.text()?) {
            Ok(value) => Some(value),
            Err(right) => self.wrong(right),
        }
    }

    /// One of the known words, as what it stands for.
    pub(super) fn word<T: Copy>(&self, known: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        if let Some((_, value)) = known.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
        self.wrong(format!("unknown; {}", instead_of(text, &words)))
    }

    pub(super) fn flag(&self) -> Option<bool> {
        match self.value {
            DeValue::Boolean(value) => Some(*value),
            _ => self.wrong("must be true or false"),
        }
    }

    pub(super) fn whole<T>(&self, range: RangeInclusive<T>) -> Option<T>
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

    /// A number of seconds of at least `least`, which may have a fraction.
    pub(super) fn seconds(&self, least: Duration) -> Option<Duration> {
        let seconds: Option<f64> = match self.value {
            DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
                .ok()
                .map(|whole| whole as f64),
            DeValue::Float(number) => number.as_str().parse().ok(),
            _ => None,
        };
        let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        match duration.filter(|duration| (least..=limits::LONGEST_TIMEOUT).contains(duration)) {
            Some(duration) => Some(duration),
            None => self.wrong(format!(
                "must be a number of seconds from {} to {}",
                least.as_secs_f64(),
                limits::LONGEST_TIMEOUT.as_secs()
            )),
        }
    }

    /// A list of at most `most`.
    pub(super) fn list(&self, most: usize) -> Option<Vec<Item<'d>>> {
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
    pub(super) fn one_or_list<T>(
        &self,
        most: usize,
        read: impl Fn(&Item<'d>) -> Option<T>,
    ) -> Option<Vec<T>> {
        match self.value {
            DeValue::Array(_) => Some(self.list(most)?.iter().filter_map(read).collect()),
            _ => Some(vec![read(self)?]),
        }
    }

    pub(super) fn is_table(&self) -> bool {
        self.value.is_table()
    }

    /// A table, of which every key that `read` does not ask for is unknown.
    pub(super) fn table<T>(&self, read: impl FnOnce(&mut Table<'d>) -> T) -> Option<T> {
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
    pub(super) fn entries(&self, most: usize) -> Option<Vec<(String, Item<'d>)>> {
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

/// One table of the document while it is read.
pub(super) struct Table<'d> {
    /// `None` for a table that is absent.
    entries: Option<&'d DeTable<'d>>,
    place: Place,
    notes: &'d Notes<'d>,
    asked: Vec<&'static str>,
}

impl<'d> Table<'d> {
    fn of<T>(
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
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// What `read` makes of the key's value; `None` if the key is absent or its value mistaken.
    pub(super) fn get<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Item<'d>) -> Option<T>,
    ) -> Option<T> {
        self.asked.push(key);
        let value = self.entries?.get(key)?;
        read(&Item::new(value, joined(&self.place.key, key), self.notes))
    }

    /// Notes that the key is missing, if it is.
    pub(super) fn require(&self, key: &str) {
        if !self.has(key) {
            self.lacks(format!("{key:?} is missing"));
        }
    }

    /// Like [`Table::get`], for a key that must be there.
    pub(super) fn must<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Item<'d>) -> Option<T>,
    ) -> Option<T> {
        self.require(key);
        self.get(key, read)
    }

    /// Whether the key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries
            .is_some_and(|entries| entries.contains_key(key))
    }

    /// Notes that a value that was already read is not right.
    pub(super) fn wrong_at(&self, place: &Place, what: impl Display) {
        self.notes.add(place, what);
    }

    /// Notes that the table needs something that it does not have.
    pub(super) fn lacks(&self, what: impl Display) {
        self.notes.add_absence(&self.place, what);
    }

    /// Notes that the key, if it is there, has no place in this table, and why.
    pub(super) fn refuse(&mut self, key: &'static str, why: impl Display) {
        self.get(key, |item| item.wrong::<()>(why));
    }

    /// A table that is read even where it is absent, so that its defaults hold.
    pub(super) fn section<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&mut Table<'d>) -> T,
    ) -> T {
        let present = self.get(key, |item| item.table(&read));
        present.unwrap_or_else(|| Table::of(None, self.place.clone(), self.notes, read))
    }

    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.get(key, Item::flag).unwrap_or(default)
    }

    pub(super) fn whole<T>(&mut self, key: &'static str, default: T, range: RangeInclusive<T>) -> T
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        self.get(key, |item| item.whole(range)).unwrap_or(default)
    }

    /// A timeout in seconds, if it is set.
    pub(super) fn timeout(&mut self, key: &'static str) -> Option<Duration> {
        self.get(key, |item| item.seconds(limits::SHORTEST_TIMEOUT))
    }

    pub(super) fn seconds(&mut self, key: &'static str, default: u64) -> Duration {
        self.timeout(key).unwrap_or(Duration::from_secs(default))
    }

    /// A list of at most `most`; empty if the key is absent.
    pub(super) fn list<T>(
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
            let instead = instead_of(name, &self.asked);
            self.notes.add(&place, format!("unknown key; {instead}"));
        }
    }
}

fn joined(table: &str, key: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let key = if !key.is_empty() && key.bytes().all(is_bare) {
        key.to_owned()
    } else {
        shown(&format!("{key:?}"))
    };
    if table.is_empty() {
        key
    } else {
        format!("{table}.{key}")
    }
}

/// `did you mean "…"?` if one of the known words is close to `text`, else the list of them.
pub(super) fn instead_of(text: &str, known: &[&str]) -> String {
    let distance = |word: &str| strsim::damerau_levenshtein(text, word);
    let is_close = |word: &str| {
        let short_for = text.len() >= 4 && word.contains(text);
        short_for || distance(word) <= 1 + text.len() / 4
    };
    // The distance costs as much as both texts are long; a long text is no slip of the finger.
    let close = known
        .iter()
        .filter(|word| text.len() <= SHOWN_CHARS && is_close(word));
    match close.min_by_key(|word| distance(word)) {
        Some(word) => format!("did you mean {word:?}?"),
        None if known.is_empty() => "there is none".to_owned(),
        None => format!("known: {}", known.join(", ")),
    }
}
