//! The step that checks how a client came: whether the listener and the connection may serve this request.

use std::net::IpAddr;

use rustls::pki_types::UnixTime;

use super::{Early, Incoming, demands};
use crate::http::forwarded::client_address;
use crate::http::h1::RequestHead;
use crate::http::refusal::Refusal;
use crate::http::{fields, host};
use crate::snapshot::{ClientCertificate, Listener};
use crate::worker::downstream::Arrival;
use crate::worker::failure::Failure;
use crate::worker::reply::Reply;

/// The client's address: the address of the connection's peer, the address in its PROXY header, or the address that
/// trusted proxies name in `X-Forwarded-For`. The PROXY header is nearer to palantir than the field, so that the field
/// is believed only if both the sender of the header and the address in the header are trusted.
#[inline]
pub fn client_of(incoming: &Incoming<'_>) -> Option<IpAddr> {
    let snapshot = incoming.config.snapshot();
    let arrival = &incoming.client.arrival;
    let peer = arrival.peer.ip();
    if !arrival.is_trusted(snapshot) {
        return peer;
    }
    let forwarded_for = fields::values(incoming.head.fields, "x-forwarded-for");
    client_address(peer, forwarded_for, &snapshot.trusted_proxies)
}

/// Refuses a request that the connection's listener does not serve.
#[inline]
pub fn check(incoming: &Incoming<'_>) -> Result<(), Early> {
    let arrival = &incoming.client.arrival;
    let listener = &arrival.listener;
    if !listener.is_over() {
        return check_by(listener, incoming);
    }
    let config = incoming.shard.config();
    match config.listener(&listener.addr) {
        Some(now) if demands::are_met(now, arrival, UnixTime::now()) => check_by(now, incoming),
        Some(_) => Err(Failure::Misdirected.into()),
        // The listener was removed, and its demands apply to the end of the connection.
        None => check_by(listener, incoming),
    }
}

/// Refuses a request that a listener with these settings does not serve: a request in cleartext if the listener
/// redirects to HTTPS, and, if the listener asks for client certificates, a request for a host that the TLS handshake
/// was not made for (RFC 9110 section 7.4).
fn check_by(listener: &Listener, incoming: &Incoming<'_>) -> Result<(), Early> {
    let (head, arrival) = (incoming.head, &incoming.client.arrival);
    let name = head.host_name;
    if listener.redirect_to_https && arrival.secured.is_none() {
        // A request of HTTP/1.0 may name no host. No URL for a redirect can be made then, and the request is refused.
        if name.is_empty() {
            return Err(Failure::Refused(Refusal::MissingHost).into());
        }
        let path = incoming.target.forwarded;
        let url = https_url(name, listener.https_port, head, path);
        return Err(Reply::redirect_to_https(url).into());
    }
    match &listener.tls {
        Some(tls)
            if tls.client_certificate != ClientCertificate::NotAsked
                && !is_for_handshake(arrival, host::without_root(name)) =>
        {
            Err(Failure::Misdirected.into())
        }
        _ => Ok(()),
    }
}

/// The request's URL with the scheme `https`. The asterisk of OPTIONS becomes an empty path (RFC 9112 section 3.2.4).
fn https_url(name: &[u8], port: u16, head: &RequestHead<'_, '_>, path: &[u8]) -> String {
    let path = if path == b"*" { b"" } else { path };
    let (mark, query): (&[u8], &[u8]) = match head.query {
        Some(query) => (b"?", query),
        None => (b"", b""),
    };
    let port = match port {
        443 => String::new(),
        port => format!(":{port}"),
    };
    let url = [b"https://", name, port.as_bytes(), path, mark, query].concat();
    String::from_utf8_lossy(&url).into_owned()
}

/// Whether the host is the one that the client named in its TLS handshake. A client that named none takes the
/// certificate that it got for the certificate of the host, so the certificate must be valid for the host.
fn is_for_handshake(arrival: &Arrival, host: &[u8]) -> bool {
    let (Some(secured), Some(tls)) = (&arrival.secured, &arrival.listener.tls) else {
        return false;
    };
    match (&secured.server_name, secured.certificate) {
        (Some(asked), _) => asked.as_bytes().eq_ignore_ascii_case(host),
        (None, Some(shown)) => {
            std::str::from_utf8(host).is_ok_and(|host| tls.certificates[shown].is_for(host))
        }
        (None, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::decide::sample::with_head;

    #[test]
    fn a_redirect_leads_to_the_same_url_under_https() {
        let rows = [
            ("GET /a/b?c HTTP/1.1\nHost: x\n", 443, "https://x/a/b?c"),
            ("GET /a HTTP/1.1\nHost: x:80\n", 443, "https://x/a"),
            ("GET /a? HTTP/1.1\nHost: x\n", 8443, "https://x:8443/a?"),
            ("OPTIONS * HTTP/1.1\nHost: x\n", 443, "https://x"),
        ];
        for (text, port, expected) in rows {
            let url = with_head(text, |head| {
                https_url(head.host_name, port, head, head.path)
            });
            assert_eq!(url, expected, "{text}");
        }
    }
}
