//! Writing a head for the other side: what is passed on is copied as it stands, in runs of lines as long as possible.

use std::io::Write;
use std::net::IpAddr;
use std::ops::Range;

use httparse::Header;

use super::field_set::FieldSet;
use super::survey::line_start;
use super::{RequestHead, ResponseBody, ResponseHead, Version};
use crate::http::fields::{Known, may_be_edited, recognise};

/// Bytes set aside for what we add to a head: addresses, `Via`, `Connection`.
const ADDED_BYTES: usize = 512;

/// What changes in a request on its way to a backend.
#[derive(Clone, Copy, Debug)]
pub struct RequestEdits<'a> {
    /// Normalised, perhaps without its prefix; the query is appended as received.
    pub path: &'a [u8],
    /// `None`: the client's.
    pub host: Option<&'a [u8]>,
    /// Appended to `X-Forwarded-For`; `None` when it has no address (a Unix socket).
    pub client: Option<IpAddr>,
    /// Whether the client's own `X-Forwarded-Proto` and `X-Forwarded-Host` are believed.
    pub client_trusted: bool,
    /// `http` or `https`: how the client reached us.
    pub proto: &'a str,
    /// Names of fields to leave out, of which [`may_be_edited`] holds.
    pub remove: &'a [String],
    /// Fields that replace those of their name, of which [`may_be_edited`] holds.
    pub set: &'a [(String, String)],
    /// Whether `Via` is added.
    pub via: bool,
    /// Whether `Expect` is passed on.
    pub expect: bool,
}

/// What changes in a response on its way to the client.
#[derive(Clone, Copy, Debug)]
pub struct ResponseEdits<'a> {
    pub client_version: Version,
    /// Framing towards the client. `Chunked` and `UntilClose` take the place of the backend's framing.
    pub body: ResponseBody,
    /// Whether we close the client's connection after this response.
    pub close: bool,
    /// As in [`RequestEdits`].
    pub remove: &'a [String],
    /// As in [`RequestEdits`].
    pub set: &'a [(String, String)],
    /// Whether `Via` is added.
    pub via: bool,
}

/// What must be known of a request that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Where in the output the value of `Host` stands, so that it can be replaced for another backend.
    pub host_value: Range<usize>,
}

/// Appends the head of `head` to `out` as it is sent to a backend, always as HTTP/1.1.
pub fn encode_request(
    out: &mut Vec<u8>,
    head: &RequestHead<'_, '_>,
    edits: &RequestEdits<'_>,
) -> Encoded {
    let host = edits.host.unwrap_or(head.host);
    out.reserve(
        head.head.len() + edits.path.len() + host.len() + edits_len(edits.set) + ADDED_BYTES,
    );
    put(out, &[head.method.as_bytes(), b" ", edits.path]);
    if let Some(query) = head.query {
        put(out, &[b"?", query]);
    }
    put(out, &[b" HTTP/1.1\r\n"]);
    let mut host_value = 0..0;
    if !head.has_host_field {
        host_value = put_host(out, "Host", host);
    }

    let edited = edited(head.fields, edits.remove, edits.set);
    let mut has_proto = is_edited(edits.remove, edits.set, Known::XForwardedProto);
    let mut has_host = is_edited(edits.remove, edits.set, Known::XForwardedHost);
    let lines = Lines {
        head: head.head,
        start: head.fields_start,
        fields: head.fields,
        left_out: head.dropped.union(&edited),
        special: head.special,
    };
    lines.copy(out, |out, field, known| match known {
        Known::Host => host_value = put_host(out, field.name, host),
        Known::Expect if !(edits.expect && head.expect_continue) => {}
        Known::XForwardedFor => {}
        Known::XForwardedProto | Known::XForwardedHost if !edits.client_trusted => {}
        _ => {
            has_proto |= known == Known::XForwardedProto;
            has_host |= known == Known::XForwardedHost;
            put_field(out, field.name, field.value);
        }
    });

    if head.body == super::RequestBody::Chunked {
        put(out, &[b"Transfer-Encoding: chunked\r\n"]);
    }
    if !is_edited(edits.remove, edits.set, Known::XForwardedFor) {
        put_forwarded_for(out, head, &edited, edits.client);
    }
    if !has_proto {
        put_field(out, "X-Forwarded-Proto", edits.proto.as_bytes());
    }
    if !has_host && !head.host.is_empty() {
        put_field(out, "X-Forwarded-Host", head.host);
    }
    if edits.via {
        put_via(out, head.version);
    }
    put_set(out, edits.set);
    put(out, connection(head.upgrade, head.te_trailers));
    if head.upgrade {
        put_field(out, "Upgrade", head.upgrade_value);
    }
    put(out, &[b"\r\n"]);
    Encoded { host_value }
}

