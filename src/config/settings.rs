//! The whole file as written.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::acme::{self, Acme};
use super::address;
use super::admin;
use super::cache::{self, CacheSettings};
use super::declared::ConnectionTimeouts;
use super::document::{DocumentTable, Item};
use super::fields;
use super::listener::{self, ListenerSettings};
use super::notes::Positioned;
use super::pool::PoolSettings;
use super::route::{RouteSettings, RouteTarget};
use super::tls::{self, ServerTlsSettings};
use crate::base::cidr::Cidr;
use crate::http::h1::HeadLimits;
use crate::snapshot::{AccessLog, Admin, RouteTimeouts, Traceparent};

/// A configuration file, key by key.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The listeners of `listen_addr`, then those of `[[listeners]]`.
    pub listeners: Vec<ListenerSettings>,
    /// The file in which the keys of TLS tickets outlive the process; `None`: the keys end with the process.
    pub ticket_key_file: Option<PathBuf>,
    /// The authority that certificates are ordered from; `None`: none are ordered.
    pub acme: Option<Acme>,
    /// Time for which requests under way may go on after a stop.
    pub shutdown_timeout: Duration,
    /// Number of workers; 0: one for each CPU that the process may run on.
    pub workers: Positioned<usize>,
    /// Proxies whose forwarding fields are believed.
    pub trusted_proxies: Vec<Positioned<TrustedProxy>>,
    /// Names, in lower case, of fields that pass from every client although they pass only from trusted proxies by
    /// default.
    pub pass_fields: Vec<String>,
    /// Whether `Forwarded` is written, for routes that do not set this themselves.
    pub forwarded: bool,
    /// Whether `X-Real-IP` is written, for routes that do not set this themselves.
    pub x_real_ip: bool,
    /// Time between two look-ups of the names of backends.
    pub resolve_interval: Duration,
    /// Time-outs of connections.
    pub timeouts: ConnectionTimeouts,
    /// Time-outs of exchanges, for routes that do not have others.
    pub route_timeouts: RouteTimeouts,
    /// Bounds of requests, connections and memory.
    pub limits: LimitSettings,
    /// The access log; `None`: there is none.
    pub access_log: Option<AccessLog>,
    /// The management API, with the place of its section; `None`: there is none.
    pub admin: Option<Positioned<Admin>>,
    /// TLS of the management API; `None`: cleartext.
    pub admin_tls: Option<ServerTlsSettings>,
    /// The cache of the process; `None`: nothing is cached.
    pub cache: Option<CacheSettings>,
    /// Treatment of trace contexts.
    pub traceparent: Traceparent,
    /// Addresses of the test servers that palantir itself starts.
    pub test_servers: Vec<Positioned<SocketAddr>>,
    /// The pools of `[[pools]]`.
    pub pools: Vec<PoolSettings>,
    /// The routes, in the order of the file.
    pub routes: Vec<RouteSettings>,
}

/// A proxy whose forwarding fields are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustedProxy {
    /// Every client with an address of this network.
    Network(Cidr),
    /// Every client on a Unix socket.
    Unix,
}

/// `[limits]`
#[derive(Clone, Debug)]
pub struct LimitSettings {
    /// Bounds of the heads of requests.
    pub head: HeadLimits,
    /// Largest size of a request body in bytes; 0: unlimited.
    pub request_body_bytes: u64,
    /// Largest number of clients at one listener; 0: as many as the process may have descriptors for.
    pub connections: Positioned<u32>,
    /// Largest number of requests on one client connection; 0: unlimited.
    pub requests_per_connection: u32,
    /// Bytes that the process may use. 0: a part of what the machine or a control group leaves it.
    pub memory_bytes: Positioned<u64>,
}

impl Settings {
    /// The pools of `[[pools]]`, then those that routes have of their own.
    pub fn all_pools(&self) -> impl Iterator<Item = &PoolSettings> {
        let own = self.routes.iter().filter_map(|route| match &route.target {
            RouteTarget::Own(pool) => Some(&**pool),
            RouteTarget::Pool(_) => None,
        });
        self.pools.iter().chain(own)
    }

    pub(super) fn read(table: &mut DocumentTable<'_>) -> Settings {
        let mut admin_tls = None;
        let (timeouts, route_timeouts) =
            table.section("timeouts", |table| (table.plain(), table.plain()));
        Settings {
            listeners: listener::read(table),
            ticket_key_file: table.section("tls", tls::read_ticket_key_file),
            acme: table.get("acme", |item| item.table(acme::read)),
            shutdown_timeout: table.time("shutdown_timeout"),
            workers: table.positioned_whole("workers"),
            trusted_proxies: table.list("trusted_proxies", read_trusted_proxy),
            pass_fields: table.list("pass_fields", |item| item.parsed(fields::from_proxies)),
            forwarded: table.flag("forwarded"),
            x_real_ip: table.flag("x_real_ip"),
            resolve_interval: table.time("resolve_interval"),
            timeouts,
            route_timeouts,
            limits: table.section("limits", LimitSettings::read),
            access_log: table
                .get("access_log", |item| item.table(read_access_log))
                .flatten(),
            admin: table.get("admin", |item| {
                let (admin, tls) = item.table(admin::read)??;
                admin_tls = tls;
                Some(item.positioned(admin))
            }),
            admin_tls,
            cache: table.get("cache", |item| item.table(cache::read)).flatten(),
            traceparent: table.section("tracing", DocumentTable::plain),
            test_servers: table
                .get("test_server", |item| item.table(read_test_servers))
                .unwrap_or_default(),
            pools: table.list("pools", PoolSettings::read),
            routes: table.list("routes", RouteSettings::read),
        }
    }
}

impl LimitSettings {
    fn read(table: &mut DocumentTable<'_>) -> LimitSettings {
        LimitSettings {
            head: HeadLimits {
                head_bytes: table.size("request_head_size"),
                fields: table.whole("request_headers"),
                target_bytes: table.size("request_target_size"),
            },
            request_body_bytes: table.size("request_body_size"),
            connections: table.positioned_whole("connections"),
            requests_per_connection: table.whole("requests_per_connection"),
            memory_bytes: table.positioned_size("memory"),
        }
    }
}

fn read_trusted_proxy(item: &Item<'_>) -> Option<Positioned<TrustedProxy>> {
    let proxy = match item.text()? {
        "unix:" => TrustedProxy::Unix,
        text if text.starts_with("unix:") => {
            return item.wrong("\"unix:\" stands for all Unix sockets; write nothing behind it");
        }
        _ => TrustedProxy::Network(item.parsed(str::parse)?),
    };
    Some(item.positioned(proxy))
}

fn read_access_log(table: &mut DocumentTable<'_>) -> Option<AccessLog> {
    let format = table.word("format");
    let path = table.must("path", address::file_path)?;
    Some(AccessLog { path, format })
}

fn read_test_servers(table: &mut DocumentTable<'_>) -> Vec<Positioned<SocketAddr>> {
    table.list("listen_addrs", |item| {
        Some(item.positioned(item.parsed(address::socket_addr)?))
    })
}
