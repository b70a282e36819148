//! A response's head on its way to the client.

use super::head_writer::HeadWriter;
use super::lines::{ComputedField, Edits, HeadLines};
use super::request::write_upgrade;
use super::rewriting::Rewriting;
use crate::http::fields::KnownField;
use crate::http::h1::head_facts::upgrades;
use crate::http::h1::{ResponseBody, ResponseHead, Version};
use crate::http::names::{FieldEdits, Identity};

/// As much as is written, as a rule, besides what has its own term.
const ADDED_BYTES: usize = 256;

/// The changes of a response on its way to the client.
#[derive(Clone, Copy, Debug)]
pub struct ResponseEdits<'a> {
    /// The version of HTTP that the client's request has.
    pub client_version: Version,
    /// Framing towards the client. `Chunked` and `UntilClose` take the place of the backend's framing; `None` and
    /// `Length` are the backend's own.
    pub body: ResponseBody,
    /// Whether we close the client's connection after this response.
    pub close: bool,
    /// The route's edits of response fields. They have the last word on every field of their names.
    pub operator: &'a FieldEdits,
    /// Fields of our own, besides those for framing and connection.
    pub computed: &'a [ComputedField<'a>],
    /// Whether `Via` is added.
    pub via: bool,
    /// The references to the backend that are rewritten.
    pub rewriting: Rewriting<'a>,
    /// The value of `Sec-WebSocket-Accept`, if a backend of HTTP/2 has accepted a WebSocket. The head becomes that of a
    /// 101.
    pub accept: Option<&'a [u8]>,
}

/// Appends the head of `head` to `out` as it is sent to the client, always as HTTP/1.1. For interim responses and 101
/// too.
#[inline]
pub fn encode_response(out: &mut Vec<u8>, head: &ResponseHead<'_, '_>, edits: &ResponseEdits<'_>) {
    let all = Edits {
        operator: edits.operator,
        identity: Identity::UNKNOWN,
        ours: match edits.accept {
            Some(_) => [&["sec-websocket-accept"], &[], &[], &[]],
            None => [&[]; 4],
        },
        computed: edits.computed,
    };
    let lines = HeadLines::new(head.head, head.fields_start, head.fields, head.facts, all);
    let expected = lines.most_bytes() + all.set_bytes() + ADDED_BYTES;
    HeadWriter::append(out, expected, |writer| {
        match edits.accept {
            None => {
                let status = &head.head[b"HTTP/1.1 ".len()..b"HTTP/1.1 200".len()];
                writer.texts([b"HTTP/1.1 ", status, b" ", head.reason, b"\r\n"]);
            }
            Some(_) => writer.text(b"HTTP/1.1 101 Switching Protocols\r\n"),
        }
        let keeps_length = matches!(edits.body, ResponseBody::None | ResponseBody::Length(_));
        lines.copy(writer, |writer, field, known| match known {
            KnownField::ContentLength if !keeps_length || head.facts.rewrites_length => {}
            KnownField::Trailer => all.write_announced(writer, field),
            KnownField::Location | KnownField::Refresh | KnownField::SetCookie => {
                edits.rewriting.write(writer, field, known);
            }
            _ => writer.field(field.name, field.value),
        });
        write_framing(writer, head, edits);
        if edits.via {
            writer.via(head.version);
        }
        all.write_computed(writer);
        all.write_set(writer);
        write_connection(writer, head, edits);
        writer.text(b"\r\n");
    });
    debug_assert!(out.ends_with(b"\r\n\r\n"), "a head ends with an empty line");
}

/// Writes the field that tells where the body ends, if no copied line tells it.
#[inline(always)]
fn write_framing(
    writer: &mut HeadWriter<'_>,
    head: &ResponseHead<'_, '_>,
    edits: &ResponseEdits<'_>,
) {
    debug_assert!(
        edits.body != ResponseBody::Chunked || edits.client_version != Version::Http10,
        "HTTP/1.0 knows no chunks (RFC 9112 section 6.1)"
    );
    match (edits.body, head.facts.content_length) {
        (ResponseBody::Chunked, _) => writer.text(b"Transfer-Encoding: chunked\r\n"),
        (ResponseBody::UntilClose, _) => {}
        (_, Some(length)) if head.facts.rewrites_length => writer.number("Content-Length", length),
        // Without the field a client would wait for the end of the connection (RFC 9110 section 15.3.6).
        (ResponseBody::None, None) if head.status == 205 => writer.number("Content-Length", 0),
        // A response of HTTP/2 that ended with its head needs the field for the same reason.
        (ResponseBody::Length(0), None) if edits.client_version != Version::Http2 => {
            writer.number("Content-Length", 0)
        }
        _ => {}
    }
}

/// Writes what becomes of the client's connection. Interim responses say nothing about it.
#[inline(always)]
fn write_connection(
    writer: &mut HeadWriter<'_>,
    head: &ResponseHead<'_, '_>,
    edits: &ResponseEdits<'_>,
) {
    if let Some(accept) = edits.accept {
        writer.text(b"Connection: upgrade\r\nUpgrade: websocket\r\n");
        writer.field("Sec-WebSocket-Accept", accept);
    } else if head.upgrade {
        writer.text(b"Connection: upgrade\r\n");
        writer.field("Upgrade", head.upgrade_value);
    } else if head.status >= 200 {
        let option: &[u8] = match (edits.close, edits.client_version) {
            (true, _) => b"close",
            (false, Version::Http10) => b"keep-alive",
            (false, Version::Http11 | Version::Http2) => b"",
        };
        // In other answers the field only advertises protocols. The field is left out: palantir answers an offer
        // itself, and may support other protocols than the backend (RFC 9110 section 7.8).
        if head.status == 426 && write_required_upgrade(writer, head, option) {
            return;
        }
        if !option.is_empty() {
            writer.texts([b"Connection: ", option, b"\r\n"]);
        }
    }
}

/// Writes the protocols that a client has to switch to before its request is served (RFC 9110 section 15.5.22), and
/// `Connection` with this option. False: the backend names no protocol, and nothing is written.
#[cold]
fn write_required_upgrade(
    writer: &mut HeadWriter<'_>,
    head: &ResponseHead<'_, '_>,
    option: &[u8],
) -> bool {
    if upgrades(head.fields).next().is_none() {
        return false;
    }
    write_upgrade(writer, upgrades(head.fields));
    match option {
        b"" => writer.text(b"Connection: upgrade\r\n"),
        option => writer.texts([b"Connection: upgrade, ", option, b"\r\n"]),
    }
    true
}
