//! The compiled configuration: immutable, shared by every thread, no names left to look up and nothing optional that a
//! request would have to decide. A running request keeps the snapshot it began with.

mod pool_options;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::{Deref, Range};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;

use crate::base::cidr::Cidr;
use crate::base::ids::{BackendId, PoolId};
use crate::base::limits;
use crate::base::setting::{Absent, Kind, Value, plain_settings};
use crate::http::cookies::CookieEdits;
use crate::http::h1::HeadLimits;
use crate::http::names::{FieldEdits, NameSet};
use crate::http::path::MergeSlashes;
use crate::shared::backend_table::BackendState;
use crate::shared::client_count::{ClientCount, SharedClientCount};
use crate::shared::counts::{PoolCounts, RouteCounts};
use crate::shared::slots::Slot;
use crate::tls::{
    Alpn, Challenges, ClientTrust, Fact, FilesRead, MinVersion, Pair, ServerSettings,
};
use crate::worker::balance::{AlgorithmPlan, Table};
use crate::worker::route::RouteTable;

pub use pool_options::{OUTLIER, OnUnhealthy, Outlier, PoolOptions, Protocol, ProxyProtocol};

/// Everything that workers, health and control need to know of the configuration.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts the snapshots of this process, from 1.
    pub generation: u64,
    /// Where clients come in, every worker at each; no address twice.
    pub listeners: Vec<Listener>,
    /// What authorities are answered that ask whether a name is ours; the same in every snapshot.
    pub challenges: Arc<Challenges>,
    /// The state of the files that TLS was built from, as it was before they were read, and of those that do not exist
    /// yet.
    pub files: FilesRead,
    /// Workers to run, at least 1.
    pub workers: usize,
    pub descriptors: Descriptors,
    /// How long running requests may take to finish after a stop.
    pub shutdown_timeout: Duration,
    /// Bytes of memory that the process may use.
    pub memory_bytes: u64,
    /// Names of the request fields in which any listener passes on who the client is. No client may give them.
    pub identity_names: NameSet,
    /// Whose `X-Forwarded-For` is believed: peers of connections, whoever a PROXY header says that they speak for.
    pub trusted_proxies: Vec<Cidr>,
    /// Whether the forwarding fields of clients on Unix sockets are believed, too.
    pub trusts_unix: bool,
    /// Names of forwarding fields that pass from every client.
    pub pass_fields: NameSet,
    /// What holds for a client's connection before its route is known.
    pub client: ClientLimits,
    /// Where the access log goes, if anywhere.
    pub access_log: Option<AccessLog>,
    /// Where palantir itself is talked to, if anywhere.
    pub admin: Option<Admin>,
    /// `None`: in cleartext.
    pub admin_tls: Option<ServerTls>,
    /// What becomes of `traceparent`.
    pub traceparent: Traceparent,
    /// Addresses of the test servers that the program itself starts.
    pub test_servers: Vec<SocketAddr>,
    /// Finds the route of a host and path. Two snapshots share the parts of the table that are equal in both.
    pub route_table: Arc<RouteTable>,
    /// Indexed by [`crate::base::ids::RouteId`].
    pub routes: Vec<Arc<Route>>,
    /// Indexed by [`PoolId`].
    pub pools: Vec<Arc<Pool>>,
}

