//! The whole file as written.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::acme::{self, Acme};
use super::address;
use super::admin;
use super::declared::TimeoutSettings;
use super::document::{Item, Table};
use super::fields;
use super::listener::{self, ListenerSettings};
use super::notes::Placed;
use super::pool::PoolSettings;
use super::route::{RouteSettings, RouteTarget};
use super::tls::{self, ServerTlsSettings};
use crate::base::cidr::Cidr;
use crate::base::limits;
use crate::http::h1::HeadLimits;
use crate::snapshot::{AccessLog, Admin, Traceparent};

/// A configuration file, key by key.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Those of `listen_addr`, then `[[listeners]]`.
    pub listeners: Vec<ListenerSettings>,
    /// Where the keys of TLS tickets outlive the process. `None`: they do not.
    pub ticket_key_file: Option<PathBuf>,
    /// The authority that certificates are ordered from.
    pub acme: Option<Acme>,
    pub shutdown_timeout: Duration,
    /// 0: one per CPU that the process may run on.
    pub workers: Placed<usize>,
    pub trusted_proxies: Vec<Placed<TrustedProxy>>,
    /// Names, in lower case, of fields that pass from every client although they pass only from trusted proxies by
    /// default.
    pub pass_fields: Vec<String>,
    /// Whether `Forwarded` is written, for routes that do not set this themselves.
    pub forwarded: bool,
    /// Whether `X-Real-IP` is written, for routes that do not set this themselves.
    pub x_real_ip: bool,
    /// How often names of backends are looked up.
    pub resolve_interval: Duration,
    pub timeouts: TimeoutSettings,
    pub limits: LimitSettings,
    pub access_log: Option<AccessLog>,
    pub admin: Option<Placed<Admin>>,
    /// `None`: the management API is spoken to in cleartext.
    pub admin_tls: Option<ServerTlsSettings>,
    pub traceparent: Traceparent,
    pub test_servers: Vec<Placed<SocketAddr>>,
    pub pools: Vec<PoolSettings>,
    pub routes: Vec<RouteSettings>,
}

/// A proxy whose forwarding fields are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustedProxy {
    Network(Cidr),
    /// Every client on a Unix socket.
    Unix,
}

/// `[limits]`
#[derive(Clone, Debug)]
pub struct LimitSettings {
    pub head: HeadLimits,
    /// 0: unlimited.
    pub request_body_bytes: u64,
    /// Of one listener. 0: as many as the process may have descriptors for.
    pub connections: Placed<u32>,
    /// 0: unlimited.
    pub requests_per_connection: u32,
    /// Bytes that the process may use. 0: a part of what the machine or a control group leaves it.
    pub memory_bytes: Placed<u64>,
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

    pub(super) fn read(table: &mut Table<'_>) -> Settings {
        let mut admin_tls = None;
        Settings {
            listeners: listener::read(table),
            ticket_key_file: table.section("tls", tls::read_ticket_key_file),
            acme: table.get("acme", |item| item.table(acme::read)),
            shutdown_timeout: table.time("shutdown_timeout"),
            workers: table
                .get("workers", |item| Some(item.placed(item.whole()?)))
                .unwrap_or_default(),
            trusted_proxies: table.list("trusted_proxies", read_trusted_proxy),
            pass_fields: table.list("pass_fields", |item| item.parsed(fields::from_proxies)),
            forwarded: table.flag("forwarded"),
            x_real_ip: table.flag("x_real_ip"),
            resolve_interval: table.time("resolve_interval"),
            timeouts: table.section("timeouts", Table::plain),
            limits: table.section("limits", LimitSettings::read),
            access_log: table
                .get("access_log", |item| item.table(read_access_log))
                .flatten(),
            admin: table.get("admin", |item| {
                let (admin, tls) = item.table(admin::read)??;
                admin_tls = tls;
                Some(item.placed(admin))
            }),
            admin_tls,
            traceparent: table.section("tracing", Table::plain),
            test_servers: table
                .get("test_server", |item| item.table(read_test_servers))
                .unwrap_or_default(),
            pools: table.list("pools", PoolSettings::read),
            routes: table.list("routes", RouteSettings::read),
        }
    }
}

impl LimitSettings {
    fn read(table: &mut Table<'_>) -> LimitSettings {
        LimitSettings {
            head: HeadLimits {
                head_bytes: table.size("request_head_size"),
                fields: table.whole("request_headers"),
                target_bytes: table.size("request_target_size"),
            },
            request_body_bytes: table.size("request_body_size"),
            connections: table
                .get("connections", |item| Some(item.placed(item.whole()?)))
                .unwrap_or_default(),
            requests_per_connection: table.whole("requests_per_connection"),
            memory_bytes: table.get("memory", read_memory_bytes).unwrap_or_default(),
        }
    }
}

fn read_trusted_proxy(item: &Item<'_>) -> Option<Placed<TrustedProxy>> {
    let proxy = match item.text()? {
        "unix:" => TrustedProxy::Unix,
        text if text.starts_with("unix:") => {
            return item.wrong("\"unix:\" stands for all Unix sockets; write nothing behind it");
        }
        _ => TrustedProxy::Network(item.parsed(str::parse)?),
    };
    Some(item.placed(proxy))
}

fn read_memory_bytes(item: &Item<'_>) -> Option<Placed<u64>> {
    let bytes = item.size()?;
    if (1..limits::MEMORY_BYTES_LEAST).contains(&bytes) {
        let least = limits::MEMORY_BYTES_LEAST;
        return item.wrong(format!(
            "must be 0, which stands for {}% of the memory, or at least {least}",
            limits::MEMORY_PERCENT
        ));
    }
    Some(item.placed(bytes))
}

fn read_access_log(table: &mut Table<'_>) -> Option<AccessLog> {
    let format = table.word("format");
    let path = table.must("path", address::file_path)?;
    Some(AccessLog { path, format })
}

fn read_test_servers(table: &mut Table<'_>) -> Vec<Placed<SocketAddr>> {
    table.list("listen_addrs", |item| {
        Some(item.placed(item.parsed(address::socket_addr)?))
    })
}
