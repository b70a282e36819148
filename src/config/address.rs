//! Addresses and host names as the operator writes them. Each error is a sentence that says what would be right.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use rustls::pki_types::{DnsName, ServerName};

use super::document::Item;
use super::mask::MASK;
use crate::base::addresses::ListenAddr;
use crate::base::limits;

/// A backend's address as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendAddress {
    /// The `Host` that a client would send; `localhost` for a Unix socket.
    pub host: String,
    /// The place of the backend on the network or on this machine.
    pub target: BackendTarget,
}

/// The place of a backend: a known address, a name to resolve, or a socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BackendTarget {
    /// An IP address and a port.
    Ip(SocketAddr),
    /// A name to look up, in lower case.
    Name(String, u16),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl BackendAddress {
    /// Reads `127.0.0.1:9001`, `[::1]:9001`, `name:9001`, each with or without `http://`, or `unix:/path`. Errors: what
    /// would be right.
    pub fn parse(text: &str) -> Result<BackendAddress, String> {
        backend(text)
    }

    /// The name that the backend is asked for and verified as over TLS, unless its pool names another.
    pub(super) fn server_name(&self) -> ServerName<'static> {
        match &self.target {
            BackendTarget::Ip(addr) => ServerName::IpAddress(addr.ip().into()),
            BackendTarget::Name(name, _) => dns_name(name.clone()),
            BackendTarget::Unix(_) => dns_name(self.host.clone()),
        }
    }
}

fn dns_name(name: String) -> ServerName<'static> {
    DnsName::try_from(name)
        .map(ServerName::DnsName)
        .expect("every host name that is accepted is a DNS name")
}

impl fmt::Display for BackendTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackendTarget::Ip(addr) => addr.fmt(f),
            BackendTarget::Name(name, port) => write!(f, "{name}:{port}"),
            BackendTarget::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The name of a file.
pub(super) fn file_path(item: &Item<'_>) -> Option<PathBuf> {
    match item.text()? {
        "" => item.wrong("must name a file"),
        MASK => item.wrong(format!(
            "{MASK} stands for a name that is not shown; write the name of the file"
        )),
        path if path.contains('\0') => item.wrong("must name a file, without a NUL"),
        path => Some(PathBuf::from(path)),
    }
}

/// `127.0.0.1:8080`, `[::1]:8080` or `unix:/path`.
pub(super) fn listen_addr(text: &str) -> Result<ListenAddr, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(ListenAddr::Unix(unix_path(path)?));
    }
    socket_addr(text)
        .map(ListenAddr::Tcp)
        .map_err(|right| format!("{right}, or a socket \"unix:/path\""))
}

/// `127.0.0.1:9001` or `[::1]:9001`.
pub(super) fn socket_addr(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        // A socket for IPv6 takes no connections over IPv4 here, so that it cannot have such an address.
        Ok(addr) if addr.ip().to_canonical() != addr.ip() => {
            let right = SocketAddr::new(addr.ip().to_canonical(), addr.port());
            Err(format!("is an IPv4 address in the form of IPv6; write \"{right}\""))
        }
        Ok(addr) if addr.port() != 0 => Ok(addr),
        _ => Err("must be an IP address and a port from 1 to 65535, such as \"127.0.0.1:8080\" or \"[::1]:8080\"".to_owned()),
    }
}

/// `127.0.0.1:9001`, `[::1]:9001`, `name:9001`, each with or without `http://`, or `unix:/path`.
pub(super) fn backend(text: &str) -> Result<BackendAddress, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(BackendAddress {
            host: "localhost".to_owned(),
            target: BackendTarget::Unix(unix_path(path)?),
        });
    }
    if text.starts_with("https://") {
        return Err("write \"name:port\", and tls = true for the pool".to_owned());
    }
    let authority = match text.strip_prefix("http://") {
        Some(rest) => rest.strip_suffix('/').unwrap_or(rest),
        None => text,
    };
    if authority.contains('/') {
        return Err(
            "a backend has no path; write \"name:port\", and see strip_prefix of the route"
                .to_owned(),
        );
    }
    if authority.contains('@') {
        return Err("a backend has no user; write \"name:port\"".to_owned());
    }
    let (host, port) = split_port(authority)?;
    Ok(BackendAddress {
        host: authority.to_owned(),
        target: match ip_address(host) {
            Some(ip) => BackendTarget::Ip(SocketAddr::new(ip, port)),
            None => BackendTarget::Name(host_name(host)?, port),
        },
    })
}

fn split_port(authority: &str) -> Result<(&str, u16), String> {
    let right =
        "must be \"address:port\", \"name:port\" or \"unix:/path\", the port from 1 to 65535";
    let (host, port) = authority.rsplit_once(':').ok_or(right)?;
    let is_plain = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(number) if is_plain && number != 0 => Ok((host, number)),
        _ => Err(right.to_owned()),
    }
}

/// An IPv4 address, or an IPv6 address in brackets.
fn ip_address(host: &str) -> Option<IpAddr> {
    match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(v6) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse().ok().filter(IpAddr::is_ipv4),
    }
}

