//! Pools and their backends.

use std::ops::{Deref, Range};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;

use super::pool_options::{Outlier, PoolOptions};
use crate::balance::{AlgorithmSettings, SharedHashTable};
use crate::base::addresses::BackendAddr;
use crate::base::ids::BackendId;
use crate::shared::backend_table::BackendState;
use crate::shared::route_counters::PoolCounters;
use crate::shared::slots::Slot;
use crate::snapshot::HealthCheck;

/// Servers that do the same work.
#[derive(Debug)]
pub struct Pool {
    /// The name that the configuration gives the pool.
    pub name: String,
    /// The algorithm that picks the backend of a request.
    pub algorithm: AlgorithmSettings,
    /// Of these backends, if the algorithm uses keys.
    pub table: Option<SharedHashTable>,
    /// The backends, in the order of the configuration.
    pub backends: Vec<Backend>,
    /// `None`: no backend is ejected.
    pub outlier: Option<Outlier>,
    /// The settings that are used as they are written.
    pub options: PoolOptions,
    /// `None`: cleartext.
    pub tls: Option<ClientTls>,
    /// How long an idle connection is kept.
    pub keepalive: Duration,
    /// The counts of the pool besides the counts of its backends.
    pub counters: Arc<PoolCounters>,
}

/// The options of a pool are read as its own: a new one needs no line here.
impl Deref for Pool {
    type Target = PoolOptions;

    fn deref(&self) -> &PoolOptions {
        &self.options
    }
}

impl Pool {
    /// Whether so few backends are healthy that the pool panics: all backends take requests then, whatever their
    /// states. Backends that are to be drained take none, and do not count.
    pub fn panics(&self, state: impl Fn(&Backend) -> BackendState) -> bool {
        let (healthy, all) = self.healthy_of(state);
        debug_assert!(healthy <= all && self.panic_threshold <= 100);
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
    /// As written (`127.0.0.1:9001`, `api.internal:80`, `unix:/run/app.sock`): the `Host` of `HostHeader::Backend`
    /// for TCP; `localhost` for a Unix socket.
    pub host: String,
    /// The name that the backend is asked for (SNI) and verified as, where the pool speaks TLS: the pool's
    /// `server_name`, else the name or address in `host`.
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

impl Backend {
    /// The backend's row in the tables.
    pub fn id(&self) -> BackendId {
        self.slot.id()
    }
}
