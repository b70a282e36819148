//! A decoded field section, in memory that is used again for the next one.

use super::{ENTRY_OVERHEAD, LINE_EXTRA, SEPARATOR};
use crate::base::limits;
use crate::http::h2::field::Class;
use crate::http::refusal::Refusal;

/// The least number of bytes that every further `cookie` field counts for in the one `Cookie` field of HTTP/1.1 (RFC
/// 9113 section 8.2.3). An empty field would add fewer bytes, but counts for as many, so that the bound on a head also
/// bounds the number of such fields.
const LEAST_CRUMB: usize = b"; a".len();

/// Bounds on a field section. The size that counts is that of the head that HTTP/1.1 would have had, with a request
/// line, one `Host` and one `Cookie`, so that a message passes over both versions or over none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListLimits {
    /// Bytes beyond which a section is refused.
    pub bytes: u32,
    /// Fields beyond which a section is refused.
    pub fields: u16,
}

impl ListLimits {
    /// The limits of a backend's answer, which are those of HTTP/1.1.
    pub const RESPONSE: ListLimits = ListLimits {
        bytes: limits::RESPONSE_HEAD_BYTES,
        fields: limits::HEAD_FIELDS as u16,
    };

    /// The limits, widened to those of a trailer section where the latter are wider. Trailers have their own bounds,
    /// which are the same for all versions.
    pub fn or_trailers(self) -> ListLimits {
        // `limits::TRAILER_BYTES` leaves out the end of the last line and the empty line, which count here.
        let bytes = limits::TRAILER_BYTES + 2 * b"\r\n".len() as u32;
        ListLimits {
            bytes: self.bytes.max(bytes),
            fields: self.fields.max(limits::TRAILER_FIELDS as u16),
        }
    }

    /// Bytes of the largest section within the limits, as RFC 9113 section 6.5.2 counts them: every field costs its
    /// name, its value and 32.
    pub fn most_size(&self) -> u32 {
        const PSEUDO: usize = b":method:scheme:authority:path:protocol".len() + 5 * ENTRY_OVERHEAD;
        let crumb = b"cookie".len() + ENTRY_OVERHEAD;
        let fields = usize::from(self.fields) * ENTRY_OVERHEAD;
        let crumbs = self.bytes as usize / LEAST_CRUMB * crumb;
        let most = PSEUDO + fields + crumbs;
        self.bytes.saturating_add(most as u32)
    }

    /// Bytes, counted in the same way, beyond which a section can only be meant as an attack.
    fn bomb_size(&self) -> usize {
        let multiple = self.bytes as usize * limits::H2_BOMB_MULTIPLE;
        multiple.max(self.most_size() as usize)
    }
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
    /// Bytes and fields of the head that HTTP/1.1 would have had.
    head_bytes: usize,
    head_fields: u16,
    /// The number of `cookie` fields, which become one `Cookie` field.
    crumbs: u32,
    /// Whether the host is counted already: `:authority` and `host` become one field.
    has_host: bool,
    refusal: Option<Refusal>,
}

impl FieldList {
    /// Forgets all fields, keeps the memory unless a section made it unusually large.
    pub fn clear(&mut self) {
        self.text.clear();
        self.text.shrink_to(limits::H2_KEPT_HEAD_BYTES);
        self.spans.clear();
        self.spans.shrink_to(limits::HEAD_FIELDS);
        self.size = 0;
        (self.head_bytes, self.head_fields) = (0, 0);
        (self.crumbs, self.has_host) = (0, false);
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
        debug_assert_eq!(
            span.end(),
            self.text.len(),
            "a field is counted when it has been appended"
        );
        self.size += span.line_len() - LINE_EXTRA + ENTRY_OVERHEAD;
        self.count(&span);
        if self.head_bytes > limits.bytes as usize {
            self.refusal = Some(Refusal::HeadTooLarge);
        } else if self.head_fields > limits.fields {
            self.refusal.get_or_insert(Refusal::TooManyFields);
        }
        if self.refusal.is_none() {
            self.spans.push(span);
            return true;
        }
        self.text.truncate(span.start as usize);
        self.size <= limits.bomb_size()
    }

    /// Counts a field as a part of the head that HTTP/1.1 would have had.
    #[inline]
    fn count(&mut self, span: &Span) {
        let value = span.value_len as usize;
        let (bytes, fields) = match span.class {
            Class::Method => (value + b" ".len(), 0),
            Class::Path => (value + b" HTTP/1.1\r\n".len(), 0),
            Class::Status => (value + b"HTTP/1.1  \r\n".len(), 0),
            Class::Scheme | Class::Protocol => (0, 0),
            Class::Authority | Class::Host if self.has_host => (0, 0),
            Class::Authority | Class::Host => {
                self.has_host = true;
                (value + b"Host: \r\n".len(), 1)
            }
            Class::Cookie => {
                self.crumbs += 1;
                match self.crumbs {
                    1 => (span.line_len(), 1),
                    _ => ((b"; ".len() + value).max(LEAST_CRUMB), 0),
                }
            }
            _ => (span.line_len(), 1),
        };
        if self.head_bytes == 0 {
            self.head_bytes = b"\r\n".len(); // The empty line.
        }
        self.head_bytes += bytes;
        self.head_fields = self.head_fields.saturating_add(fields);
    }
}
