//! A response's head, parsed.

use std::mem::MaybeUninit;

use httparse::{Header, Status};

use super::head_facts::HeadFacts;
use super::{Asked, FieldSlots, ResponseBody, Version, framing};
use crate::base::limits;
use crate::http::fields;
use crate::http::refusal::Refusal;

/// A response's head. Everything in it is well-formed and unambiguous.
#[derive(Debug)]
pub struct ResponseHead<'b, 's> {
    /// The status, 100 to 999.
    pub status: u16,
    /// The version of the status line.
    pub version: Version,
    /// As received, often empty.
    pub reason: &'b [u8],
    /// The fields as received, in their order.
    pub fields: &'s [Header<'b>],
    /// The framing of the body.
    pub body: ResponseBody,
    /// Whether the backend goes on with the connection after this response.
    pub keep_alive: bool,
    /// Seconds for which it says it keeps the connection (`Keep-Alive: timeout=`).
    pub keep_alive_timeout: Option<u32>,
    /// 101, asked for and complete: what follows is another protocol.
    pub upgrade: bool,
    /// Bytes that the head took.
    pub head_bytes: usize,
    /// The value of `Upgrade` when `upgrade` is set.
    pub upgrade_value: &'b [u8],
    /// From the status line to the empty line.
    pub(super) head: &'b [u8],
    /// Where the fields' lines begin in `head`.
    pub(super) fields_start: usize,
    pub(super) facts: &'s HeadFacts<'b>,
}

impl<'b> ResponseHead<'b, '_> {
    /// The value of the first field of this name, whatever its case.
    pub fn field(&self, name: &str) -> Option<&'b [u8]> {
        fields::find(self.fields, name)
    }

    /// The length that `Content-Length` names, also where no body comes: of the answer to a HEAD, and of a 304.
    pub fn named_length(&self) -> Option<u64> {
        self.facts.content_length
    }
}

/// Parses a response's head at the start of `bytes`, of at most `max_bytes`. `None`: more bytes are needed. Errors: the
/// response must not be forwarded and the connection not be used again.
pub fn parse_response<'b, 's>(
    bytes: &'b [u8],
    slots: &'s mut FieldSlots<'b>,
    asked: Asked,
    max_bytes: u32,
) -> Result<Option<ResponseHead<'b, 's>>, Refusal> {
    // httparse would skip empty lines.
    if bytes.first().is_some_and(|&byte| byte != b'H') {
        return Err(Refusal::BadStatusLine);
    }
    let bytes = &bytes[..bytes.len().min(max_bytes as usize)];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut slots.slots) {
        Ok(Status::Complete(len)) => accept(&bytes[..len], parsed, &mut slots.facts, asked),
        Ok(Status::Partial) if bytes.len() >= max_bytes as usize => Err(Refusal::HeadTooLarge),
        Ok(Status::Partial) => Ok(None),
        Err(error) => Err(refusal(error)),
    }
}

/// Our own checks of what httparse took for a head.
#[inline(always)]
fn accept<'b, 's>(
    head: &'b [u8],
    parsed: httparse::Response<'s, 'b>,
    place: &'s mut MaybeUninit<HeadFacts<'b>>,
    asked: Asked,
) -> Result<Option<ResponseHead<'b, 's>>, Refusal> {
    let status = parsed.code.unwrap_or_default();
    let version = Version::from_minor(parsed.version);
    let fields: &'s [Header<'b>] = parsed.headers;
    if !asked.takes_status(status) {
        return Err(Refusal::BadStatusLine);
    }
    let (reason, fields_start) = reason(head)?;
    debug_assert!(fields_start <= head.len());
    let facts = HeadFacts::of(head, fields, place, asked.sender())?;
    let framing = framing::response(facts, version, status, asked)?;
    let body = framing.body;
    // A 101 must name the protocol that follows, and may answer only a request that offered to switch (RFC 9110 section
    // 7.8).
    let upgrade = match status {
        101 => Some(
            facts
                .switched_to()
                .filter(|_| asked.upgrade)
                .ok_or(Refusal::BadSwitch)?,
        ),
        _ => None,
    };
    // A connection of HTTP/1.1 persists unless `close` ends it, one of HTTP/1.0 only with `keep-alive` (RFC 9112
    // section 9.3).
    let persists = version == Version::Http11 || facts.keep_alive;
    if !framing.keeps_length {
        facts.drop_length(fields);
    }
    Ok(Some(ResponseHead {
        status,
        version,
        reason,
        fields,
        body,
        // Behind faulty framing, and behind a body that the end of the connection ends, no other response can be read
        // (RFC 9112 section 6.3).
        keep_alive: framing.is_sound
            && persists
            && !facts.close
            && body != ResponseBody::UntilClose,
        keep_alive_timeout: facts.keep_alive_timeout,
        upgrade: upgrade.is_some(),
        head_bytes: head.len(),
        upgrade_value: upgrade.unwrap_or_default(),
        head,
        fields_start,
        facts,
    }))
}

/// The reason phrase and where the line after it begins. httparse has checked the bytes, but hides a reason that is not
/// ASCII.
fn reason(head: &[u8]) -> Result<(&[u8], usize), Refusal> {
    let status_end = b"HTTP/1.1 200".len();
    let line_end =
        status_end + memchr::memchr(b'\n', &head[status_end..]).ok_or(Refusal::BadStatusLine)?;
    match &head[status_end..line_end] {
        [b' ', reason @ .., b'\r'] => Ok((reason, line_end + 1)),
        [b'\r'] => Ok((&[], line_end + 1)),
        _ => Err(Refusal::BadLineEnd),
    }
}

/// Bytes that the head of an interim response counts for in `limits::INTERIM_BYTES`.
pub fn interim_cost(head_bytes: usize) -> u32 {
    let bytes = u32::try_from(head_bytes).unwrap_or(u32::MAX);
    bytes.max(limits::INTERIM_LEAST_BYTES)
}

#[cold]
fn refusal(error: httparse::Error) -> Refusal {
    match error {
        httparse::Error::HeaderName => Refusal::BadFieldName,
        httparse::Error::HeaderValue => Refusal::BadFieldValue,
        httparse::Error::TooManyHeaders => Refusal::TooManyFields,
        httparse::Error::Version => Refusal::UnsupportedVersion,
        httparse::Error::NewLine | httparse::Error::Status | httparse::Error::Token => {
            Refusal::BadStatusLine
        }
    }
}

#[cfg(test)]
mod tests;
