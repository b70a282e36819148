//! A request's head on its way to a backend.

use std::ops::Range;

use super::head_writer::HeadWriter;
use super::lines::{Edits, HeadLines};
use super::request_edits::RequestEdits;
use crate::http::fields::{KnownField, recognise};
use crate::http::h1::{RequestBody, RequestHead, Version};
use crate::http::traceparent::TraceFields;

/// As much as is written, as a rule, besides what has its own term: the method, names of fields, the client's address,
/// `TE` and the like.
const ADDED_BYTES: usize = 512;

/// The facts of a request that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Where in the output the value of `Host` stands, so that it can be replaced for another backend.
    pub host_value: Range<usize>,
}

/// Appends the head of `head` to `out` as it is sent to a backend, always as HTTP/1.1.
#[inline]
pub fn encode_request(
    out: &mut Vec<u8>,
    head: &RequestHead<'_, '_>,
    edits: &RequestEdits<'_>,
) -> Encoded {
    let host = edits.host.unwrap_or(head.host);
    let all = Edits {
        operator: edits.operator,
        identity: edits.identity,
        ours: [
            match edits.trace {
                TraceFields::Pass => &[],
                _ => &["traceparent", "tracestate"],
            },
            edits.websocket_key.map_or(&[], |_| &["sec-websocket-key"]),
            edits.max_forwards.map_or(&[], |_| &["max-forwards"]),
            edits.replaced.left_out,
        ],
        computed: edits.replaced.written,
    };
    let lines = HeadLines::new(head.head, head.fields_start, head.fields, head.facts, all);
    let expected = lines.most_bytes()
        + head.target.len()
        + head.protocol.len()
        + edits.path.len()
        + host.len()
        + edits.asked_host.unwrap_or(head.host).len()
        + edits.proto.len()
        + all.set_bytes()
        + ADDED_BYTES;
    #[cfg(test)]
    let expected = if crate::simulated::is_planted(crate::simulated::Fault::ForgetsTarget) {
        expected - head.target.len() - edits.path.len() - ADDED_BYTES
    } else {
        expected
    };
    let before = out.len();
    let host_value = HeadWriter::append(out, expected, |writer| {
        write_request_line(writer, head, edits.path);
        let host_value = write_fields(writer, head, edits, &lines, all);
        write_connection(writer, head);
        all.write_identity(writer);
        if let Some(key) = edits.websocket_key {
            writer.field("Sec-WebSocket-Key", key);
        }
        writer.text(b"\r\n");
        host_value
    });
    debug_assert!(out.ends_with(b"\r\n\r\n"), "a head ends with an empty line");
    Encoded {
        host_value: before + host_value.start..before + host_value.end,
    }
}

#[inline(always)]
fn write_request_line(writer: &mut HeadWriter<'_>, head: &RequestHead<'_, '_>, path: &[u8]) {
    writer.texts([head.method.as_bytes(), b" ", path]);
    if let Some(query) = head.query {
        writer.texts([b"?", query]);
    }
    writer.text(b" HTTP/1.1\r\n");
}

/// Writes the fields but those that concern the connection; returns where the value of `Host` stands.
#[inline(always)]
fn write_fields(
    writer: &mut HeadWriter<'_>,
    head: &RequestHead<'_, '_>,
    edits: &RequestEdits<'_>,
    lines: &HeadLines<'_, '_>,
    all: Edits<'_>,
) -> Range<usize> {
    let host = edits.host.unwrap_or(head.host);
    let mut host_value = 0..0;
    if head.facts.host.is_none() {
        host_value = write_host(writer, "Host", host);
    }
    let mut has_proto = all.name("x-forwarded-proto");
    let mut has_expect = !(edits.expect && head.expect_continue);
    let mut has_host = all.name("x-forwarded-host") || head.host.is_empty();
    lines.copy(writer, |writer, field, known| match known {
        KnownField::Host => host_value = write_host(writer, field.name, host),
        KnownField::ContentLength if head.facts.rewrites_length || !has_true_length(head) => {}
        KnownField::Expect if has_expect => {}
        KnownField::Expect => {
            has_expect = true;
            writer.field(field.name, b"100-continue");
        }
        KnownField::XForwardedFor => {}
        KnownField::XForwardedProto | KnownField::XForwardedHost if !edits.client_trusted => {}
        KnownField::FromProxies if !edits.passes(field.name) => {}
        KnownField::Trailer => all.write_announced(writer, field),
        _ => {
            has_proto |= known == KnownField::XForwardedProto;
            has_host |= known == KnownField::XForwardedHost;
            writer.field(field.name, field.value);
        }
    });
    if !all.name("x-forwarded-for") {
        write_forwarded_for(writer, head, lines, edits);
    }
    if !has_proto {
        writer.texts([b"X-Forwarded-Proto: ", edits.proto.as_bytes(), b"\r\n"]);
    }
    if !has_host {
        let asked = edits.asked_host.unwrap_or(head.host);
        writer.texts([b"X-Forwarded-Host: ", asked, b"\r\n"]);
    }
    edits.write_forwarding(writer, head, lines, all);
    if edits.via {
        writer.via(head.version);
    }
    all.write_computed(writer);
    all.write_set(writer);
    if let TraceFields::Replace(value) = edits.trace
        && !all.name("traceparent")
    {
        writer.field("traceparent", value);
    }
    if let Some(left) = edits.max_forwards
        && !all.name("max-forwards")
    {
        writer.number("Max-Forwards", left.into());
    }
    host_value
}

