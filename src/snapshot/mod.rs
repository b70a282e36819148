//! The compiled configuration: immutable, shared by every thread, no names left to look up and nothing optional that a
//! request would have to decide. A running request keeps the snapshot it began with.

mod admin;
mod cache;
mod health_check;
mod listener;
mod listener_options;
mod pool;
mod pool_options;
mod route;
mod route_options;

#[cfg(test)]
pub mod sample;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::base::addresses::{ListenAddr, SocketAccess};
use crate::base::cidr::Cidr;
use crate::base::limits;
use crate::base::setting::{Absent, Kind, Value, plain_settings};
use crate::http::names::NameSet;
use crate::route::RouteTable;
use crate::shared::client_count::ClientCount;
use crate::tls::{Challenges, FilesRead};

pub use admin::{AccessLog, AccessLogFormat, Admin};
pub use cache::{CacheDisk, CacheOptions};
pub use health_check::{HealthCheck, ProbeKind, ProbeTls};
pub use listener::{ClientCertificate, ClientLimits, Listener, ServerTls};
pub use listener_options::{HalfClose, ListenerOptions};
pub use pool::{Backend, ClientTls, Pool};
pub use pool_options::{OUTLIER, OnUnhealthy, Outlier, PoolOptions, Protocol, ProxyProtocol};
pub use route::{HostHeader, Route};
pub use route_options::{RouteOptions, RouteTimeouts};

/// A snapshot as the threads pass it around. A worker counts references once per snapshot, never once per request.
pub type SharedSnapshot = Arc<Snapshot>;

/// Everything that workers, health and control need to know of the configuration.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts the snapshots of this process, from 1.
    pub generation: u64,
    /// Where clients come in, every worker at each; no address twice.
    pub listeners: Vec<Listener>,
    /// The answers to certificate authorities that ask whether a name is ours; all snapshots share them.
    pub challenges: Arc<Challenges>,
    /// The state of the files that TLS was built from, as it was before they were read, and of those that do not exist
    /// yet.
    pub files: FilesRead,
    /// Workers to run, at least 1.
    pub workers: usize,
    /// The shares of the process's descriptors.
    pub descriptors: Descriptors,
    /// How long running requests may take to finish after a stop.
    pub shutdown_timeout: Duration,
    /// Bytes of memory that the process may use.
    pub memory_bytes: u64,
    /// Names of the request fields in which any listener passes on who the client is. No client may give them.
    pub identity_names: NameSet,
    /// Ranges of the proxies whose `X-Forwarded-For` is believed. The peer of the connection counts, not the client
    /// that a PROXY header names.
    pub trusted_proxies: Vec<Cidr>,
    /// Whether the forwarding fields of clients on Unix sockets are believed, too.
    pub trusts_unix: bool,
    /// Names of forwarding fields that pass from every client.
    pub pass_fields: NameSet,
    /// The limits that hold for a client's connection before the route of a request is known.
    pub client: ClientLimits,
    /// Where the access log goes, if anywhere.
    pub access_log: Option<AccessLog>,
    /// Where palantir itself is talked to, if anywhere.
    pub admin: Option<Admin>,
    /// `None`: in cleartext.
    pub admin_tls: Option<ServerTls>,
    /// The cache of the process; `None`: nothing is cached, and no route has a cache.
    pub cache: Option<CacheOptions>,
    /// The treatment of `traceparent`.
    pub traceparent: Traceparent,
    /// Addresses of the test servers that the program itself starts.
    pub test_servers: Vec<SocketAddr>,
    /// Finds the route of a host and path. Two snapshots share the parts of the table that are equal in both.
    pub route_table: Arc<RouteTable>,
    /// Indexed by [`crate::base::ids::RouteId`].
    pub routes: Vec<Arc<Route>>,
    /// Indexed by `PoolId`.
    pub pools: Vec<Arc<Pool>>,
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
        debug_assert!(
            !self.listeners.is_empty(),
            "a listener that has a share is one of them"
        );
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
