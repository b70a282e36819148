//! Fields that tell a backend how a request reached palantir, besides `X-Forwarded-For`, `-Proto` and `-Host`.

use super::head_writer::HeadWriter;
use super::lines::{Edits, HeadLines};
use super::request_edits::RequestEdits;
use crate::http::fields::is_of_websphere;
use crate::http::h1::RequestHead;
use crate::http::names;

const FORWARDED: &str = "forwarded";
const REAL_IP: &str = "x-real-ip";

impl RequestEdits<'_> {
    /// Whether a forwarding field passes unchanged.
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

    /// Writes the fields that the configuration wants, unless the operator's own edits name them.
    #[inline(always)]
    pub(super) fn write_forwarding(
        &self,
        writer: &mut HeadWriter<'_>,
        head: &RequestHead<'_, '_>,
        lines: &HeadLines<'_, '_>,
        all: Edits<'_>,
    ) {
        if let Some(ip) = self.forwarding.real_ip
            && !all.name(REAL_IP)
        {
            writer.text(b"X-Real-IP: ");
            writer.address(ip);
            writer.text(b"\r\n");
        }
        if self.forwarding.forwarded && !all.name(FORWARDED) {
            self.write_forwarded(writer, head, lines);
        }
    }

    /// Writes `Forwarded`: the elements that a trusted proxy has sent, followed by an element for this hop (RFC 7239
    /// section 4).
    #[cold]
    fn write_forwarded(
        &self,
        writer: &mut HeadWriter<'_>,
        head: &RequestHead<'_, '_>,
        lines: &HeadLines<'_, '_>,
    ) {
        writer.text(b"Forwarded: ");
        for field in lines.special() {
            let is_forwarded = names::same(field.name.as_bytes(), FORWARDED.as_bytes());
            if is_forwarded && self.is_believed(field.name) && is_whole(field.value) {
                writer.texts([field.value, b", "]);
            }
        }
        writer.text(b"for=");
        match self.client {
            Some(ip) if ip.to_canonical().is_ipv6() => {
                writer.text(b"\"[");
                writer.address(ip);
                writer.text(b"]\"");
            }
            Some(ip) => writer.address(ip),
            None => writer.text(b"unknown"),
        }
        if !head.host.is_empty() {
            // The host is quoted because it may have characters that no token has. No character of a host needs an
            // escape.
            writer.texts([b";host=\"", head.host, b"\""]);
        }
        writer.texts([b";proto=", self.proto.as_bytes(), b"\r\n"]);
    }
}

/// Whether a value is not empty and all its quotes are closed: an open quote would enclose the text that is written
/// behind it.
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

/// Whether a name is written with `-` and without `_`, behind the `$` that the names of WebSphere begin with. Proxies
/// write their fields so. A name with `_` may have come from anybody and passed a proxy that did not recognise it.
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
