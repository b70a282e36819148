//! Rules that a head must keep to be forwarded (RFC 9113 section 8): the same strictness as for HTTP/1, because the
//! head may become one of HTTP/1.

use std::ops::Range;

use super::Role;
use super::field::Class;
use super::head::{Facts, Head};
use super::hpack::{FieldList, SEPARATOR_BYTES, Span};
use super::repair::write_anew;
use crate::base::limits;
use crate::http::fields::{
    Expectation, KnownField, disguises_framing, expectation, is_token, is_tolerable, recognise,
    trim,
};
use crate::http::h1::{content_length, equal_lengths, is_http, may_be_trailer};
use crate::http::host;
use crate::http::refusal::Refusal;

/// Freedoms that a server grants in a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestRules {
    pub(super) target_bytes: u32,
    pub(super) extended_connect: bool,
    /// Control bytes other than NUL, CR and LF in cookies.
    pub(super) control_bytes: bool,
}

/// Pseudo-fields and `host` as found.
#[derive(Default)]
struct Found {
    method: Option<Range<usize>>,
    scheme: Option<Range<usize>>,
    authority: Option<Range<usize>>,
    path: Option<Range<usize>>,
    protocol: Option<Range<usize>>,
    status: Option<Range<usize>>,
    host: Option<Range<usize>>,
    unknown_expectation: bool,
}

/// Whether a message refused so is malformed by the RFC, and its stream reset. Other refused requests are answered with
/// the refusal's status.
pub(super) fn is_malformed(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::BadPseudoField
            | Refusal::BadFieldName
            | Refusal::BadFieldValue
            | Refusal::ConnectionField
            | Refusal::BadContentLength
            | Refusal::RepeatedContentLength
            | Refusal::LengthMismatch
            | Refusal::BadStatusLine
            | Refusal::BadSwitch
            | Refusal::BadTrailer
    )
}

/// Checks a request's head, with which the request may `end`, and notes what a proxy must know of it.
pub(super) fn check_request(
    head: &mut Head,
    end: bool,
    rules: RequestRules,
) -> Result<(), Refusal> {
    let found = read_fields(head, Role::Server, rules.control_bytes)?;
    if end && head.facts.content_length.is_some_and(|length| length > 0) {
        return Err(Refusal::LengthMismatch);
    }
    if found.status.is_some() {
        return Err(Refusal::BadPseudoField);
    }
    let text = &head.fields.text;
    let method = found.method.clone().ok_or(Refusal::BadPseudoField)?;
    let is_connect = &text[method.clone()] == b"CONNECT";
    if !is_token(&text[method.clone()]) {
        return Err(Refusal::BadPseudoField);
    }
    if is_connect && found.protocol.is_none() {
        // A CONNECT has a form of its own (section 8.5): neither scheme nor path.
        let is_proper = found.scheme.is_none() && found.path.is_none() && found.authority.is_some();
        return Err(if is_proper {
            Refusal::MethodNotAllowed
        } else {
            Refusal::BadPseudoField
        });
    }
    check_protocol(head, &found, is_connect && rules.extended_connect)?;
    let scheme = found.scheme.clone().ok_or(Refusal::BadPseudoField)?;
    let target = found.path.clone().ok_or(Refusal::BadPseudoField)?;
    if target.is_empty() || scheme.is_empty() {
        return Err(Refusal::BadPseudoField);
    }
    // A scheme has no case; the canonical form is in lower case (RFC 3986 section 3.1).
    head.fields.text[scheme.clone()].make_ascii_lowercase();
    let text = &head.fields.text;
    // From here on nothing is malformed by the RFC, so that the client can be told what is wrong.
    head.fields.refusal().map_or(Ok(()), Err)?;
    if method.len() > limits::METHOD_BYTES {
        return Err(Refusal::MethodTooLong);
    }
    let protocol = found.protocol.as_ref().map_or(0, ExactSizeIterator::len);
    if protocol > limits::PROTOCOL_BYTES {
        return Err(Refusal::ProtocolTooLong);
    }
    if &text[method.clone()] == b"TRACE" {
        return Err(Refusal::MethodNotAllowed);
    }
    check_target(
        &text[target.clone()],
        &text[method.clone()],
        rules.target_bytes,
    )?;
    let authority = check_authority(text, &found, &text[scheme.clone()])?;
    if found.unknown_expectation {
        return Err(Refusal::UnknownExpectation);
    }
    head.facts.method = method;
    head.facts.scheme = scheme;
    head.facts.target = target;
    head.facts.authority = authority;
    head.facts.protocol = found.protocol;
    finish(head);
    Ok(())
}

/// A protocol is asked for by an extended CONNECT alone, if that is allowed. The request has no content (RFC 9110
/// section 9.3.6): a length would take bytes of the other protocol for one.
fn check_protocol(head: &mut Head, found: &Found, may_ask: bool) -> Result<(), Refusal> {
    let Some(protocol) = found.protocol.clone() else {
        return Ok(());
    };
    if !may_ask || !is_protocol(&head.fields.text[protocol]) {
        return Err(Refusal::BadPseudoField);
    }
    match head.facts.content_length.take() {
        None | Some(0) => Ok(()),
        Some(_) => Err(Refusal::LengthMismatch),
    }
}

