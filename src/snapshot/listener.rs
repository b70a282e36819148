//! Listeners: who may connect to one, and how palantir speaks to the clients that do.

use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use super::listener_options::ListenerOptions;
use crate::base::addresses::{ListenAddr, Purpose, ServerKind, SocketAccess};
use crate::base::cidr::Cidr;
use crate::http::h1::HeadLimits;
use crate::http::names::NameSet;
use crate::shared::client_count::SharedClientCount;
use crate::tls::{Alpn, ClientTrust, Fact, MinVersion, Pair};

/// An address to listen on, and how clients are spoken to that come there. A connection keeps the settings that it was
/// accepted with.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The address.
    pub addr: ListenAddr,
    /// `None`: cleartext.
    pub tls: Option<ServerTls>,
    /// The settings that are used as they are written; HTTP/2 only where TLS offers it, too.
    pub options: ListenerOptions,
    /// Ranges of the peers that may send a PROXY header. Empty: any peer that reaches the address, which then is a
    /// local one.
    pub proxy_protocol_from: Vec<Cidr>,
    /// Whether control bytes other than NUL, CR and LF in cookies are passed on.
    pub tolerates_control_bytes: bool,
    /// The access rights of a Unix socket.
    pub access: SocketAccess,
    /// Client connections that the listener may have, on all workers together; `usize::MAX`: as many as all listeners
    /// together may.
    pub connections: usize,
    /// The client connections that the listener has.
    pub clients: SharedClientCount,
}

/// The options of a listener are read as its own: a new one needs no line here.
impl Deref for Listener {
    type Target = ListenerOptions;

    fn deref(&self) -> &ListenerOptions {
        &self.options
    }
}

impl Listener {
    /// The purpose of the listener's sockets.
    pub fn purpose(&self) -> Purpose {
        Purpose {
            server: ServerKind::Proxy,
            is_cleartext: self.tls.is_none(),
        }
    }

    /// Whether a PROXY header of this peer is believed.
    pub fn takes_proxy_header_of(&self, peer: Option<IpAddr>) -> bool {
        let from = &self.proxy_protocol_from;
        let is_listed = |ip| from.iter().any(|range| range.contains(ip));
        from.is_empty() || peer.is_some_and(is_listed)
    }

    /// Whether the two let the same clients in, by the same protocols, and take them for the same. Each setting is
    /// named, so that whoever adds one decides whether it is a demand.
    pub fn demands_as_much_as(&self, other: &Listener) -> bool {
        let Listener {
            addr: _,
            tls,
            options,
            proxy_protocol_from,
            tolerates_control_bytes,
            access: _,
            connections: _,
            clients: _,
        } = self;
        let ListenerOptions {
            http2,
            proxy_protocol,
            redirect_to_https,
            https_port: _,
            merge_slashes,
            half_close,
            min_rate: _,
            min_rate_grace: _,
        } = options;
        let rest = (
            http2,
            proxy_protocol,
            proxy_protocol_from,
            redirect_to_https,
            merge_slashes,
            half_close,
            tolerates_control_bytes,
        );
        rest == (
            &other.http2,
            &other.proxy_protocol,
            &other.proxy_protocol_from,
            &other.redirect_to_https,
            &other.merge_slashes,
            &other.half_close,
            &other.tolerates_control_bytes,
        ) && match (tls, &other.tls) {
            (None, None) => true,
            (Some(tls), Some(other)) => tls.demands_as_much_as(other),
            _ => false,
        }
    }
}

impl fmt::Display for Listener {
    /// `0.0.0.0:443 (TLS, HTTP/2)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            (self.tls.is_some(), "TLS"),
            (self.http2, "HTTP/2"),
            (self.proxy_protocol, "PROXY protocol"),
            (self.redirect_to_https, "redirects to https"),
        ];
        let words = words.iter().filter(|(holds, _)| *holds);
        let words: Vec<&str> = words.map(|(_, word)| *word).collect();
        self.addr.fmt(f)?;
        if words.is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", words.join(", "))
        }
    }
}

/// TLS with clients.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// Certificates, versions, ALPN, tickets: made anew when a certificate's files change, so that handshakes under way
    /// keep theirs.
    pub config: Arc<rustls::ServerConfig>,
    /// The certificates that the listener shows to clients, in the order of the configuration.
    pub certificates: Vec<Arc<Pair>>,
    /// Whether clients are asked for a certificate.
    pub client_certificate: ClientCertificate,
    /// The request fields in which backends are told what the client's certificate says, by name.
    pub identity: Vec<(String, Fact)>,
    /// The names of the fields in `identity`.
    pub identity_names: NameSet,
    /// The authorities whose client certificates are believed; `None`: clients are not asked for a certificate.
    pub trust: Option<ClientTrust>,
    /// The lowest version that is spoken.
    pub min_version: MinVersion,
    /// The protocols that the listener offers by ALPN, the preferred one first.
    pub alpn: Vec<Alpn>,
    /// Whether a handshake for a name that no certificate is for ends.
    pub refuse_unknown: bool,
}

impl ServerTls {
    /// [`Listener::demands_as_much_as`]. What a server shows of itself is no demand.
    pub fn demands_as_much_as(&self, other: &ServerTls) -> bool {
        let ServerTls {
            config: _,
            certificates: _,
            client_certificate,
            trust,
            min_version,
            alpn,
            refuse_unknown,
            identity,
            identity_names: _,
        } = self;
        *client_certificate == other.client_certificate
            && *trust == other.trust
            && *min_version == other.min_version
            && *alpn == other.alpn
            && *refuse_unknown == other.refuse_unknown
            && *identity == other.identity
    }
}

/// Whether clients show a certificate of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificate {
    /// Clients are not asked for a certificate.
    NotAsked,
    /// One that is shown is verified.
    Optional,
    /// No handshake without one; the name asked for in it (SNI) and `Host` must then agree.
    Required,
}

/// Timeouts and bounds of a client's connection.
#[derive(Clone, Debug)]
pub struct ClientLimits {
    /// From the first byte of a head to its end.
    pub header_timeout: Duration,
    /// Between two requests.
    pub idle_timeout: Duration,
    /// How long a client may take none of an answer on a stream of HTTP/2 while other streams move.
    pub stream_stall: Duration,
    /// Bounds on a request's head.
    pub head: HeadLimits,
    /// Requests on one connection; `u32::MAX` means unlimited.
    pub requests_per_connection: u32,
}

impl ClientLimits {
    /// How long a client may take nothing from the socket of its HTTP/2 connection, whatever else moves.
    pub fn socket_stall(&self) -> Duration {
        self.stream_stall.max(self.idle_timeout)
    }
}
