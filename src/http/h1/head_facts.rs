//! The one walk over a parsed head's fields: what httparse lets pass is refused here, and what a proxy must know is
//! noted.

use std::mem::MaybeUninit;

use httparse::Header;

use super::field_set::FieldSet;
use crate::base::limits;
use crate::http::fields::{
    Expectation, KnownField, disguises_framing, expectation, list, recognise, trim,
};
use crate::http::refusal::Refusal;

/// The facts of a head's fields.
#[derive(Debug, Default)]
pub(super) struct HeadFacts<'b> {
    pub(super) host: Option<&'b [u8]>,
    pub(super) host_repeated: bool,
    pub(super) content_length: Option<u64>,
    /// Whether there are several `Content-Length` fields, or one that is not a plain number. The field is then
    /// rewritten.
    pub(super) rewrites_length: bool,
    pub(super) transfer_encoding: Option<&'b [u8]>,
    /// A fault in the fields that tell where the message ends. The fault is noted only for messages that may turn out
    /// to have no body.
    pub(super) framing_fault: Option<Refusal>,
    /// `Connection` has `close`.
    pub(super) close: bool,
    /// `Connection` has `keep-alive`.
    pub(super) keep_alive: bool,
    /// `Connection` has `upgrade`.
    pub(super) connection_upgrade: bool,
    /// `Connection` has members that may be names of fields.
    names_fields: bool,
    /// Members that `Connection` has, as far as they had to be counted.
    connection_options: usize,
    upgrade: Option<&'b [u8]>,
    upgrade_repeated: bool,
    /// Seconds from `Keep-Alive: timeout=`.
    pub(super) keep_alive_timeout: Option<u32>,
    /// `TE` has `trailers`.
    pub(super) te_trailers: bool,
    /// `Expect: 100-continue`.
    pub(super) expect_continue: bool,
    /// An `Expect` that asks for something else.
    pub(super) unknown_expectation: bool,
    /// There is an `X-Forwarded-For`.
    pub(super) forwarded_for: bool,
    /// Fields that are for this connection alone and never forwarded.
    pub(super) dropped: FieldSet,
    /// Fields that are not simply copied: those that an encoder decides upon, and those not written as
    /// `name: value CRLF` with one space.
    pub(super) special: FieldSet,
}

/// The sender of the head whose facts are noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// A client, or a backend whose responses must follow the RFCs to the letter.
    Stranger,
    /// A backend. Malformed fields are taken if they have only one reading.
    Ours,
}

/// Where a field's line begins in its head.
#[inline]
pub(super) fn line_start(head: &[u8], field: &Header<'_>) -> usize {
    field.name.as_ptr().addr() - head.as_ptr().addr()
}

impl<'b> HeadFacts<'b> {
    /// Walks over `fields`, parsed from `head`: the whole message head to its empty line. The result stays in `place`,
    /// because moving it would cost as much as making it.
    #[inline(always)]
    pub(super) fn of<'s>(
        head: &'b [u8],
        fields: &[Header<'b>],
        place: &'s mut MaybeUninit<HeadFacts<'b>>,
        sender: Sender,
    ) -> Result<&'s mut HeadFacts<'b>, Refusal> {
        let facts = place.write(HeadFacts::default());
        debug_assert!(head.ends_with(b"\n") && head.len() >= b"\r\n".len());
        // Backwards, so that every line's end is known when it is looked at: the next one's start.
        let mut end = head.len() - b"\r\n".len();
        let mut proper_ends = head[end] == b'\r';
        for (index, field) in fields.iter().enumerate().rev() {
            let start = line_start(head, field);
            debug_assert!(start < end, "fields lie in the head, in its order");
            // httparse takes a bare LF for the end of a line; what it took is the byte before the next line.
            proper_ends &= head[end - 2] == b'\r';
            let value_start = start + field.name.len() + b": ".len();
            if value_start + field.value.len() + 2 != end || head[value_start - 1] != b' ' {
                facts.special.insert(index);
            }
            match recognise(field.name.as_bytes()) {
                KnownField::Other => {}
                known => facts.note(index, known, field, sender)?,
            }
            end = start;
        }
        if !proper_ends {
            return Err(Refusal::BadLineEnd);
        }
        if facts.names_fields {
            facts.drop_named(fields);
        }
        Ok(facts)
    }

