//! A head that one of HTTP/1's encoders wrote, in the parts that HTTP/2 sends: the opposite of `to_h1`. The text is
//! ours and so is well-formed; what concerns an HTTP/1 connection alone is left out.

use memchr::{memchr, memmem};

use super::connection::StreamRequest;
use super::head::Field;
use crate::http::fields::{KnownField, recognise, trim};

/// Bytes of the head at the start of `text`, the empty line included; all of it if there is none.
pub fn head_bytes(text: &[u8]) -> usize {
    memmem::find(text, b"\r\n\r\n").map_or(text.len(), |at| at + b"\r\n\r\n".len())
}

/// A response's status and fields.
pub fn response(head: &[u8]) -> (u16, Fields<'_>) {
    let (line, fields) = first_line(head);
    let digits = line.get(b"HTTP/1.1 ".len()..).unwrap_or_default();
    let digits = digits.iter().take(3);
    let status = digits.fold(0, |status, digit| {
        status * 10 + u16::from(digit.wrapping_sub(b'0'))
    });
    (status, fields)
}

/// The pseudo-fields of a request with this scheme, and its fields. `is_websocket`: the head offers to
/// switch to a WebSocket, and is sent as an extended CONNECT (RFC 8441 section 4).
pub fn request<'b>(
    head: &'b [u8],
    scheme: &'b str,
    is_websocket: bool,
) -> (StreamRequest<'b>, Fields<'b>) {
    let (line, fields) = first_line(head);
    let mut parts = line.split(|byte| *byte == b' ');
    let mut part = || parts.next().unwrap_or_default();
    let (method, target) = (part(), part());
    let request = StreamRequest {
        method: if is_websocket { b"CONNECT" } else { method },
        scheme: scheme.as_bytes(),
        target,
        authority: host(fields.lines),
        protocol: is_websocket.then_some(b"websocket"),
    };
    // A CONNECT has no content, and a length would count the bytes of the WebSocket (RFC 9110 section 9.3.6).
    let fields = Fields {
        leaves_length_out: is_websocket,
        ..fields
    };
    (request, fields)
}

fn host(lines: &[u8]) -> &[u8] {
    let mut all = All { lines };
    let host = all.find(|field| recognise(field.name) == KnownField::Host);
    host.map_or(b"", |field| field.value)
}

fn first_line(head: &[u8]) -> (&[u8], Fields<'_>) {
    let end = memchr(b'\n', head).map_or(head.len(), |at| at + 1);
    let line = head[..end].trim_ascii_end();
    let fields = Fields {
        lines: &head[end..],
        leaves_length_out: false,
    };
    (line, fields)
}

/// The fields of a head that have a place in HTTP/2.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'b> {
    lines: &'b [u8],
    leaves_length_out: bool,
}

impl<'b> IntoIterator for Fields<'b> {
    type Item = Field<'b>;
    type IntoIter = std::iter::Filter<All<'b>, fn(&Field<'b>) -> bool>;

    fn into_iter(self) -> Self::IntoIter {
        let has_place: fn(&Field<'b>) -> bool = if self.leaves_length_out {
            |field| !is_of_http1(field.name) && recognise(field.name) != KnownField::ContentLength
        } else {
            |field| !is_of_http1(field.name)
        };
        All { lines: self.lines }.filter(has_place)
    }
}

fn is_of_http1(name: &[u8]) -> bool {
    matches!(
        recognise(name),
        KnownField::Connection
            | KnownField::Host
            | KnownField::TransferEncoding
            | KnownField::Upgrade
    ) || is_websocket_proof(name)
}

/// Whether a field belongs to the key handshake of a WebSocket over HTTP/1.1, which HTTP/2 leaves out (RFC 8441 section
/// 5).
fn is_websocket_proof(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"sec-websocket-accept")
        || name.eq_ignore_ascii_case(b"sec-websocket-key")
}

