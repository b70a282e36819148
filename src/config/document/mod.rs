//! Reads a TOML document value by value. A reader asks for the settings of a table by their names; whatever is not as
//! the settings are declared is noted with its place, and reading goes on, so that one run finds every mistake.

mod item;
mod table;

use toml::de::{DeTable, DeValue};

use super::mask::{self, MASK};
use super::notes::{Notes, Position};
use crate::base::setting::{Kind, Section, Setting};

/// One value of the document.
pub struct Item<'d> {
    value: &'d DeValue<'d>,
    position: Position,
    /// The kind of value that is allowed.
    kind: Kind,
    notes: &'d Notes<'d>,
}

/// One table of the document while it is read.
pub struct DocumentTable<'d> {
    /// The settings that the table may have.
    settings: Vec<&'static Setting>,
    /// `None` for a table that is absent.
    entries: Option<&'d DeTable<'d>>,
    position: Position,
    notes: &'d Notes<'d>,
    /// Names of the settings that were asked for.
    asked: Vec<&'static str>,
    /// Whether keys that are numbers stand beside the settings, for their own reader.
    has_statuses: bool,
    /// Names of the settings that have no place in this table: their values do not count.
    refused: Vec<&'static str>,
}

/// Characters of a value that a message repeats.
const SHOWN_CHARS: usize = 60;

/// Notes every syntax error of the text, then reads the rest as far as it can be trusted. `section`: the settings of
/// the top level.
pub(super) fn read<T>(
    section: &'static Section,
    notes: &Notes<'_>,
    read: impl FnOnce(&mut DocumentTable<'_>) -> T,
) -> T {
    let (root, errors) = DeTable::parse_recoverable(notes.text());
    let mut last_line = None;
    let mut secrets = Secrets {
        text: notes.text(),
        at: 0,
        is_secret: false,
    };
    let mut errors: Vec<(usize, &str)> = errors
        .iter()
        .map(|error| (error.span().map_or(0, |span| span.start), error.message()))
        .collect();
    errors.sort_unstable();
    for (offset, message) in errors {
        let (line_start, line) = line_at(notes.text(), offset);
        // Further errors in a line mostly follow from the first one there.
        if last_line.replace(line_start) != Some(line_start) {
            let excerpt = if secrets.hide(line_start) { "" } else { line };
            notes.add_at(offset, &shown(excerpt), message);
        }
        // A key given twice is the one error that leaves the rest of the document as it was meant.
        if message != "duplicate key" {
            notes.distrust_from(line_start);
        }
    }
    let position = Position::default();
    DocumentTable::new(section, Some(root.get_ref()), position, notes).read(read)
}

fn line_at(text: &str, offset: usize) -> (usize, &str) {
    let offset = text.floor_char_boundary(offset);
    let start = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[offset..]
        .find('\n')
        .map_or(text.len(), |newline| offset + newline);
    (start, text[start..end].trim())
}

/// Goes through the lines of a text, and knows whether the lines since the last table header may hold a credential: a
/// string of several lines begins above the line in question.
struct Secrets<'t> {
    text: &'t str,
    at: usize,
    is_secret: bool,
}

impl Secrets<'_> {
    /// Whether the line that begins here, or the value that it may be a part of, must be hidden. To be called with the
    /// lines in their order.
    fn hide(&mut self, line_start: usize) -> bool {
        while self.at <= line_start && self.at < self.text.len() {
            let rest = &self.text[self.at..];
            let line = rest.split_inclusive('\n').next().unwrap_or(rest);
            let is_telling = mask::is_credential(line) || mask::names_user(line);
            self.is_secret = is_telling || (self.is_secret && !is_header(line));
            self.at += line.len();
        }
        self.is_secret
    }
}

fn is_header(line: &str) -> bool {
    let line = line.trim_start();
    let name = line.trim_start_matches('[');
    line.starts_with('[') && name.starts_with(|char: char| char.is_alphabetic())
}

/// The places of values in a text that has been read: one for each way (`["admin", "state_file"]`) that the text has.
pub(super) fn find(notes: &Notes<'_>, ways: &[&[&str]]) -> Vec<Option<Position>> {
    let (root, _) = DeTable::parse_recoverable(notes.text());
    let position = |way: &[&str]| {
        let (last, tables) = way.split_last()?;
        let mut table = root.get_ref();
        for key in tables {
            match table.get(*key)?.get_ref() {
                DeValue::Table(inside) => table = inside,
                _ => return None,
            }
        }
        Some(item::place_of(table.get(*last)?, way.join("."), notes))
    };
    ways.iter().map(|way| position(way)).collect()
}

/// The beginning of `text` on one line, control characters made visible.
fn shown(text: &str) -> String {
    let mut chars = text.trim_end().chars();
    let line = chars
        .by_ref()
        .take(SHOWN_CHARS)
        .take_while(|char| !matches!(char, '\r' | '\n'));
    let mut short: String = line
        .map(|char| if char.is_control() { '\u{fffd}' } else { char })
        .collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

/// The way to a key of a table; quoted where TOML wants it so.
fn joined(table: &str, key: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let key = if mask::hides_key(table, key) {
        format!("{MASK:?}")
    } else if !key.is_empty() && key.bytes().all(is_bare) {
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
