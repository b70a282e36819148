//! A message's head, checked, as lines that an HTTP/1 head could have.

use std::ops::Range;

use super::field::Class;
use super::hpack::{FieldList, Span};
use super::priority::{Priority, PriorityFields};
use crate::http::refusal::Refusal;

/// A request's or response's head. Its memory belongs to the connection and is used again for the next head; who wants
/// to keep it exchanges it for another ([`std::mem::swap`]).
#[derive(Debug, Default)]
pub struct Head {
    pub(super) fields: FieldList,
    pub(super) facts: Facts,
}

/// The facts that the checks found.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) method: Range<usize>,
    pub(super) scheme: Range<usize>,
    /// `:authority`, or `host` where there is none.
    pub(super) authority: Range<usize>,
    pub(super) target: Range<usize>,
    pub(super) protocol: Option<Range<usize>>,
    /// 0 in requests.
    pub(super) status: u16,
    pub(super) content_length: Option<u64>,
    pub(super) te_trailers: bool,
    pub(super) expect_continue: bool,
    pub(super) cookies: u32,
    pub(super) priority: PriorityFields,
    /// Where in the list the fields behind the pseudo-fields begin.
    pub(super) first_field: usize,
    /// The fault that makes a backend's answer malformed by the RFC although the answer has one reading.
    pub(super) oddity: Option<Refusal>,
    /// The fault of an answer's length, which is refused if a body may follow.
    pub(super) length_fault: Option<Refusal>,
    /// Whether an answer names a transfer coding.
    pub(super) has_coding: bool,
}

impl Head {
    pub(super) fn clear(&mut self) {
        self.fields.clear();
        self.facts = Facts::default();
    }

    /// The method; a token. Empty in responses.
    pub fn method(&self) -> &[u8] {
        &self.fields.text[self.facts.method.clone()]
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &[u8] {
        &self.fields.text[self.facts.scheme.clone()]
    }

    /// `host[:port]`, well-formed: that of `:authority`, with which a `host` field agrees, or that of `host`.
    pub fn authority(&self) -> &[u8] {
        &self.fields.text[self.facts.authority.clone()]
    }

    /// Path and query as received; begins with a slash, or is `*` for OPTIONS. Printable ASCII without `#`.
    pub fn target(&self) -> &[u8] {
        &self.fields.text[self.facts.target.clone()]
    }

    /// The target before the first `?`, not normalised.
    pub fn path(&self) -> &[u8] {
        let target = self.target();
        &target[..memchr::memchr(b'?', target).unwrap_or(target.len())]
    }

    /// The target behind the first `?`.
    pub fn query(&self) -> Option<&[u8]> {
        let target = self.target();
        Some(&target[memchr::memchr(b'?', target)? + 1..])
    }

    /// The protocol that an extended CONNECT asks for (RFC 8441), such as `websocket`.
    pub fn protocol(&self) -> Option<&[u8]> {
        Some(&self.fields.text[self.facts.protocol.clone()?])
    }

    /// The status, 100 to 999; 0 in requests.
    pub fn status(&self) -> u16 {
        self.facts.status
    }

    /// The value of `content-length`.
    pub fn content_length(&self) -> Option<u64> {
        self.facts.content_length
    }

    /// Whether the sender takes trailers (`te: trailers`).
    pub fn te_trailers(&self) -> bool {
        self.facts.te_trailers
    }

    /// Whether the client waits for 100 before it sends its body.
    pub fn expect_continue(&self) -> bool {
        self.facts.expect_continue
    }

    /// The priority that the `priority` fields name.
    pub fn priority(&self) -> Option<Priority> {
        self.facts.priority.priority()
    }

    /// The fields behind the pseudo-fields, each `name: value CRLF` with its name in lower case, and the empty line:
    /// what follows the first line of an HTTP/1 head.
    pub fn lines(&self) -> &[u8] {
        &self.fields.text[self.lines_start()..]
    }

    /// The fields behind the pseudo-fields, in order.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        let spans = &self.fields.spans[self.facts.first_field..];
        spans.iter().map(|span| Field {
            name: self.fields.name(span),
            value: self.fields.value(span),
            sensitive: span.sensitive,
        })
    }

    /// The value of the first field of this name, which must be in lower case.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        let mut fields = self.fields();
        fields
            .find(|field| field.name == name.as_bytes())
            .map(|field| field.value)
    }

    fn lines_start(&self) -> usize {
        match self.fields.spans.get(self.facts.first_field) {
            Some(span) => span.start as usize,
            None => self.fields.text.len() - b"\r\n".len(),
        }
    }

    /// Joins several `cookie` fields into one at the end (RFC 9113 section 8.2.3). The fields behind them move forward.
    /// If one of these is a `host` field, the range of the authority moves with it. The pseudo-fields stand before all
    /// cookies and do not move.
    pub(super) fn join_cookies(&mut self) {
        let list = &mut self.fields;
        let authority = &mut self.facts.authority;
        let mut cookie = Vec::new();
        let mut kept: Vec<Span> = Vec::with_capacity(list.spans.len());
        let (mut end, mut sensitive) = (0, false);
        for span in std::mem::take(&mut list.spans) {
            if span.class == Class::Cookie {
                sensitive |= span.sensitive;
                let crumb = list.value(&span);
                // An empty one is no cookie, and would leave a blank at the end.
                if !crumb.is_empty() && !cookie.is_empty() {
                    cookie.extend_from_slice(b"; ");
                }
                cookie.extend_from_slice(crumb);
                continue;
            }
            debug_assert!(end <= span.start as usize, "lines only move to the front");
            let (start, moved) = (span.start as usize, span.start as usize - end);
            list.text.copy_within(start..span.end(), end);
            if (start..span.end()).contains(&authority.start) {
                *authority = authority.start - moved..authority.end - moved;
            }
            kept.push(Span {
                start: end as u32,
                ..span
            });
            end += span.line_len();
        }
        debug_assert!(end <= list.text.len());
        list.text.truncate(end);
        kept.push(Span {
            start: end as u32,
            name_len: b"cookie".len() as u32,
            value_len: cookie.len() as u32,
            class: Class::Cookie,
            bad_value: false,
            sensitive,
        });
        for part in [b"cookie: ", &cookie[..], b"\r\n"] {
            list.text.extend_from_slice(part);
        }
        list.spans = kept;
    }
}

/// A field to be sent, or as received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'b> {
    /// A token. In any case when it is to be sent, in lower case when it was received.
    pub name: &'b [u8],
    /// The value.
    pub value: &'b [u8],
    /// Whether it must never enter a compression table on its way (RFC 7541 section 7.1.3).
    pub sensitive: bool,
}

impl<'b> From<&httparse::Header<'b>> for Field<'b> {
    fn from(field: &httparse::Header<'b>) -> Self {
        Field {
            name: field.name.as_bytes(),
            value: field.value,
            sensitive: false,
        }
    }
}
