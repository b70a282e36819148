//! What a backend is told of the way that a request came, besides `X-Forwarded-For`, `-Proto` and `-Host`.

use std::net::IpAddr;

use super::lines::{Edits, Lines};
use super::pen::Pen;
use super::request::RequestEdits;
use crate::http::fields::is_of_websphere;
use crate::http::h1::RequestHead;
use crate::http::names::{self, NameSet};

const FORWARDED: &str = "forwarded";
const REAL_IP: &str = "x-real-ip";

/// What is written by setting, and what passes by setting.
#[derive(Clone, Copy, Debug)]
pub struct Forwarding<'a> {
    /// Whether `Forwarded` (RFC 7239) is written.
    pub forwarded: bool,
    /// Written as `X-Real-IP`; `None`: that of a trusted proxy passes.
    pub real_ip: Option<IpAddr>,
    /// Names that pass whoever sent them, of those that pass from trusted proxies alone.
    pub pass: &'a NameSet,
}

impl Forwarding<'static> {
    /// Nothing of it.
    pub const NONE: Forwarding<'static> = {
        static NO_NAMES: NameSet = NameSet::none();
        Forwarding {
            forwarded: false,
            real_ip: None,
            pass: &NO_NAMES,
        }
    };
}

impl RequestEdits<'_> {
    /// Whether a field that proxies write passes as it is.
    pub(super) fn passes(&self, name: &str) -> bool {
        let is = |known: &str| names::same(name.as_bytes(), known.as_bytes());
        let is_written = (self.forwarding.forwarded && is(FORWARDED))
            || (self.forwarding.real_ip.is_some() && is(REAL_IP));
        !is_written && self.is_believed(name)
    }

    fn is_believed(&self, name: &str) -> bool {
        let may_pass = self.client_trusted || self.forwarding.pass.contains(name.as_bytes());
        may_pass && is_plainly_written(name)
    }

    /// Writes what is set to be written, unless the operator has said something else of it.
    #[inline(always)]
    pub(super) fn write_forwarding(
        &self,
        pen: &mut Pen<'_>,
        head: &RequestHead<'_, '_>,
        lines: &Lines<'_, '_>,
        all: Edits<'_>,
    ) {
        if let Some(ip) = self.forwarding.real_ip
            && !all.name(REAL_IP)
        {
            pen.text(b"X-Real-IP: ");
            pen.address(ip);
            pen.text(b"\r\n");
        }
        if self.forwarding.forwarded && !all.name(FORWARDED) {
            self.write_forwarded(pen, head, lines);
        }
    }

    /// Writes `Forwarded`: what a trusted proxy has said, and then the same of that proxy (RFC 7239 section 4).
    #[cold]
    fn write_forwarded(
        &self,
        pen: &mut Pen<'_>,
        head: &RequestHead<'_, '_>,
        lines: &Lines<'_, '_>,
    ) {
        pen.text(b"Forwarded: ");
        for field in lines.special() {
            let is_forwarded = names::same(field.name.as_bytes(), FORWARDED.as_bytes());
            if is_forwarded && self.is_believed(field.name) && is_whole(field.value) {
                pen.texts([field.value, b", "]);
            }
        }
        pen.text(b"for=");
        match self.client {
            Some(ip) if ip.to_canonical().is_ipv6() => {
                pen.text(b"\"[");
                pen.address(ip);
                pen.text(b"]\"");
            }
            Some(ip) => pen.address(ip),
            None => pen.text(b"unknown"),
        }
        if !head.host.is_empty() {
            // A host has no sign that would have to be escaped, and may have some that no token has.
            pen.texts([b";host=\"", head.host, b"\""]);
        }
        pen.texts([b";proto=", self.proto.as_bytes(), b"\r\n"]);
    }
}

/// Whether a value has something in it, and its quotes end: one that did not would take what is written behind it in.
fn is_whole(value: &[u8]) -> bool {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for byte in value {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            _ => {}
        }
    }
    !value.is_empty() && !is_quoted
}

/// Whether a name has no other sign than dashes, or begins with the sign that WebSphere's names have. Proxies write it
/// so; with `_` it may have come from anybody and passed them unseen.
fn is_plainly_written(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let start = usize::from(is_of_websphere(name.as_bytes()));
    name.bytes().skip(start).all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_whose_quotes_end_table() {
        let rows = [
            ("", false),
            ("for=192.0.2.1", true),
            ("for=\"[::1]\";by=_a, for=b", true),
            ("for=\"a", false),
            ("for=\"a\\\"", false),
            ("for=\"a\\\"b\"", true),
            ("for=a\\", true),
        ];
        for (value, expected) in rows {
            assert_eq!(is_whole(value.as_bytes()), expected, "{value}");
        }
    }
}