/// An address to listen on, and how clients are spoken to that come there. A connection keeps the settings that it was
/// accepted with.
#[derive(Clone, Debug)]
pub struct Listener {
    pub addr: ListenAddr,
    /// `None`: cleartext.
    pub tls: Option<ServerTls>,
    /// Whether HTTP/2 is spoken besides HTTP/1.1: by ALPN with TLS, by prior knowledge without.
    pub http2: bool,
    /// Whether every connection begins with a PROXY header (version 1 or 2), which says who the client is.
    pub proxy_protocol: bool,
    /// Who may send that header; empty: whoever reaches the address, which then is a local one.
    pub proxy_protocol_from: Vec<Cidr>,
    /// Whether every request is answered with the same URL under `https`; never with TLS.
    pub redirect_to_https: bool,
    /// How palantir treats slashes that follow one another in a path.
    pub merge_slashes: MergeSlashes,
    /// The port of the URL that requests are redirected to.
    pub https_port: u16,
    pub half_close: HalfClose,
    /// Whether control bytes other than NUL, CR and LF in cookies are passed on.
    pub tolerates_control_bytes: bool,
    /// The access rights of a Unix socket.
    pub access: SocketAccess,
    /// Client connections that the listener may have, on all workers together; `usize::MAX`: as many as all listeners
    /// together may.
    pub connections: usize,
    /// The least number of bytes per second, on average, that a client must send of a request's body or take of an
    /// answer's body; 0: no bound.
    pub min_rate_bytes: u32,
    /// How long a client may be slower than `min_rate_bytes`.
    pub min_rate_grace: Duration,
    /// The client connections that the listener has.
    pub clients: SharedClientCount,
}

impl Listener {
    /// What its sockets are for.
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
            http2,
            proxy_protocol,
            proxy_protocol_from,
            redirect_to_https,
            merge_slashes,
            https_port: _,
            half_close,
            tolerates_control_bytes,
            access: _,
            connections: _,
            min_rate_bytes: _,
            min_rate_grace: _,
            clients: _,
        } = self;
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

/// How palantir treats a client that has ended its sending side while its requests are under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HalfClose {
    /// The client gets the answers to its complete requests. That the client is gone is noticed only when its
    /// connection is reset.
    #[default]
    Serve,
    /// The client counts as gone.
    Abort,
}

/// TLS with clients.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// Certificates, versions, ALPN, tickets: made anew when a certificate's files change, so that handshakes under way
    /// keep theirs.
    pub config: Arc<rustls::ServerConfig>,
    /// What it shows clients, in the order of the configuration.
    pub certificates: Vec<Arc<Pair>>,
    pub client_certificate: ClientCertificate,
    /// The request fields in which backends are told what the client's certificate says, by name.
    pub identity: Vec<(String, Fact)>,
    /// The names of the fields in `identity`.
    pub identity_names: NameSet,
    /// Whose certificates are believed; `None`: clients are not asked for one.
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
    NotAsked,
    /// One that is shown is verified.
    Optional,
    /// No handshake without one; the name asked for in it (SNI) and `Host` must then agree.
    Required,
}

/// The permissions of a Unix socket's file, which decide who may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketAccess {
    /// Permissions, as in chmod(2); a client needs the permission to write.
    pub mode: u32,
    /// User id; `None`: the user of the process.
    pub owner: Option<u32>,
    /// Group id; `None`: the group of the process, or of the folder (see open(2)).
    pub group: Option<u32>,
}

impl SocketAccess {
    /// These permissions, without a change of owner or group.
    pub fn of_mode(mode: u32) -> SocketAccess {
        SocketAccess {
            mode,
            owner: None,
            group: None,
        }
    }
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListenAddr {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddr::Tcp(addr) => addr.fmt(f),
            ListenAddr::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What a listening socket is for, which whoever waits in its queue came for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purpose {
    pub server: ServerKind,
    /// Whether HTTP is spoken there without TLS.
    pub is_cleartext: bool,
}

/// Who accepts on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKind {
    /// The workers.
    Proxy,
    /// The management API.
    Admin,
    TestServer,
}

/// How many of the process's descriptors are for whom. The others are for files, listening sockets and the threads
/// themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// Connections of clients and to backends that all workers together may have.
    pub sockets: usize,
    /// How many of them may be client connections.
    pub clients: usize,
    /// How many of them may be connections to backends.
    pub backends: usize,
    /// Probes under way at once.
    pub probes: usize,
    /// Connections to the management API.
    pub management: usize,
    /// Connections to the test servers.
    pub test_servers: usize,
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

/// The access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    pub path: PathBuf,
    pub format: AccessLogFormat,
}

