//! The URL that a request asks for, in the form in which the cache knows it.

use crate::cache::content_location::TargetUri;
use crate::cache::key::{Key, KeyParts, write_authority};
use crate::cache::policy::Policy;
use crate::http::fields::list;
use crate::http::forwarded::Told;
use crate::http::host;
use crate::worker::decide::Incoming;

/// The URL that a request asks for, as parts of its head.
#[derive(Clone, Copy, Debug)]
pub struct UrlParts<'a> {
    /// The scheme that the backend is told, `http` or `https`.
    scheme: &'static str,
    /// The host that the client asked for, without a port.
    host: &'a [u8],
    /// The port that the client asked for, if it named one.
    port: Option<u16>,
    /// The path as it is forwarded.
    path: &'a [u8],
    /// The query.
    query: Option<&'a [u8]>,
}

impl<'a> UrlParts<'a> {
    /// The URL of a request. From a trusted proxy, the scheme and host count that the proxy names, because the backend
    /// is told these.
    pub fn of(incoming: &Incoming<'a>) -> UrlParts<'a> {
        let (client, head) = (incoming.client, incoming.head);
        let scheme = client.arrival.scheme();
        if !client.arrival.is_trusted(incoming.config.snapshot()) {
            return UrlParts {
                scheme,
                host: head.host_name,
                port: port_behind(head.host, head.host_name),
                path: incoming.target.forwarded,
                query: head.query,
            };
        }
        let first = |name| list(head.field(name)?).next();
        let told = Told::of(head.field("forwarded").unwrap_or_default());
        let scheme = match first("x-forwarded-proto").or(told.proto) {
            Some(proto) if proto.eq_ignore_ascii_case(b"https") => "https",
            Some(_) => "http",
            None => scheme,
        };
        let named = first("x-forwarded-host").or(told.host);
        let is_host = |host: &&[u8]| host::split(host).is_some();
        let authority = named.filter(is_host).unwrap_or(head.host);
        let (host, port) = host::split(authority).unwrap_or((authority, None));
        UrlParts {
            scheme,
            host,
            port,
            path: incoming.target.forwarded,
            query: head.query,
        }
    }

    /// Appends the key of the URL, for a request with these fields.
    pub fn write_key(&self, policy: &Policy, fields: &[httparse::Header<'_>], out: &mut Vec<u8>) {
        let parts = KeyParts {
            policy,
            scheme: self.scheme,
            host: self.host,
            port: self.port,
            path: self.path,
            query: self.query,
            fields,
        };
        Key::write(&parts, out);
    }
}

/// The port in an authority that was split before.
fn port_behind(authority: &[u8], host: &[u8]) -> Option<u16> {
    let port = authority.get(host.len()..)?.strip_prefix(b":")?;
    std::str::from_utf8(port).ok()?.parse().ok()
}

/// The URL that a request asks for, kept when its head is gone.
#[derive(Clone, Debug)]
pub struct AskedUrl {
    /// The scheme that the backend is told, `http` or `https`.
    scheme: &'static str,
    /// Host and port in the one form that keys have.
    authority: Box<[u8]>,
    /// The path with its query, as it is forwarded.
    path_and_query: Box<[u8]>,
    /// The bytes of the path.
    path_len: usize,
}

impl AskedUrl {
    /// Keeps a URL.
    pub fn of(parts: &UrlParts<'_>) -> AskedUrl {
        let mut authority = Vec::with_capacity(parts.host.len() + ":65535".len());
        write_authority(parts.scheme, parts.host, parts.port, &mut authority);
        let path_and_query = match parts.query {
            Some(query) => [parts.path, b"?", query].concat(),
            None => parts.path.to_vec(),
        };
        AskedUrl {
            scheme: parts.scheme,
            authority: authority.into(),
            path_and_query: path_and_query.into(),
            path_len: parts.path.len(),
        }
    }

    /// Appends the key of another path and query of the same host, for a request with these fields.
    pub fn write_key_of(
        &self,
        policy: &Policy,
        (path, query): (&[u8], Option<&[u8]>),
        fields: &[httparse::Header<'_>],
        out: &mut Vec<u8>,
    ) {
        let (host, port) = host::split(&self.authority).unwrap_or((&self.authority, None));
        let parts = KeyParts {
            policy,
            scheme: self.scheme,
            host,
            port,
            path,
            query,
            fields,
        };
        Key::write(&parts, out);
    }

    /// The path, and the query if there is one.
    pub fn path_and_query(&self) -> (&[u8], Option<&[u8]>) {
        let (path, rest) = self.path_and_query.split_at(self.path_len);
        (path, rest.get(1..))
    }

    /// Appends the beginning of all keys of a path and query of the same host, whatever the fields of the keys.
    pub fn write_url(
        &self,
        policy: &Policy,
        path_and_query: (&[u8], Option<&[u8]>),
        out: &mut Vec<u8>,
    ) {
        let mut key = Vec::new();
        self.write_key_of(policy, path_and_query, &[], &mut key);
        if let Some(parts) = Key::read(&key) {
            let zone = std::str::from_utf8(parts.zone).unwrap_or_default();
            Key::write_prefix(zone, parts.url, out);
        }
    }

    /// The URL as references are resolved against it.
    pub fn target(&self) -> TargetUri<'_> {
        TargetUri {
            scheme: self.scheme.as_bytes(),
            authority: &self.authority,
            path_and_query: &self.path_and_query,
        }
    }

    /// Scheme, host and port, as tags name an origin.
    pub fn origin(&self) -> Vec<u8> {
        [self.scheme.as_bytes(), b"://", &self.authority].concat()
    }

    /// Host and port in the one form that keys have.
    pub fn authority(&self) -> &[u8] {
        &self.authority
    }
}
