//! How a client came: the addresses, the listener, and what TLS tells of the client.

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
    /// The way by which the client came.
    pub arrival: Arrival,
    /// The bytes that the connection has brought already.
    pub received: Block,
}

/// How a client came to us: the same for all that its connection carries.
#[derive(Clone)]
pub struct Arrival {
    /// The client's address: that of the connection's peer, or the one that the PROXY header names.
    pub peer: RemoteAddr,
    /// The address at the other end of the connection, whatever a PROXY header says.
    pub connection_peer: RemoteAddr,
    /// The address that the client connected to; `None`: a Unix socket.
    pub reached: Option<SocketAddr>,
    /// The listener as it was when the connection was accepted.
    pub listener: Rc<LiveListener>,
    /// `None`: in cleartext.
    pub secured: Option<Rc<Secured>>,
    /// Connections to backends that serve requests of the client's connection.
    pub upstreams: Rc<Cell<usize>>,
}

impl Arrival {
    /// Whether what a request says of its client is believed. The peer of the connection vouches for that, and a PROXY
    /// header makes nobody else of the peer.
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

/// The facts that TLS tells of a client.
pub struct Secured {
    /// The host that it asked for, without a dot at its end.
    pub server_name: Option<Box<str>>,
    /// The index of the listener's certificate that the client was shown.
    pub certificate: Option<usize>,
    /// The properties of the client's certificate that backends are told; `None`: the client has no certificate.
    pub identity: Option<Result<Vec<(String, String)>, Unidentified>>,
    /// The certificates that the client showed, its own first.
    pub client_chain: Option<Rc<[CertificateDer<'static>]>>,
}

impl Secured {
    /// The fields in which backends are told who the client is.
    pub fn fields(&self) -> Option<&[(String, String)]> {
        self.identity.as_ref()?.as_deref().ok()
    }

    /// The facts of a connection whose handshake is made.
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