/// Checks a response's head. Backends are ours: what is malformed by the RFC and has one reading is noted, and is for
/// the reader of the head to refuse.
pub(super) fn check_response(head: &mut Head) -> Result<(), Refusal> {
    match check_written_response(head) {
        Err(oddity @ (Refusal::BadFieldName | Refusal::BadFieldValue)) => {
            write_anew(&mut head.fields);
            head.facts = Facts::default();
            check_written_response(head)?;
            head.facts.oddity = Some(oddity);
            Ok(())
        }
        checked => checked,
    }
}

fn check_written_response(head: &mut Head) -> Result<(), Refusal> {
    let found = read_fields(head, Role::Client, false)?;
    head.fields.refusal().map_or(Ok(()), Err)?;
    let others = [
        found.method,
        found.scheme,
        found.authority,
        found.path,
        found.protocol,
    ];
    if others.iter().any(Option::is_some) {
        return Err(Refusal::BadPseudoField);
    }
    let status = found.status.ok_or(Refusal::BadPseudoField)?;
    head.facts.status = match head.fields.text[status] {
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] => [a, b, c]
            .iter()
            .fold(0, |number, digit| number * 10 + u16::from(digit - b'0')),
        _ => return Err(Refusal::BadStatusLine),
    };
    if head.facts.length_fault.is_some() {
        head.facts.content_length = None;
    }
    // There is no such switch (section 8.6).
    if head.facts.status == 101 {
        return Err(Refusal::BadSwitch);
    }
    finish(head);
    Ok(())
}

/// Checks a trailer section; gives the lines of it that may be passed on. `repairs`: lines that are malformed by the
/// RFC and have one reading are brought into their proper form.
pub(super) fn check_trailers(list: &mut FieldList, repairs: bool) -> Result<(), Refusal> {
    // As over HTTP/1.1, where the end of the last line is not counted, and one word stands for every bound on trailers.
    let most = limits::TRAILER_BYTES as usize + b"\r\n".len();
    let is_over = list.text.len() > most || list.spans.len() > limits::TRAILER_FIELDS;
    if list.refusal().is_some() || is_over {
        return Err(Refusal::ChunkOverheadTooLarge);
    }
    let is_bad = |span: &Span| span.class == Class::Bad || span.bad_value;
    if repairs && list.spans.iter().any(is_bad) {
        write_anew(list);
    }
    let mut end = 0;
    for span in std::mem::take(&mut list.spans) {
        let is_forbidden = span.class == Class::Forbidden && !repairs;
        if span.class.is_pseudo() || is_bad(&span) || is_forbidden {
            return Err(Refusal::BadTrailer);
        }
        if may_be_trailer(list.name(&span)) {
            debug_assert!(end <= span.start as usize, "lines only move to the front");
            list.text.copy_within(span.start as usize..span.end(), end);
            list.spans.push(Span {
                start: end as u32,
                ..span
            });
            end += span.line_len();
        }
    }
    list.text.truncate(end);
    Ok(())
}

/// The one walk over the fields of a request, as a server, or of a response, as a client: backends are ours, so that
/// what has one reading is taken from them.
#[inline]
fn read_fields(head: &mut Head, role: Role, control_bytes: bool) -> Result<Found, Refusal> {
    let mut found = Found::default();
    let (list, facts) = (&head.fields, &mut head.facts);
    let mut fields_begun = false;
    for (index, span) in list.spans.iter().enumerate() {
        if span.bad_value && !(control_bytes && is_odd_cookie(span, list.value(span))) {
            return Err(if span.class.is_pseudo() {
                Refusal::BadPseudoField
            } else {
                Refusal::BadFieldValue
            });
        }
        if span.class.is_pseudo() {
            if fields_begun {
                return Err(Refusal::BadPseudoField);
            }
            found.note_pseudo(span)?;
            continue;
        }
        if !fields_begun {
            (fields_begun, facts.first_field) = (true, index);
        }
        match span.class {
            Class::Plain => {}
            Class::Cookie => facts.cookies += 1,
            Class::Bad => return Err(Refusal::BadFieldName),
            // Fields of a connection do not belong here, and one of them may be meant to say how to read a body.
            Class::Forbidden if role == Role::Client => {
                facts.oddity = Some(Refusal::ConnectionField);
                let is_coding = recognise(list.name(span)) == KnownField::TransferEncoding;
                // `identity` is the coding that changes nothing.
                facts.has_coding |=
                    is_coding && !list.value(span).eq_ignore_ascii_case(b"identity");
            }
            Class::Te if role == Role::Client => facts.oddity = Some(Refusal::ConnectionField),
            Class::Forbidden => return Err(Refusal::ConnectionField),
            Class::Te if !list.value(span).eq_ignore_ascii_case(b"trailers") => {
                return Err(Refusal::ConnectionField);
            }
            Class::Te => facts.te_trailers = true,
            Class::ContentLength if role == Role::Client => facts.note_length(list.value(span)),
            Class::ContentLength => {
                let length = content_length(list.value(span))?;
                if facts.content_length.replace(length).is_some() {
                    return Err(Refusal::RepeatedContentLength);
                }
            }
            Class::Expect => match expectation(list.value(span)) {
                Expectation::None => {}
                Expectation::Continue => facts.expect_continue = true,
                Expectation::Unknown => found.unknown_expectation = true,
            },
            Class::Priority => facts.priority.add(list.value(span)),
            Class::Host if found.host.is_some() => return Err(Refusal::RepeatedHost),
            Class::Host => found.host = Some(value_range(span)),
            Class::Disguised if role == Role::Server && disguises_framing(list.name(span)) => {
                return Err(Refusal::DisguisedField);
            }
            // Pseudo-fields were dealt with above.
            _ => {}
        }
    }
    if !fields_begun {
        facts.first_field = list.spans.len();
    }
    Ok(found)
}