/// A DNS name (RFC 1123 section 2.1, and the underscore that internal names often have), in lower case.
fn host_name(text: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        (1..=63).contains(&bytes.len())
            && bytes
                .iter()
                .all(|&byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && bytes[0] != b'-'
            && bytes[bytes.len() - 1] != b'-'
    };
    if text.contains(':') || text.starts_with('[') {
        return Err("an IPv6 address is written in brackets, such as \"[::1]:9001\"".to_owned());
    }
    if text.len() > limits::HOST_BYTES || !text.split('.').all(is_label) {
        return Err("the host is not a name of letters, digits, \"-\" and \".\"".to_owned());
    }
    // A name that ends in a number is a mistyped IPv4 address: no top-level domain is one (RFC 3696 section 2).
    let last = text.rsplit('.').next().unwrap_or(text);
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("the host is neither an IPv4 address nor a name".to_owned());
    }
    match DnsName::try_from(text) {
        Ok(_) => Ok(text.to_ascii_lowercase()),
        Err(_) => Err("the host is not a DNS name".to_owned()),
    }
}

/// A route's host: a name, an IP address, or `*.` and a name; in lower case, without a port.
pub(super) fn host_pattern(text: &str) -> Result<String, String> {
    if let Some(ip) = ip_address(text) {
        return Ok(match ip {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        });
    }
    let right =
        "must be a host name without port, such as \"api.example.com\" or \"*.example.com\"";
    match text.strip_prefix("*.") {
        Some(name) => host_name(name).map(|name| format!("*.{name}")),
        None => host_name(text),
    }
    .map_err(|_| right.to_owned())
}

/// Reads a value of the field `Host`: a name or an address, with or without a port.
pub(super) fn host_field(text: &str) -> Result<String, String> {
    let host = match text.rsplit_once(':') {
        Some((host, _)) if !text.ends_with(']') => split_port(text).map(|_| host),
        _ => Ok(text),
    };
    match host {
        Ok(host) if ip_address(host).is_some() || host_name(host).is_ok() => Ok(text.to_owned()),
        _ => Err("must be \"backend\", \"preserve\" or a host with or without port".to_owned()),
    }
}

fn unix_path(path: &str) -> Result<PathBuf, String> {
    let is_plain = path.starts_with('/') && !path.contains(char::is_control);
    if !is_plain || path.len() > limits::UNIX_PATH_BYTES {
        let most = limits::UNIX_PATH_BYTES;
        return Err(format!(
            "a socket is written \"unix:/path\", the path absolute and of at most {most} bytes"
        ));
    }
    Ok(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_as_written() {
        let ip = |text: &str| BackendTarget::Ip(text.parse().unwrap());
        let name = |text: &str, port| BackendTarget::Name(text.to_owned(), port);
        let rows = [
            ("127.0.0.1:9001", "127.0.0.1:9001", ip("127.0.0.1:9001")),
            (
                "http://127.0.0.1:9001/",
                "127.0.0.1:9001",
                ip("127.0.0.1:9001"),
            ),
            ("[::1]:9001", "[::1]:9001", ip("[::1]:9001")),
            (
                "API.internal:80",
                "API.internal:80",
                name("api.internal", 80),
            ),
            (
                "localhost:65535",
                "localhost:65535",
                name("localhost", 65535),
            ),
            (
                "unix:/run/app.sock",
                "localhost",
                BackendTarget::Unix("/run/app.sock".into()),
            ),
        ];
        for (text, host, target) in rows {
            let host = host.to_owned();
            assert_eq!(backend(text), Ok(BackendAddress { host, target }), "{text}");
        }
    }

    #[test]
    fn backends_that_are_none() {
        let rows = [
            ("", "must be \"address:port\""),
            ("127.0.0.1", "must be \"address:port\""),
            ("localhost:0", "must be \"address:port\""),
            ("localhost:65536", "must be \"address:port\""),
            ("localhost:+80", "must be \"address:port\""),
            ("::1:9001", "an IPv6 address is written in brackets"),
            ("[::g]:9001", "an IPv6 address is written in brackets"),
            ("[127.0.0.1]:1", "an IPv6 address is written in brackets"),
            (":9001", "the host is not a name"),
            ("a b:1", "the host is not a name"),
            ("-a:1", "the host is not a name"),
            ("a..b:1", "the host is not a name"),
            ("127.0.0.256:1", "the host is neither"),
            ("http://a:1/path", "a backend has no path"),
            ("a:b@c:1", "a backend has no user"),
            ("https://a:1", "write \"name:port\", and tls = true"),
            ("unix:run/app.sock", "a socket is written"),
            ("unix:/a\0b", "a socket is written"),
        ];
        for (text, expected) in rows {
            let right = backend(text).unwrap_err();
            assert!(right.starts_with(expected), "{text:?}: {right}");
        }
        let long = format!("unix:/{}", "x".repeat(limits::UNIX_PATH_BYTES));
        assert!(backend(&long).is_err());
    }

    #[test]
    fn host_patterns() {
        let rows = [
            ("Api.Example.com", Some("api.example.com")),
            ("*.example.com", Some("*.example.com")),
            ("192.0.2.1", Some("192.0.2.1")),
            ("[2001:DB8::0:1]", Some("[2001:db8::1]")),
            ("*", None),
            ("*.", None),
            ("a.*.com", None),
            ("example.com:80", None),
            ("example.com.", None),
            ("http://example.com", None),
            ("", None),
        ];
        for (text, expected) in rows {
            assert_eq!(host_pattern(text).ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn literal_host_fields() {
        for text in [
            "example.com",
            "example.com:8080",
            "10.0.0.1",
            "[::1]",
            "[::1]:80",
        ] {
            assert_eq!(host_field(text).as_deref(), Ok(text));
        }
        for text in [
            "",
            "a b",
            "example.com:",
            "example.com:x",
            "a\r\nb",
            "[::1]:",
        ] {
            assert!(host_field(text).is_err(), "{text:?}");
        }
    }
}
