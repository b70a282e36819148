//! Settings of the configuration, each declared once: its name, what it may hold, its default and its documentation.
//!
//! A [`Section`] is one table of the configuration file, and a [`Setting`] one row of it. The reader of the file, the
//! management API, `palantir schema`, the generated reference and the check of the shipped file all read these rows.
//! Where the settings of a table depend on nothing else, [`plain_settings`] declares the rows and the struct that holds
//! their values together.

mod plain;

use std::fmt;
use std::time::Duration;

use super::limits;
use super::quantity::{show_size, show_time};

pub(crate) use plain::plain_settings;
pub use plain::{Plain, Stored};

/// One table of the configuration file.
#[derive(Debug)]
pub struct Section {
    /// Name of the table's type in schemas: `HealthCheckSettings`.
    pub name: &'static str,
    /// How the file writes the table: `[limits]`, `[[pools]]`, `health_check`.
    pub title: &'static str,
    /// The purpose of the table, in whole sentences.
    pub doc: &'static str,
    /// The rows, in the order in which messages and documentation list them.
    pub settings: fn() -> Vec<&'static Setting>,
}

/// One setting: a key of a table.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The key, without a unit.
    pub name: &'static str,
    /// A second key for the same setting, which names a unit. The management API shows this one.
    pub alias: Option<&'static str>,
    /// The kind of value that the setting holds.
    pub kind: Kind,
    /// The value that counts where the setting is absent.
    pub absent: Absent,
    /// The effect of 0 as a clause, where 0 is more than the smallest number: "the number is unlimited".
    pub zero: Option<&'static str>,
    /// The effect of the setting, in whole sentences.
    pub doc: &'static str,
    /// Whether a change counts only from the next start on, not from a reload.
    pub at_start: bool,
    /// Whether the management API may change the setting, in a table that it may change.
    pub by_api: bool,
}

/// The word for a setting that has no value.
pub const OFF: &str = "off";
/// The statuses that a key of [`Kind::ByStatus`] may be, as a regular expression.
pub const STATUS_PATTERN: &str = "^[2-5][0-9]{2}$";
/// The example of a text that is the path of a file.
pub const FILE_EXAMPLE: &str = "/etc/palantir/file";

/// The kind of value that a setting holds.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// True or false.
    Flag,
    /// True: the other value says nothing.
    True,
    /// A whole number.
    Whole {
        /// The smallest one.
        least: u64,
        /// The largest one.
        most: u64,
    },
    /// A time of at most [`limits::LONGEST_TIMEOUT`].
    Time {
        /// The shortest one.
        least: Duration,
    },
    /// A time in whole seconds of at most [`limits::LONGEST_LIFETIME`].
    Lifetime,
    /// A number of bytes.
    Size {
        /// The smallest one.
        least: u64,
        /// The largest one.
        most: u64,
    },
    /// One of the words that the function lists.
    Word(fn() -> Vec<&'static str>),
    /// A text with a form of its own.
    Text {
        /// A regular expression that every right text matches; empty: there is none.
        pattern: &'static str,
        /// A right text.
        example: &'static str,
    },
    /// A list in brackets.
    List {
        /// The kind of value that each entry holds.
        of: &'static Kind,
        /// The smallest number of entries.
        least: usize,
        /// The largest number of entries.
        most: usize,
    },
    /// A table of texts whose keys are the operator's own.
    Map {
        /// The largest number of entries.
        most: usize,
        /// A right entry, as TOML.
        example: &'static str,
    },
    /// A table of its own.
    Table(&'static Section),
    /// A table whose keys are statuses from 200 to 599.
    ByStatus {
        /// The kind of value that each status has.
        of: &'static Kind,
        /// The settings that the table may have beside the statuses.
        beside: &'static Section,
        /// A right entry, as TOML.
        example: &'static str,
    },
    /// One of several kinds.
    Any(&'static [Kind]),
}

/// The value that counts where a setting is absent.
#[derive(Clone, Copy, Debug)]
pub enum Absent {
    /// The setting must be there.
    Required,
    /// The default is this value.
    Is(Value),
    /// There is no value of the setting's kind for it; the text says as a clause what holds: "no backend is probed".
    Means(&'static str),
}

/// A value of a setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// True or false.
    Flag(bool),
    /// A whole number.
    Whole(u64),
    /// A time.
    Time(Duration),
    /// A number of bytes.
    Size(u64),
    /// A word.
    Word(&'static str),
    /// A text.
    Text(&'static str),
    /// A list of texts.
    List(&'static [&'static str]),
}

/// The values of a setting that is one of several words.
pub trait Word: Copy + PartialEq + Sized + 'static {
    /// Each value with its word, in the order in which messages list them.
    const WORDS: &'static [(&'static str, Self)];

    /// The word for this value.
    fn word(self) -> &'static str {
        let known = Self::WORDS.iter().find(|(_, value)| *value == self);
        debug_assert!(known.is_some(), "each value has a word");
        known.map_or("", |(word, _)| word)
    }
}

