//! Heads that came in another form and are treated like those of HTTP/1 from here on.

use httparse::Header;

use super::field_set::FieldSet;
use super::framing::has_no_body;
use super::head_facts::{HeadFacts, Sender};
use super::{
    Asked, FieldSlots, Method, RequestBody, RequestHead, ResponseBody, ResponseHead, Version,
};
use crate::http::host;
use crate::http::refusal::Refusal;
use crate::http::status::reason_phrase;

/// A request that was checked as strictly as [`super::parse_request`] checks one.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct H2Request<'b> {
    pub(in crate::http) method: &'b [u8],
    pub(in crate::http) path: &'b [u8],
    pub(in crate::http) query: Option<&'b [u8]>,
    pub(in crate::http) target: &'b [u8],
    pub(in crate::http) host: &'b [u8],
    pub(in crate::http) body: RequestBody,
    pub(in crate::http) expect_continue: bool,
    /// The protocol to switch to.
    pub(in crate::http) upgrade: Option<&'b [u8]>,
    /// The fields, each `name: value CRLF`, and the empty line.
    pub(in crate::http) lines: &'b [u8],
}

impl<'b> H2Request<'b> {
    /// The head that HTTP/1 would have had. `fields` are those of the lines, in order, at most
    /// `limits::HEAD_FIELDS`. Errors: those of a head with such fields.
    pub(in crate::http) fn head<'s>(
        self,
        fields: impl Iterator<Item = Header<'b>>,
        slots: &'s mut FieldSlots<'b>,
    ) -> Result<RequestHead<'b, 's>, Refusal> {
        debug_assert!(self.lines.ends_with(b"\r\n"));
        let (fields, facts) = slots.fill(self.lines, fields, Sender::Stranger)?;
        if self.upgrade.is_some() {
            drop_websocket_key(fields, &mut facts.dropped);
            // A CONNECT has no content, even if it names a length (RFC 9110 section 9.3.6).
            facts.drop_length(fields);
        }
        Ok(RequestHead {
            method: Method(self.method),
            path: self.path,
            query: self.query,
            target: self.target,
            host: self.host,
            host_name: host::split(self.host).map_or(b"", |(name, _port)| name),
            version: Version::Http2,
            fields,
            body: self.body,
            keep_alive: true,
            expect_continue: self.expect_continue,
            upgrade: self.upgrade.is_some(),
            te_trailers: facts.te_trailers,
            head_bytes: self.lines.len(),
            protocol: self.upgrade.unwrap_or_default(),
            head: self.lines,
            fields_start: 0,
            facts,
        })
    }
}

/// A response that was checked as strictly as [`super::parse_response`] checks one.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct H2Response<'b> {
    pub(in crate::http) status: u16,
    /// Whether the head ends the response.
    pub(in crate::http) end: bool,
    pub(in crate::http) content_length: Option<u64>,
    /// The fault of a length that has no reading, or more than one.
    pub(in crate::http) length_fault: Option<Refusal>,
    /// Whether it names a transfer coding, which may then have been applied to its body.
    pub(in crate::http) has_coding: bool,
    /// A first line of any form with the status at the tenth byte, then the fields and the empty line.
    pub(in crate::http) head: &'b [u8],
    /// Where the fields begin.
    pub(in crate::http) fields_start: usize,
}

impl<'b> H2Response<'b> {
    /// The head that HTTP/1 would have had; a body without a length is taken for chunked. `fields` are those of the
    /// lines, in order, at most `limits::HEAD_FIELDS`. Errors: those of a head with such fields.
    pub(in crate::http) fn head<'s>(
        self,
        fields: impl Iterator<Item = Header<'b>>,
        slots: &'s mut FieldSlots<'b>,
        asked: Asked,
    ) -> Result<ResponseHead<'b, 's>, Refusal> {
        debug_assert!(self.fields_start <= self.head.len());
        if !asked.takes_status(self.status) {
            return Err(Refusal::BadStatusLine);
        }
        let (fields, facts) = slots.fill(self.head, fields, asked.sender())?;
        if has_no_body(self.status) {
            if asked.strict && facts.content_length.is_some_and(|length| length > 0) {
                return Err(Refusal::LengthMismatch);
            }
            facts.drop_length(fields);
        }
        let has_no_body = asked.head || self.status == 304 || has_no_body(self.status);
        if let Some(fault) = self.length_fault {
            if asked.strict || !has_no_body {
                return Err(fault);
            }
            facts.drop_length(fields);
        }
        if self.has_coding && !has_no_body && !self.end {
            return Err(Refusal::ConnectionField);
        }
        let body = match self.content_length {
            _ if has_no_body => ResponseBody::None,
            // HTTP/1.1 needs a length to announce that no body follows (RFC 9112 section 6.3).
            None if self.end => ResponseBody::Length(0),
            Some(0) => ResponseBody::None,
            Some(length) => ResponseBody::Length(length),
            None => ResponseBody::Chunked,
        };
        Ok(ResponseHead {
            status: self.status,
            version: Version::Http2,
            reason: reason_phrase(self.status).as_bytes(),
            fields,
            body,
            keep_alive: true,
            keep_alive_timeout: None,
            upgrade: false,
            head_bytes: self.head.len(),
            upgrade_value: &[],
            head: self.head,
            fields_start: self.fields_start,
            facts,
        })
    }
}

/// Removes the key that a client of HTTP/2 has no use for (RFC 8441 section 5): the backend gets one key only, that of
/// the party which checks the proof.
fn drop_websocket_key(fields: &[Header<'_>], dropped: &mut FieldSet) {
    for (index, field) in fields.iter().enumerate() {
        if field.name.eq_ignore_ascii_case("sec-websocket-key") {
            dropped.insert(index);
        }
    }
}

impl<'b> FieldSlots<'b> {
    /// Puts `fields`, which stand in `head`, into the slots, and walks over them.
    #[expect(unsafe_code, reason = "slots are not initialised before they are used")]
    fn fill<'s>(
        &'s mut self,
        head: &'b [u8],
        fields: impl Iterator<Item = Header<'b>>,
        sender: Sender,
    ) -> Result<(&'s [Header<'b>], &'s mut HeadFacts<'b>), Refusal> {
        let mut count = 0;
        for field in fields {
            let slot = self.slots.get_mut(count).ok_or(Refusal::TooManyFields)?;
            slot.write(field);
            count += 1;
        }
        // SAFETY: the first `count` slots were written just now.
        let fields = unsafe { self.slots[..count].assume_init_ref() };
        let facts = HeadFacts::of(head, fields, &mut self.facts, sender)?;
        Ok((fields, facts))
    }
}