/// How a line of the access log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLogFormat {
    Json,
    Combined,
}

/// Where the management API listens, and which files belong to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    pub listen_addr: ListenAddr,
    /// The access rights of a Unix socket.
    pub access: SocketAccess,
    /// Holds the token without which nothing may be changed, nor read unless there is a `read_token_file`. `None`: no
    /// token is asked for; only on loopback or a Unix socket, or where clients must have a certificate.
    pub token_file: Option<PathBuf>,
    /// Holds a token that suffices for reading.
    pub read_token_file: Option<PathBuf>,
    /// Where what the API changed outlives the process. `None`: it does not.
    pub state_file: Option<PathBuf>,
    /// What [`Snapshot::admin_tls`] is made of. `None`: cleartext.
    pub tls: Option<ServerSettings>,
}

plain_settings! {
    /// Treatment of the request field `traceparent` (W3C Trace Context).
    pub struct Traceparent {
        /// Whether a request without `traceparent` gets one.
        create: bool = Kind::Flag, Absent::Is(Value::Flag(false));
        /// Whether `traceparent` and `tracestate` of the client are passed on.
        propagate: bool = Kind::Flag, Absent::Is(Value::Flag(true));
    }
}

impl Copy for Traceparent {}

/// Where requests of one host and path prefix go, and under which conditions.
#[derive(Debug)]
pub struct Route {
    /// Host and prefix as written (`api.example.com/api`, `/`), for logs and metrics.
    pub name: String,
    pub pool: PoolId,
    /// The prefix that matched, without a slash at its end (`""` for `/`).
    pub prefix: String,
    /// Whether the prefix is left out of what is forwarded.
    pub strip_prefix: bool,
    pub host_header: HostHeader,
    /// Whether a client without a certificate is refused.
    pub wants_certificate: bool,
    pub request_fields: FieldEdits,
    pub response_fields: FieldEdits,
    /// Attempts after the first one.
    pub retries: u8,
    /// Bound on the whole exchange.
    pub timeout: Option<Duration>,
    pub timeouts: RouteTimeouts,
    /// Largest request body in bytes; `u64::MAX` means unlimited.
    pub request_body_bytes: u64,
    /// Whether `Via` is added in both directions.
    pub via: bool,
    /// Whether references to the backend are rewritten in answers.
    pub rewrite_location: bool,
    pub cookies: CookieEdits,
    /// Whether `Forwarded` (RFC 7239) is written in requests.
    pub forwarded: bool,
    /// Whether the client's address is written as `X-Real-IP` in requests.
    pub x_real_ip: bool,
    /// Whether palantir itself answers `Expect: 100-continue` (else the backend does).
    pub answer_continue: bool,
    /// What is counted of its requests.
    pub counts: Arc<RouteCounts>,
}

/// Timeouts of one exchange.
#[derive(Clone, Debug)]
pub struct RouteTimeouts {
    /// Between two reads of a request body.
    pub client_body: Duration,
    pub connect: Duration,
    /// From the end of the request until the response head is complete.
    pub upstream_response: Duration,
    /// The longest time without a byte in either direction, once the final head of the response is there.
    pub upstream_idle: Duration,
    /// The longest time without a byte in either direction of a tunnel.
    pub tunnel_idle: Duration,
}

/// What the backend sees as `Host`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostHeader {
    /// The backend's own address as written in the configuration.
    Backend,
    /// What the client sent.
    Preserve,
    Literal(String),
}

/// Servers that do the same work.
#[derive(Debug)]
pub struct Pool {
    pub name: String,
    pub algorithm: AlgorithmPlan,
    /// Of these backends, if the algorithm uses keys.
    pub table: Option<Arc<Table>>,
    pub backends: Vec<Backend>,
    /// `None`: no backend is ejected.
    pub outlier: Option<Outlier>,
    /// The settings that are used as they are written.
    pub options: PoolOptions,
    /// `None`: cleartext.
    pub tls: Option<ClientTls>,
    /// How long an idle connection is kept.
    pub keepalive: Duration,
    /// What is counted of it besides what is counted of its backends.
    pub counts: Arc<PoolCounts>,
}

