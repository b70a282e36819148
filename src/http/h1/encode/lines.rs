//! Which of a received head's lines are passed on, and how.

use httparse::Header;

use super::pen::Pen;
use crate::http::fields::{Known, may_be_edited, recognise};
use crate::http::h1::field_set::FieldSet;
use crate::http::h1::survey::{Survey, line_start};

/// An operator's edits to a head.
#[derive(Clone, Copy)]
pub(super) struct Edits<'a> {
    /// Lower-case names of fields to leave out.
    pub(super) remove: &'a [String],
    /// Fields that replace those of their name.
    pub(super) set: &'a [(String, String)],
    /// Lower-case names of fields that we leave out on top of the operator's.
    pub(super) ours: &'a [&'a str],
}

impl<'a> Edits<'a> {
    fn names(self) -> impl Iterator<Item = &'a str> {
        let removed = self.remove.iter().map(String::as_str);
        removed.chain(self.set.iter().map(|(name, _)| name.as_str()))
    }

    fn is_empty(self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.ours.is_empty()
    }

    /// Whether the operator has the last word on the field of this lower-case name.
    pub(super) fn name(self, name: &str) -> bool {
        self.names().any(|edited| edited == name)
    }

    /// Whether they have the last word on a field that we would otherwise write.
    #[inline(always)]
    pub(super) fn concern(self, known: Known) -> bool {
        !self.is_empty() && self.names().any(|name| recognise(name.as_bytes()) == known)
    }

    /// The fields that they take out.
    #[inline(always)]
    fn taken_out(self, fields: &[Header<'_>]) -> FieldSet {
        let mut taken_out = FieldSet::default();
        if self.is_empty() {
            return taken_out;
        }
        for name in self.names().chain(self.ours.iter().copied()) {
            debug_assert!(may_be_edited(name), "{name} is not an operator's to edit");
            for (index, field) in fields.iter().enumerate() {
                if field.name.eq_ignore_ascii_case(name) {
                    taken_out.insert(index);
                }
            }
        }
        taken_out
    }

    /// Bytes that [`Edits::write_set`] writes.
    #[inline(always)]
    pub(super) fn set_bytes(self) -> usize {
        self.set
            .iter()
            .map(|(name, value)| name.len() + value.len() + b": \r\n".len())
            .sum()
    }

    #[inline(always)]
    pub(super) fn write_set(self, pen: &mut Pen<'_>) {
        for (name, value) in self.set {
            pen.field(name, value.as_bytes());
        }
    }
}

/// The lines of a received head.
pub(super) struct Lines<'b, 's> {
    /// From the first line to the empty line.
    head: &'b [u8],
    /// Where in `head` the first field's line begins.
    start: usize,
    fields: &'s [Header<'b>],
    left_out: FieldSet,
    /// Fields to be decided upon one by one.
    special: &'s FieldSet,
}

impl<'b, 's> Lines<'b, 's> {
    #[inline(always)]
    pub(super) fn new(
        head: &'b [u8],
        start: usize,
        fields: &'s [Header<'b>],
        survey: &'s Survey<'b>,
        edits: Edits<'_>,
    ) -> Self {
        Lines {
            head,
            start,
            fields,
            left_out: edits.taken_out(fields).union(&survey.dropped),
            special: &survey.special,
        }
    }

    /// Bytes that all of them take at most: a field written anew gets a blank after its colon.
    #[inline(always)]
    pub(super) fn most_bytes(&self) -> usize {
        self.head.len() + self.fields.len()
    }

    /// Copies every line that is neither left out nor special; `decide` writes the special ones.
    #[inline(always)]
    pub(super) fn copy(
        &self,
        pen: &mut Pen<'_>,
        mut decide: impl FnMut(&mut Pen<'_>, &Header<'b>, Known),
    ) {
        let end = self.head.len() - b"\r\n".len();
        let mut run_start = self.start;
        for index in self.left_out.union(self.special).iter() {
            let field = &self.fields[index];
            let line_start_here = line_start(self.head, field);
            if run_start < line_start_here {
                pen.text(&self.head[run_start..line_start_here]);
            }
            run_start = match self.fields.get(index + 1) {
                Some(next) => line_start(self.head, next),
                None => end,
            };
            if !self.left_out.contains(index) {
                decide(pen, field, recognise(field.name.as_bytes()));
            }
        }
        pen.text(&self.head[run_start..end]);
    }

    /// The special fields that are not left out, once more.
    pub(super) fn special(&self) -> impl Iterator<Item = &Header<'b>> {
        self.special
            .iter()
            .filter(|index| !self.left_out.contains(*index))
            .map(|index| &self.fields[index])
    }
}