/// The words of a type, for [`Kind::Word`].
pub fn words<T: Word>() -> Vec<&'static str> {
    T::WORDS.iter().map(|(word, _)| *word).collect()
}

impl Section {
    /// The setting of this name.
    ///
    /// # Panics
    ///
    /// The section has no such setting.
    pub fn setting(&self, name: &str) -> &'static Setting {
        let mut settings = (self.settings)().into_iter();
        let found = settings.find(|setting| setting.name == name);
        found.unwrap_or_else(|| panic!("{} has no setting {name}", self.name))
    }
}

impl Setting {
    /// A setting that a reload takes over, and that the management API may change where its table is one that the API
    /// may change.
    pub const fn new(name: &'static str, kind: Kind, absent: Absent, doc: &'static str) -> Setting {
        assert!(
            !name.is_empty() && !doc.is_empty(),
            "a setting has a name and a sentence about it"
        );
        Setting {
            name,
            alias: None,
            kind,
            absent,
            zero: None,
            doc,
            at_start: false,
            by_api: true,
        }
    }

    /// The setting with a second key, which names a unit.
    pub const fn also(self, alias: &'static str) -> Setting {
        assert!(
            self.alias.is_none() && !alias.is_empty(),
            "a setting has at most one other key"
        );
        Setting {
            alias: Some(alias),
            ..self
        }
    }

    /// The setting, in which 0 has a meaning of its own, a clause.
    pub const fn zero_means(self, zero: &'static str) -> Setting {
        Setting {
            zero: Some(zero),
            ..self
        }
    }

    /// The setting, whose change counts from the next start on.
    pub const fn at_start(self) -> Setting {
        Setting {
            at_start: true,
            ..self
        }
    }

    /// The setting, which the management API does not change.
    pub const fn not_by_api(self) -> Setting {
        Setting {
            by_api: false,
            ..self
        }
    }

    /// The value that counts where the setting is absent; `None`: there is none.
    pub fn default_value(&self) -> Option<Value> {
        match self.absent {
            Absent::Is(value) => Some(value),
            Absent::Required | Absent::Means(_) => None,
        }
    }

    /// The text that counts where the setting is absent.
    ///
    /// # Panics
    ///
    /// The default of the setting is no text.
    pub fn default_text(&self) -> &'static str {
        match self.default_value() {
            Some(Value::Text(text) | Value::Word(text)) => text,
            other => panic!(
                "the default of {} is {other:?}, which is no text",
                self.name
            ),
        }
    }

    /// Whether this is one of the setting's keys.
    pub fn has_key(&self, key: &str) -> bool {
        self.name == key || self.alias == Some(key)
    }

    /// The key that the management API shows: the one with the unit, because JSON has times and sizes as numbers.
    pub fn api_name(&self) -> &'static str {
        self.alias.unwrap_or(self.name)
    }
}

impl Kind {
    /// A time of at least [`limits::SHORTEST_TIMEOUT`].
    pub const TIME: Kind = Kind::Time {
        least: limits::SHORTEST_TIMEOUT,
    };
    /// A percentage.
    pub const PERCENT: Kind = Kind::Whole {
        least: 0,
        most: 100,
    };
    /// The word for a setting that has no value, as one of several kinds.
    pub const OFF: Kind = Kind::Word(|| vec![OFF]);
    /// The name of a file.
    pub const FILE: Kind = Kind::text("", FILE_EXAMPLE);

    /// A text without a pattern if `pattern` is empty.
    pub const fn text(pattern: &'static str, example: &'static str) -> Kind {
        Kind::Text { pattern, example }
    }

    /// A whole number within these bounds.
    pub const fn whole(least: u64, most: u64) -> Kind {
        assert!(least <= most);
        Kind::Whole { least, most }
    }

    /// A number of bytes within these bounds.
    pub const fn size(least: u64, most: u64) -> Kind {
        assert!(least <= most);
        Kind::Size { least, most }
    }

    /// The first value that `find` finds in the kind, or in one of several kinds.
    pub fn find<T>(self, find: impl Fn(Kind) -> Option<T>) -> Option<T> {
        match self {
            Kind::Any(kinds) => kinds.iter().find_map(|kind| find(*kind)),
            kind => find(kind),
        }
    }
}

impl Absent {
    /// The default is a number of seconds.
    pub const fn secs(secs: u64) -> Absent {
        Absent::Is(Value::Time(Duration::from_secs(secs)))
    }
}

/// The value as the configuration file may write it, in TOML.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Flag(flag) => write!(f, "{flag}"),
            Value::Whole(number) => write!(f, "{number}"),
            Value::Time(time) if time.is_zero() => write!(f, "0"),
            Value::Time(time) => write!(f, "\"{}\"", show_time(*time)),
            Value::Size(0) => write!(f, "0"),
            Value::Size(bytes) => write!(f, "\"{}\"", show_size(*bytes)),
            Value::Word(text) | Value::Text(text) => write!(f, "\"{text}\""),
            Value::List(texts) => write!(f, "{texts:?}"),
        }
    }
}