    fn note(
        &mut self,
        index: usize,
        known: KnownField,
        field: &Header<'b>,
        sender: Sender,
    ) -> Result<(), Refusal> {
        let value = field.value;
        match known {
            KnownField::Other => return Ok(()),
            KnownField::Disguised
                if sender == Sender::Stranger && disguises_framing(field.name.as_bytes()) =>
            {
                return Err(Refusal::DisguisedField);
            }
            KnownField::Disguised => self.dropped.insert(index),
            KnownField::Host => self.host_repeated |= self.host.replace(value).is_some(),
            KnownField::ContentLength => {
                if let Err(refusal) = self.note_length(value, sender) {
                    self.note_fault(refusal, sender)?;
                }
            }
            KnownField::TransferEncoding => {
                if self.transfer_encoding.replace(value).is_some() {
                    self.note_fault(Refusal::BadTransferEncoding, sender)?;
                }
            }
            KnownField::Connection => self.note_connection(value)?,
            KnownField::Upgrade => self.upgrade_repeated |= self.upgrade.replace(value).is_some(),
            KnownField::KeepAlive => {
                self.keep_alive_timeout = keep_alive_timeout(value).or(self.keep_alive_timeout)
            }
            KnownField::Te => {
                self.te_trailers |=
                    list(value).any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
            }
            KnownField::Expect => match expectation(value) {
                Expectation::None => self.dropped.insert(index),
                Expectation::Continue => self.expect_continue = true,
                Expectation::Unknown => self.unknown_expectation = true,
            },
            KnownField::XForwardedFor => self.forwarded_for = true,
            KnownField::FromProxies
            | KnownField::Http2Settings
            | KnownField::Location
            | KnownField::ProxyAuthenticate
            | KnownField::ProxyAuthorization
            | KnownField::ProxyConnection
            | KnownField::Refresh
            | KnownField::SetCookie
            | KnownField::Trailer
            | KnownField::XForwardedHost
            | KnownField::XForwardedProto => {}
        }
        if is_hop_by_hop(known) {
            self.dropped.insert(index);
        } else {
            self.special.insert(index);
        }
        Ok(())
    }

    fn note_length(&mut self, value: &[u8], sender: Sender) -> Result<(), Refusal> {
        let length = match sender {
            Sender::Stranger => content_length(value)?,
            Sender::Ours => equal_lengths(value)?,
        };
        let before = self.content_length.replace(length);
        self.rewrites_length |= before.is_some() || !is_plain_number(value);
        match before {
            None => Ok(()),
            Some(before) if before == length && sender == Sender::Ours => Ok(()),
            Some(_) => Err(Refusal::RepeatedContentLength),
        }
    }

    /// Refuses a fault in a stranger's head, and notes a fault in a backend's head: whether the backend's answer has a
    /// body is not known yet.
    fn note_fault(&mut self, refusal: Refusal, sender: Sender) -> Result<(), Refusal> {
        match sender {
            Sender::Stranger => Err(refusal),
            Sender::Ours => {
                self.framing_fault.get_or_insert(refusal);
                Ok(())
            }
        }
    }

    fn note_connection(&mut self, value: &[u8]) -> Result<(), Refusal> {
        // The value that most clients and backends send needs no list taken apart.
        if recognise(value) == KnownField::KeepAlive {
            self.keep_alive = true;
            return Ok(());
        }
        for option in value.split(|&byte| byte == b',').map(trim) {
            // No message needs so many options, empty ones included, and each may have to be compared with every field.
            self.connection_options += 1;
            if self.connection_options > limits::CONNECTION_OPTIONS {
                return Err(Refusal::BadConnection);
            }
            match recognise(option) {
                KnownField::KeepAlive => self.keep_alive = true,
                KnownField::Upgrade => self.connection_upgrade = true,
                // Removing these would make another message of it.
                KnownField::Host | KnownField::ContentLength => return Err(Refusal::BadConnection),
                KnownField::Other if option.eq_ignore_ascii_case(b"close") => self.close = true,
                known if may_be_nominated(known) => self.names_fields |= !option.is_empty(),
                // Removed anyway, or written by us.
                _ => {}
            }
        }
        Ok(())
    }

    /// Drops every field that `Connection` names (RFC 9110 section 7.6.1).
    #[cold]
    fn drop_named(&mut self, fields: &[Header<'b>]) {
        let connections = fields
            .iter()
            .filter(|field| recognise(field.name.as_bytes()) == KnownField::Connection);
        for option in connections.flat_map(|field| list(field.value)) {
            if !may_be_nominated(recognise(option)) {
                continue;
            }
            for (index, field) in fields.iter().enumerate() {
                if field.name.as_bytes().eq_ignore_ascii_case(option) {
                    self.dropped.insert(index);
                }
            }
        }
    }

    /// Leaves `Content-Length` out of the message (RFC 9110 section 8.6).
    pub(super) fn drop_length(&mut self, fields: &[Header<'b>]) {
        if self.content_length.take().is_none() && self.framing_fault.is_none() {
            return;
        }
        for (index, field) in fields.iter().enumerate() {
            if recognise(field.name.as_bytes()) == KnownField::ContentLength {
                self.dropped.insert(index);
            }
        }
    }

    /// The list of protocols that a response switches to, if the response is well-formed and names at most
    /// `limits::UPGRADE_PROTOCOLS` of them.
    pub(super) fn switched_to(&self) -> Option<&'b [u8]> {
        let value = self.upgrade?;
        let proper = self.connection_upgrade && !self.upgrade_repeated;
        let count = list(value).take(limits::UPGRADE_PROTOCOLS + 1).count();
        let is_of_use = (1..=limits::UPGRADE_PROTOCOLS).contains(&count);
        (proper && is_of_use && !list(value).any(is_http)).then_some(value)
    }

    /// Whether a request offers, in the proper form, a protocol that palantir may switch to, and names at most
    /// `limits::UPGRADE_PROTOCOLS` protocols.
    #[inline]
    pub(super) fn offers_upgrade(&self, fields: &[Header<'b>]) -> bool {
        self.connection_upgrade && self.upgrade.is_some() && is_offer(fields)
    }
}

#[cold]
fn is_offer(fields: &[Header<'_>]) -> bool {
    let count = upgrades(fields).take(limits::UPGRADE_PROTOCOLS + 1).count();
    count <= limits::UPGRADE_PROTOCOLS && offered(fields).next().is_some()
}

/// The members of all `Upgrade` fields. Several fields form one list (RFC 9110 section 5.3).
pub(super) fn upgrades<'b>(fields: &[Header<'b>]) -> impl Iterator<Item = &'b [u8]> {
    let all = fields
        .iter()
        .filter(|field| recognise(field.name.as_bytes()) == KnownField::Upgrade);
    all.flat_map(|field| list(field.value))
}

