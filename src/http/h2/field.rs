//! The view of HTTP/2 on a field: the names that HTTP/2 knows, the bytes that it allows (RFC 9113 section 8.2).

use crate::http::fields::{KnownField, recognise, trim};

/// The meaning of a name to the checks of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    /// Passed on unread.
    Plain,
    Cookie,
    ContentLength,
    Expect,
    Host,
    Priority,
    Te,
    Method,
    Scheme,
    Authority,
    Path,
    /// `:protocol` (RFC 8441).
    Protocol,
    Status,
    /// A name that concerns an HTTP/1 connection and must not be here (section 8.2.2).
    Forbidden,
    /// A name that decides something with `_` in place of `-`.
    Disguised,
    /// Empty, not a token, in upper case, or an unknown pseudo-field.
    Bad,
}

impl Class {
    pub(super) fn is_pseudo(self) -> bool {
        matches!(
            self,
            Class::Method
                | Class::Scheme
                | Class::Authority
                | Class::Path
                | Class::Protocol
                | Class::Status
        )
    }
}

/// The bytes of a field name in HTTP/2: those of a token without upper-case letters.
const NAME_BYTE: [bool; 256] = {
    let mut table = [false; 256];
    let allowed = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz";
    let mut at = 0;
    while at < allowed.len() {
        table[allowed[at] as usize] = true;
        at += 1;
    }
    table
};

/// Tells what a name means.
pub(super) fn classify(name: &[u8]) -> Class {
    if name.first() == Some(&b':') {
        return pseudo(name);
    }
    if name.is_empty() || !name.iter().all(|byte| NAME_BYTE[usize::from(*byte)]) {
        return Class::Bad;
    }
    match recognise(name) {
        KnownField::ContentLength => Class::ContentLength,
        KnownField::Expect => Class::Expect,
        KnownField::Host => Class::Host,
        KnownField::Te => Class::Te,
        KnownField::Connection
        | KnownField::KeepAlive
        | KnownField::ProxyConnection
        | KnownField::TransferEncoding
        | KnownField::Upgrade => Class::Forbidden,
        KnownField::Disguised => Class::Disguised,
        KnownField::Other if name == b"cookie" => Class::Cookie,
        KnownField::Other if name == b"priority" => Class::Priority,
        KnownField::FromProxies
        | KnownField::Http2Settings
        | KnownField::Location
        | KnownField::Refresh
        | KnownField::SetCookie
        | KnownField::ProxyAuthenticate
        | KnownField::ProxyAuthorization
        | KnownField::Trailer
        | KnownField::XForwardedFor
        | KnownField::XForwardedHost
        | KnownField::XForwardedProto
        | KnownField::Other => Class::Plain,
    }
}

fn pseudo(name: &[u8]) -> Class {
    match name {
        b":method" => Class::Method,
        b":scheme" => Class::Scheme,
        b":authority" => Class::Authority,
        b":path" => Class::Path,
        b":protocol" => Class::Protocol,
        b":status" => Class::Status,
        _ => Class::Bad,
    }
}

/// Whether a value has no control byte but tabs, and no blank at its ends.
pub(super) fn is_clean(value: &[u8]) -> bool {
    // Without an early end, so that many bytes are looked at in one instruction.
    let bad = value.iter().fold(false, |bad, &byte| {
        bad | (byte < b' ' && byte != b'\t') | (byte == 0x7f)
    });
    !bad && trim(value).len() == value.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_table() {
        let rows = [
            ("accept", Class::Plain),
            ("x-forwarded-for", Class::Plain),
            ("cookie", Class::Cookie),
            ("priority", Class::Priority),
            ("te", Class::Te),
            ("host", Class::Host),
            ("content-length", Class::ContentLength),
            ("expect", Class::Expect),
            (":method", Class::Method),
            (":scheme", Class::Scheme),
            (":authority", Class::Authority),
            (":path", Class::Path),
            (":protocol", Class::Protocol),
            (":status", Class::Status),
            (":Method", Class::Bad),
            (":other", Class::Bad),
            (":", Class::Bad),
            ("", Class::Bad),
            ("Accept", Class::Bad),
            ("a b", Class::Bad),
            ("a:b", Class::Bad),
            ("a\r", Class::Bad),
            ("a\u{e9}", Class::Bad),
            ("connection", Class::Forbidden),
            ("keep-alive", Class::Forbidden),
            ("proxy-connection", Class::Forbidden),
            ("transfer-encoding", Class::Forbidden),
            ("upgrade", Class::Forbidden),
            ("transfer_encoding", Class::Disguised),
            ("x_forwarded_for", Class::Disguised),
        ];
        for (name, class) in rows {
            assert_eq!(classify(name.as_bytes()), class, "{name}");
        }
    }

    #[test]
    fn values_table() {
        for value in ["", "a", "a b", "a\tb", "\u{e9}", "~!"] {
            assert!(is_clean(value.as_bytes()), "{value:?}");
        }
        for value in [
            " a", "a ", "\ta", "a\t", " ", "a\rb", "a\nb", "a\0b", "\x7f", "\x1b[0m",
        ] {
            assert!(!is_clean(value.as_bytes()), "{value:?}");
        }
    }
}
