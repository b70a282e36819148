//! References in an answer that name its backend, written as the client has to name it.

use std::net::{IpAddr, SocketAddr};

use super::host;

/// The names by which a backend calls itself, and the name by which the client calls the backend.
#[derive(Clone, Copy, Debug)]
pub struct References<'a> {
    /// Authorities by which the backend may name itself: the `Host` that it was sent, and its address as configured.
    pub own: [&'a [u8]; 2],
    /// The port that it listens on, if the `Host` that it was sent is not its own address: web servers write their port
    /// behind whatever name they were asked by.
    pub port: Option<u16>,
    /// The backend's address as it was connected to.
    pub addr: Option<SocketAddr>,
    /// By which the backend is spoken to: `http` or `https`.
    pub backend_scheme: &'a str,
    /// By which the client speaks to us, or to the proxy before us.
    pub scheme: &'a str,
    /// The host and port that the client has asked for; empty if the client has named none.
    pub authority: &'a [u8],
    /// Whether the backend was sent another `Host` than the client's.
    pub is_renamed: bool,
    /// The prefix that was left out of the path; empty if none was.
    pub prefix: &'a [u8],
}

/// The parts of a reference, one behind the other.
pub type Parts<'b> = [&'b [u8]; 5];

/// A reference taken apart as far as it matters here (RFC 3986 section 4).
struct Reference<'b> {
    /// `None`: that of the answer itself.
    scheme: Option<&'b [u8]>,
    authority: &'b [u8],
    /// Path, query and fragment.
    rest: &'b [u8],
}

impl<'b> Reference<'b> {
    /// `None`: it names no authority of HTTP.
    fn of(text: &'b [u8]) -> Option<Reference<'b>> {
        let scheme_len = match memchr::memmem::find(text, b"//")? {
            0 => 0,
            after => after.checked_sub(1)?,
        };
        let scheme = &text[..scheme_len];
        let is_http = [&b"http"[..], b"https"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known));
        let (scheme, behind) = match scheme {
            b"" => (None, text.strip_prefix(b"//")?),
            _ if is_http => (Some(scheme), text[scheme_len..].strip_prefix(b"://")?),
            _ => return None,
        };
        let end = behind
            .iter()
            .position(|byte| matches!(byte, b'/' | b'?' | b'#'));
        let (authority, rest) = behind.split_at(end.unwrap_or(behind.len()));
        Some(Reference {
            scheme,
            authority,
            rest,
        })
    }
}

impl<'a> References<'a> {
    /// The reference as the client has to be told it; `None`: as it is.
    pub fn rewrite<'b>(&'b self, text: &'b [u8]) -> Option<Parts<'b>> {
        let Some(reference) = Reference::of(text).filter(|_| !is_path(text)) else {
            let prefix = self.prefix_of(text);
            return (is_path(text) && !prefix.is_empty()).then_some([prefix, text, b"", b"", b""]);
        };
        let (is_own, is_clients) = (self.is_own(&reference), self.is_clients(&reference));
        if !is_own && !is_clients {
            return None;
        }
        let prefix = self.prefix_of(reference.rest);
        // A backend that names the client's own host knows it. From `http` to `https` is then what it wants: the client
        // would come back for ever.
        let is_kept = !self.is_renamed || (is_clients && (!is_own || self.scheme == "http"));
        let scheme: (&[u8], &[u8]) = match (reference.scheme, is_kept) {
            (None, _) => (b"", b"//"),
            (Some(_), false) => (self.scheme.as_bytes(), b"://"),
            (Some(scheme), true) => (scheme, b"://"),
        };
        match (is_kept, self.authority) {
            (true, _) if prefix.is_empty() => None,
            (true, _) => Some([
                scheme.0,
                scheme.1,
                reference.authority,
                prefix,
                reference.rest,
            ]),
            (false, b"") if prefix.is_empty() => {
                Some([b"/", behind_slashes(reference.rest), b"", b"", b""])
            }
            (false, b"") => Some([prefix, reference.rest, b"", b"", b""]),
            (false, authority) => Some([scheme.0, scheme.1, authority, prefix, reference.rest]),
        }
    }