/// The protocols that a request offers and that palantir may switch to.
pub(super) fn offered<'b>(fields: &[Header<'b>]) -> impl Iterator<Item = &'b [u8]> {
    upgrades(fields).filter(|protocol| !is_http(protocol))
}

/// Whether a protocol is HTTP of any version. Inside of such a tunnel a client could send requests that palantir does
/// not see. (RFC 9113 section 3.1 has removed the upgrade to HTTP/2.)
pub(in crate::http) fn is_http(protocol: &[u8]) -> bool {
    let name = protocol.split(|&byte| byte == b'/').next();
    let name = trim(name.unwrap_or_default());
    [&b"h2c"[..], b"h2", b"http"]
        .iter()
        .any(|http| http.eq_ignore_ascii_case(name))
}

/// Whether a field that `Connection` names is left out for it: the others are left out anyway, or written by us.
fn may_be_nominated(known: KnownField) -> bool {
    matches!(
        known,
        KnownField::Other
            | KnownField::FromProxies
            | KnownField::Location
            | KnownField::Refresh
            | KnownField::SetCookie
            | KnownField::Trailer
    )
}

/// Fields that concern one connection only (RFC 9110 section 7.6.1). Credentials for a proxy are for the first proxy
/// that asks for them (section 11.7), which is not the backend.
fn is_hop_by_hop(known: KnownField) -> bool {
    matches!(
        known,
        KnownField::Connection
            | KnownField::Http2Settings
            | KnownField::KeepAlive
            | KnownField::ProxyAuthenticate
            | KnownField::ProxyAuthorization
            | KnownField::ProxyConnection
            | KnownField::Te
            | KnownField::TransferEncoding
            | KnownField::Upgrade
    )
}

/// The seconds that follow `timeout=` in a `Keep-Alive` value. Some servers put blanks around `=`, or quotes around the
/// number.
fn keep_alive_timeout(value: &[u8]) -> Option<u32> {
    list(value).find_map(|parameter| {
        let sign = memchr::memchr(b'=', parameter)?;
        let (name, rest) = (trim(&parameter[..sign]), trim(&parameter[sign + 1..]));
        if !name.eq_ignore_ascii_case(b"timeout") {
            return None;
        }
        let quoted = rest
            .strip_prefix(b"\"")
            .and_then(|rest| rest.strip_suffix(b"\""));
        let digits = std::str::from_utf8(quoted.unwrap_or(rest)).ok()?;
        digits.parse().ok().filter(|_| !digits.starts_with('+'))
    })
}

/// Largest length: 63 bits.
const LENGTH_MAX: u64 = i64::MAX as u64;

/// The value of `Content-Length`: only digits (RFC 9110 section 8.6), and a number of at most 63 bits. Leading zeros
/// are allowed.
pub(in crate::http) fn content_length(value: &[u8]) -> Result<u64, Refusal> {
    if value.is_empty() {
        return Err(Refusal::BadContentLength);
    }
    let mut length: u64 = 0;
    for byte in value {
        if !byte.is_ascii_digit() {
            return Err(Refusal::BadContentLength);
        }
        length = length
            .checked_mul(10)
            .and_then(|length| length.checked_add(u64::from(byte - b'0')))
            .filter(|length| *length <= LENGTH_MAX)
            .ok_or(Refusal::BadContentLength)?;
    }
    Ok(length)
}

/// The length that a list of equal lengths names (RFC 9112 section 6.3 rule 5). Such a list arises when a server or a
/// proxy joins several fields.
pub(in crate::http) fn equal_lengths(value: &[u8]) -> Result<u64, Refusal> {
    let mut members = value.split(|&byte| byte == b',').map(trim);
    let length = content_length(members.next().unwrap_or_default())?;
    if members.all(|member| content_length(member) == Ok(length)) {
        Ok(length)
    } else {
        Err(Refusal::BadContentLength)
    }
}

/// Whether a valid length is written as a plain number: without leading zeros and not as a list.
fn is_plain_number(value: &[u8]) -> bool {
    (value == b"0" || value.first() != Some(&b'0')) && memchr::memchr(b',', value).is_none()
}
