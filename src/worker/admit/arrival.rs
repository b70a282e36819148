//! What the way that a client came by means for its request.

use std::net::IpAddr;

use rustls::pki_types::UnixTime;

use crate::http::forwarded::client_address;
use crate::http::h1::{Forwarding, RequestHead};
use crate::http::names::Identity;
use crate::http::path::MergeSlashes;
use crate::http::refusal::Refusal;
use crate::http::{fields, host};
use crate::snapshot::{ClientCertificate, Listener, Route};
use crate::tls::Unidentified;
use crate::worker::admit::demands;
use crate::worker::downstream::{Arrival, Client};
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::shard::Shard;

/// Whether what the request says of its client is believed: that is for the connection's peer to vouch for, and a PROXY
/// header makes nobody else of it.
pub fn is_trusted(exchange: &Exchange, client: &Client) -> bool {
    let snapshot = exchange.plan.snapshot();
    match client.arrival.connection_peer.ip() {
        Some(ip) => snapshot
            .trusted_proxies
            .iter()
            .any(|range| range.contains(ip)),
        None => snapshot.trusts_unix,
    }
}

/// The client's address: that of the connection's peer, or the one named in its PROXY header, or by trusted proxies
/// in `X-Forwarded-For`. Read from the near end, the PROXY header comes before the field: the field is believed only
/// if both the sender of the header and the address that the header names are trusted.
pub fn client_of(
    exchange: &Exchange,
    client: &Client,
    head: &RequestHead<'_, '_>,
) -> Option<IpAddr> {
    let peer = client.arrival.peer.ip();
    if !is_trusted(exchange, client) {
        return peer;
    }
    let trusted = &exchange.plan.snapshot().trusted_proxies;
    let forwarded_for = fields::values(head.fields, "x-forwarded-for");
    client_address(peer, forwarded_for, trusted)
}

/// The fields that tell the backend how the request reached palantir.
pub fn forwarding<'a>(
    exchange: &'a Exchange,
    head: &RequestHead<'_, '_>,
    client_trusted: bool,
) -> Forwarding<'a> {
    let route = exchange.route();
    // A proxy that names its client only in `X-Real-IP` must not be named as the client itself.
    let is_told = || {
        client_trusted
            && head.field("x-real-ip").is_some()
            && head.field("x-forwarded-for").is_none()
    };
    Forwarding {
        forwarded: route.forwarded,
        real_ip: match route.x_real_ip && !is_told() {
            true => exchange.client.get(),
            false => None,
        },
        pass: &exchange.plan.snapshot().pass_fields,
    }
}

/// Who the client is, as its backend is told.
pub fn identity<'a>(exchange: &'a Exchange, client: &'a Client) -> Identity<'a> {
    let Arrival {
        listener, secured, ..
    } = &client.arrival;
    let all = &exchange.plan.snapshot().identity_names;
    let own = listener.tls.as_ref().map(|tls| &tls.identity_names);
    let fields = secured.as_ref().and_then(|secured| secured.fields());
    Identity {
        names: [all, own.unwrap_or(all)],
        fields: fields.unwrap_or_default(),
    }
}

/// Refuses a client that has no certificate where the route wants one, and one that backends could not tell from
/// others.
pub fn check_certificate(client: &Client, route: &Route) -> Result<(), Failure> {
    let secured = client.arrival.secured.as_ref();
    match secured.and_then(|secured| secured.identity.as_ref()) {
        None if route.wants_certificate => Err(Failure::CertificateMissing),
        Some(Err(Unidentified::NoSubject)) => Err(Failure::SubjectMissing),
        Some(Err(Unidentified::Unusable)) => Err(Failure::CertificateUnusable),
        None | Some(Ok(_)) => Ok(()),
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

/// How slashes that follow one another are treated: as the listener says in the present configuration, if it still
/// exists.
pub fn merge_slashes(shard: &Shard, client: &Client) -> MergeSlashes {
    let listener = &client.arrival.listener;
    let now = match listener.is_over() {
        true => shard
            .plan()
            .listener(&listener.addr)
            .map(|now| now.merge_slashes),
        false => None,
    };
    now.unwrap_or(listener.merge_slashes)
}

/// Refuses a request that the connection's listener does not take. `path` is the path that is forwarded.
pub fn check_arrival(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
    head: &RequestHead<'_, '_>,
    path: &[u8],
) -> Result<(), Failure> {
    let listener = &client.arrival.listener;
    if !listener.is_over() {
        return check_by(listener, client, exchange, head, path);
    }
    match shard.plan().listener(&listener.addr) {
        Some(now) => match demands::are_met(now, &client.arrival, UnixTime::now()) {
            true => check_by(now, client, exchange, head, path),
            false => Err(Failure::Misdirected),
        },
        // It was removed: what it demanded holds to the end.
        None => check_by(listener, client, exchange, head, path),
    }
}

/// Refuses what a listener with these settings does not take: a request in cleartext where HTTPS is wanted, and one for
/// another host than the one that the client's certificate was shown to.
fn check_by(
    listener: &Listener,
    client: &Client,
    exchange: &Exchange,
    head: &RequestHead<'_, '_>,
    path: &[u8],
) -> Result<(), Failure> {
    let secured = &client.arrival.secured;
    let (name, _port) = host::split(head.host).unwrap_or((b"", None));
    if listener.redirect_to_https && secured.is_none() {
        // A request of HTTP/1.0 may name no host. There is no URL to redirect it to, and it is not served either.
        if name.is_empty() {
            return Err(Failure::Refused(Refusal::MissingHost));
        }
        let url = https_url(name, listener.https_port, head, path);
        exchange.own_text.replace(Some(url));
        return Err(Failure::HttpsWanted);
    }
    match &listener.tls {
        Some(tls) if tls.client_certificate != ClientCertificate::NotAsked => {
            match is_for_handshake(&client.arrival, host::without_root(name)) {
                true => Ok(()),
                false => Err(Failure::Misdirected),
            }
        }
        _ => Ok(()),
    }
}

/// Whether the host is the one that the client asked for in its handshake. One that asked for none takes the
/// certificate that it was shown for the host's, so it must be.
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