/// Appends the head of `head` to `out` as it is sent to the client, always as HTTP/1.1. For interim responses and 101
/// too.
pub fn encode_response(out: &mut Vec<u8>, head: &ResponseHead<'_, '_>, edits: &ResponseEdits<'_>) {
    out.reserve(head.head.len() + edits_len(edits.set) + ADDED_BYTES);
    let status_and_space = &head.head[b"HTTP/1.1 ".len()..b"HTTP/1.1 200".len()];
    put(
        out,
        &[b"HTTP/1.1 ", status_and_space, b" ", head.reason, b"\r\n"],
    );

    let has_length = matches!(edits.body, ResponseBody::None | ResponseBody::Length(_));
    let lines = Lines {
        head: head.head,
        start: head.fields_start,
        fields: head.fields,
        left_out: head
            .dropped
            .union(&edited(head.fields, edits.remove, edits.set)),
        special: head.special,
    };
    lines.copy(out, |out, field, known| {
        if known != Known::ContentLength || has_length {
            put_field(out, field.name, field.value);
        }
    });

    if edits.body == ResponseBody::Chunked {
        put(out, &[b"Transfer-Encoding: chunked\r\n"]);
    }
    if edits.via {
        put_via(out, head.version);
    }
    put_set(out, edits.set);
    if head.upgrade {
        put(
            out,
            &[
                b"Connection: upgrade\r\nUpgrade: ",
                head.upgrade_value,
                b"\r\n",
            ],
        );
    } else if head.status >= 200 {
        match (edits.close, edits.client_version) {
            (true, _) => put(out, &[b"Connection: close\r\n"]),
            (false, Version::Http10) => put(out, &[b"Connection: keep-alive\r\n"]),
            (false, Version::Http11) => {}
        }
    }
    put(out, &[b"\r\n"]);
}

/// The lines of a head that may be passed on.
struct Lines<'b, 's> {
    head: &'b [u8],
    /// Where in `head` the first line begins.
    start: usize,
    fields: &'s [Header<'b>],
    left_out: FieldSet,
    /// Fields to be decided upon one by one.
    special: FieldSet,
}

impl<'b> Lines<'b, '_> {
    /// Copies every line that is neither left out nor special; `decide` writes the special ones.
    #[inline]
    fn copy(&self, out: &mut Vec<u8>, mut decide: impl FnMut(&mut Vec<u8>, &Header<'b>, Known)) {
        let end = self.head.len() - 2;
        let mut run_start = self.start;
        for index in self.left_out.union(&self.special).iter() {
            let field = &self.fields[index];
            put(out, &[&self.head[run_start..line_start(self.head, field)]]);
            run_start = self
                .fields
                .get(index + 1)
                .map_or(end, |next| line_start(self.head, next));
            if !self.left_out.contains(index) {
                decide(out, field, recognise(field.name.as_bytes()));
            }
        }
        put(out, &[&self.head[run_start..end]]);
    }
}

