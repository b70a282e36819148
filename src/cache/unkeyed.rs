//! Unkeyed input: fields of requests that are no part of the key, and by which frameworks change their answer as if
//! another URL, scheme, host or method had been asked for. A client that sends one could put a wrong answer into the
//! cache for all.

use crate::http::names;

/// Names of such fields. `X-Forwarded-Proto` is not among them: the scheme that the backend is told is a part of the
/// key.
const NAMES: [&[u8]; 33] = [
    b"forwarded",
    b"front-end-https",
    b"x-envoy-original-host",
    b"x-envoy-original-path",
    b"x-forward-host",
    b"x-forward-port",
    b"x-forward-proto",
    b"x-forwarded-host",
    b"x-forwarded-path",
    b"x-forwarded-port",
    b"x-forwarded-prefix",
    b"x-forwarded-protocol",
    b"x-forwarded-scheme",
    b"x-forwarded-server",
    b"x-forwarded-ssl",
    b"x-forwarded-uri",
    b"x-host",
    b"x-http-host-override",
    b"x-http-method",
    b"x-http-method-override",
    b"x-method-override",
    b"x-original-host",
    b"x-original-path",
    b"x-original-prefix",
    b"x-original-proto",
    b"x-original-scheme",
    b"x-original-uri",
    b"x-original-url",
    b"x-real-host",
    b"x-rewrite-uri",
    b"x-rewrite-url",
    b"x-scheme",
    b"x-url-scheme",
];

/// Whether a field of a GET or HEAD is not forwarded on a route with a cache. `is_keyed` says whether a name, in lower
/// case, is a part of the key: one of `key_headers`, or named by `Vary` of the stored responses of the URL.
pub fn is_removed(name: &[u8], is_keyed: impl Fn(&str) -> bool) -> bool {
    // Every name has at least 6 bytes and begins with one of two letters: nearly all fields end here.
    let may_be = name.len() >= 6 && matches!(name[0] | 0x20, b'f' | b'x');
    if !may_be || !NAMES.iter().any(|known| names::same(known, name)) {
        return false;
    }
    // A name in disguise (`X_Host`) is not the one that is a part of the key.
    let name = std::str::from_utf8(name).unwrap_or_default();
    !is_keyed(&name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removed_names_table() {
        let keyed = |name: &str| name == "x-host";
        let rows = [
            ("X-Forwarded-Host", true),
            ("x-forwarded-scheme", true),
            ("X-Forwarded-Prefix", true),
            ("X-Forwarded-Server", true),
            ("X-Original-URL", true),
            ("X-Rewrite-URL", true),
            ("X-HTTP-Method", true),
            ("X-HTTP-Method-Override", true),
            ("X-Method-Override", true),
            ("Forwarded", true),
            ("Front-End-Https", true),
            ("X-Forwarded-Port", true),
            // A name that a gateway reads as one of these.
            ("X_Rewrite_Url", true),
            ("X.Original.URL", true),
            // A part of the key; in disguise it is not.
            ("X-Host", false),
            ("X_Host", true),
            ("X-Forwarded-Proto", false),
            ("X-Forwarded-For", false),
            ("X-Forwarded", false),
            ("X-Hosts", false),
            ("Host", false),
            ("Accept", false),
            ("X", false),
            ("", false),
        ];
        for (name, expected) in rows {
            assert_eq!(is_removed(name.as_bytes(), keyed), expected, "{name}");
        }
        for name in NAMES {
            assert!(
                is_removed(name, |_| false),
                "the quick check knows every name"
            );
            assert!(!is_removed(name, |_| true));
        }
    }
}