    /// The prefix to put before a path that the backend does not know to have one. One that begins with the prefix has
    /// been told of it.
    fn prefix_of(&self, rest: &[u8]) -> &'a [u8] {
        match rest.strip_prefix(self.prefix) {
            Some([] | [b'/' | b'?' | b'#', ..]) if !self.prefix.is_empty() => b"",
            _ => self.prefix,
        }
    }

    /// Whether it names the backend.
    fn is_own(&self, reference: &Reference<'_>) -> bool {
        let schemes = [self.backend_scheme, self.scheme];
        let is_scheme = |scheme: &[u8]| {
            let mut known = schemes.iter();
            known.any(|known| scheme.eq_ignore_ascii_case(known.as_bytes()))
        };
        let Some(named) = host::split(reference.authority) else {
            return false;
        };
        if !reference.scheme.is_none_or(is_scheme) {
            return false;
        }
        let default_port = self.default_port(reference);
        let port = named.1.unwrap_or(default_port);
        let is_same =
            |own: &&[u8]| host::split(own).is_some_and(|own| host::same(named, own, default_port));
        let is_addr = |addr: SocketAddr| addr.port() == port && ip(named.0) == Some(addr.ip());
        let has_name =
            |own| host::split(own).is_some_and(|own| own.0.eq_ignore_ascii_case(named.0));
        self.own.iter().any(is_same)
            || self.addr.is_some_and(is_addr)
            || (self.port == Some(port) && has_name(self.own[0]))
    }

    /// Whether it names the host as the client does, which the backend is told in `X-Forwarded-Host`.
    fn is_clients(&self, reference: &Reference<'_>) -> bool {
        let default_port = self.default_port(reference);
        match (
            host::split(reference.authority),
            host::split(self.authority),
        ) {
            (Some(named), Some(asked)) => host::same(named, asked, default_port),
            _ => false,
        }
    }

    fn default_port(&self, reference: &Reference<'_>) -> u16 {
        let is_https = match reference.scheme {
            Some(scheme) => scheme.eq_ignore_ascii_case(b"https"),
            None => self.scheme == "https",
        };
        if is_https { 443 } else { 80 }
    }
}

/// Whether a reference begins with its path, from the root.
fn is_path(text: &[u8]) -> bool {
    text.starts_with(b"/") && !text.starts_with(b"//")
}

/// The part of a path behind the slashes at its start. Behind two slashes a browser reads another host, and browsers
/// read `\\` as `/` and leave tabs out (URL Standard, section 4.4).
fn behind_slashes(path: &[u8]) -> &[u8] {
    let is_slash = |byte: &&u8| matches!(byte, b'/' | b'\\' | b'\t');
    &path[path.iter().take_while(is_slash).count()..]
}

fn ip(host: &[u8]) -> Option<IpAddr> {
    let host = std::str::from_utf8(host).ok()?;
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    bare.unwrap_or(host).parse().ok()
}

