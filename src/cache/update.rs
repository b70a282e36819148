//! The head of a stored response with the fields of a newer one (RFC 9111 section 3.2).

use httparse::Header;

use crate::cache::stored_head;
use crate::http::date;
use crate::http::fields::{self, KnownField, list, recognise, values};

/// The new fields of a stored response: those of a 304, of the answer to a HEAD, or of a 206 that completes a stored
/// part.
#[derive(Clone, Copy)]
pub struct NewFields<'a> {
    /// The fields as they were received.
    pub fields: &'a [Header<'a>],
    /// Seconds since 1970 when they were received.
    pub received_secs: u64,
    /// Whether `Set-Cookie` may be stored.
    pub keeps_cookies: bool,
    /// Whether a field of this name must not be stored: one that `private` or `no-cache` names.
    pub is_unstorable: &'a dyn Fn(&str) -> bool,
}

/// The stored head with the new fields (RFC 9111 section 3.2). A field of the new ones replaces all stored ones of its
/// name.
pub fn updated_head(head: &[u8], new: &NewFields<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len() + 256);
    out.extend_from_slice(stored_head::status_line(head));
    out.extend_from_slice(b"\r\n");
    let taken = new.fields.iter().filter(|field| new.takes(field.name));
    let taken: Vec<&Header<'_>> = taken.collect();
    let is_replaced = |name: &[u8]| {
        let mut names = taken.iter().map(|field| field.name.as_bytes());
        names.any(|known| known.eq_ignore_ascii_case(name))
    };
    for (name, value) in stored_head::fields(head) {
        // The stored Age was one of the old answer. Date is there in every stored head (RFC 9110 section 6.6.1).
        let is_of_receipt = name.eq_ignore_ascii_case(b"age") || name.eq_ignore_ascii_case(b"date");
        if !is_of_receipt && !is_replaced(name) {
            stored_head::write_field(name, value, &mut out);
        }
    }
    for field in &taken {
        stored_head::write_field(field.name.as_bytes(), field.value, &mut out);
    }
    if fields::find(new.fields, "date").is_none() {
        // RFC 9110 section 6.6.1 (MUST): a recipient with a clock notes when a response without Date came.
        stored_head::write_field(b"Date", &date::imf_fixdate(new.received_secs), &mut out);
    }
    out.extend_from_slice(b"\r\n");
    out
}

impl NewFields<'_> {
    /// Whether a new field replaces the stored ones of its name.
    fn takes(&self, name: &str) -> bool {
        // RFC 9111 section 3.2: Content-Length is excepted, and so is what describes the bytes that are stored, which
        // a 304 does not change: a coding that does not fit would make the body unreadable.
        const OF_BODY: [&str; 3] = ["content-encoding", "content-length", "content-range"];
        const OF_COOKIES: [&str; 2] = ["set-cookie", "set-cookie2"];
        let is_one = |names: &[&str]| names.iter().any(|known| name.eq_ignore_ascii_case(known));
        !is_one(&OF_BODY)
            && !is_of_connection(name, self.fields)
            && (self.keeps_cookies || !is_one(&OF_COOKIES))
            && !(self.is_unstorable)(name)
    }
}

/// Whether a field is meant for one connection only.
fn is_of_connection(name: &str, fields: &[Header<'_>]) -> bool {
    // RFC 9111 section 3.1 (MUST NOT): such fields are not stored.
    let is_known = matches!(
        recognise(name.as_bytes()),
        KnownField::Connection
            | KnownField::KeepAlive
            | KnownField::ProxyAuthenticate
            | KnownField::ProxyAuthorization
            | KnownField::ProxyConnection
            | KnownField::Te
            | KnownField::Trailer
            | KnownField::TransferEncoding
            | KnownField::Upgrade
            | KnownField::Disguised
    );
    let is_info = name.eq_ignore_ascii_case("proxy-authentication-info");
    let mut options = values(fields, "connection").flat_map(list);
    is_known || is_info || options.any(|option| option.eq_ignore_ascii_case(name.as_bytes()))
}
