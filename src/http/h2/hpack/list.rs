//! A decoded field section, in memory that is used again for the next one.

use super::{ENTRY_OVERHEAD, LINE_EXTRA, SEPARATOR};
use crate::base::limits;
use crate::http::h2::field::Class;
use crate::http::refusal::Refusal;

/// Bounds on a field section, as RFC 9113 section 6.5.2 counts it: every field costs its name, its value and 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListLimits {
    /// Bytes beyond which a section is refused; a multiple of it ends the connection.
    pub bytes: u32,
    /// Fields beyond which a section is refused, those of the request line among them.
    pub fields: u16,
}

/// Where a field's line stands in its list's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub(in crate::http::h2) start: u32,
    pub(in crate::http::h2) name_len: u32,
    pub(in crate::http::h2) value_len: u32,
    pub(in crate::http::h2) class: Class,
    /// Whether the value has bytes or blanks that no value may have.
    pub(in crate::http::h2) bad_value: bool,
    /// Whether it must never enter a table (RFC 7541 section 6.2.3).
    pub(in crate::http::h2) sensitive: bool,
}

impl Span {
    /// Bytes of the whole line.
    pub(in crate::http::h2) fn line_len(&self) -> usize {
        (self.name_len + self.value_len) as usize + LINE_EXTRA
    }

    pub(in crate::http::h2) fn end(&self) -> usize {
        self.start as usize + self.line_len()
    }
}

/// The fields of one section, each a line `name: value CRLF` of one text.
#[derive(Debug, Default)]
pub struct FieldList {
    pub(in crate::http::h2) text: Vec<u8>,
    pub(in crate::http::h2) spans: Vec<Span>,
    /// Size by the count of RFC 9113, what was not kept included.
    size: usize,
    refusal: Option<Refusal>,
}

impl FieldList {
    /// Forgets all fields, keeps the memory unless a section made it unusually large.
    pub fn clear(&mut self) {
        self.text.clear();
        self.text.shrink_to(limits::H2_KEPT_HEAD_BYTES);
        self.spans.clear();
        self.size = 0;
        self.refusal = None;
    }

    /// Why the section is refused although the connection goes on.
    pub fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// Name and value of every field, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.spans
            .iter()
            .map(|span| (self.name(span), self.value(span)))
    }

    pub(in crate::http::h2) fn name(&self, span: &Span) -> &[u8] {
        &self.text[span.start as usize..][..span.name_len as usize]
    }

    pub(in crate::http::h2) fn value(&self, span: &Span) -> &[u8] {
        let start = (span.start + span.name_len) as usize + SEPARATOR.len();
        &self.text[start..][..span.value_len as usize]
    }

    /// Takes over a field whose line was appended to the text. Beyond the limits the line is dropped, but still counts.
    /// False: the section is so large that it can only be meant as an attack.
    #[inline]
    pub(super) fn keep(&mut self, span: Span, limits: &ListLimits) -> bool {
        self.size += span.line_len() - LINE_EXTRA + ENTRY_OVERHEAD;
        if self.size > limits.bytes as usize {
            self.refusal = Some(Refusal::HeadTooLarge);
        } else if self.spans.len() >= usize::from(limits.fields) {
            self.refusal.get_or_insert(Refusal::TooManyFields);
        }
        if self.refusal.is_none() {
            self.spans.push(span);
            return true;
        }
        self.text.truncate(span.start as usize);
        self.size <= limits.bytes as usize * limits::H2_BOMB_MULTIPLE
    }
}
