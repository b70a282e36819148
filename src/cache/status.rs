//! `Cache-Status` (RFC 9211): how a cache came to its answer.

use crate::cache::policy::StatusField;
use crate::http::fields;

/// Why a request was forwarded (RFC 9211 section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarded {
    /// The cache was not asked: `bypass`.
    Bypass,
    /// The method is one that a cache does not answer: `method`.
    Method,
    /// No stored response has the key: `uri-miss`.
    UriMiss,
    /// Stored responses have the key, and none of them matches by `Vary`: `vary-miss`.
    VaryMiss,
    /// No stored response could be used, for some other or unknown reason: `miss`.
    Miss,
    /// A stored response was fresh, and the request did not permit to use it: `request`.
    Request,
    /// The stored response was stale: `stale`.
    Stale,
    /// The stored response had only a part of what was asked for: `partial`.
    Partial,
}

impl Forwarded {
    /// The token of the parameter `fwd`.
    pub fn token(self) -> &'static str {
        match self {
            Forwarded::Bypass => "bypass",
            Forwarded::Method => "method",
            Forwarded::UriMiss => "uri-miss",
            Forwarded::VaryMiss => "vary-miss",
            Forwarded::Miss => "miss",
            Forwarded::Request => "request",
            Forwarded::Stale => "stale",
            Forwarded::Partial => "partial",
        }
    }
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// The cache, without a request to a backend.
    Hit,
    /// A backend.
    Forwarded {
        /// The reason.
        reason: Forwarded,
        /// The status that the backend answered with, where it is another one than that of the answer.
        status: Option<u16>,
        /// Whether the backend's answer was stored.
        is_stored: bool,
        /// Whether the request waited for the answer to another one.
        is_collapsed: bool,
    },
}

/// One member of `Cache-Status`.
#[derive(Clone, Copy, Debug)]
pub struct CacheStatus<'a> {
    /// The name of the cache.
    pub name: &'a str,
    /// Where the answer came from.
    pub handling: Handling,
    /// Seconds for which the answer stays fresh; negative: since when it is stale.
    pub ttl: Option<i64>,
    /// The key, for readers who may see it.
    pub key: Option<&'a [u8]>,
    /// Further words, for readers who may see them.
    pub detail: Option<&'a str>,
}

impl CacheStatus<'_> {
    /// Appends the member: all of it, or `hit` or `fwd` and `ttl`. Nothing is written for [`StatusField::Off`].
    pub fn write(&self, form: StatusField, out: &mut Vec<u8>) {
        if form == StatusField::Off {
            return;
        }
        write_word(self.name.as_bytes(), out);
        let is_full = form == StatusField::Full;
        match self.handling {
            Handling::Hit => out.extend_from_slice(b"; hit"),
            Handling::Forwarded { reason, .. } => {
                out.extend_from_slice(b"; fwd=");
                out.extend_from_slice(reason.token().as_bytes());
            }
        }
        if is_full {
            self.write_fetch(out);
        }
        if let Some(ttl) = self.ttl {
            write_number(b"; ttl=", ttl, out);
        }
        if is_full {
            if let Some(key) = self.key {
                out.extend_from_slice(b"; key=");
                write_string(key, out);
            }
            if let Some(detail) = self.detail {
                out.extend_from_slice(b"; detail=");
                write_word(detail.as_bytes(), out);
            }
        }
    }

    /// Appends the value of one field with the members of earlier caches and this one.
    pub fn write_behind<'e>(
        &self,
        earlier: impl Iterator<Item = &'e [u8]>,
        form: StatusField,
        out: &mut Vec<u8>,
    ) {
        let start = out.len();
        for value in earlier.map(fields::trim).filter(|value| !value.is_empty()) {
            separate(start, out);
            out.extend_from_slice(value);
        }
        // RFC 9211 section 2: members stand in the order from the origin server to the client.
        if form != StatusField::Off {
            separate(start, out);
            self.write(form, out);
        }
    }

    /// The parameters that tell of the request to the backend.
    fn write_fetch(&self, out: &mut Vec<u8>) {
        let Handling::Forwarded {
            status,
            is_stored,
            is_collapsed,
            ..
        } = self.handling
        else {
            return;
        };
        if let Some(status) = status {
            write_number(b"; fwd-status=", i64::from(status), out);
        }
        if is_stored {
            out.extend_from_slice(b"; stored");
        }
        if is_collapsed {
            out.extend_from_slice(b"; collapsed");
        }
    }
}

fn separate(start: usize, out: &mut Vec<u8>) {
    if out.len() > start {
        out.extend_from_slice(b", ");
    }
}

