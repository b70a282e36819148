//! How a client came: the addresses, the listener, and the facts that TLS tells about the client.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use rustls::pki_types::CertificateDer;

use crate::net::{Block, RemoteAddr, Socket};
use crate::snapshot::{ServerTls, Snapshot};
use crate::tls::{Unidentified, identify};
use crate::worker::live_config::listener::LiveListener;

/// A client's connection before its first request.
pub struct AcceptedClient {
    /// The socket of the connection.
    pub socket: Socket,
    /// How the client came.
    pub arrival: Arrival,
    /// The bytes that the connection has already brought.
    pub received: Block,
}

/// How a client came: equal for all requests of its connection.
#[derive(Clone)]
pub struct Arrival {
    /// The client's address: the address of the connection's peer, or the address in the PROXY header.
    pub peer: RemoteAddr,
    /// The address of the peer at the other end of the connection. A PROXY header does not change it.
    pub connection_peer: RemoteAddr,
    /// The address that the client connected to; `None`: a Unix socket.
    pub reached: Option<SocketAddr>,
    /// The listener as configured when the connection was accepted.
    pub listener: Rc<LiveListener>,
    /// The facts from the TLS handshake; `None`: the connection is in cleartext.
    pub secured: Option<Rc<Secured>>,
    /// The number of connections to backends that serve requests of the client's connection.
    pub upstreams: Rc<Cell<usize>>,
}

impl Arrival {
    /// Whether the fields of a request that describe its client are believed. The peer of the connection must be
    /// trusted for that. A PROXY header, which names another client, does not change the peer.
    pub fn is_trusted(&self, snapshot: &Snapshot) -> bool {
        match self.connection_peer.ip() {
            Some(ip) => snapshot
                .trusted_proxies
                .iter()
                .any(|range| range.contains(ip)),
            None => snapshot.trusts_unix,
        }
    }

    /// The scheme by which the client reached palantir.
    pub fn scheme(&self) -> &'static str {
        if self.secured.is_some() {
            "https"
        } else {
            "http"
        }
    }
}

/// The facts that TLS tells about a client.
pub struct Secured {
    /// The host that the client asked for, without a dot at its end.
    pub server_name: Option<Box<str>>,
    /// The index of the certificate, among the listener's certificates, that the client got.
    pub certificate: Option<usize>,
    /// The properties of the client's certificate that backends are told; `None`: the client has no certificate.
    pub identity: Option<Result<Vec<(String, String)>, Unidentified>>,
    /// The certificates that the client sent, its own certificate first.
    pub client_chain: Option<Rc<[CertificateDer<'static>]>>,
}

impl Secured {
    /// The fields that tell backends the identity of the client.
    pub fn fields(&self) -> Option<&[(String, String)]> {
        self.identity.as_ref()?.as_deref().ok()
    }

    /// The facts of a connection whose handshake is complete.
    pub fn of(socket: &Socket, tls: &ServerTls) -> Secured {
        let certificate = socket.peer_certificate();
        let shown = socket.shown_certificate();
        Secured {
            server_name: socket
                .server_name()
                .map(|name| name.strip_suffix('.').unwrap_or(name).into()),
            certificate: shown.and_then(|shown| {
                let mut certificates = tls.certificates.iter();
                certificates.position(|pair| pair.is_shown_as(shown))
            }),
            identity: certificate.map(|certificate| identify(certificate, &tls.identity)),
            client_chain: socket.peer_chain().cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::addresses::ListenAddr;
    use crate::snapshot::sample;
    use crate::worker::live_config::listener::listeners_after;

    /// An arrival over such a connection, and a snapshot that trusts one network.
    fn arrival(connection_peer: RemoteAddr, trusts_unix: bool) -> (Arrival, Snapshot) {
        let listener = sample::listener(ListenAddr::Tcp(([127, 0, 0, 1], 1).into()));
        let snapshot = sample::adapted(sample::snapshot(1, Vec::new()), |snapshot| {
            snapshot.listeners = vec![listener];
            snapshot.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
            snapshot.trusts_unix = trusts_unix;
        });
        let arrival = Arrival {
            peer: RemoteAddr::Tcp(([10, 0, 0, 7], 9).into()),
            connection_peer,
            reached: None,
            listener: listeners_after(&[], &snapshot).remove(0),
            secured: None,
            upstreams: Rc::default(),
        };
        let snapshot = std::sync::Arc::into_inner(snapshot);
        (arrival, snapshot.expect("nobody else has the snapshot"))
    }

    fn secured(identity: Option<Result<Vec<(String, String)>, Unidentified>>) -> Secured {
        Secured {
            server_name: None,
            certificate: None,
            identity,
            client_chain: None,
        }
    }

    #[test]
    fn the_far_end_of_the_connection_is_trusted_or_not_whoever_it_speaks_for() {
        let rows = [
            (RemoteAddr::Tcp(([10, 0, 0, 1], 9).into()), false, true),
            (RemoteAddr::Tcp(([11, 0, 0, 1], 9).into()), true, false),
            (RemoteAddr::Unix, false, false),
            (RemoteAddr::Unix, true, true),
        ];
        for (connection_peer, trusts_unix, expected) in rows {
            let (arrival, snapshot) = arrival(connection_peer, trusts_unix);
            assert_eq!(
                arrival.is_trusted(&snapshot),
                expected,
                "{connection_peer:?}"
            );
        }
    }

    #[test]
    fn the_scheme_is_that_of_the_connection() {
        let (mut arrival, _) = arrival(RemoteAddr::Unix, false);
        assert_eq!(arrival.scheme(), "http");
        arrival.secured = Some(Rc::new(secured(None)));
        assert_eq!(arrival.scheme(), "https");
    }

    #[test]
    fn only_a_usable_certificate_has_fields() {
        let fields = vec![("x-name".to_owned(), "me".to_owned())];
        let rows = [
            (None, None),
            (Some(Err(Unidentified::NoSubject)), None),
            (Some(Err(Unidentified::Unusable)), None),
            (Some(Ok(fields.clone())), Some(&fields[..])),
        ];
        for (identity, expected) in rows {
            assert_eq!(secured(identity).fields(), expected);
        }
    }
}