/// The fields that an operator's edits take out.
#[inline]
fn edited(fields: &[Header<'_>], remove: &[String], set: &[(String, String)]) -> FieldSet {
    let mut edited = FieldSet::default();
    for name in remove.iter().chain(set.iter().map(|(name, _)| name)) {
        debug_assert!(may_be_edited(name), "{name} is not an operator's to edit");
        for (index, field) in fields.iter().enumerate() {
            if field.name.eq_ignore_ascii_case(name) {
                edited.insert(index);
            }
        }
    }
    edited
}

/// Whether an operator's edits have the last word on a field that we would otherwise write.
fn is_edited(remove: &[String], set: &[(String, String)], known: Known) -> bool {
    let mut names = remove.iter().chain(set.iter().map(|(name, _)| name));
    names.any(|name| recognise(name.as_bytes()) == known)
}

fn edits_len(set: &[(String, String)]) -> usize {
    set.iter()
        .map(|(name, value)| name.len() + value.len() + 4)
        .sum()
}

fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}

fn put_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    put(out, &[name.as_bytes(), b": ", value, b"\r\n"]);
}

fn put_set(out: &mut Vec<u8>, set: &[(String, String)]) {
    for (name, value) in set {
        put_field(out, name, value.as_bytes());
    }
}

/// Writes `Host` and tells where its value stands.
fn put_host(out: &mut Vec<u8>, name: &str, host: &[u8]) -> Range<usize> {
    put(out, &[name.as_bytes(), b": ", host, b"\r\n"]);
    let end = out.len() - 2;
    end - host.len()..end
}

/// The version is the one that the message came with (RFC 9110 section 7.6.3).
fn put_via(out: &mut Vec<u8>, received: Version) {
    let line: &[u8] = match received {
        Version::Http10 => b"Via: 1.0 palantir\r\n",
        Version::Http11 => b"Via: 1.1 palantir\r\n",
    };
    put(out, &[line]);
}

/// The `Connection` that goes with a switch of protocols and with `TE`, and the latter.
fn connection(upgrade: bool, te_trailers: bool) -> &'static [&'static [u8]] {
    match (upgrade, te_trailers) {
        (false, false) => &[],
        (true, false) => &[b"Connection: upgrade\r\n"],
        (false, true) => &[b"TE: trailers\r\nConnection: TE\r\n"],
        (true, true) => &[b"TE: trailers\r\nConnection: upgrade, TE\r\n"],
    }
}

/// All values of `X-Forwarded-For` that the client sent, then the client's own address, in one field.
fn put_forwarded_for(
    out: &mut Vec<u8>,
    head: &RequestHead<'_, '_>,
    edited: &FieldSet,
    client: Option<IpAddr>,
) {
    let name = b"X-Forwarded-For: ";
    let start = out.len();
    put(out, &[name]);
    let values_start = out.len();
    for index in head.special.iter() {
        let field = &head.fields[index];
        let wanted = recognise(field.name.as_bytes()) == Known::XForwardedFor
            && !head.dropped.contains(index);
        if wanted && !edited.contains(index) && !field.value.is_empty() {
            put(out, &[field.value, b", "]);
        }
    }
    match client {
        Some(client) => put_address(out, client),
        None if out.len() > values_start => out.truncate(out.len() - b", ".len()),
        None => return out.truncate(start),
    }
    put(out, &[b"\r\n"]);
}

fn put_address(out: &mut Vec<u8>, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            for (at, octet) in address.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                put_octet(out, octet);
            }
        }
        IpAddr::V6(address) => {
            // A vector takes every write.
            let _ = write!(out, "{address}");
        }
    }
}

fn put_octet(out: &mut Vec<u8>, octet: u8) {
    if octet >= 100 {
        out.push(b'0' + octet / 100);
    }
    if octet >= 10 {
        out.push(b'0' + octet / 10 % 10);
    }
    out.push(b'0' + octet % 10);
}
