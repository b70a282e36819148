//! The meaning of field names to a proxy, and the two kinds of lists that field values hold.

use httparse::Header;

use super::names;
use super::proxy_fields::{self, Initials, bit, may_end_so, place};
pub use super::proxy_fields::{is_from_proxies, is_of_websphere};

/// The names on which framing, routing, trust or the connection depend. Every other field is passed on unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownField {
    /// `Connection` (RFC 9110 section 7.6.1).
    Connection,
    /// `Content-Length` (RFC 9110 section 8.6).
    ContentLength,
    /// `Expect` (RFC 9110 section 10.1.1).
    Expect,
    /// `Host` (RFC 9110 section 7.2).
    Host,
    /// `HTTP2-Settings` (RFC 7540 section 3.2.1).
    Http2Settings,
    /// `Keep-Alive` (RFC 2068 section 19.7.1.1).
    KeepAlive,
    /// `Location` or `Content-Location`: a reference that a backend may have written for itself.
    Location,
    /// `Proxy-Authenticate` (RFC 9110 section 11.7.1).
    ProxyAuthenticate,
    /// `Proxy-Authorization` (RFC 9110 section 11.7.2).
    ProxyAuthorization,
    /// `Proxy-Connection`, which some clients send in place of `Connection` (RFC 9112 appendix C.2.2).
    ProxyConnection,
    /// Holds such a reference.
    Refresh,
    /// `Set-Cookie` (RFC 6265 section 4.1).
    SetCookie,
    /// `TE` (RFC 9110 section 10.1.4).
    Te,
    /// `Trailer` (RFC 9110 section 6.6.2).
    Trailer,
    /// `Transfer-Encoding` (RFC 9112 section 6.1).
    TransferEncoding,
    /// `Upgrade` (RFC 9110 section 7.8).
    Upgrade,
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `X-Forwarded-Host`.
    XForwardedHost,
    /// `X-Forwarded-Proto`.
    XForwardedProto,
    /// A field in which a proxy before palantir tells of the client or of the URL that the client asked for. Any sign
    /// in the place of a `-` makes no other name of it.
    FromProxies,
    /// A name of one of the other variants, written with `_` in place of `-`. Gateways that turn names into variables
    /// (CGI, WSGI) cannot tell them apart, so that such a field could slip past what is decided here.
    Disguised,
    /// None of the above.
    Other,
}

/// By length: which first letters known names have.
const FIRST_INITIALS: Initials = {
    let mut initials = proxy_fields::INITIALS;
    let mut at = 0;
    while at < KNOWN_STARTS.len() {
        let (len, first) = KNOWN_STARTS[at];
        initials[place(len)] |= bit(first);
        at += 1;
    }
    initials
};

const KNOWN_STARTS: [(usize, u8); 17] = [
    (2, b't'),
    (4, b'h'),
    (6, b'e'),
    (7, b'r'),
    (7, b't'),
    (7, b'u'),
    (8, b'l'),
    (10, b's'),
    (16, b'c'),
    (10, b'c'),
    (10, b'k'),
    (14, b'c'),
    (14, b'h'),
    (16, b'p'),
    (17, b't'),
    (18, b'p'),
    (19, b'p'),
];

/// Tells what a field name means, whatever its case.
#[inline]
pub fn recognise(name: &[u8]) -> KnownField {
    // Nearly all other names end here: few have length and first letter of a known one.
    let initials = FIRST_INITIALS[place(name.len())];
    match name {
        [first, ..] if initials & bit(*first) != 0 => look_up(name),
        [.., a, b] if may_end_so([*a, *b]) && is_from_proxies(name) => KnownField::FromProxies,
        _ => KnownField::Other,
    }
}

/// Length and first letter leave one candidate at most, besides those that only proxies say.
fn look_up(name: &[u8]) -> KnownField {
    let known = match (name.len(), name[0] | 0x20) {
        (2, b't') => compare(name, b"te", KnownField::Te),
        (4, b'h') => compare(name, b"host", KnownField::Host),
        (6, b'e') => compare(name, b"expect", KnownField::Expect),
        (7, b't') => compare(name, b"trailer", KnownField::Trailer),
        (7, b'r') => plainly(name, b"refresh", KnownField::Refresh),
        (8, b'l') => plainly(name, b"location", KnownField::Location),
        (10, b's') => plainly(name, b"set-cookie", KnownField::SetCookie),
        (16, b'c') => plainly(name, b"content-location", KnownField::Location),
        (7, b'u') => compare(name, b"upgrade", KnownField::Upgrade),
        (10, b'c') => compare(name, b"connection", KnownField::Connection),
        (10, b'k') => compare(name, b"keep-alive", KnownField::KeepAlive),
        (14, b'c') => compare(name, b"content-length", KnownField::ContentLength),
        (14, b'h') => compare(name, b"http2-settings", KnownField::Http2Settings),
        (15, b'x') => compare(name, b"x-forwarded-for", KnownField::XForwardedFor),
        (16, b'p') => compare(name, b"proxy-connection", KnownField::ProxyConnection),
        (16, b'x') => compare(name, b"x-forwarded-host", KnownField::XForwardedHost),
        (17, b't') => compare(name, b"transfer-encoding", KnownField::TransferEncoding),
        (17, b'x') => compare(name, b"x-forwarded-proto", KnownField::XForwardedProto),
        (18, b'p') => compare(name, b"proxy-authenticate", KnownField::ProxyAuthenticate),
        (19, b'p') => compare(name, b"proxy-authorization", KnownField::ProxyAuthorization),
        _ => KnownField::Other,
    };
    match known {
        KnownField::Other if is_from_proxies(name) => KnownField::FromProxies,
        known => known,
    }
}

