//! The PROXY protocol: what a proxy says of a client before the client's own first byte, in a line (version 1) or in
//! binary (version 2). Source: <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>.
//!
//! There is exactly one way to read a header here; whatever else begins a connection is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use thiserror::Error;

use crate::base::limits;

/// The statement of a header about its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxiedAddrs {
    /// The proxy speaks for itself, as with a health check; version 2 alone can say so.
    Local,
    /// There is a client, of whom nothing is told that could be used here. One at a Unix socket is such a client.
    Unknown,
    /// The client is connected over TCP.
    Tcp {
        /// The address that connected to the proxy.
        client: SocketAddr,
        /// The address that was connected to.
        server: SocketAddr,
    },
}

/// A header that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the header; what follows is the client's.
    pub bytes: usize,
    /// The statement of the header about the client.
    pub addrs: ProxiedAddrs,
}

/// The connection does not begin with a header as the specification has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no PROXY header, or a malformed one")]
pub struct Malformed;

const LINE_BEGIN: &[u8] = b"PROXY ";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of a version 2 header before its addresses.
const FIXED_BYTES: usize = 16;
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;

/// Reads the header at the beginning of `bytes`; `None`: more bytes are needed, and none that are there speak against
/// it. Errors: it is no header, or longer than [`limits::PROXY_LINE_BYTES`] or [`limits::PROXY_HEADER_BYTES`].
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    match bytes.first() {
        None => Ok(None),
        Some(b'P') => parse_line(bytes),
        Some(_) => parse_binary(bytes),
    }
}

/// Whether all of `bytes` that there are begin like `expected`.
fn begins(bytes: &[u8], expected: &[u8]) -> bool {
    bytes.iter().zip(expected).all(|(one, other)| one == other)
}

fn parse_line(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let most = &bytes[..bytes.len().min(limits::PROXY_LINE_BYTES)];
    if !begins(most, LINE_BEGIN) {
        return Err(Malformed);
    }
    let Some(end) = memchr::memchr(b'\n', most) else {
        return if most.len() < limits::PROXY_LINE_BYTES {
            Ok(None)
        } else {
            Err(Malformed)
        };
    };
    let line = most[..end].strip_suffix(b"\r").ok_or(Malformed)?;
    let words = line.strip_prefix(LINE_BEGIN).ok_or(Malformed)?;
    let words = std::str::from_utf8(words).map_err(|_| Malformed)?;
    if words.contains('\r') {
        return Err(Malformed);
    }
    let addrs = read_words(words)?;
    let bytes = end + 1;
    Ok(Some(Header { bytes, addrs }))
}

/// `TCP4 192.0.2.1 192.0.2.2 50000 443`
fn read_words(words: &str) -> Result<ProxiedAddrs, Malformed> {
    let mut words = words.split(' ');
    let addrs = match words.next() {
        // The rest of the line behind `UNKNOWN` is passed over, as the specification asks.
        Some("UNKNOWN") => return Ok(ProxiedAddrs::Unknown),
        Some("TCP4") => read_ends::<Ipv4Addr>(&mut words)?,
        Some("TCP6") => read_ends::<Ipv6Addr>(&mut words)?,
        _ => return Err(Malformed),
    };
    match words.next() {
        None => Ok(addrs),
        Some(_) => Err(Malformed),
    }
}

fn read_ends<'w, A>(words: &mut impl Iterator<Item = &'w str>) -> Result<ProxiedAddrs, Malformed>
where
    A: FromStr + Into<IpAddr>,
{
    let mut address = || -> Result<IpAddr, Malformed> {
        let address = words.next().ok_or(Malformed)?;
        let address: A = address.parse().map_err(|_| Malformed)?;
        Ok(address.into())
    };
    let (client, server) = (address()?, address()?);
    let mut port = || words.next().and_then(read_port).ok_or(Malformed);
    Ok(ProxiedAddrs::Tcp {
        client: SocketAddr::new(client, port()?),
        server: SocketAddr::new(server, port()?),
    })
}

/// Decimal, without a sign or a zero in front.
fn read_port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok()?;
    (is_plain && (text == "0" || !text.starts_with('0'))).then_some(port)
}

fn parse_binary(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    if !begins(bytes, SIGNATURE) {
        return Err(Malformed);
    }
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_BYTES>() else {
        // The bytes that are there may show already that the header is malformed.
        return match bytes.get(SIGNATURE.len()) {
            Some(&command) if command != LOCAL && command != PROXY => Err(Malformed),
            _ => Ok(None),
        };
    };
    let [command, family, length @ ..] = [fixed[12], fixed[13], fixed[14], fixed[15]];
    let length = usize::from(u16::from_be_bytes(length));
    let is_known = matches!(command, LOCAL | PROXY);
    if !is_known || FIXED_BYTES + length > limits::PROXY_HEADER_BYTES {
        return Err(Malformed);
    }
    let Some(rest) = rest.get(..length) else {
        return Ok(None);
    };
    let addrs = match command {
        // The addresses of a LOCAL header are passed over, as the specification asks.
        LOCAL => ProxiedAddrs::Local,
        _ => read_addresses(family, rest)?,
    };
    let bytes = FIXED_BYTES + length;
    Ok(Some(Header { bytes, addrs }))
}

