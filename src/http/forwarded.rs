//! Who the client is when proxies stand before us.

use std::net::{IpAddr, SocketAddr};

use crate::base::cidr::Cidr;
use crate::http::fields::list;

/// The client's address, if it has one: the rightmost address that is not a trusted proxy's, read from the connection's
/// `peer` backwards through `X-Forwarded-For` (`forwarded_for`: the fields' values in order). Reading ends at a member
/// that is no address, because nothing beyond it can be believed. If all addresses are trusted, the leftmost is the
/// client's. A peer without an address is a trusted client on a Unix socket.
pub fn client_address<'b>(
    peer: Option<IpAddr>,
    forwarded_for: impl Iterator<Item = &'b [u8]>,
    trusted: &[Cidr],
) -> Option<IpAddr> {
    let peer = peer.map(|peer| peer.to_canonical());
    let is_trusted = |address: IpAddr| trusted.iter().any(|range| range.contains(address));
    if !peer.is_none_or(is_trusted) {
        return peer;
    }
    // Forwards, each member corrects what those before it made likely: one pass, nothing kept.
    let mut client = None;
    for member in forwarded_for.flat_map(list) {
        client = match parse(member) {
            None => None,
            Some(address) if is_trusted(address) => client.or(Some(address)),
            address => address,
        };
    }
    client.or(peer)
}

/// An address, with or without a port, IPv6 with or without brackets.
fn parse(member: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(member).ok()?;
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let address = match bare.unwrap_or(text).parse::<IpAddr>() {
        Ok(address) => address,
        Err(_) => text.parse::<SocketAddr>().ok()?.ip(),
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Trusted: 10/8 and fd00::/8.
    fn client(peer: &str, forwarded_for: &[&str]) -> String {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let values = forwarded_for.iter().map(|value| value.as_bytes());
        let client = client_address(peer.parse().ok(), values, &trusted);
        client.map_or_else(|| "none".to_owned(), |client| client.to_string())
    }

    #[test]
    fn clients_table() {
        let rows: [(&str, &[&str], &str); 25] = [
            ("203.0.113.9", &[], "203.0.113.9"),
            ("203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            (
                "10.0.0.1",
                &["1.1.1.1", "198.51.100.1, 10.2.2.2"],
                "198.51.100.1",
            ),
            ("10.0.0.1", &["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
            ("10.0.0.1", &["1.1.1.1, unknown, 10.2.2.2"], "10.2.2.2"),
            ("10.0.0.1", &["1.1.1.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("10.0.0.1", &["[2001:db8::1]:443, [fd00::2]"], "2001:db8::1"),
            ("fd00::1", &["2001:db8::1"], "2001:db8::1"),
            ("::ffff:10.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &[" , ,198.51.100.1 ,"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1, _hidden"], "10.0.0.1"),
            (
                "10.0.0.1",
                &["1.1.1.1", "garbage here", "10.2.2.2"],
                "10.2.2.2",
            ),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1:99999"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1:, 10.2.2.2:80"], "10.2.2.2"),
            ("10.0.0.1", &["198.51.100.1, [fd00::2"], "10.0.0.1"),
            ("10.0.0.1", &["\"198.51.100.1\""], "10.0.0.1"),
            (
                "10.0.0.1",
                &["1.1.1.1, 198.51.100.1, unknown, 10.3.3.3, 10.2.2.2"],
                "10.3.3.3",
            ),
            ("unix:", &[], "none"),
            (
                "unix:",
                &["1.1.1.1, 198.51.100.1, 10.2.2.2"],
                "198.51.100.1",
            ),
            ("unix:", &["198.51.100.1, unknown"], "none"),
            ("unix:", &["10.3.3.3"], "10.3.3.3"),
        ];
        for (peer, forwarded_for, expected) in rows {
            assert_eq!(
                client(peer, forwarded_for),
                expected,
                "{peer} {forwarded_for:?}"
            );
        }
    }
}
