//! Pools and their backends.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;

use crate::balance::{AlgorithmPlan, SharedHashTable};
use crate::base::addresses::BackendAddr;
use crate::base::ids::BackendId;
use crate::shared::backend_table::BackendState;
use crate::shared::counts::PoolCounts;
use crate::shared::slots::Slot;
use crate::snapshot::HealthCheck;

/// Servers that do the same work.
#[derive(Debug)]
pub struct Pool {
    pub name: String,
    pub algorithm: AlgorithmPlan,
    /// Of these backends, if the algorithm uses keys.
    pub table: Option<SharedHashTable>,
    pub backends: Vec<Backend>,
    pub outlier: Option<Outlier>,
    pub on_unhealthy: OnUnhealthy,
    /// The percentage of healthy backends below which all backends take requests; 0: this never happens.
    pub panic_threshold: u32,
    /// Idle connections that one core keeps to one backend.
    pub idle_connections: u32,
    /// What its backends speak.
    pub protocol: Protocol,
    /// `None`: cleartext.
    pub tls: Option<ClientTls>,
    /// The header that every connection to a backend begins with, if any.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Whether the responses of the pool's backends must follow the RFCs to the letter. Otherwise every response with
    /// one possible reading is taken.
    pub strict_responses: bool,
    /// How long an idle connection is kept.
    pub keepalive: Duration,
    /// What is counted of it besides what is counted of its backends.
    pub counts: Arc<PoolCounts>,
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

/// How palantir treats requests in a backend that turns unhealthy, unless they go on to another backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUnhealthy {
    /// The requests go on, within their usual time-outs.
    #[default]
    Finish,
    /// The requests end, and so do tunnels.
    Cut,
}

/// What the backends of a pool speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    #[default]
    Http1,
    /// By ALPN with TLS, by prior knowledge without.
    Http2,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Http1 => "HTTP/1.1",
            Protocol::Http2 => "HTTP/2",
        })
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

/// Version of the PROXY header, which tells a backend who the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    V1,
    V2,
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

impl Backend {
    /// The backend's row in the tables.
    pub fn id(&self) -> BackendId {
        self.slot.id()
    }
}

/// When a backend is ejected for what its answers were like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlier {
    /// Connect failures, resets and 5xx in a row.
    pub consecutive_failures: u32,
    pub eject: Duration,
    /// Share of the pool's backends that may be ejected at once (one always may if this is above 0).
    pub max_ejected_percent: u32,
}