/// Compares with the one candidate of a name that decides nothing: another sign makes another name of it.
fn plainly(name: &[u8], candidate: &[u8], known: KnownField) -> KnownField {
    if name.eq_ignore_ascii_case(candidate) {
        known
    } else {
        KnownField::Other
    }
}

/// Compares with the one candidate (in lower case). Its length is a constant here, so that this is a few wide
/// instructions.
#[inline(always)]
fn compare<const N: usize>(name: &[u8], candidate: &[u8; N], known: KnownField) -> KnownField {
    let Ok(name) = <&[u8; N]>::try_from(name) else {
        return KnownField::Other;
    };
    // A name has no control bytes, so that bit 5 tells nothing but a letter's case.
    let difference = name
        .iter()
        .zip(candidate)
        .fold(0, |all, (byte, wanted)| all | ((byte | 0x20) ^ wanted));
    if difference == 0 {
        known
    } else if is_disguised(name, candidate) {
        KnownField::Disguised
    } else {
        KnownField::Other
    }
}

/// Whether a name of [`KnownField::Disguised`] would tell where a message ends: a request with such a field is refused,
/// any other one of these fields is left out.
pub fn disguises_framing(name: &[u8]) -> bool {
    names::same(name, b"content-length") || names::same(name, b"transfer-encoding")
}

#[cold]
fn is_disguised(name: &[u8], candidate: &[u8]) -> bool {
    name.iter().zip(candidate).all(|(&byte, &wanted)| {
        byte.eq_ignore_ascii_case(&wanted) || (byte == b'_' && wanted == b'-')
    })
}

/// Whether an operator may set or remove a field of this name: not those that decide framing, routing or the
/// connection.
pub fn may_be_edited(name: &str) -> bool {
    matches!(
        recognise(name.as_bytes()),
        KnownField::Other
            | KnownField::FromProxies
            | KnownField::Location
            | KnownField::Refresh
            | KnownField::SetCookie
            | KnownField::Trailer
            | KnownField::XForwardedFor
            | KnownField::XForwardedHost
            | KnownField::XForwardedProto
    )
}

/// The members of a comma-separated list (RFC 9110 section 5.6.1), without blanks around them; empty ones are left out.
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .map(trim)
        .filter(|member| !member.is_empty())
}

/// The meaning of an `Expect` field (RFC 9110 section 10.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// The field is an empty list.
    None,
    /// Nothing but `100-continue`.
    Continue,
    /// Something that nobody has defined.
    Unknown,
}

/// Reads the value of `Expect`.
pub fn expectation(value: &[u8]) -> Expectation {
    let mut read = Expectation::None;
    for member in list(value) {
        if member.eq_ignore_ascii_case(b"100-continue") {
            read = Expectation::Continue
        } else {
            return Expectation::Unknown;
        }
    }
    read
}

/// `text` without the blanks (space, tab) at its ends.
pub fn trim(text: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = text.iter().position(|byte| !is_blank(byte));
    let end = text.iter().rposition(|byte| !is_blank(byte));
    match (start, end) {
        (Some(start), Some(end)) => &text[start..=end],
        _ => &[],
    }
}

/// Whether a byte of a cookie is a control byte that a listener may tolerate: no reader takes it for the end of
/// anything.
pub fn is_tolerable(byte: u8) -> bool {
    byte.is_ascii_control() && !matches!(byte, b'\0' | b'\r' | b'\n' | b'\t')
}

/// Whether a text is a token (RFC 9110 section 5.6.2).
pub fn is_token(text: &[u8]) -> bool {
    let is_token_byte =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_token_byte)
}

/// The value of the first field of this name, whatever its case.
pub fn find<'b>(fields: &[Header<'b>], name: &str) -> Option<&'b [u8]> {
    fields
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case(name))
        .map(|field| field.value)
}