/// The options of a pool are read as its own: a new one needs no line here.
impl Deref for Pool {
    type Target = PoolOptions;

    fn deref(&self) -> &PoolOptions {
        &self.options
    }
}

/// TLS with backends.
#[derive(Clone, Debug)]
pub struct ClientTls {
    /// Roots, client certificate, ALPN, and the store of connections to resume, which outlives reloads that do not
    /// change these settings.
    pub config: Arc<rustls::ClientConfig>,
    /// The TLS configuration of connections that HTTP/1.1 is spoken on; equal to `config` if the pool speaks HTTP/1.1.
    pub http1: Arc<rustls::ClientConfig>,
}

/// One server.
#[derive(Debug)]
pub struct Backend {
    /// Holds the backend's row in the tables for as long as any snapshot names it.
    pub slot: Arc<Slot>,
    /// Where it listens; `None` while its name has never resolved (it is then down).
    pub addr: Option<BackendAddr>,
    /// As written (`127.0.0.1:9001`, `api.internal:80`, `unix:/run/app.sock`): the `Host` of [`HostHeader::Backend`]
    /// for TCP; `localhost` for a Unix socket.
    pub host: String,
    /// What it is asked for (SNI) and verified as where its pool speaks TLS: the pool's `server_name`, else the name or
    /// address in `host`.
    pub server_name: ServerName<'static>,
    /// Indices in the pool's backends of all addresses of its name, itself among them; without a name itself alone.
    pub addresses: Range<u32>,
    /// `address` for logs: the resolved one, and the name it came from if it had one.
    pub label: String,
    /// `1..=limits::WEIGHT`.
    pub weight: u16,
    /// Open connections that all cores together may have; `u32::MAX` means unlimited.
    pub max_connections: u32,
    /// Takes no new requests; running ones finish.
    pub draining: bool,
    /// How it is probed: by its own settings, else by its pool's.
    pub health_check: Option<HealthCheck>,
    /// After being down for so long it is taken out of the configuration.
    pub remove_after: Option<Duration>,
}

/// A backend's transport address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BackendAddr {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// How a backend is probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    pub kind: ProbeKind,
    /// The port that is probed; `None`: the port of the backend.
    pub port: Option<u16>,
    pub tls: ProbeTls,
    /// `Host` of the probe's request; `None`: the address of the backend.
    pub host: Option<String>,
    /// Further fields of the probe's request: names in lower case, no name twice.
    pub headers: Vec<(String, String)>,
    pub interval: Duration,
    pub timeout: Duration,
    /// The time for a probe while a healthy backend has failed its last probe.
    pub timeout_again: Duration,
    /// Failures in a row that make a backend unhealthy.
    pub unhealthy_after: u32,
    /// Successes in a row that make it healthy again.
    pub healthy_after: u32,
}

/// How a probe speaks TLS.
#[derive(Clone, Debug)]
pub enum ProbeTls {
    /// With the TLS of requests.
    AsPool,
    /// In cleartext.
    Off,
    /// With TLS settings of its own. The name is the one that the certificate must have; `None`: the name that requests
    /// ask the backend for.
    Own(Arc<rustls::ClientConfig>, Option<ServerName<'static>>),
}

impl PartialEq for ProbeTls {
    /// Two configurations are equal if they are the same object: equal settings and files are built only once.
    fn eq(&self, other: &ProbeTls) -> bool {
        match (self, other) {
            (ProbeTls::AsPool, ProbeTls::AsPool) | (ProbeTls::Off, ProbeTls::Off) => true,
            (ProbeTls::Own(one, name), ProbeTls::Own(other, other_name)) => {
                Arc::ptr_eq(one, other) && name == other_name
            }
            _ => false,
        }
    }
}

impl Eq for ProbeTls {}

/// What a probe does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// Opens a connection, nothing more.
    Tcp,
    /// Sends `method path`. The answer must have a status in one of the inclusive ranges, and a body with the text, if
    /// one is set.
    Http {
        method: String,
        path: String,
        expect: Vec<(u16, u16)>,
        body_contains: Option<String>,
    },
    /// Asks `grpc.health.v1` over HTTP/2 whether this service is serving; the empty name stands for the whole server.
    Grpc { service: String },
}