/// An integer of a structured field has at most 15 digits (RFC 9651 section 3.3.1).
fn write_number(name: &[u8], number: i64, out: &mut Vec<u8>) {
    const LARGEST: i64 = 999_999_999_999_999;
    out.extend_from_slice(name);
    let number = number.clamp(-LARGEST, LARGEST);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A token where the text is one (RFC 9651 section 3.3.4), else a string.
fn write_word(text: &[u8], out: &mut Vec<u8>) {
    let begins_token = |first: &u8| first.is_ascii_alphabetic() || *first == b'*';
    let is_token_byte =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(byte);
    if text.first().is_some_and(begins_token) && text.iter().all(is_token_byte) {
        out.extend_from_slice(text);
    } else {
        write_string(text, out);
    }
}

/// A string of a structured field (RFC 9651 section 3.3.3). Bytes that a string cannot have are written as `%` and two
/// hexadecimal digits.
fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x20..=0x7e => out.push(byte),
            _ => {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                let digit = |four: u8| DIGITS[usize::from(four)];
                out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;
    use sfv::visitor::{EntryVisitor, Ignored, ListVisitor};

    use super::*;

    const HIT: CacheStatus<'static> = CacheStatus {
        name: "palantir",
        handling: Handling::Hit,
        ttl: Some(30),
        key: None,
        detail: None,
    };

    fn forwarded(reason: Forwarded) -> CacheStatus<'static> {
        let handling = Handling::Forwarded {
            reason,
            status: None,
            is_stored: false,
            is_collapsed: false,
        };
        CacheStatus {
            handling,
            ttl: None,
            ..HIT
        }
    }

    fn written(status: &CacheStatus<'_>, form: StatusField) -> String {
        let mut out = Vec::new();
        status.write(form, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn members_table() {
        let validated = CacheStatus {
            handling: Handling::Forwarded {
                reason: Forwarded::Stale,
                status: Some(304),
                is_stored: true,
                is_collapsed: true,
            },
            ttl: Some(60),
            key: Some(b"https://a.test/\"b\"\\\xc3\x00"),
            detail: Some("set-cookie"),
            ..HIT
        };
        let named = CacheStatus {
            name: "our cache \"1\"",
            ttl: Some(-412),
            detail: Some("two words"),
            ..HIT
        };
        let rows = [
            (HIT, "palantir; hit; ttl=30", "palantir; hit; ttl=30"),
            (
                validated,
                "palantir; fwd=stale; ttl=60",
                "palantir; fwd=stale; fwd-status=304; stored; collapsed; ttl=60; \
                 key=\"https://a.test/\\\"b\\\"\\\\%C3%00\"; detail=set-cookie",
            ),
            (
                named,
                "\"our cache \\\"1\\\"\"; hit; ttl=-412",
                "\"our cache \\\"1\\\"\"; hit; ttl=-412; detail=\"two words\"",
            ),
            (
                forwarded(Forwarded::Bypass),
                "palantir; fwd=bypass",
                "palantir; fwd=bypass",
            ),
            (
                forwarded(Forwarded::Method),
                "palantir; fwd=method",
                "palantir; fwd=method",
            ),
            (
                forwarded(Forwarded::UriMiss),
                "palantir; fwd=uri-miss",
                "palantir; fwd=uri-miss",
            ),
            (
                forwarded(Forwarded::VaryMiss),
                "palantir; fwd=vary-miss",
                "palantir; fwd=vary-miss",
            ),
            (
                forwarded(Forwarded::Miss),
                "palantir; fwd=miss",
                "palantir; fwd=miss",
            ),
            (
                forwarded(Forwarded::Request),
                "palantir; fwd=request",
                "palantir; fwd=request",
            ),
            (
                forwarded(Forwarded::Partial),
                "palantir; fwd=partial",
                "palantir; fwd=partial",
            ),
        ];
        for (status, brief, full) in rows {
            assert_eq!(written(&status, StatusField::Brief), brief);
            assert_eq!(written(&status, StatusField::Full), full);
            assert_eq!(written(&status, StatusField::Off), "");
        }
    }

    /// RFC 9211 section 2: the cache next to the client stands last.
    #[test]
    fn earlier_caches_stand_before() {
        let rows: [(&[&str], &str, &str); 4] = [
            (&[], "palantir; hit; ttl=30", ""),
            (&["a; hit"], "a; hit, palantir; hit; ttl=30", "a; hit"),
            (
                &["a; hit", " b; fwd=miss "],
                "a; hit, b; fwd=miss, palantir; hit; ttl=30",
                "a; hit, b; fwd=miss",
            ),
            (&[""], "palantir; hit; ttl=30", ""),
        ];
        for (earlier, brief, off) in rows {
            for (form, expected) in [(StatusField::Brief, brief), (StatusField::Off, off)] {
                let mut out = b"Cache-Status: ".to_vec();
                HIT.write_behind(earlier.iter().map(|value| value.as_bytes()), form, &mut out);
                assert_eq!(
                    String::from_utf8(out).unwrap(),
                    format!("Cache-Status: {expected}")
                );
            }
        }
    }

    proptest! {
        /// The field is a structured one with one member, whatever the words are.
        #[test]
        fn the_field_is_well_formed(name: String, key: Vec<u8>, detail: String, ttl: i64) {
            let status = CacheStatus {
                name: &name,
                ttl: Some(ttl),
                key: Some(&key),
                detail: Some(&detail),
                ..forwarded(Forwarded::Miss)
            };
            let text = written(&status, StatusField::Full);
            let count = sfv::Parser::new(&text).parse_list_with_visitor(Members(0));
            prop_assert_eq!(count.ok(), Some(1), "{}", text);
        }
    }

    /// The number of members of a list.
    struct Members(usize);

    impl<'v> ListVisitor<'v> for Members {
        type Out = usize;
        type Error = Infallible;

        fn entry(&mut self) -> Result<impl EntryVisitor<'v>, Infallible> {
            self.0 += 1;
            Ok(Ignored)
        }

        fn finish(self) -> Result<usize, Infallible> {
            Ok(self.0)
        }
    }
}