/// Writes `Host` and tells where its value stands.
#[inline(always)]
fn write_host(writer: &mut HeadWriter<'_>, name: &str, host: &[u8]) -> Range<usize> {
    writer.field(name, host);
    let end = writer.written() - b"\r\n".len();
    end - host.len()..end
}

/// Writes all values of `X-Forwarded-For` that the client sent, then the client's own address, in one field. If the
/// client has no address that could follow the values of a stranger, nothing is written: a backend would believe the
/// stranger.
#[inline(always)]
fn write_forwarded_for(
    writer: &mut HeadWriter<'_>,
    head: &RequestHead<'_, '_>,
    lines: &HeadLines<'_, '_>,
    edits: &RequestEdits<'_>,
) {
    let start = writer.written();
    writer.text(b"X-Forwarded-For: ");
    let values_start = writer.written();
    if head.facts.forwarded_for && (edits.client.is_some() || edits.client_trusted) {
        write_received_forwarded_for(writer, lines);
    }
    match edits.client {
        Some(client) => writer.address(client),
        None if writer.written() > values_start => writer.take_back(writer.written() - b", ".len()),
        None => return writer.take_back(start),
    }
    writer.text(b"\r\n");
}

fn write_received_forwarded_for(writer: &mut HeadWriter<'_>, lines: &HeadLines<'_, '_>) {
    for field in lines.special() {
        if !field.value.is_empty() && recognise(field.name.as_bytes()) == KnownField::XForwardedFor
        {
            writer.texts([field.value, b", "]);
        }
    }
}

/// Whether the length that the client named is that of the body that will be sent. With any other length a backend
/// would wait for missing bytes and take the next request for them.
#[inline(always)]
fn has_true_length(head: &RequestHead<'_, '_>) -> bool {
    match head.body {
        RequestBody::None => head.facts.content_length == Some(0),
        RequestBody::Length(length) => head.facts.content_length == Some(length),
        RequestBody::Chunked => false,
    }
}

/// Writes how the body ends, and what the client asked of the connection that the backend is to know.
#[inline(always)]
fn write_connection(writer: &mut HeadWriter<'_>, head: &RequestHead<'_, '_>) {
    if head.body == RequestBody::Chunked {
        writer.text(b"Transfer-Encoding: chunked\r\n");
    }
    if let Some(length) = head.facts.content_length
        && head.facts.rewrites_length
        && has_true_length(head)
    {
        writer.number("Content-Length", length);
    }
    // HTTP/2 ends a request without a word; here some servers insist on one (RFC 9110 section 8.6).
    if head.version == Version::Http2
        && head.body == RequestBody::None
        && head.facts.content_length.is_none()
        && matches!(head.method.as_bytes(), b"POST" | b"PUT" | b"PATCH")
    {
        writer.text(b"Content-Length: 0\r\n");
    }
    if head.te_trailers {
        writer.text(b"TE: trailers\r\n");
    }
    match (head.upgrade, head.te_trailers) {
        (false, false) => {}
        (false, true) => writer.text(b"Connection: TE\r\n"),
        (true, false) => writer.text(b"Connection: upgrade\r\n"),
        (true, true) => writer.text(b"Connection: upgrade, TE\r\n"),
    }
    if head.upgrade {
        write_upgrade(writer, head.offered());
    }
}

/// Writes a list of protocols in one `Upgrade` field.
pub(super) fn write_upgrade<'b>(
    writer: &mut HeadWriter<'_>,
    protocols: impl Iterator<Item = &'b [u8]>,
) {
    writer.text(b"Upgrade: ");
    let names_start = writer.written();
    for protocol in protocols {
        writer.texts([protocol, b", "]);
    }
    debug_assert!(
        writer.written() > names_start,
        "an upgrade names a protocol"
    );
    writer.take_back(writer.written() - b", ".len());
    writer.text(b"\r\n");
}