impl Snapshot {
    /// The listener of this address; `None` if the configuration no longer has it.
    pub fn listener(&self, addr: &ListenAddr) -> Option<&Listener> {
        self.listeners
            .iter()
            .find(|listener| listener.addr == *addr)
    }

    /// The largest number of client connections of all listeners together.
    pub fn most_clients(&self) -> usize {
        let listeners = self.listeners.iter();
        let sum = listeners.fold(0_usize, |sum, one| sum.saturating_add(one.connections));
        sum.min(self.descriptors.clients)
    }

    /// Whether another client may be connected by a listener as far as all listeners together are concerned. A part of
    /// all places is shared out in advance, so that a flood at one listener leaves the others some.
    pub fn has_place(&self, clients: &ClientCount) -> bool {
        let taken = |listener: &Listener| listener.clients.open().max(self.share_of(listener));
        self.is_below_share(clients)
            || self.listeners.iter().map(taken).sum::<usize>() < self.descriptors.clients
    }

    /// Whether a listener has fewer clients than it may have whatever the others have.
    pub fn is_below_share(&self, clients: &ClientCount) -> bool {
        let mut listeners = self.listeners.iter();
        let listener = listeners.find(|listener| std::ptr::eq(&*listener.clients, clients));
        listener.is_some_and(|listener| clients.open() < self.share_of(listener))
    }

    /// The client connections that a listener may have whatever the others have.
    fn share_of(&self, listener: &Listener) -> usize {
        let shares = limits::LISTENER_PART * self.listeners.len();
        let share = self.descriptors.clients / shares;
        share.max(1).min(listener.connections)
    }

    /// The addresses of all listeners, with their access rights.
    pub fn listen_places(&self) -> Vec<(ListenAddr, SocketAccess)> {
        let listeners = self.listeners.iter();
        listeners
            .map(|listener| (listener.addr.clone(), listener.access))
            .collect()
    }

    /// The addresses of all listeners.
    pub fn listen_addrs(&self) -> Vec<ListenAddr> {
        let listeners = self.listeners.iter();
        listeners.map(|listener| listener.addr.clone()).collect()
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
        match words.is_empty() {
            true => Ok(()),
            false => write!(f, " ({})", words.join(", ")),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Http1 => "HTTP/1.1",
            Protocol::Http2 => "HTTP/2",
        })
    }
}

impl Pool {
    /// Whether so few backends are healthy that the pool panics: all backends take requests then, whatever their
    /// states. Backends that are to be drained take none, and do not count.
    pub fn panics(&self, state: impl Fn(&Backend) -> BackendState) -> bool {
        let (healthy, all) = self.healthy_of(state);
        healthy * 100 < all * self.panic_threshold as usize
    }

    /// The number of healthy backends, and the number of backends that are not to be drained.
    pub fn healthy_of(&self, state: impl Fn(&Backend) -> BackendState) -> (usize, usize) {
        let counted = || self.backends.iter().filter(|backend| !backend.draining);
        let is_healthy =
            |backend: &&Backend| backend.addr.is_some() && state(backend) == BackendState::Healthy;
        (counted().filter(is_healthy).count(), counted().count())
    }
}

impl Backend {
    /// The backend's row in the tables.
    pub fn id(&self) -> BackendId {
        self.slot.id()
    }
}