/// Every line `name: value CRLF` up to the empty one.
#[derive(Clone, Debug)]
pub struct All<'b> {
    lines: &'b [u8],
}

impl<'b> Iterator for All<'b> {
    type Item = Field<'b>;

    fn next(&mut self) -> Option<Field<'b>> {
        let colon = memchr(b':', self.lines)?;
        let (name, rest) = self.lines.split_at(colon);
        let end = memchr(b'\n', rest)?;
        self.lines = &rest[end + 1..];
        let value = &rest[1..end];
        Some(Field {
            name,
            // Nothing but blanks is no part of a value: a cookie may end in another control byte.
            value: trim(value.strip_suffix(b"\r").unwrap_or(value)),
            sensitive: is_sensitive(name),
        })
    }
}

/// Whether a field holds what gives access: it must never enter a table where a guess could be compared with it
/// (RFC 7541 section 7.1).
fn is_sensitive(name: &[u8]) -> bool {
    match name.len() {
        6 => name.eq_ignore_ascii_case(b"cookie"),
        10 => name.eq_ignore_ascii_case(b"set-cookie"),
        13 => name.eq_ignore_ascii_case(b"authorization"),
        _ => false,
    }
}

/// The fields of trailers, each `name: value CRLF`.
pub fn trailers(lines: &[u8]) -> All<'_> {
    All { lines }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs<'b>(fields: impl IntoIterator<Item = Field<'b>>) -> Vec<(&'b str, &'b str)> {
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        let fields = fields.into_iter();
        fields
            .map(|field| (text(field.name), text(field.value)))
            .collect()
    }

    #[test]
    fn a_response_without_what_concerns_the_connection() {
        let text =
            b"HTTP/1.1 404 Not Found\r\nServer: x\r\nx-empty:\r\nTransfer-Encoding: chunked\r\n\
            Connection: close\r\ncolon: a:b\r\n\r\nbody: none";
        let head = &text[..head_bytes(text)];
        assert!(text[head.len()..].starts_with(b"body"));
        let (status, fields) = response(head);
        assert_eq!(status, 404);
        let expected = [("Server", "x"), ("x-empty", ""), ("colon", "a:b")];
        assert_eq!(pairs(fields), expected);
    }

    #[test]
    fn a_request_in_its_parts() {
        let text = b"POST /a?b=c HTTP/1.1\r\naccept: */*\r\nHost: h:8\r\nTE: trailers\r\nConnection: TE\r\n\
            Authorization: secret\r\n\r\n";
        let (request, fields) = request(text, "https", false);
        let expected = StreamRequest {
            method: b"POST",
            scheme: b"https",
            authority: b"h:8",
            target: b"/a?b=c",
            protocol: None,
        };
        assert_eq!(request, expected);
        assert!(fields.into_iter().any(|field| field.sensitive));
        let expected = [
            ("accept", "*/*"),
            ("TE", "trailers"),
            ("Authorization", "secret"),
        ];
        assert_eq!(pairs(fields), expected);
    }

    #[test]
    fn a_websocket_is_asked_for_by_connect() {
        let text = b"GET /chat HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nSec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n\
            Connection: upgrade\r\nUpgrade: WebSocket\r\n\r\n";
        let (request, fields) = request(text, "http", true);
        let expected = StreamRequest {
            method: b"CONNECT",
            scheme: b"http",
            authority: b"h",
            target: b"/chat",
            protocol: Some(b"websocket"),
        };
        assert_eq!(request, expected);
        assert_eq!(pairs(fields), [("Sec-WebSocket-Version", "13")]);
    }

    #[test]
    fn trailers_as_received() {
        assert_eq!(
            pairs(trailers(b"a: b\r\nc: d\r\n")),
            [("a", "b"), ("c", "d")]
        );
        assert_eq!(pairs(trailers(b"")), []);
        assert_eq!(
            pairs(trailers(b"a:\t \x0cb\x0c \r\n")),
            [("a", "\x0cb\x0c")]
        );
    }
}
