//! The authority of a request: `host[:port]` (RFC 3986 section 3.2), and nothing that two readers could take apart
//! differently.

use std::net::Ipv6Addr;

use crate::base::limits;

/// The bytes of a host name.
const HOST_BYTE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let char = byte as u8;
        table[byte] = char.is_ascii_alphanumeric() || matches!(char, b'-' | b'.' | b'_' | b'~');
        byte += 1;
    }
    table
};

/// Splits `host[:port]`. Accepted hosts: letters, digits, `-`, `.`, `_`, `~`, of at most 253 bytes, and IPv6
/// addresses in brackets, which stay in the result. `None`: user information, percent-encoding, an empty or malformed
/// host, one with an empty label other than that of the root at its end (`a..b`, `.a`, `a..`), or a port that is not
/// a number in `1..=65535`. A colon with no digits behind it names no port (RFC 3986 section 3.2.3).
pub fn split(authority: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let host_len = match authority.first()? {
        b'[' => bracketed_len(authority)?,
        _ => name_len(authority),
    };
    let (host, rest) = authority.split_at(host_len);
    if host.is_empty() || host.len() > limits::HOST_BYTES {
        return None;
    }
    match rest {
        [] | [b':'] => Some((host, None)),
        [b':', digits @ ..] => Some((host, Some(port(digits)?))),
        _ => None,
    }
}

/// The name without the dot that may end it: `a.test.` is `a.test`, said as DNS says it.
pub fn without_root(name: &[u8]) -> &[u8] {
    name.strip_suffix(b".").unwrap_or(name)
}

/// The authority without a colon at its end that no port follows (RFC 3986 section 6.2.3).
pub fn without_empty_port(authority: &[u8]) -> &[u8] {
    authority.strip_suffix(b":").unwrap_or(authority)
}

/// Whether two authorities name the same host and port, where none is written meaning `default_port`.
pub fn same(left: (&[u8], Option<u16>), right: (&[u8], Option<u16>), default_port: u16) -> bool {
    left.0.eq_ignore_ascii_case(right.0)
        && left.1.unwrap_or(default_port) == right.1.unwrap_or(default_port)
}

/// Bytes of the name; 0 if it has an empty label before its end.
fn name_len(authority: &[u8]) -> usize {
    let mut len = 0;
    let mut before = b'.';
    while len < authority.len() && HOST_BYTE[usize::from(authority[len])] {
        let byte = authority[len];
        if byte == b'.' && before == b'.' {
            return 0;
        }
        before = byte;
        len += 1;
    }
    len
}

fn bracketed_len(authority: &[u8]) -> Option<usize> {
    let end = memchr::memchr(b']', authority)?;
    let address = std::str::from_utf8(&authority[1..end]).ok()?;
    address.parse::<Ipv6Addr>().ok()?;
    Some(end + 1)
}

fn port(digits: &[u8]) -> Option<u16> {
    let number = digits.iter().try_fold(0u16, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u16::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })?;
    (number > 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_formed_table() {
        let rows: [(&str, &str, Option<u16>); 13] = [
            ("h:", "h", None),
            ("[::1]:", "[::1]", None),
            ("h:080", "h", Some(80)),
            ("h:000000443", "h", Some(443)),
            ("a", "a", None),
            ("api.example.com", "api.example.com", None),
            ("API.Example.com:8080", "API.Example.com", Some(8080)),
            ("my_host-1.~x.", "my_host-1.~x.", None),
            ("127.0.0.1:1", "127.0.0.1", Some(1)),
            ("h:65535", "h", Some(65535)),
            ("[::1]", "[::1]", None),
            ("[2001:db8::7]:443", "[2001:db8::7]", Some(443)),
            ("[::ffff:10.0.0.1]", "[::ffff:10.0.0.1]", None),
        ];
        for (authority, host, port) in rows {
            assert_eq!(
                split(authority.as_bytes()),
                Some((host.as_bytes(), port)),
                "{authority}"
            );
        }
    }

    #[test]
    fn malformed_table() {
        let rows = [
            "",
            ":80",
            ":",
            "h::",
            "h:0",
            "h:000",
            "h:65536",
            "h:123456",
            "h:8x",
            "h:+80",
            "h:80:80",
            "h: 80",
            "a b",
            "a,b",
            "a/b",
            "a@b",
            "u:p@h",
            "a%2eb",
            "a?b",
            "a#b",
            "a\\b",
            "b\u{fc}cher.example",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]80",
            "[]",
            "[1.2.3.4]",
            "[fe80::1%25eth0]",
            "[v1.x]",
            ".",
            "..",
            ".a",
            "a..",
            "a..b",
            "a.b..",
            "..a:80",
            "a;b",
            "a=b",
            "a\"b",
            "<a>",
        ];
        for authority in rows {
            assert_eq!(split(authority.as_bytes()), None, "{authority}");
        }
        assert!(split(&[b'a'; limits::HOST_BYTES]).is_some());
        assert_eq!(split(&[b'a'; limits::HOST_BYTES + 1]), None);
    }

    #[test]
    fn same_ignores_case_and_the_default_port() {
        let same = |left: &str, right: &str, port| {
            super::same(
                split(left.as_bytes()).unwrap(),
                split(right.as_bytes()).unwrap(),
                port,
            )
        };
        assert!(same("A.example", "a.EXAMPLE:80", 80));
        assert!(same("a.example:443", "a.example", 443));
        assert!(!same("a.example", "a.example:443", 80));
        assert!(!same("a.example", "b.example", 80));
        assert!(!same("a.example", "a.example.", 80));
    }
}
