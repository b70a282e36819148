//! Notes about a configuration, with the place in the file that each note is about.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;

use crate::base::limits;
use crate::tls::TlsFault;

/// The place of a value in the file, and its text there.
#[derive(Clone, Debug, Default)]
pub struct Position {
    /// The way to it: `pools[0].backends[1].weight`.
    pub key: String,
    /// Offset of the first byte of the value in the file.
    pub offset: usize,
    /// The text of the value, if that is short enough to repeat; else empty.
    pub shown: String,
}

/// A value with its place, kept where a later check may have to point at it.
#[derive(Clone, Debug, Default)]
pub struct Positioned<T> {
    /// The place of the value in the file.
    pub position: Position,
    /// The value as read.
    pub value: T,
}

impl<T> Deref for Positioned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// One remark: a mistake or a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Line and column (in characters), both from 1; `None` if the remark concerns the file as a whole.
    pub at: Option<(usize, usize)>,
    /// The way to the value at fault (`pools[0].backends[1].weight`); empty if it is none.
    pub key: String,
    /// The text of the value at fault, if that is short enough to repeat; else empty.
    pub shown: String,
    /// The mistake and the right form, on one line.
    pub text: String,
}

/// Gathers remarks about one text. Readers share it by reference, so that reading goes on after a mistake.
pub(super) struct Notes<'t> {
    text: &'t str,
    list: Cell<Vec<Note>>,
    left_out: Cell<usize>,
    reliable: Cell<usize>,
    lasting: Cell<bool>,
}

impl<'t> Notes<'t> {
    pub(super) fn new(text: &'t str) -> Notes<'t> {
        Notes {
            text,
            list: Cell::default(),
            left_out: Cell::new(0),
            reliable: Cell::new(usize::MAX),
            lasting: Cell::new(false),
        }
    }

    /// The text that the remarks are about.
    pub(super) fn text(&self) -> &'t str {
        self.text
    }

    /// From `offset` on, the document is not what its author meant (there is a syntax error): [`Notes::add`] and
    /// [`Notes::add_absence`] stay silent about what would only follow from that.
    pub(super) fn distrust_from(&self, offset: usize) {
        self.reliable.set(self.reliable.get().min(offset));
    }

    /// Whether the whole document can be taken at its word.
    pub(super) fn all_reliable(&self) -> bool {
        self.reliable.get() == usize::MAX
    }

    /// Notes that the value at `place` is not right; `what` says what would be.
    pub(super) fn add(&self, position: &Position, what: impl fmt::Display) {
        if position.offset < self.reliable.get() {
            self.push(position.offset, &position.key, &position.shown, what);
        }
    }

    /// Notes that what files hold cannot be used at `place`, which may pass though nobody changes anything.
    pub(super) fn add_fault(&self, position: &Position, fault: TlsFault) {
        let lasting = self.lasting.get();
        self.add(position, &fault.text);
        self.lasting.set(lasting || !fault.may_pass);
    }

    /// Whether any noted mistake lasts until somebody corrects it.
    pub(super) fn are_lasting(&self) -> bool {
        self.lasting.get()
    }

    /// Notes that something is missing at `place`.
    pub(super) fn add_absence(&self, position: &Position, what: impl fmt::Display) {
        if self.all_reliable() {
            self.add(position, what);
        }
    }

    /// Notes something about whatever stands at `offset` and looks like `shown`.
    pub(super) fn add_at(&self, offset: usize, shown: &str, what: impl fmt::Display) {
        self.push(offset, "", shown, what);
    }

    fn push(&self, offset: usize, key: &str, shown: &str, what: impl fmt::Display) {
        self.lasting.set(true);
        let mut list = self.list.take();
        if list.len() == limits::CONFIG_MISTAKES {
            self.left_out.set(self.left_out.get() + 1);
        } else {
            list.push(Note {
                at: Some(self.position(offset)),
                key: key.to_owned(),
                shown: shown.to_owned(),
                text: what.to_string(),
            });
        }
        self.list.set(list);
    }

    fn position(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = 1 + before.bytes().filter(|&byte| byte == b'\n').count();
        (line, 1 + before[line_start..].chars().count())
    }

    /// All remarks in the order of the file, and the number of those that were too many to keep.
    pub(super) fn into_list(self) -> (Vec<Note>, usize) {
        let mut list = self.list.into_inner();
        list.sort_by_key(|note| note.at);
        (list, self.left_out.get())
    }
}

/// Everything that keeps a file from being a configuration. Displayed one per line, as `file:line:column: text`.
#[derive(Debug)]
pub struct Mistakes {
    /// The path of the file.
    pub path: PathBuf,
    /// At most [`limits::CONFIG_MISTAKES`], in the order of the file.
    pub notes: Vec<Note>,
    /// Mistakes beyond those.
    pub left_out: usize,
    /// Whether the only mistakes are files that could not be read, for reasons that may pass by themselves.
    pub may_pass: bool,
}

impl Mistakes {
    /// The file as a whole is the mistake.
    pub(super) fn of_file(path: PathBuf, text: String, may_pass: bool) -> Mistakes {
        Mistakes {
            path,
            notes: vec![Note {
                at: None,
                key: String::new(),
                shown: String::new(),
                text,
            }],
            left_out: 0,
            may_pass,
        }
    }
}

impl Error for Mistakes {}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        for (index, note) in self.notes.iter().enumerate() {
            let line_end = if index == 0 { "" } else { "\n" };
            write!(f, "{line_end}{path}:{note}")?;
        }
        match self.left_out {
            0 => Ok(()),
            more => write!(f, "\n{path}: and {more} more"),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.at {
            write!(f, "{line}:{column}:")?;
        }
        match (self.key.as_str(), self.shown.as_str()) {
            ("", "") => {}
            (subject, "") | ("", subject) => write!(f, " {subject}:")?,
            (key, shown) => write!(f, " {key} = {shown}:")?,
        }
        write!(f, " {}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_one() {
        let text = "a = 1\nß = 2\n";
        let notes = Notes::new(text);
        for (offset, expected) in [
            (0, (1, 1)),
            (5, (1, 6)),
            (6, (2, 1)),
            (8, (2, 2)),
            (13, (3, 1)),
            (99, (3, 1)),
        ] {
            assert_eq!(notes.position(offset), expected, "{offset}");
        }
    }

    #[test]
    fn the_list_is_bounded_and_says_how_much_it_left_out() {
        let notes = Notes::new("x");
        for _ in 0..limits::CONFIG_MISTAKES + 7 {
            notes.add(&Position::default(), "wrong");
        }
        let (list, left_out) = notes.into_list();
        assert_eq!((list.len(), left_out), (limits::CONFIG_MISTAKES, 7));
    }
}