/// Whether nothing is wrong with a field but control bytes in a cookie that may be tolerated.
fn is_odd_cookie(span: &Span, value: &[u8]) -> bool {
    let is_fine = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control() || is_tolerable(*byte);
    span.class == Class::Cookie && value.iter().all(is_fine) && trim(value).len() == value.len()
}

impl Facts {
    /// Notes a length that a backend names. Whether a length without one reading matters is known with the status.
    fn note_length(&mut self, value: &[u8]) {
        let fault = match (equal_lengths(value), self.content_length) {
            (Ok(length), Some(before)) if length != before => Some(Refusal::RepeatedContentLength),
            (Ok(length), _) => {
                self.content_length = Some(length);
                None
            }
            (Err(fault), _) => Some(fault),
        };
        self.length_fault = self.length_fault.or(fault);
    }
}

impl Found {
    fn note_pseudo(&mut self, span: &Span) -> Result<(), Refusal> {
        let place = match span.class {
            Class::Method => &mut self.method,
            Class::Scheme => &mut self.scheme,
            Class::Authority => &mut self.authority,
            Class::Path => &mut self.path,
            Class::Protocol => &mut self.protocol,
            _ => &mut self.status,
        };
        match place.replace(value_range(span)) {
            None => Ok(()),
            Some(_) => Err(Refusal::BadPseudoField),
        }
    }
}

fn value_range(span: &Span) -> Range<usize> {
    let start = (span.start + span.name_len) as usize + SEPARATOR_BYTES;
    start..start + span.value_len as usize
}

fn check_target(target: &[u8], method: &[u8], most: u32) -> Result<(), Refusal> {
    if target.len() > most as usize {
        return Err(Refusal::TargetTooLong);
    }
    let is_printable = target.iter().fold(true, |printable, byte| {
        printable & matches!(byte, b'!'..=b'~')
    });
    let has_form = target[0] == b'/' || (target == b"*" && method == b"OPTIONS");
    if is_printable && has_form && memchr::memchr(b'#', target).is_none() {
        Ok(())
    } else {
        Err(Refusal::BadTarget)
    }
}

/// The one host that the request is for, without a colon that has no port behind it.
fn check_authority(text: &[u8], found: &Found, scheme: &[u8]) -> Result<Range<usize>, Refusal> {
    let written = written_authority(text, found, scheme)?;
    let len = host::without_empty_port(&text[written.clone()]).len();
    Ok(written.start..written.start + len)
}

/// `:authority` and `host` must agree if both are there. An empty `host` beside `:authority` names nothing.
fn written_authority(text: &[u8], found: &Found, scheme: &[u8]) -> Result<Range<usize>, Refusal> {
    let default_port = match scheme {
        b"http" => 80,
        b"https" => 443,
        _ => return Err(Refusal::BadTarget),
    };
    let split = |range: &Range<usize>| host::split(&text[range.clone()]).ok_or(Refusal::BadHost);
    match (&found.authority, &found.host) {
        (None, None) => Err(Refusal::MissingHost),
        (None, Some(only)) | (Some(only), None) => split(only).map(|_| only.clone()),
        (Some(authority), Some(empty)) if empty.is_empty() => {
            split(authority).map(|_| authority.clone())
        }
        (Some(authority), Some(host)) => {
            if host::same(split(authority)?, split(host)?, default_port) {
                Ok(authority.clone())
            } else {
                Err(Refusal::HostMismatch)
            }
        }
    }
}

fn finish(head: &mut Head) {
    if head.facts.cookies > 1 {
        head.join_cookies();
    }
    head.fields.text.extend_from_slice(b"\r\n");
}

/// Whether a stream may be switched to this protocol: not to a list of several, nor to HTTP itself, of which a backend
/// that takes it could be told anything.
fn is_protocol(text: &[u8]) -> bool {
    is_token(text) && !is_http(text)
}

#[cfg(test)]
mod tests;