/// The value of the first cookie of this name (RFC 6265 section 4.2), quotes included if it has some. Names of cookies
/// are case-sensitive.
pub fn cookie<'b>(fields: &[Header<'b>], name: &str) -> Option<&'b [u8]> {
    fields
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case("cookie"))
        .flat_map(|field| field.value.split(|&byte| byte == b';'))
        .find_map(|pair| trim(pair).strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// The values of all fields of this name, in order.
pub fn values<'b>(fields: &[Header<'b>], name: &str) -> impl Iterator<Item = &'b [u8]> {
    fields
        .iter()
        .filter(move |field| field.name.eq_ignore_ascii_case(name))
        .map(|field| field.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [(&str, KnownField); 16] = [
        ("connection", KnownField::Connection),
        ("content-length", KnownField::ContentLength),
        ("expect", KnownField::Expect),
        ("host", KnownField::Host),
        ("http2-settings", KnownField::Http2Settings),
        ("keep-alive", KnownField::KeepAlive),
        ("proxy-authenticate", KnownField::ProxyAuthenticate),
        ("proxy-authorization", KnownField::ProxyAuthorization),
        ("proxy-connection", KnownField::ProxyConnection),
        ("te", KnownField::Te),
        ("trailer", KnownField::Trailer),
        ("transfer-encoding", KnownField::TransferEncoding),
        ("upgrade", KnownField::Upgrade),
        ("x-forwarded-for", KnownField::XForwardedFor),
        ("x-forwarded-host", KnownField::XForwardedHost),
        ("x-forwarded-proto", KnownField::XForwardedProto),
    ];

    #[test]
    fn known_names_are_recognised_in_any_case_and_disguise() {
        for (name, known) in NAMES {
            assert_eq!(recognise(name.as_bytes()), known, "{name}");
            assert_eq!(recognise(name.to_uppercase().as_bytes()), known, "{name}");
            let disguised = name.replace('-', "_");
            if disguised != name {
                assert_eq!(
                    recognise(disguised.as_bytes()),
                    KnownField::Disguised,
                    "{disguised}"
                );
            }
        }
    }

    #[test]
    fn any_other_byte_makes_another_name() {
        let other_than = |name: &[u8]| {
            if is_from_proxies(name) {
                KnownField::FromProxies
            } else {
                KnownField::Other
            }
        };
        for (name, _) in NAMES {
            for at in 0..name.len() {
                let mut other = name.as_bytes().to_vec();
                other[at] = b'!';
                assert_eq!(recognise(&other), other_than(&other), "{name} {at}");
            }
            let shorter = &name.as_bytes()[1..];
            assert_eq!(recognise(shorter), other_than(shorter), "{name}");
            let longer = [name.as_bytes(), b"s"].concat();
            assert_eq!(recognise(&longer), other_than(&longer));
        }
        for name in [
            "",
            "x",
            "cookie",
            "user-agent",
            "content_type",
            &"c".repeat(300),
        ] {
            assert_eq!(recognise(name.as_bytes()), KnownField::Other, "{name}");
        }
    }

    #[test]
    fn references_and_cookies_are_recognised() {
        for name in ["Location", "content-location"] {
            assert_eq!(recognise(name.as_bytes()), KnownField::Location, "{name}");
        }
        assert_eq!(recognise(b"REFRESH"), KnownField::Refresh);
        assert_eq!(recognise(b"Set-Cookie"), KnownField::SetCookie);
        for name in ["set_cookie", "content_location", "set-cookie2"] {
            assert_eq!(recognise(name.as_bytes()), KnownField::Other, "{name}");
        }
    }

    #[test]
    fn operators_edit_what_decides_nothing() {
        for name in [
            "x-team",
            "X-Forwarded-Proto",
            "authorization",
            "cookie",
            "Location",
            "set-cookie",
        ] {
            assert!(may_be_edited(name), "{name}");
        }
        for name in [
            "Host",
            "content-length",
            "transfer-encoding",
            "connection",
            "te",
            "x_forwarded_for",
        ] {
            assert!(!may_be_edited(name), "{name}");
        }
    }

    #[test]
    fn expectations_table() {
        let rows = [
            ("", Expectation::None),
            (" , ,", Expectation::None),
            ("100-continue", Expectation::Continue),
            ("100-Continue", Expectation::Continue),
            (", 100-continue ,100-continue", Expectation::Continue),
            ("100-continue, x", Expectation::Unknown),
            ("x, 100-continue", Expectation::Unknown),
            ("100-continue;q=1", Expectation::Unknown),
            ("100", Expectation::Unknown),
        ];
        for (value, expected) in rows {
            assert_eq!(expectation(value.as_bytes()), expected, "{value:?}");
        }
    }

    #[test]
    fn lists_leave_blanks_and_empty_members_out() {
        let members = |value: &'static str| list(value.as_bytes()).collect::<Vec<_>>();
        assert_eq!(members("a"), [b"a"]);
        assert_eq!(members(" a ,\tb,, c d ,"), [&b"a"[..], b"b", b"c d"]);
        assert!(members(" , \t,").is_empty());
    }

    #[test]
    fn cookies_table() {
        let fields = [
            Header {
                name: "Cookie",
                value: b"a=1; bb=2;c=\"3\"; d",
            },
            Header {
                name: "accept",
                value: b"e=5",
            },
            Header {
                name: "cookie",
                value: b"a=9; f=x=y",
            },
        ];
        let rows: [(&str, Option<&[u8]>); 8] = [
            ("a", Some(b"1")),
            ("b", None),
            ("bb", Some(b"2")),
            ("c", Some(b"\"3\"")),
            ("d", None),
            ("e", None),
            ("f", Some(b"x=y")),
            ("A", None),
        ];
        for (name, expected) in rows {
            assert_eq!(cookie(&fields, name), expected, "{name}");
        }
    }
}
