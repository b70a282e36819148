//! A request's head, parsed.

use std::mem::MaybeUninit;

use httparse::{Header, Status};

use super::head_facts::{self, HeadFacts, Sender};
use super::target::RequestTarget;
use super::{FieldSlots, HeadLimits, Method, RequestBody, Version, framing};
use crate::base::limits::{HEAD_FIELDS, METHOD_BYTES};
use crate::http::fields;
use crate::http::refusal::Refusal;

/// A request's head. Everything in it is well-formed and unambiguous.
#[derive(Debug)]
pub struct RequestHead<'b, 's> {
    /// The method as received.
    pub method: Method<'b>,
    /// As received, before `?`; begins with a slash, or is `*` for `OPTIONS *`.
    pub path: &'b [u8],
    /// As received, after `?`.
    pub query: Option<&'b [u8]>,
    /// As received.
    pub target: &'b [u8],
    /// The authority of the target or of `Host`, as received; empty only in HTTP/1.0.
    pub host: &'b [u8],
    /// The name or address in `host`, without the port.
    pub host_name: &'b [u8],
    /// The version of the request line.
    pub version: Version,
    /// The fields as received, in their order.
    pub fields: &'s [Header<'b>],
    /// The framing of the body.
    pub body: RequestBody,
    /// Whether the client wants to go on with the connection.
    pub keep_alive: bool,
    /// Whether the client waits for 100 before it sends its body.
    pub expect_continue: bool,
    /// Whether the client offers to switch to another protocol than HTTP.
    pub upgrade: bool,
    /// Whether the client takes trailers (`TE: trailers`).
    pub te_trailers: bool,
    /// Bytes that the head took.
    pub head_bytes: usize,
    /// The one protocol that an extended CONNECT of HTTP/2 offers, if `upgrade` is set; else empty.
    pub(super) protocol: &'b [u8],
    /// From the request line to the empty line.
    pub(super) head: &'b [u8],
    /// Where the fields' lines begin in `head`.
    pub(super) fields_start: usize,
    pub(super) facts: &'s HeadFacts<'b>,
}

impl<'b> RequestHead<'b, '_> {
    /// The value of the first field of this name, whatever its case.
    pub fn field(&self, name: &str) -> Option<&'b [u8]> {
        fields::find(self.fields, name)
    }

    /// The protocols that the client offers and that palantir may switch to; none unless `upgrade` is set.
    pub fn offered(&self) -> impl Iterator<Item = &'b [u8]> {
        let fields = if self.upgrade { self.fields } else { &[] };
        let own = Some(self.protocol).filter(|protocol| !protocol.is_empty());
        own.into_iter().chain(head_facts::offered(fields))
    }
}

/// Parses a request's head at the start of `bytes`, after at most one empty line (RFC 9112 section 2.2). `None`: more
/// bytes are needed. Errors: the message must not be forwarded, and where the next one begins is not known.
pub fn parse_request<'b, 's>(
    bytes: &'b [u8],
    slots: &'s mut FieldSlots<'b>,
    limits: &HeadLimits,
) -> Result<Option<RequestHead<'b, 's>>, Refusal> {
    let skipped = match bytes {
        [] | [b'\r'] | [b'\r', b'\n'] => return Ok(None),
        [b'\r', b'\n', ..] => 2,
        _ => 0,
    };
    // httparse would skip any number of empty lines, and bare LFs too.
    let bytes = &bytes[skipped..];
    if matches!(bytes[0], b'\r' | b'\n') {
        return Err(Refusal::BadRequestLine);
    }
    let bytes = &bytes[..bytes.len().min(limits.head_bytes as usize)];
    let most_fields = usize::from(limits.fields).min(HEAD_FIELDS);
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(bytes, &mut slots.slots[..most_fields]) {
        Ok(Status::Complete(len)) => {
            accept(&bytes[..len], parsed, &mut slots.facts, skipped, limits)
        }
        Ok(Status::Partial) => wait(bytes, limits).map(|()| None),
        Err(error) => Err(refusal(error, bytes)),
    }
}

