//! The settings of a pool: `[[pools]]`, or the short form within a route.

use std::time::Duration;

use super::address::{self, BackendAddress};
use super::algorithm;
use super::document::{Item, Table};
use super::health_check::{self, HealthCheckSettings};
use super::notes::Placed;
use super::tls::{self, ClientTlsSettings};
use crate::balance::AlgorithmPlan;
use crate::base::limits::{self, default};
use crate::snapshot::{OnUnhealthy, Outlier, Protocol, ProxyProtocol};

/// A pool as written.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// Its name, or that of the route whose own pool it is.
    pub name: Placed<String>,
    pub algorithm: AlgorithmPlan,
    pub backends: Vec<Placed<BackendSettings>>,
    pub health_check: Option<HealthCheckSettings>,
    pub outlier: Option<Outlier>,
    pub on_unhealthy: OnUnhealthy,
    /// The percentage of healthy backends below which the pool panics.
    pub panic_threshold: u32,
    /// Per core and backend.
    pub idle_connections: u32,
    pub protocol: Protocol,
    /// `None`: cleartext.
    pub tls: Option<Box<ClientTlsSettings>>,
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Whether responses must follow the RFCs to the letter.
    pub strict_responses: bool,
}

/// A backend as written.
#[derive(Clone, Debug)]
pub struct BackendSettings {
    pub address: BackendAddress,
    pub weight: u16,
    /// 0: unlimited.
    pub max_connections: u32,
    pub draining: bool,
    /// Its own; `None`: the pool's.
    pub health_check: Option<HealthCheckSettings>,
    /// `None`: never.
    pub remove_after: Option<Duration>,
}

/// Keys that describe how a pool works; a route has them only when the pool is its own.
pub const WORK_KEYS: [&str; 11] = [
    "balancing_algorithm",
    "hash_on",
    "health_check",
    "outlier",
    "on_unhealthy",
    "panic_threshold",
    "idle_connections",
    "protocol",
    "tls",
    "proxy_protocol",
    "strict_responses",
];

/// Says where the former key `pipelining` is written that there is no such thing, and what there is instead.
pub fn refuse_pipelining(table: &mut Table<'_>) {
    table.refuse(
        "pipelining",
        "is gone: a connection to a backend carries one HTTP/1.1 request at a time, because a backend that breaks \
         framing would answer one client with what is another's; let requests share connections by protocol = \"h2\"",
    );
}

/// The words for what backends speak.
pub const PROTOCOLS: [(&str, Protocol); 2] = [("h1", Protocol::Http1), ("h2", Protocol::Http2)];
/// The values of `on_unhealthy`.
pub const ON_UNHEALTHY: [(&str, OnUnhealthy); 2] =
    [("finish", OnUnhealthy::Finish), ("cut", OnUnhealthy::Cut)];
/// The words for what a connection to a backend begins with.
pub const PROXY_PROTOCOLS: [(&str, ProxyProtocol); 2] =
    [("v1", ProxyProtocol::V1), ("v2", ProxyProtocol::V2)];

impl PoolSettings {
    /// One of `[[pools]]`.
    pub(super) fn read(item: &Item<'_>) -> Option<PoolSettings> {
        item.table(|table| {
            let name = table.must("name", |item| Some(item.placed(item.parsed(pool_name)?)));
            table.require("backends");
            PoolSettings::read_work(table, name.unwrap_or_default(), "backends")
        })
    }

    /// The part that a pool and a route with a pool of its own have in common.
    pub(super) fn read_work(
        table: &mut Table<'_>,
        name: Placed<String>,
        backends_key: &'static str,
    ) -> PoolSettings {
        refuse_pipelining(table);
        let protocol = table.get("protocol", |item| item.word(&PROTOCOLS));
        let protocol = protocol.unwrap_or_default();
        PoolSettings {
            name,
            algorithm: algorithm::read(table),
            backends: read_backends(table, backends_key),
            health_check: table.get("health_check", |item| item.table(health_check::read)),
            outlier: table.get("outlier", |item| item.table(read_outlier)),
            on_unhealthy: table
                .get("on_unhealthy", |item| item.word(&ON_UNHEALTHY))
                .unwrap_or_default(),
            panic_threshold: table.whole("panic_threshold", 0, 0..=100),
            idle_connections: table.whole(
                "idle_connections",
                limits::IDLE_CONNECTIONS,
                0..=limits::IDLE_CONNECTIONS_MAX,
            ),
            protocol,
            strict_responses: table.flag("strict_responses", false),
            tls: table.get("tls", tls::read_client).map(Box::new),
            proxy_protocol: table.get("proxy_protocol", |item| {
                let version = item.word(&PROXY_PROTOCOLS)?;
                match protocol {
                    Protocol::Http1 => Some(version),
                    Protocol::Http2 => item
                        .wrong("tells of one client, and a connection of protocol \"h2\" has many"),
                }
            }),
        }
    }
}

/// Also what a route calls a pool by. No slash, so that no pool is called like a route.
pub(super) fn pool_name(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let most = limits::POOL_NAME_BYTES;
    if (1..=most).contains(&text.len()) && text.bytes().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "must be 1 to {most} letters, digits, \"-\", \"_\" or \".\""
    ))
}

fn read_backends(table: &mut Table<'_>, key: &'static str) -> Vec<Placed<BackendSettings>> {
    let backends = table.get(key, |list| {
        let items = list.list(limits::BACKENDS)?;
        if items.is_empty() {
            return list.wrong("must name at least one backend");
        }
        Some(items)
    });
    let items = backends.unwrap_or_default();
    items.iter().filter_map(read_backend).collect()
}

fn read_backend(item: &Item<'_>) -> Option<Placed<BackendSettings>> {
    let settings = if item.is_table() {
        item.table(|table| {
            Some(BackendSettings {
                weight: table.whole("weight", 1, 1..=limits::WEIGHT),
                max_connections: table.whole("max_connections", 0, 0..=limits::CONNECTIONS),
                draining: table.flag("drain", false),
                health_check: table.get("health_check", |item| item.table(health_check::read)),
                remove_after: table
                    .get("remove_after_secs", |item| item.time(Duration::ZERO))
                    .filter(|time| !time.is_zero()),
                address: table.must("addr", |item| item.parsed(address::backend))?,
            })
        })?
    } else {
        item.parsed(address::backend)
            .map(|address| BackendSettings {
                address,
                weight: 1,
                max_connections: 0,
                draining: false,
                health_check: None,
                remove_after: None,
            })
    };
    Some(item.placed(settings?))
}

fn read_outlier(table: &mut Table<'_>) -> Outlier {
    Outlier {
        consecutive_failures: table.whole(
            "consecutive_failures",
            default::CONSECUTIVE_FAILURES,
            1..=limits::CHECKS_IN_A_ROW,
        ),
        eject: table.seconds("eject_secs", default::EJECT_SECS),
        max_ejected_percent: table.whole(
            "max_ejected_percent",
            default::MAX_EJECTED_PERCENT,
            0..=100,
        ),
    }
}