/// The addresses and the extensions after them. Datagrams have no place on a connection.
fn read_addresses(family: u8, bytes: &[u8]) -> Result<ProxiedAddrs, Malformed> {
    let (addrs, extensions) = match family {
        UNSPECIFIED => return Ok(ProxiedAddrs::Unknown),
        TCP4 => {
            let (ends, rest) = bytes.split_first_chunk::<12>().ok_or(Malformed)?;
            let ip = |at: usize| Ipv4Addr::from([0, 1, 2, 3].map(|byte| ends[at + byte])).into();
            (tcp(ip(0), ip(4), &ends[8..]), rest)
        }
        TCP6 => {
            let (ends, rest) = bytes.split_first_chunk::<36>().ok_or(Malformed)?;
            let ip = |at: usize| {
                let octets: [u8; 16] = std::array::from_fn(|byte| ends[at + byte]);
                Ipv6Addr::from(octets).into()
            };
            (tcp(ip(0), ip(16), &ends[32..]), rest)
        }
        UNIX_STREAM => (ProxiedAddrs::Unknown, bytes.get(216..).ok_or(Malformed)?),
        _ => return Err(Malformed),
    };
    check_extensions(extensions)?;
    Ok(addrs)
}

fn tcp(client: IpAddr, server: IpAddr, ports: &[u8]) -> ProxiedAddrs {
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    ProxiedAddrs::Tcp {
        client: SocketAddr::new(client, port(0)),
        server: SocketAddr::new(server, port(2)),
    }
}

/// Type, length and value, again and again; none is used, but they must come to exactly what is there.
fn check_extensions(mut bytes: &[u8]) -> Result<(), Malformed> {
    while !bytes.is_empty() {
        let ([_, length @ ..], rest) = bytes.split_first_chunk::<3>().ok_or(Malformed)?;
        let length = usize::from(u16::from_be_bytes(*length));
        bytes = rest.get(length..).ok_or(Malformed)?;
    }
    Ok(())
}

/// Two addresses of one kind: IPv4 if both are that, also written as IPv6 (`::ffff:192.0.2.1`).
enum Pair {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

impl Pair {
    fn of(client: IpAddr, server: IpAddr) -> Pair {
        let v6 = |ip: IpAddr| match ip {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        match (client.to_canonical(), server.to_canonical()) {
            (IpAddr::V4(client), IpAddr::V4(server)) => Pair::V4(client, server),
            (client, server) => Pair::V6(v6(client), v6(server)),
        }
    }
}

/// Appends a header of version 1, which cannot tell [`ProxiedAddrs::Local`] from [`ProxiedAddrs::Unknown`].
pub fn write_v1(addrs: &ProxiedAddrs, out: &mut Vec<u8>) {
    let ProxiedAddrs::Tcp { client, server } = addrs else {
        return out.extend_from_slice(b"PROXY UNKNOWN\r\n");
    };
    let (from, to) = (client.port(), server.port());
    let line = match Pair::of(client.ip(), server.ip()) {
        Pair::V4(client, server) => format!("PROXY TCP4 {client} {server} {from} {to}\r\n"),
        Pair::V6(client, server) => format!("PROXY TCP6 {client} {server} {from} {to}\r\n"),
    };
    debug_assert!(line.len() <= limits::PROXY_LINE_BYTES);
    out.extend_from_slice(line.as_bytes());
}

/// Appends a header of version 2, without extensions.
pub fn write_v2(addrs: &ProxiedAddrs, out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    let ProxiedAddrs::Tcp { client, server } = addrs else {
        let command = if *addrs == ProxiedAddrs::Local {
            LOCAL
        } else {
            PROXY
        };
        return out.extend_from_slice(&[command, UNSPECIFIED, 0, 0]);
    };
    match Pair::of(client.ip(), server.ip()) {
        Pair::V4(client, server) => {
            out.extend_from_slice(&[PROXY, TCP4, 0, 12]);
            out.extend_from_slice(&client.octets());
            out.extend_from_slice(&server.octets());
        }
        Pair::V6(client, server) => {
            out.extend_from_slice(&[PROXY, TCP6, 0, 36]);
            out.extend_from_slice(&client.octets());
            out.extend_from_slice(&server.octets());
        }
    }
    out.extend_from_slice(&client.port().to_be_bytes());
    out.extend_from_slice(&server.port().to_be_bytes());
}

#[cfg(test)]
mod tests;
