//! The address at which a running palantir can be reached.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;

/// An address of the management API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// A host, which is an address without brackets or a name, and a port.
    Tcp {
        host: String,
        port: u16,
    },
    Unix(PathBuf),
}

impl Reach {
    /// Reads `127.0.0.1:8687`, `[::1]:8687`, `unix:/path`, or `http://` or `https://` with an address or a name and a
    /// port. Returns also whether the text asks for TLS. Errors: the forms that are valid.
    pub fn parse(text: &str) -> Result<(Reach, bool), String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok((Reach::Unix(PathBuf::from(path)), false));
        }
        let wrong = || {
            format!(
                "{text:?} is neither \"address:port\" nor \"unix:/path\", nor \"https://\" and a host with its port"
            )
        };
        let (rest, is_tls, may_be_name) =
            match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
                (Some(rest), _) => (rest, true, true),
                (_, Some(rest)) => (rest, false, true),
                _ => (text, false, false),
            };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if let Ok(addr) = authority.parse::<SocketAddr>() {
            return Ok((Reach::of(addr), is_tls));
        }
        let (host, port) = authority.rsplit_once(':').ok_or_else(wrong)?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        match port.parse() {
            Ok(port) if may_be_name && !host.is_empty() && host.chars().all(is_name) => {
                let host = host.to_owned();
                Ok((Reach::Tcp { host, port }, is_tls))
            }
            _ => Err(wrong()),
        }
    }

    /// The address of a listener as a client uses it: on loopback if the listener has every address.
    fn of(addr: SocketAddr) -> Reach {
        let ip = match addr.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        Reach::Tcp {
            host: ip.to_string(),
            port: addr.port(),
        }
    }

    /// The host that the server's certificate must be for, unless a setting names another.
    pub fn host(&self) -> &str {
        match self {
            Reach::Tcp { host, .. } => host,
            Reach::Unix(_) => "localhost",
        }
    }

    /// Whether messages to this address stay on this machine, where no other machine can read them.
    pub fn is_on_this_machine(&self) -> bool {
        match self {
            Reach::Unix(_) => true,
            Reach::Tcp { host, .. } if host == "localhost" => true,
            Reach::Tcp { host, .. } => host.parse().is_ok_and(is_own),
        }
    }
}

/// Whether the address is one of this machine's. To such an address the kernel sends from the address itself, over
/// loopback.
fn is_own(ip: IpAddr) -> bool {
    let unspecified: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // Connecting a UDP socket sends nothing.
    let chosen = UdpSocket::bind((unspecified, 0)).and_then(|socket| {
        socket.connect((ip, 9))?;
        socket.local_addr()
    });
    ip.to_canonical().is_loopback() || chosen.is_ok_and(|chosen| chosen.ip() == ip)
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reach::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Reach::Tcp { host, port } => write!(f, "{host}:{port}"),
            Reach::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_written() {
        let rows = [
            ("127.0.0.1:9", Some(("127.0.0.1:9", false)), true),
            ("0.0.0.0:9", Some(("127.0.0.1:9", false)), true),
            ("[::]:9", Some(("[::1]:9", false)), true),
            ("http://127.0.0.1:9", Some(("127.0.0.1:9", false)), true),
            ("https://[::1]:9/", Some(("[::1]:9", true)), true),
            (
                "https://admin.example:9",
                Some(("admin.example:9", true)),
                false,
            ),
            ("http://localhost:9", Some(("localhost:9", false)), true),
            ("http://192.0.2.1:9", Some(("192.0.2.1:9", false)), false),
            ("unix:/run/a.sock", Some(("unix:/run/a.sock", false)), true),
            ("admin.example:9", None, false),
            ("https://admin.example", None, false),
            ("https://admin.example:9/path", None, false),
            ("https://user@admin.example:9", None, false),
            ("https://:9", None, false),
            ("ftp://127.0.0.1:9", None, false),
            ("", None, false),
        ];
        for (text, expected, is_near) in rows {
            let parsed = Reach::parse(text).ok();
            let shown = parsed
                .as_ref()
                .map(|(reach, tls)| (reach.to_string(), *tls));
            let expected = expected.map(|(shown, tls)| (shown.to_owned(), tls));
            assert_eq!(shown, expected, "{text}");
            let near = parsed.is_some_and(|(reach, _)| reach.is_on_this_machine());
            assert_eq!(near, is_near, "{text}");
        }
    }
}
