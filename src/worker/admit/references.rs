//! What a client calls the backend, for the time when its head is gone: an answer may have to name the backend so.

use crate::base::short_text::ShortText;
use crate::http::h1::RequestHead;
use crate::http::host;
use crate::http::references::References;
use crate::snapshot::{Backend, BackendAddr, HostHeader, Pool, Route};
use crate::worker::downstream::Client;

/// Scheme and authority that the client has asked for.
pub struct AskedFor {
    scheme: &'static str,
    authority: ShortText,
}

/// What the client has asked for, or the client of a trusted proxy. `None`: no reference in the answer is rewritten.
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
    let told = |name| head.field(name).filter(|_| client_trusted && is_renamed);
    let own_scheme = match client.arrival.secured {
        Some(_) => "https",
        None => "http",
    };
    let scheme = match told("x-forwarded-proto") {
        Some(proto) if proto.eq_ignore_ascii_case(b"https") => "https",
        Some(proto) if proto.eq_ignore_ascii_case(b"http") => "http",
        _ => own_scheme,
    };
    let authority = told("x-forwarded-host").filter(|host| host::split(host).is_some());
    Some(AskedFor {
        scheme,
        authority: ShortText::of(authority.unwrap_or(head.host)),
    })
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
            addr: match (&route.host_header, &backend.addr) {
                (HostHeader::Preserve, _) => None,
                (_, Some(BackendAddr::Tcp(addr))) => Some(*addr),
                _ => None,
            },
            backend_scheme: if pool.tls.is_some() { "https" } else { "http" },
            scheme: self.scheme,
            authority,
            is_renamed: route.host_header != HostHeader::Preserve,
            prefix: match route.strip_prefix {
                true => route.prefix.as_bytes(),
                false => b"",
            },
        }
    }
}
