//! The choice of the lines of a received head that are passed on, and their form.

use httparse::Header;

use super::head_writer::HeadWriter;
use crate::http::fields::{KnownField, list, recognise};
use crate::http::h1::field_set::FieldSet;
use crate::http::h1::head_facts::{HeadFacts, line_start};
use crate::http::h1::trailers::may_be_trailer;
use crate::http::names::{self, FieldEdits, Identity};

/// The fields that are taken out of a head, and those that are put into the head.
#[derive(Clone, Copy)]
pub(super) struct Edits<'a> {
    pub(super) operator: &'a FieldEdits,
    pub(super) identity: Identity<'a>,
    /// Lower-case names of further fields that we write ourselves, or nobody.
    pub(super) ours: [&'a [&'a str]; 4],
    /// Fields that take the place of the sender's.
    pub(super) computed: &'a [ComputedField<'a>],
}

/// A field that palantir computes for one message. The field takes the place of the sender's fields of this name; what
/// the operator says of the name goes before both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComputedField<'a> {
    /// The name, in lower case.
    pub name: &'a str,
    /// The value.
    pub value: &'a [u8],
}

impl Edits<'_> {
    fn takes_nothing_out(self) -> bool {
        let names = self.identity.names;
        self.operator.names().is_empty()
            && names.iter().all(|names| names.is_empty())
            && self.ours.iter().all(|names| names.is_empty())
            && self.computed.is_empty()
    }

    /// Whether the operator has the last word on the field of this name.
    #[inline(always)]
    pub(super) fn name(self, name: &str) -> bool {
        self.operator.names().contains(name.as_bytes())
    }

    /// Whether a field of this name is left out, whoever sent it.
    fn take_out(self, name: &[u8]) -> bool {
        let is_it = |field: &ComputedField<'_>| names::same(field.name.as_bytes(), name);
        self.operator.names().contains(name)
            || self.identity.is_ours(name)
            || self.computed.iter().any(is_it)
            || self
                .ours
                .iter()
                .copied()
                .flatten()
                .any(|ours| names::same(ours.as_bytes(), name))
    }

    /// The fields that are left out.
    #[inline(always)]
    fn taken_out(self, fields: &[Header<'_>]) -> FieldSet {
        let mut taken_out = FieldSet::default();
        if self.takes_nothing_out() {
            return taken_out;
        }
        for (index, field) in fields.iter().enumerate() {
            if self.take_out(field.name.as_bytes()) {
                taken_out.insert(index);
            }
        }
        taken_out
    }

    /// Bytes that [`Edits::write_set`], [`Edits::write_identity`] and [`Edits::write_computed`] write at most.
    #[inline(always)]
    pub(super) fn set_bytes(self) -> usize {
        let fields = self.operator.set.iter().chain(self.identity.fields);
        let fields = fields.map(|(name, value)| name.len() + value.len());
        let computed = self.computed.iter();
        let computed = computed.map(|field| field.name.len() + field.value.len());
        let lengths = fields.chain(computed);
        lengths.map(|length| length + b": \r\n".len()).sum()
    }

    /// Writes the computed fields, where the operator says nothing else.
    #[inline(always)]
    pub(super) fn write_computed(self, writer: &mut HeadWriter<'_>) {
        for field in self.computed {
            if !self.name(field.name) {
                writer.field(field.name, field.value);
            }
        }
    }

    #[inline(always)]
    pub(super) fn write_set(self, writer: &mut HeadWriter<'_>) {
        for (name, value) in &self.operator.set {
            writer.field(name, value.as_bytes());
        }
    }

    /// Writes who the client is, where the operator says nothing else.
    #[inline(always)]
    pub(super) fn write_identity(self, writer: &mut HeadWriter<'_>) {
        for (name, value) in self.identity.fields {
            if !self.name(name) {
                writer.field(name, value.as_bytes());
            }
        }
    }

    /// Writes `Trailer` without the names that will not be passed on, and not at all if no other is left.
    #[cold]
    pub(super) fn write_announced(self, writer: &mut HeadWriter<'_>, field: &Header<'_>) {
        let start = writer.written();
        writer.texts([field.name.as_bytes(), b": "]);
        let names_start = writer.written();
        for name in list(field.value) {
            if may_be_trailer(name) && !self.take_out(name) {
                writer.texts([name, b", "]);
            }
        }
        if writer.written() > names_start {
            writer.take_back(writer.written() - b", ".len())
        } else {
            return writer.take_back(start);
        }
        writer.text(b"\r\n");
    }
}

/// The lines of a received head.
pub(super) struct HeadLines<'b, 's> {
    /// From the first line to the empty line.
    head: &'b [u8],
    /// Where in `head` the first field's line begins.
    start: usize,
    fields: &'s [Header<'b>],
    left_out: FieldSet,
    /// Fields to be decided upon one by one.
    special: &'s FieldSet,
}

impl<'b, 's> HeadLines<'b, 's> {
    #[inline(always)]
    pub(super) fn new(
        head: &'b [u8],
        start: usize,
        fields: &'s [Header<'b>],
        facts: &'s HeadFacts<'b>,
        edits: Edits<'_>,
    ) -> Self {
        HeadLines {
            head,
            start,
            fields,
            left_out: edits.taken_out(fields).union(&facts.dropped),
            special: &facts.special,
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
        writer: &mut HeadWriter<'_>,
        mut decide: impl FnMut(&mut HeadWriter<'_>, &Header<'b>, KnownField),
    ) {
        debug_assert!(self.head.ends_with(b"\r\n"));
        let end = self.head.len() - b"\r\n".len();
        let mut run_start = self.start;
        for index in self.left_out.union(self.special).iter() {
            let field = &self.fields[index];
            let line_start_here = line_start(self.head, field);
            debug_assert!(
                run_start <= line_start_here,
                "lines stand in the order of the fields"
            );
            if run_start < line_start_here {
                writer.text(&self.head[run_start..line_start_here]);
            }
            run_start = match self.fields.get(index + 1) {
                Some(next) => line_start(self.head, next),
                None => end,
            };
            if !self.left_out.contains(index) {
                decide(writer, field, recognise(field.name.as_bytes()));
            }
        }
        debug_assert!(run_start <= end && end <= self.head.len());
        writer.text(&self.head[run_start..end]);
    }

    /// The special fields that are not left out, once more.
    pub(super) fn special(&self) -> impl Iterator<Item = &Header<'b>> {
        self.special
            .iter()
            .filter(|index| !self.left_out.contains(*index))
            .map(|index| &self.fields[index])
    }
}