/// Where in a value of `Refresh` its reference stands: `5; url=http://example.com/`, which has no RFC, as browsers read
/// it (HTML Standard, "shared declarative refresh steps").
pub fn in_refresh(value: &[u8]) -> Option<std::ops::Range<usize>> {
    let is_blank = |byte: u8| matches!(byte, b' ' | b'\t');
    let skip = |from: usize| {
        let blanks = value[from..].iter().take_while(|byte| is_blank(**byte));
        from + blanks.count()
    };
    let is_delay = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    let delay = value.iter().take_while(|byte| is_delay(byte)).count();
    let separator = skip(delay);
    let is_written = matches!(value.get(separator), Some(b';' | b','));
    if delay == 0 || separator == value.len() || (separator == delay && !is_written) {
        return None;
    }
    let mut start = skip(separator + usize::from(is_written));
    if let Some(word) = value.get(start..start + 3)
        && word.eq_ignore_ascii_case(b"url")
        && let equals = skip(start + 3)
        && value.get(equals) == Some(&b'=')
    {
        start = skip(equals + 1);
    }
    let quote = value.get(start).filter(|byte| matches!(byte, b'"' | b'\''));
    start += usize::from(quote.is_some());
    let end = match quote {
        Some(quote) => memchr::memchr(*quote, &value[start..]).map(|len| start + len),
        None => None,
    };
    Some(start..end.unwrap_or(value.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: References<'static> = References {
        own: [b"api.internal:8080", b"10.0.0.1:8080"],
        port: None,
        addr: None,
        backend_scheme: "http",
        scheme: "https",
        authority: b"www.example",
        is_renamed: true,
        prefix: b"",
    };

    fn rewritten(references: &References<'_>, text: &str) -> String {
        match references.rewrite(text.as_bytes()) {
            Some(parts) => String::from_utf8(parts.concat()).unwrap(),
            None => "as it is".to_owned(),
        }
    }

    #[test]
    fn references_table() {
        let stripped = References {
            prefix: b"/api",
            ..CLIENT
        };
        let kept = References {
            own: [b"www.example", b"10.0.0.1:8080"],
            is_renamed: false,
            ..stripped
        };
        let plain = References {
            own: [b"literal.example", b"localhost"],
            addr: "[2001:db8::1]:80".parse().ok(),
            scheme: "http",
            ..CLIENT
        };
        let ported = References {
            own: [b"literal.example:81", b"10.0.0.1:8080"],
            port: Some(8080),
            ..CLIENT
        };
        let on_default_port = References {
            port: Some(443),
            backend_scheme: "https",
            ..ported
        };
        let in_cleartext = References {
            own: [b"www.example", b"10.0.0.1:8443"],
            backend_scheme: "https",
            scheme: "http",
            ..stripped
        };
        let nameless = References {
            authority: b"",
            ..CLIENT
        };
        let stripped_nameless = References {
            authority: b"",
            ..stripped
        };
        let same = "as it is";
        let rows = [
            (
                CLIENT,
                "http://api.internal:8080/x?y#z",
                "https://www.example/x?y#z",
            ),
            (CLIENT, "HTTP://API.internal:8080", "https://www.example"),
            (CLIENT, "https://10.0.0.1:8080/x", "https://www.example/x"),
            (CLIENT, "//api.internal:8080/x", "//www.example/x"),
            (CLIENT, "http://api.internal/x", same),
            (CLIENT, "http://api.internal:80/x", same),
            (CLIENT, "http://u@api.internal:8080/x", same),
            (CLIENT, "http://api.internal:8080.evil/x", same),
            (CLIENT, "http://other:8080/x", same),
            (CLIENT, "ftp://api.internal:8080/x", same),
            (CLIENT, "/x//api.internal:8080", same),
            (CLIENT, "x", same),
            (CLIENT, "", same),
            (CLIENT, "?next=http://api.internal:8080/", same),
            (
                stripped,
                "http://api.internal:8080/x",
                "https://www.example/api/x",
            ),
            (
                stripped,
                "http://api.internal:8080?x",
                "https://www.example/api?x",
            ),
            (
                stripped,
                "http://api.internal:8080/api/x",
                "https://www.example/api/x",
            ),
            (
                stripped,
                "http://api.internal:8080/apix",
                "https://www.example/api/apix",
            ),
            (stripped, "/x?a//b", "/api/x?a//b"),
            (stripped, "/api", same),
            (stripped, "/api?x", same),
            (stripped, "x", same),
            (stripped, "../x", same),
            (stripped, "http://other/x", same),
            (kept, "https://www.example/x", "https://www.example/api/x"),
            (kept, "/x", "/api/x"),
            (kept, "https://www.example/api/x", same),
            (plain, "http://literal.example/x", "http://www.example/x"),
            (plain, "http://literal.example:80/x", "http://www.example/x"),
            (plain, "https://literal.example/x", same),
            (plain, "http://localhost/x", "http://www.example/x"),
            (plain, "http://[2001:DB8:0::1]/x", "http://www.example/x"),
            (
                ported,
                "http://Literal.example:8080/x",
                "https://www.example/x",
            ),
            (
                ported,
                "https://literal.example:8080/x",
                "https://www.example/x",
            ),
            (
                ported,
                "http://literal.example:81/x",
                "https://www.example/x",
            ),
            (ported, "//literal.example:8080/x", "//www.example/x"),
            (ported, "http://literal.example/x", same),
            (ported, "http://literal.example:8081/x", same),
            (ported, "http://u@literal.example:8080/x", same),
            (ported, "http://www.example:8080/x", same),
            (ported, "http://www.example/x", same),
            (
                on_default_port,
                "https://literal.example/x",
                "https://www.example/x",
            ),
            (
                on_default_port,
                "https://literal.example:443",
                "https://www.example",
            ),
            (on_default_port, "http://literal.example/x", same),
            (
                stripped,
                "https://www.example/x",
                "https://www.example/api/x",
            ),
            (stripped, "//www.example:443/x", "//www.example:443/api/x"),
            (stripped, "http://www.example/x", "http://www.example/api/x"),
            (stripped, "https://www.example:8443/x", same),
            (
                in_cleartext,
                "https://www.example/x",
                "https://www.example/api/x",
            ),
            (
                in_cleartext,
                "https://10.0.0.1:8443/x",
                "http://www.example/api/x",
            ),
            (nameless, "http://api.internal:8080/x", "/x"),
            (nameless, "http://api.internal:8080", "/"),
            (nameless, "http://api.internal:8080?x", "/?x"),
            (
                nameless,
                "http://api.internal:8080//evil.example/",
                "/evil.example/",
            ),
            (
                nameless,
                "http://api.internal:8080/\\evil.example/",
                "/evil.example/",
            ),
            (
                nameless,
                "http://api.internal:8080/\t/\\/evil.example//x",
                "/evil.example//x",
            ),
            (nameless, "//api.internal:8080///", "/"),
            (
                stripped_nameless,
                "http://api.internal:8080//evil.example/",
                "/api//evil.example/",
            ),
        ];
        for (references, text, expected) in rows {
            assert_eq!(
                rewritten(&references, text),
                expected,
                "{text} {references:?}"
            );
        }
    }

    #[test]
    fn refresh_table() {
        let rows = [
            ("5; url=/x", Some("/x")),
            ("5;URL = '/x' ", Some("/x")),
            ("0,url=\"/x\"y", Some("/x")),
            ("0.5 ; /x", Some("/x")),
            ("5;url='/x", Some("/x")),
            ("5;url", Some("url")),
            ("5 url=/x", Some("/x")),
            ("5\t/x", Some("/x")),
            ("5url=/x", None),
            ("5 ", None),
            ("5", None),
            ("5;", Some("")),
            ("url=/x", None),
            ("", None),
        ];
        for (value, expected) in rows {
            let found = in_refresh(value.as_bytes()).map(|range| &value[range]);
            assert_eq!(found, expected, "{value:?}");
        }
    }

    proptest::proptest! {
        /// Any value of a backend is taken apart without a panic, and nothing but the reference changes.
        #[test]
        fn any_bytes_will_do(value in "[/:?#a-z;=,.'\" 0-9]{0,24}") {
            let stripped = References { prefix: b"/api", ..CLIENT };
            for references in [CLIENT, stripped] {
                if let Some(parts) = references.rewrite(value.as_bytes()) {
                    proptest::prop_assert!(parts.concat().len() <= value.len() + 30);
                }
            }
            if let Some(range) = in_refresh(value.as_bytes()) {
                proptest::prop_assert!(range.end <= value.len() && range.start <= range.end);
            }
        }
    }
}
