//! The settings of a pool: `[[pools]]`, or the short form within a route.

use std::time::Duration;

use super::address::{self, BackendAddress};
use super::algorithm;
use super::declared::BACKEND;
use super::document::{DocumentTable, Item};
use super::health_check::{self, HealthCheckSettings};
use super::notes::Positioned;
use super::tls::{self, ClientTlsSettings};
use crate::balance::AlgorithmSettings;
use crate::base::limits;
use crate::snapshot::{Outlier, PoolOptions, Protocol};

/// A pool as written.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// The name of the pool; of a pool that is a route's own, the name of the route.
    pub name: Positioned<String>,
    /// The algorithm that picks the backend of a request.
    pub algorithm: AlgorithmSettings,
    /// The backends, in the order of the file.
    pub backends: Vec<Positioned<BackendSettings>>,
    /// The probes of the backends that have no check of their own; `None`: no probes.
    pub health_check: Option<HealthCheckSettings>,
    /// When a backend is ejected because of its answers; `None`: never.
    pub outlier: Option<Outlier>,
    /// The settings that depend on nothing else.
    pub options: PoolOptions,
    /// TLS with the backends; `None`: cleartext.
    pub tls: Option<Box<ClientTlsSettings>>,
}

/// A backend as written.
#[derive(Clone, Debug)]
pub struct BackendSettings {
    /// The address of the backend.
    pub address: BackendAddress,
    /// Share of the requests, compared with other backends of the pool.
    pub weight: u16,
    /// Largest number of open connections of all cores together; 0: unlimited.
    pub max_connections: u32,
    /// Whether the backend takes no new requests.
    pub draining: bool,
    /// The probes of the backend; `None`: those of the pool.
    pub health_check: Option<HealthCheckSettings>,
    /// Time after which a backend that is down is taken out of the configuration; `None`: never.
    pub remove_after: Option<Duration>,
}

/// Notes, where the former key `pipelining` is written, that there is no such setting any more, and names the setting
/// that does instead.
pub fn refuse_pipelining(table: &mut DocumentTable<'_>) {
    table.refuse_former(
        "pipelining",
        "is gone: a connection to a backend carries one HTTP/1.1 request at a time, because a backend that breaks \
         framing would answer one client with what is another's; let requests share connections by protocol = \"h2\"",
    );
}

impl PoolSettings {
    /// Reads one of `[[pools]]`.
    pub(super) fn read(item: &Item<'_>) -> Option<PoolSettings> {
        item.table(|table| {
            let name = table.must("name", |item| {
                Some(item.positioned(item.parsed(pool_name)?))
            });
            table.require("backends");
            PoolSettings::read_work(table, name.unwrap_or_default(), "backends")
        })
    }

    /// The part that a pool and a route with a pool of its own have in common.
    pub(super) fn read_work(
        table: &mut DocumentTable<'_>,
        name: Positioned<String>,
        backends_key: &'static str,
    ) -> PoolSettings {
        refuse_pipelining(table);
        let options: PoolOptions = table.plain();
        if options.protocol == Protocol::Http2 && options.proxy_protocol.is_some() {
            table.refuse(
                "proxy_protocol",
                "tells of one client, and a connection of protocol \"h2\" has many",
            );
        }
        PoolSettings {
            name,
            algorithm: algorithm::read(table),
            backends: read_backends(table, backends_key),
            health_check: table.get("health_check", |item| item.table(health_check::read)),
            outlier: table.get("outlier", |item| item.table(DocumentTable::plain)),
            options,
            tls: table.get("tls", tls::read_client).map(Box::new),
        }
    }
}

/// The name of a pool, in `[[pools]]` and in a route. It has no slash, so that no pool has the name of a route.
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

fn read_backends(
    table: &mut DocumentTable<'_>,
    key: &'static str,
) -> Vec<Positioned<BackendSettings>> {
    let backends = table.get(key, |list| {
        let items = list.list()?;
        if items.is_empty() {
            return list.wrong("must name at least one backend");
        }
        Some(items)
    });
    let items = backends.unwrap_or_default();
    items.iter().filter_map(read_backend).collect()
}

fn read_backend(item: &Item<'_>) -> Option<Positioned<BackendSettings>> {
    let settings = if item.is_table() {
        item.table(|table| {
            let address = table.must("addr", |item| item.parsed(address::backend));
            read_backend_at(table, address)
        })?
    } else {
        let address = item.parsed(address::backend);
        item.defaults_of(&BACKEND, |table| read_backend_at(table, address))
    };
    Some(item.positioned(settings?))
}

/// Reads the settings of the backend at an address; `None` if the address was mistaken.
fn read_backend_at(
    table: &mut DocumentTable<'_>,
    address: Option<BackendAddress>,
) -> Option<BackendSettings> {
    Some(BackendSettings {
        weight: table.whole("weight"),
        max_connections: table.whole("max_connections"),
        draining: table.flag("drain"),
        health_check: table.get("health_check", |item| item.table(health_check::read)),
        remove_after: Some(table.time("remove_after")).filter(|time| !time.is_zero()),
        address: address?,
    })
}
