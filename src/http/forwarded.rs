//! The identity of the client when proxies stand before us.

use std::net::{IpAddr, SocketAddr};

use crate::base::cidr::Cidr;
use crate::http::fields::{list, trim};

/// The client's address, if it has one: the rightmost address that is not a trusted proxy's, read from the connection's
/// `peer` backwards through `X-Forwarded-For` (`forwarded_for`: the fields' values in order). Reading ends at a member
/// that is no address, because nothing beyond it can be believed. If all addresses are trusted, the leftmost is the
/// client's. A peer without an address is a trusted client on a Unix socket.
pub fn client_address<'b>(
    peer: Option<IpAddr>,
    forwarded_for: impl Iterator<Item = &'b [u8]>,
    trusted: &[Cidr],
) -> Option<IpAddr> {
    let peer = peer.map(|peer| peer.to_canonical());
    let is_trusted = |address: IpAddr| trusted.iter().any(|range| range.contains(address));
    if !peer.is_none_or(is_trusted) {
        return peer;
    }
    // Forwards, each member corrects what those before it made likely: one pass, nothing kept.
    let mut client = None;
    for member in forwarded_for.flat_map(list) {
        client = match parse(member) {
            None => None,
            Some(address) if is_trusted(address) => client.or(Some(address)),
            address => address,
        };
    }
    client.or(peer)
}

/// An address, with or without a port, IPv6 with or without brackets.
fn parse(member: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(member).ok()?;
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let address = match bare.unwrap_or(text).parse::<IpAddr>() {
        Ok(address) => address,
        Err(_) => text.parse::<SocketAddr>().ok()?.ip(),
    };
    Some(address.to_canonical())
}

/// The URL that the client asked for, as the first element of a `Forwarded` names it (RFC 7239 section 4): the proxy to
/// which the client spoke has written this element.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told<'b> {
    /// The value of `host`: the host that the client asked the proxy for.
    pub host: Option<&'b [u8]>,
    /// The value of `proto`: the scheme by which the client reached the proxy.
    pub proto: Option<&'b [u8]>,
}

impl<'b> Told<'b> {
    /// Reads a value. Escaped signs are in no host, so that a text with such signs is left out.
    pub fn of(value: &'b [u8]) -> Told<'b> {
        let mut told = Told::default();
        let (mut rest, mut has_begun) = (value, false);
        while !rest.is_empty() {
            let (pair, behind) = rest.split_at(pair_len(rest));
            let pair = trim(pair);
            has_begun |= !pair.is_empty();
            told.note(pair);
            if has_begun && behind.first() == Some(&b',') {
                break;
            }
            rest = behind.get(1..).unwrap_or_default();
        }
        told
    }

    fn note(&mut self, pair: &'b [u8]) {
        let Some(sign) = memchr::memchr(b'=', pair) else {
            return;
        };
        let (name, value) = (&pair[..sign], unquoted(&pair[sign + 1..]));
        if name.eq_ignore_ascii_case(b"host") {
            self.host = self.host.or(value);
        } else if name.eq_ignore_ascii_case(b"proto") {
            self.proto = self.proto.or(value);
        }
    }
}

/// Bytes before the first `;` or `,` that stands in no quotes.
fn pair_len(text: &[u8]) -> usize {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let ends = text.iter().position(|byte| {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b';' | b',' => return !is_quoted,
            _ => {}
        }
        false
    });
    ends.unwrap_or(text.len())
}

/// A value without its quotes; `None`: there is one quote too few, or a sign is escaped.
fn unquoted(value: &[u8]) -> Option<&[u8]> {
    let bare = match value.strip_prefix(b"\"") {
        Some(rest) => rest.strip_suffix(b"\"")?,
        None => value,
    };
    (!bare.iter().any(|byte| matches!(byte, b'"' | b'\\'))).then_some(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn told_table() {
        let rows = [
            ("", None, None),
            ("for=192.0.2.1", None, None),
            ("host=a;proto=https", Some("a"), Some("https")),
            (
                "For=\"[::1]:8\"; HOST=\"a:81\" ;Proto=http",
                Some("a:81"),
                Some("http"),
            ),
            ("host=a, host=b;proto=https", Some("a"), None),
            ("for=x;;proto=https,host=b", None, Some("https")),
            (" , ;host=a", Some("a"), None),
            ("for=\"a,b;host=x\";host=y", Some("y"), None),
            ("for=\"a\\\",b\";host=y", Some("y"), None),
            ("host=\"a", None, None),
            ("host=\"a\\b\"", None, None),
            ("host=a;host=b", Some("a"), None),
            ("xhost=a;host", None, None),
        ];
        for (value, host, proto) in rows {
            let expected = Told {
                host: host.map(str::as_bytes),
                proto: proto.map(str::as_bytes),
            };
            assert_eq!(Told::of(value.as_bytes()), expected, "{value}");
        }
    }

    proptest::proptest! {
        /// Any value of a proxy is taken apart without a panic.
        #[test]
        fn any_value_will_do(value in "[a-z=;,\\\\\" hostpr]{0,40}") {
            let told = Told::of(value.as_bytes());
            let is_part = |text: &[u8]| text.len() < value.len();
            proptest::prop_assert!(told.host.is_none_or(is_part) && told.proto.is_none_or(is_part));
        }
    }

    /// Trusted: 10/8 and fd00::/8.
    fn client(peer: &str, forwarded_for: &[&str]) -> String {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let values = forwarded_for.iter().map(|value| value.as_bytes());
        let client = client_address(peer.parse().ok(), values, &trusted);
        client.map_or_else(|| "none".to_owned(), |client| client.to_string())
    }

    #[test]
    fn clients_table() {
        let rows: [(&str, &[&str], &str); 25] = [
            ("203.0.113.9", &[], "203.0.113.9"),
            ("203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            (
                "10.0.0.1",
                &["1.1.1.1", "198.51.100.1, 10.2.2.2"],
                "198.51.100.1",
            ),
            ("10.0.0.1", &["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
            ("10.0.0.1", &["1.1.1.1, unknown, 10.2.2.2"], "10.2.2.2"),
            ("10.0.0.1", &["1.1.1.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("10.0.0.1", &["[2001:db8::1]:443, [fd00::2]"], "2001:db8::1"),
            ("fd00::1", &["2001:db8::1"], "2001:db8::1"),
            ("::ffff:10.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &[" , ,198.51.100.1 ,"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1, _hidden"], "10.0.0.1"),
            (
                "10.0.0.1",
                &["1.1.1.1", "garbage here", "10.2.2.2"],
                "10.2.2.2",
            ),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1:99999"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1:, 10.2.2.2:80"], "10.2.2.2"),
            ("10.0.0.1", &["198.51.100.1, [fd00::2"], "10.0.0.1"),
            ("10.0.0.1", &["\"198.51.100.1\""], "10.0.0.1"),
            (
                "10.0.0.1",
                &["1.1.1.1, 198.51.100.1, unknown, 10.3.3.3, 10.2.2.2"],
                "10.3.3.3",
            ),
            ("unix:", &[], "none"),
            (
                "unix:",
                &["1.1.1.1, 198.51.100.1, 10.2.2.2"],
                "198.51.100.1",
            ),
            ("unix:", &["198.51.100.1, unknown"], "none"),
            ("unix:", &["10.3.3.3"], "10.3.3.3"),
        ];
        for (peer, forwarded_for, expected) in rows {
            assert_eq!(
                client(peer, forwarded_for),
                expected,
                "{peer} {forwarded_for:?}"
            );
        }
    }
}