/// Replaces a version above 1.1 in the request line at the start of `bytes` by the highest version that palantir knows;
/// the request is served as one of that version (RFC 9110 section 2.5). `false`: the request line has no such version.
pub fn lower_version(bytes: &mut [u8]) -> bool {
    let start = bytes.len() - without_empty_lines(bytes).len();
    let line_end = memchr::memchr(b'\r', &bytes[start..]).map_or(bytes.len(), |len| start + len);
    let mut words = bytes[start..line_end].splitn(3, |&byte| byte == b' ');
    let is_higher = matches!(
        words.nth(2),
        Some([b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9'])
    );
    if is_higher {
        bytes[line_end - 1] = b'1';
    }
    is_higher
}

/// The bytes behind the empty lines at the start.
fn without_empty_lines(mut bytes: &[u8]) -> &[u8] {
    while let Some(rest) = bytes.strip_prefix(b"\r\n") {
        bytes = rest;
    }
    bytes
}

/// Our own checks of what httparse took for a head.
#[inline(always)]
pub(super) fn accept<'b, 's>(
    head: &'b [u8],
    parsed: httparse::Request<'s, 'b>,
    place: &'s mut MaybeUninit<HeadFacts<'b>>,
    skipped: usize,
    limits: &HeadLimits,
) -> Result<Option<RequestHead<'b, 's>>, Refusal> {
    let method = Method(parsed.method.unwrap_or_default().as_bytes());
    let target = parsed.path.unwrap_or_default().as_bytes();
    let version = Version::from_minor(parsed.version);
    let fields: &'s [Header<'b>] = parsed.headers;
    if method.0.len() > METHOD_BYTES {
        return Err(Refusal::MethodTooLong);
    }
    if RequestTarget::counted_bytes(target) > limits.target_bytes as usize {
        return Err(Refusal::TargetTooLong);
    }
    // httparse allows single spaces only, so the line is as long as its parts.
    let line_len = method.0.len() + 1 + target.len() + 1 + b"HTTP/1.1".len();
    if head[line_len] != b'\r' {
        return Err(Refusal::BadLineEnd);
    }
    if matches!(method.0, b"CONNECT" | b"TRACE") {
        return Err(Refusal::MethodNotAllowed);
    }
    let fields_start = line_len + 2;
    let facts: &'s HeadFacts<'b> = HeadFacts::of(head, fields, place, Sender::Stranger)?;
    let body = framing::request_body(facts, version)?;
    let parts = RequestTarget::of(method, target)?;
    let (host, host_name) = host(facts, &parts, version)?;
    // An expectation that is not known cannot be met (RFC 9110 section 10.1.1).
    if facts.unknown_expectation {
        return Err(Refusal::UnknownExpectation);
    }
    let is_http11 = version == Version::Http11;
    debug_assert!(fields_start <= head.len() && !parts.path.is_empty());
    Ok(Some(RequestHead {
        method,
        path: parts.path,
        query: parts.query,
        target,
        host,
        host_name,
        version,
        fields,
        body,
        // A connection of HTTP/1.1 persists unless `close` ends it, one of HTTP/1.0 only with `keep-alive` (RFC 9112
        // section 9.3).
        keep_alive: !facts.close && (is_http11 || facts.keep_alive),
        // A server ignores `100-continue` in a request of HTTP/1.0 (RFC 9110 section 10.1.1).
        expect_continue: facts.expect_continue && is_http11,
        // A server ignores the field in a request of HTTP/1.0 (RFC 9110 section 7.8).
        upgrade: is_http11 && facts.offers_upgrade(fields),
        te_trailers: facts.te_trailers,
        head_bytes: skipped + head.len(),
        protocol: &[],
        head,
        fields_start,
        facts,
    }))
}

/// The one host that the request is for, and the name in the host.
fn host<'b>(
    facts: &HeadFacts<'b>,
    target: &RequestTarget<'b>,
    version: Version,
) -> Result<(&'b [u8], &'b [u8]), Refusal> {
    // A request has one `Host` at most, and one exactly in HTTP/1.1 (RFC 9112 section 3.2).
    if facts.host_repeated {
        return Err(Refusal::RepeatedHost);
    }
    if facts.host.is_none() && version == Version::Http11 {
        return Err(Refusal::MissingHost);
    }
    target.host(facts.host)
}

/// Whether an incomplete head may still become one that is within the limits.
#[cold]
fn wait(bytes: &[u8], limits: &HeadLimits) -> Result<(), Refusal> {
    let line = bytes
        .split(|&byte| byte == b'\n')
        .next()
        .unwrap_or_default();
    let mut words = line.split(|&byte| byte == b' ');
    let mut word = || words.next().unwrap_or_default();
    let (method, target) = (word(), word());
    if method.len() > METHOD_BYTES {
        return Err(Refusal::MethodTooLong);
    }
    if RequestTarget::counted_bytes(target) > limits.target_bytes as usize {
        return Err(Refusal::TargetTooLong);
    }
    if bytes.len() >= limits.head_bytes as usize {
        return Err(Refusal::HeadTooLarge);
    }
    Ok(())
}

#[cold]
fn refusal(error: httparse::Error, bytes: &[u8]) -> Refusal {
    match error {
        httparse::Error::HeaderName => Refusal::BadFieldName,
        httparse::Error::HeaderValue => Refusal::BadFieldValue,
        httparse::Error::TooManyHeaders => Refusal::TooManyFields,
        httparse::Error::Version if names_a_version(bytes) => Refusal::UnsupportedVersion,
        httparse::Error::NewLine
        | httparse::Error::Status
        | httparse::Error::Token
        | httparse::Error::Version => Refusal::BadRequestLine,
    }
}

/// Whether what stands in the version's place has its form, or the beginning of it if nothing more has come.
fn names_a_version(bytes: &[u8]) -> bool {
    let line = bytes
        .split(|&byte| byte == b'\r')
        .next()
        .unwrap_or_default();
    let version = line
        .splitn(3, |&byte| byte == b' ')
        .nth(2)
        .unwrap_or_default();
    let is_whole = line.len() < bytes.len();
    let matches = |(at, &byte): (usize, &u8)| match b"HTTP/d.d".get(at) {
        Some(b'd') => byte.is_ascii_digit(),
        wanted => wanted == Some(&byte),
    };
    version.iter().enumerate().all(matches) && (!is_whole || version.len() == b"HTTP/d.d".len())
}

#[cfg(test)]
mod tests;
