//! The scheme and host by which a client calls the backend. They are kept because an answer may have to use them when
//! the head of the request is gone.

use crate::base::addresses::BackendAddr;
use crate::base::short_text::ShortText;
use crate::http::fields::list;
use crate::http::forwarded::Told;
use crate::http::h1::RequestHead;
use crate::http::host;
use crate::http::references::References;
use crate::snapshot::{Backend, HostHeader, Pool, Route};
use crate::worker::downstream::Client;

/// The scheme and the authority that the client has asked for.
#[derive(Clone)]
pub struct AskedFor {
    scheme: &'static str,
    authority: ShortText,
}

/// The scheme and host that the client, or the client of a trusted proxy, has asked for. `None`: no reference in the
/// answer is rewritten.
pub fn asked_for(
    client: &Client,
    head: &RequestHead<'_, '_>,
    route: &Route,
    client_trusted: bool,
) -> Option<AskedFor> {
    let is_renamed = route.host_header != HostHeader::Preserve;
    if !route.rewrite_location || !(is_renamed || route.strip_prefix) {
        return None;
    }
    let own_scheme = client.arrival.scheme();
    if client_trusted && is_renamed {
        Some(told(head, own_scheme))
    } else {
        Some(AskedFor {
            scheme: own_scheme,
            authority: ShortText::of(head.host),
        })
    }
}

/// The scheme and host that, according to a trusted proxy, its client asked for. The first member of a list counts:
/// each proxy adds its own view behind the views that it received, so that the first member is the view of the proxy
/// that the client spoke to.
#[cold]
fn told(head: &RequestHead<'_, '_>, own_scheme: &'static str) -> AskedFor {
    let first = |name| list(head.field(name)?).next();
    let forwarded = Told::of(head.field("forwarded").unwrap_or_default());
    let scheme = first("x-forwarded-proto").or(forwarded.proto);
    let scheme = scheme.and_then(scheme_of).unwrap_or(own_scheme);
    let is_host = |host: &&[u8]| host::split(host).is_some();
    let host = first("x-forwarded-host").filter(is_host);
    let host = host.or(forwarded.host.filter(is_host));
    let host = host.unwrap_or(head.host);
    let port = first("x-forwarded-port").and_then(port_to_write);
    let authority = match (host::split(host), port) {
        (Some((name, None)), Some(port)) => {
            ShortText::of(&[name, format!(":{port}").as_bytes()].concat())
        }
        _ => ShortText::of(host),
    };
    AskedFor { scheme, authority }
}

fn scheme_of(proto: &[u8]) -> Option<&'static str> {
    let mut known = ["https", "http"].into_iter();
    known.find(|known| proto.eq_ignore_ascii_case(known.as_bytes()))
}

/// A port that is written behind a host that names none. The default ports of both schemes are never written: a proxy
/// that was itself asked in cleartext often names 80 beside `https`.
fn port_to_write(text: &[u8]) -> Option<u16> {
    let port = std::str::from_utf8(text).ok()?.parse().ok()?;
    (!matches!(port, 0 | 80 | 443)).then_some(port)
}

impl AskedFor {
    /// How references in an answer of this backend are rewritten.
    pub fn references<'a>(
        &'a self,
        route: &'a Route,
        pool: &Pool,
        backend: &'a Backend,
    ) -> References<'a> {
        let authority = self.authority.as_bytes();
        let address = backend.host.as_bytes();
        References {
            own: match &route.host_header {
                HostHeader::Backend => [address, address],
                HostHeader::Literal(host) => [host.as_bytes(), address],
                HostHeader::Preserve => [authority, authority],
            },
            port: match (&route.host_header, &backend.addr) {
                (HostHeader::Literal(_), Some(BackendAddr::Tcp(addr))) => Some(addr.port()),
                _ => None,
            },
            addr: match (&route.host_header, &backend.addr) {
                (HostHeader::Preserve, _) => None,
                (_, Some(BackendAddr::Tcp(addr))) => Some(*addr),
                _ => None,
            },
            backend_scheme: if pool.tls.is_some() { "https" } else { "http" },
            scheme: self.scheme,
            authority,
            is_renamed: route.host_header != HostHeader::Preserve,
            prefix: if route.strip_prefix {
                route.prefix.as_bytes()
            } else {
                b""
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::decide::sample::with_head;

    #[test]
    fn a_trusted_proxy_says_what_its_client_has_asked_for() {
        let rows = [
            ("", "http", "own"),
            ("X-Forwarded-Proto: https\n", "https", "own"),
            ("X-Forwarded-Proto: HTTPS, http\n", "https", "own"),
            ("X-Forwarded-Proto: ftp\n", "http", "own"),
            ("X-Forwarded-Host: first, second\n", "http", "first"),
            ("X-Forwarded-Host: a@b\n", "http", "own"),
            ("Forwarded: proto=https;host=told\n", "https", "told"),
            (
                "X-Forwarded-Host: first\nForwarded: host=told\n",
                "http",
                "first",
            ),
            (
                "X-Forwarded-Host: first\nX-Forwarded-Port: 8443\n",
                "http",
                "first:8443",
            ),
            (
                "X-Forwarded-Host: first:81\nX-Forwarded-Port: 8443\n",
                "http",
                "first:81",
            ),
            (
                "X-Forwarded-Host: first\nX-Forwarded-Port: 443\n",
                "http",
                "first",
            ),
        ];
        for (fields, scheme, authority) in rows {
            let text = format!("GET / HTTP/1.1\nHost: own\n{fields}");
            let asked = with_head(&text, |head| told(head, "http"));
            assert_eq!(asked.scheme, scheme, "{fields}");
            let found = String::from_utf8_lossy(asked.authority.as_bytes());
            assert_eq!(found, authority, "{fields}");
        }
    }

    #[test]
    fn default_ports_are_not_written() {
        let rows: [(&[u8], Option<u16>); 7] = [
            (b"8080", Some(8080)),
            (b"80", None),
            (b"443", None),
            (b"0", None),
            (b"65536", None),
            (b"a", None),
            (b"", None),
        ];
        for (text, expected) in rows {
            assert_eq!(port_to_write(text), expected, "{text:?}");
        }
    }
}
