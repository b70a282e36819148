//! Who the client is when proxies stand before us.

use std::net::{IpAddr, SocketAddr};

use crate::base::cidr::Cidr;
use crate::http::fields::list;

/// The client's address: the rightmost one that is not a trusted proxy's, read from the connection's `peer` backwards
/// through `X-Forwarded-For` (`forwarded_for`: the fields' values in order). Reading ends at what is no address, because
/// nothing beyond it can be believed. If all are trusted, the leftmost is the client.
pub fn client_address<'b>(
    peer: IpAddr,
    forwarded_for: impl Iterator<Item = &'b [u8]>,
    trusted: &[Cidr],
) -> IpAddr {
    let peer = peer.to_canonical();
    let is_trusted = |address: IpAddr| trusted.iter().any(|range| range.contains(address));
    if !is_trusted(peer) {
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
    client.unwrap_or(peer)
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
