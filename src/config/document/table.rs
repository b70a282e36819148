//! One table of the document and the settings that are declared for it. A key that no reader asked for is unknown.

use std::fmt::Display;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::{DocumentTable, Item, instead_of, item, joined};
use crate::base::setting::{Kind, Plain, Section, Setting, Stored, Value, Word};
use crate::config::mask::{self, MASK};
use crate::config::notes::{Notes, Position, Positioned};

impl<'d> DocumentTable<'d> {
    /// A table; `entries` is `None` if the table is absent.
    pub(super) fn new(
        section: &'static Section,
        entries: Option<&'d DeTable<'d>>,
        position: Position,
        notes: &'d Notes<'d>,
    ) -> DocumentTable<'d> {
        DocumentTable {
            settings: (section.settings)(),
            entries,
            position,
            notes,
            asked: Vec::new(),
            has_statuses: false,
            refused: Vec::new(),
        }
    }

    /// The table, in which statuses stand beside the settings.
    pub(super) fn beside_statuses(self) -> DocumentTable<'d> {
        DocumentTable {
            has_statuses: true,
            ..self
        }
    }

    /// Reads the table, then notes its unknown keys.
    pub(super) fn read<T>(mut self, read: impl FnOnce(&mut DocumentTable<'d>) -> T) -> T {
        let value = read(&mut self);
        self.note_unknown_keys();
        value
    }

    /// The place at which the table begins.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// The declaration of a setting.
    ///
    /// # Panics
    ///
    /// No such setting is declared for this table.
    fn declared(&self, name: &str) -> &'static Setting {
        let mut settings = self.settings.iter();
        let found = settings.find(|setting| setting.name == name);
        found.unwrap_or_else(|| panic!("{name} is not declared in {:?}", self.position.key))
    }

    /// The key with which the setting is written, and its value.
    fn written(&self, setting: &Setting) -> Option<(&'static str, &'d Spanned<DeValue<'d>>)> {
        let entries = self.entries?;
        let keys = [Some(setting.name), setting.alias].into_iter().flatten();
        keys.filter_map(|key| Some((key, entries.get(key)?))).next()
    }

    /// The setting's value as `read` understands it; `None` if the setting is absent or its value mistaken.
    pub fn get<T>(&mut self, name: &str, read: impl FnOnce(&Item<'d>) -> Option<T>) -> Option<T> {
        let setting = self.declared(name);
        if !self.asked.contains(&setting.name) {
            self.asked.push(setting.name);
            self.note_both_keys(setting);
        }
        let (key, value) = self.written(setting)?;
        let way = joined(&self.position.key, key);
        read(&Item::new(value, way, setting.kind, self.notes))
    }

    fn note_both_keys(&self, setting: &Setting) {
        let (Some(entries), Some(alias)) = (self.entries, setting.alias) else {
            return;
        };
        if let (Some(_), Some(second)) = (entries.get(setting.name), entries.get(alias)) {
            let position = item::place_of(second, joined(&self.position.key, alias), self.notes);
            let name = setting.name;
            self.notes.add(
                &position,
                format!("is another key for {name:?}, which is set too; leave one of the two out"),
            );
        }
    }

    /// Notes that the setting is missing, if it is.
    pub fn require(&self, name: &str) {
        if !self.has(name) {
            self.lacks(format!("{name:?} is missing"));
        }
    }

    /// Like [`DocumentTable::get`], for a setting that must be there.
    pub fn must<T>(&mut self, name: &str, read: impl FnOnce(&Item<'d>) -> Option<T>) -> Option<T> {
        self.require(name);
        self.get(name, read)
    }

    /// Whether the setting is there.
    pub fn has(&self, name: &str) -> bool {
        self.written(self.declared(name)).is_some()
    }

    /// Notes that a value that was already read is not right.
    pub fn wrong_at(&self, position: &Position, what: impl Display) {
        self.notes.add(position, what);
    }

    /// Notes that the table needs something that it does not have.
    pub fn lacks(&self, what: impl Display) {
        self.notes.add_absence(&self.position, what);
    }

    /// Notes that the setting, if it is there, has no place in this table, and why. Its default counts from then on.
    pub fn refuse(&mut self, name: &str, why: impl Display) {
        self.refused.push(self.declared(name).name);
        self.get(name, |item| item.wrong::<()>(why));
    }

    /// Whether the setting is there and true. A value that is no flag is not noted.
    pub fn is_true(&self, name: &str) -> bool {
        let written = self.written(self.declared(name));
        written.is_some_and(|(_, value)| matches!(value.get_ref(), DeValue::Boolean(true)))
    }

    /// Notes that the key, which no setting has any more, is in this table, and why.
    pub fn refuse_former(&mut self, key: &'static str, why: impl Display) {
        debug_assert!(
            self.settings.iter().all(|setting| !setting.has_key(key)),
            "a former key is none of today's"
        );
        self.asked.push(key);
        if let Some(value) = self.entries.and_then(|entries| entries.get(key)) {
            let position = item::place_of(value, joined(&self.position.key, key), self.notes);
            self.notes.add(&position, why);
        }
    }

    /// A table that is read even where it is absent, so that its defaults hold.
    pub fn section<T>(&mut self, name: &str, read: impl Fn(&mut DocumentTable<'d>) -> T) -> T {
        let present = self.get(name, |item| item.table(&read));
        let kind = self.declared(name).kind;
        present.unwrap_or_else(|| match kind {
            Kind::Table(section) => self.defaults_of(section, read),
            _ => panic!("{name} is declared as {kind:?}"),
        })
    }

    /// A table of this section without any setting, so that its defaults hold.
    pub fn defaults_of<T>(
        &self,
        section: &'static Section,
        read: impl FnOnce(&mut DocumentTable<'d>) -> T,
    ) -> T {
        DocumentTable::new(section, None, self.position.clone(), self.notes).read(read)
    }

    /// The settings of a struct that was declared with them.
    pub fn plain<T: Plain>(&mut self) -> T {
        T::from_values(|setting| self.value(setting.name))
    }

    /// The values that are written of the settings of a struct, each with the name of its setting.
    pub fn written_values<T: Plain>(&mut self) -> Vec<(&'static str, Value)> {
        let settings = T::SETTINGS.iter();
        let written = settings.filter_map(|setting| {
            let value = self.get(setting.name, Item::value)?;
            Some((setting.name, value))
        });
        written.collect()
    }

    /// The value of a setting, else its default.
    fn value(&mut self, name: &str) -> Option<Value> {
        let default = self.declared(name).default_value();
        if self.refused.contains(&name) {
            return default;
        }
        self.get(name, Item::value).or(default)
    }

    /// The default of a setting.
    ///
    /// # Panics
    ///
    /// The setting has none.
    fn default(&self, name: &str) -> Value {
        let value = self.declared(name).default_value();
        value.unwrap_or_else(|| panic!("{name} has no default"))
    }

    /// True or false, else the default.
    pub fn flag(&mut self, name: &str) -> bool {
        let flag = self.get(name, Item::flag);
        flag.unwrap_or_else(|| self.default(name) == Value::Flag(true))
    }

    /// A whole number within the declared bounds, else the default.
    pub fn whole<T: TryFrom<u64>>(&mut self, name: &str) -> T {
        let number = self.get(name, Item::whole);
        number.unwrap_or_else(|| self.default_number(name))
    }

    /// A size within the declared bounds, else the default.
    pub fn size<T: TryFrom<u64>>(&mut self, name: &str) -> T {
        let bytes = self.get(name, Item::size);
        bytes.unwrap_or_else(|| self.default_number(name))
    }

    fn default_number<T: TryFrom<u64>>(&self, name: &str) -> T {
        let number = match self.default(name) {
            Value::Whole(number) | Value::Size(number) => T::try_from(number).ok(),
            _ => None,
        };
        number.unwrap_or_else(|| panic!("the default of {name} is no such number"))
    }

    /// A whole number within the declared bounds, else the default, with the place where it is written.
    pub fn positioned_whole<T: TryFrom<u64>>(&mut self, name: &str) -> Positioned<T> {
        let value = self.whole(name);
        self.positioned(name, value)
    }

    /// A size within the declared bounds, else the default, with the place where it is written.
    pub fn positioned_size<T: TryFrom<u64>>(&mut self, name: &str) -> Positioned<T> {
        let value = self.size(name);
        self.positioned(name, value)
    }

    /// One of the words of a type, else the default, with the place where it is written.
    pub fn positioned_word<T: Word>(&mut self, name: &str) -> Positioned<T> {
        let value = self.word(name);
        self.positioned(name, value)
    }

    /// A value of a setting with the place where the setting is written.
    fn positioned<T>(&mut self, name: &str, value: T) -> Positioned<T> {
        let position = self.get(name, |item| Some(item.positioned(()).position));
        Positioned {
            position: position.unwrap_or_default(),
            value,
        }
    }

    /// The default of a setting that is a text.
    pub fn default_text(&self, name: &str) -> &'static str {
        self.declared(name).default_text()
    }

    /// A list of texts that `parse` understands, else the default.
    ///
    /// # Panics
    ///
    /// The function does not understand an entry of the default.
    pub fn texts<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let written = self.get(name, Item::list);
        let Some(items) = written else {
            let Value::List(texts) = self.default(name) else {
                panic!("the default of {name} is no list");
            };
            let values = texts.iter().map(|text| parse(text));
            return values
                .map(|value| value.unwrap_or_else(|right| panic!("the default of {name} {right}")))
                .collect();
        };
        items
            .iter()
            .filter_map(|item| item.parsed(&parse))
            .collect()
    }

    /// The default of a setting that is a list of words.
    pub fn default_words<T: Word>(&self, name: &str) -> Vec<T> {
        let Value::List(words) = self.default(name) else {
            panic!("the default of {name} is no list");
        };
        let words = words.iter();
        words
            .map(|word| Stored::from_value(Some(Value::Word(word))))
            .collect()
    }

    /// The value that `parse` makes of a text, else of the default.
    ///
    /// # Panics
    ///
    /// The function does not understand the default.
    pub fn parsed<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> T {
        let written = self.get(name, |item| item.parsed(&parse));
        written.unwrap_or_else(|| {
            let value = parse(self.default_text(name));
            value.unwrap_or_else(|right| panic!("the default of {name} {right}"))
        })
    }

    /// A time within the declared bounds, if it is set.
    pub fn timeout(&mut self, name: &str) -> Option<Duration> {
        self.get(name, Item::time)
    }

    /// A time within the declared bounds, else the default.
    pub fn time(&mut self, name: &str) -> Duration {
        let time = self.timeout(name);
        time.unwrap_or_else(|| match self.default(name) {
            Value::Time(time) => time,
            other => panic!("the default of {name} is {other:?}"),
        })
    }

    /// One of the words of a type, else the default.
    pub fn word<T: Word>(&mut self, name: &str) -> T {
        let word = self.get(name, Item::word);
        word.unwrap_or_else(|| Stored::from_value(Some(self.default(name))))
    }

    /// A list; empty if the setting is absent.
    pub fn list<T>(&mut self, name: &str, read: impl FnMut(&Item<'d>) -> Option<T>) -> Vec<T> {
        let items = self.get(name, Item::list).unwrap_or_default();
        items.iter().filter_map(read).collect()
    }

    fn note_unknown_keys(&self) {
        let statuses = self.has_statuses.then_some("a status");
        let known = self.settings.iter().map(|setting| setting.name);
        let known: Vec<&str> = statuses.into_iter().chain(known).collect();
        let was_asked = |key: &str| {
            let mut settings = self.settings.iter();
            let setting = settings.find(|setting| setting.has_key(key));
            self.asked
                .contains(&setting.map_or(key, |setting| setting.name))
        };
        for (key, value) in self.entries.into_iter().flatten() {
            let name: &DeString<'_> = key.get_ref();
            if was_asked(name) || (self.has_statuses && item::is_number(name)) {
                continue;
            }
            let mut position = item::place_of(value, joined(&self.position.key, name), self.notes);
            position.offset = key.span().start;
            // A header field in the wrong place may still hold a credential.
            if !position.shown.is_empty() && mask::is_credential(name) {
                position.shown = MASK.to_owned();
            }
            let instead = instead_of(name, &known);
            self.notes.add(&position, format!("unknown key; {instead}"));
        }
    }
}
