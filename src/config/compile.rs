//! From what was written to what the threads work with: names become numbers, defaults and machine facts are filled in.

mod backends;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use thiserror::Error;

use backends::{addresses, compile_backend, member};

use super::Config;
use super::acme::Acme;
use super::descriptors::share_out;
use super::health_check::HealthCheckSettings;
use super::listener::ListenerSettings;
use super::machine::Machine;
use super::notes::{Position, Positioned};
use super::pool::PoolSettings;
use super::route::{RouteSettings, RouteTarget};
use super::settings::{Settings, TrustedProxy};
use super::start_settings::StartSettings;
use super::tls::ServerTlsSettings;
use crate::base::cidr::Cidr;
use crate::base::ids::PoolId;
use crate::base::limits;
use crate::base::setting::Plain;
use crate::cache::policy::Policy;
use crate::http::names::NameSet;
use crate::route::RouteTable;
use crate::shared::slots::Slots;
use crate::snapshot::{
    Backend, ClientLimits, ClientTls, HealthCheck, HostHeader, Listener, ListenerOptions, Pool,
    ProbeTls, Protocol, Route, ServerTls, Snapshot,
};
use crate::tls::{Alpn, Fact, TlsFault, TlsStore};

/// The addresses of host names, as far as they are known. Names as [`Config::names`] gives them.
pub type Resolved = HashMap<String, Vec<IpAddr>>;

/// The tables have no row left: with all addresses of all names, and those of snapshots still in use, there are more
/// than [`limits::BACKENDS`] backends.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "no room for backend {backend} of pool {pool:?}: at most {} backends are possible, those of the previous configuration included while it is in use",
    limits::BACKENDS
)]
pub struct TooManyBackends {
    /// The name of the pool with the backend that is one too many.
    pub pool: String,
    /// The address of the first backend that does not fit any more.
    pub backend: String,
}

/// Why a checked configuration cannot be compiled.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CannotCompile {
    #[error(transparent)]
    /// The backends of all pools together are too many.
    TooManyBackends(#[from] TooManyBackends),
    /// A file that TLS needs cannot be used, and never could since it was first named.
    #[error("{key}: {text}")]
    Tls {
        /// The way to the `tls` at fault: `pools[0].tls`.
        key: String,
        /// The fault, in words.
        text: String,
        /// Whether the fault may pass without a change of the file.
        may_pass: bool,
    },
}

impl CannotCompile {
    fn tls(position: &Position, fault: TlsFault) -> CannotCompile {
        CannotCompile::Tls {
            key: position.key.clone(),
            text: fault.text,
            may_pass: fault.may_pass,
        }
    }
}

/// The tables that outlive a snapshot: each configuration that is compiled adds to them.
pub struct Stores<'s> {
    /// The rows of backends, pools and routes.
    pub slots: &'s mut Slots,
    /// The loaded certificates, keys and authorities.
    pub tls_store: &'s mut TlsStore,
}

/// The facts of a process that no change of its configuration changes.
pub struct ProcessFacts<'p> {
    /// The machine that the process runs on.
    pub machine: &'p Machine,
    /// The settings that the process was started with, which stay until the process ends.
    pub start: &'p StartSettings,
}

/// Compiles a checked configuration, and loads its new and changed certificates into the TLS store. A name without
/// addresses becomes one backend without an address.
pub fn compile(
    config: &Config,
    machine: &Machine,
    resolved: &Resolved,
    stores: Stores<'_>,
    generation: u64,
) -> Result<Snapshot, CannotCompile> {
    let start = StartSettings::of(&config.settings, machine);
    let process = ProcessFacts {
        machine,
        start: &start,
    };
    compile_beside(config, &process, resolved, stores, generation)
}

/// Compiles as [`compile`] does, for a process that runs already: the settings that count only at a start stay as they
/// were at the start of the process, but the files of the management API's TLS are read again like all others.
pub fn compile_beside(
    config: &Config,
    process: &ProcessFacts<'_>,
    resolved: &Resolved,
    stores: Stores<'_>,
    generation: u64,
) -> Result<Snapshot, CannotCompile> {
    let Stores { slots, tls_store } = stores;
    let (machine, start) = (process.machine, process.start);
    let settings = &config.settings;
    let pools: Result<Vec<Arc<Pool>>, _> = settings
        .all_pools()
        .map(|pool| compile_pool(pool, settings, resolved, slots, tls_store).map(Arc::new))
        .collect();
    let pools = pools?;
    let listeners = settings.listeners.iter();
    let listeners: Result<Vec<Listener>, _> = listeners
        .map(|listener| compile_listener(listener, settings, slots, tls_store))
        .collect();
    let listeners = listeners?;
    let admin_tls = start.admin_tls.as_ref();
    let admin_tls = admin_tls.map(|tls| compile_server_tls(tls, None, tls_store));
    let admin_tls = admin_tls.transpose()?;
    let (routes, route_table) = compile_routes(settings, start, &pools, slots);
    debug_assert!((1..=limits::WORKERS).contains(&start.workers));
    let has_test_servers = !start.test_servers.is_empty();
    Ok(Snapshot {
        generation,
        listeners,
        challenges: tls_store.challenges(),
        files: tls_store.files(),
        workers: start.workers,
        descriptors: share_out(settings, machine, start.workers, has_test_servers),
        shutdown_timeout: settings.shutdown_timeout,
        memory_bytes: memory_bytes(
            settings,
            machine,
            start.cache.as_ref().map_or(0, |cache| cache.max_bytes),
        ),
        identity_names: identity_names(settings),
        trusted_proxies: networks(&settings.trusted_proxies).collect(),
        trusts_unix: trusts_unix(&settings.trusted_proxies),
        pass_fields: settings.pass_fields.iter().cloned().collect(),
        client: client_limits(settings),
        access_log: settings.access_log.clone(),
        admin: start.admin.clone(),
        admin_tls,
        cache: start.cache.clone(),
        traceparent: settings.traceparent,
        test_servers: start.test_servers.clone(),
        route_table: Arc::new(route_table),
        routes,
        pools,
    })
}

/// Compiles the routes and the table that finds a route.
fn compile_routes(
    settings: &Settings,
    start: &StartSettings,
    pools: &[Arc<Pool>],
    slots: &mut Slots,
) -> (Vec<Arc<Route>>, RouteTable) {
    let ids: HashMap<&str, PoolId> = pools
        .iter()
        .zip(0..)
        .map(|(pool, id)| (pool.name.as_str(), PoolId(id)))
        .collect();
    let routes = settings
        .routes
        .iter()
        .map(|route| {
            let cache = compile_cache(route, start);
            let compiled = compile_route(route, settings, &ids, slots);
            let counters = cache.as_ref().map(|_| slots.cache_counters(&compiled.name));
            Arc::new(Route {
                cache,
                cache_counters: counters,
                ..compiled
            })
        })
        .collect();
    debug_assert!(
        settings
            .routes
            .iter()
            .all(|route| route.prefix.starts_with('/')),
        "paths begin with a slash"
    );
    let keys: Vec<_> = settings
        .routes
        .iter()
        .map(|route| (route.host.clone(), route.prefix.clone()))
        .collect();
    (routes, RouteTable::new(&keys))
}

fn compile_listener(
    listener: &ListenerSettings,
    settings: &Settings,
    slots: &mut Slots,
    tls_store: &mut TlsStore,
) -> Result<Listener, CannotCompile> {
    let tls = listener.tls.as_ref();
    let tls = tls.map(|tls| compile_server_tls(tls, settings.acme.as_ref(), tls_store));
    let speaks_h2 = |tls: &ServerTlsSettings| tls.settings.alpn.contains(&Alpn::H2);
    let speaks_h2 = listener.tls.as_ref().is_none_or(speaks_h2);
    Ok(Listener {
        addr: listener.addr.value.clone(),
        tls: tls.transpose()?,
        options: ListenerOptions {
            http2: listener.options.http2 && speaks_h2,
            ..listener.options.clone()
        },
        tolerates_control_bytes: listener.tolerates_control_bytes,
        proxy_protocol_from: ranges(&listener.proxy_protocol_from),
        access: listener.access,
        connections: match (listener.connections, settings.limits.connections.value) {
            (0, 0) => usize::MAX,
            (0, most) | (most, _) => most as usize,
        },
        clients: slots.client_count(&listener.addr.to_string()),
    })
}

fn identity_names(settings: &Settings) -> NameSet {
    let all = settings.listeners.iter().flat_map(|one| &one.tls);
    all.flat_map(|tls| tls.identity.iter().map(name_of))
        .collect()
}

fn trusts_unix(proxies: &[Positioned<TrustedProxy>]) -> bool {
    let mut proxies = proxies.iter();
    proxies.any(|proxy| proxy.value == TrustedProxy::Unix)
}

fn name_of((name, _): &(String, Fact)) -> String {
    name.clone()
}

fn ranges(positioned: &[Positioned<Cidr>]) -> Vec<Cidr> {
    positioned.iter().map(|range| range.value).collect()
}

fn networks(proxies: &[Positioned<TrustedProxy>]) -> impl Iterator<Item = Cidr> {
    proxies.iter().filter_map(|proxy| match proxy.value {
        TrustedProxy::Network(range) => Some(range),
        TrustedProxy::Unix => None,
    })
}

fn compile_server_tls(
    tls: &ServerTlsSettings,
    acme: Option<&Acme>,
    tls_store: &mut TlsStore,
) -> Result<ServerTls, CannotCompile> {
    let settings = tls.complete(acme.map(|acme| &acme.settings));
    let side = tls_store.server(&settings);
    let side = side.map_err(|fault| CannotCompile::tls(&tls.position, fault))?;
    Ok(ServerTls {
        config: side.config,
        certificates: side.pairs,
        client_certificate: tls.client_certificate(),
        identity: tls.identity.clone(),
        identity_names: tls.identity.iter().map(name_of).collect(),
        trust: side.trust,
        min_version: settings.min_version,
        alpn: settings.alpn,
        refuse_unknown: settings.refuse_unknown,
    })
}

fn compile_client_tls(
    pool: &PoolSettings,
    tls_store: &mut TlsStore,
) -> Result<Option<ClientTls>, CannotCompile> {
    let Some(tls) = &pool.tls else {
        return Ok(None);
    };
    let mut build = |protocol| {
        let built = tls_store.client(&pool.name, &tls.settings(protocol));
        built.map_err(|fault| CannotCompile::tls(&tls.position, fault))
    };
    Ok(Some(ClientTls {
        config: build(pool.options.protocol)?,
        http1: build(Protocol::Http1)?,
    }))
}

/// Bytes of memory that the process may use beside a cache of this size: as written, else a part of what the cache
/// leaves.
pub fn memory_bytes(settings: &Settings, machine: &Machine, cache_bytes: u64) -> u64 {
    let left = machine.memory_bytes.saturating_sub(cache_bytes);
    match settings.limits.memory_bytes.value {
        0 => (left / 100 * limits::MEMORY_PERCENT).max(limits::MEMORY_BYTES_LEAST),
        bytes => bytes,
    }
}

fn client_limits(settings: &Settings) -> ClientLimits {
    ClientLimits {
        header_timeout: settings.timeouts.client_header,
        idle_timeout: settings.timeouts.client_idle,
        stream_stall: settings.timeouts.client_stream_stall,
        head: settings.limits.head.clone(),
        requests_per_connection: unlimited_if_zero(settings.limits.requests_per_connection),
    }
}

fn unlimited_if_zero(count: u32) -> u32 {
    if count == 0 { u32::MAX } else { count }
}

fn compile_route(
    route: &RouteSettings,
    settings: &Settings,
    pools: &HashMap<&str, PoolId>,
    slots: &mut Slots,
) -> Route {
    let name = route.name();
    let pool = match &route.target {
        RouteTarget::Pool(pool) => pools[pool.as_str()],
        RouteTarget::Own(_) => pools[name.as_str()],
    };
    let body_bytes = route
        .request_body_bytes
        .unwrap_or(settings.limits.request_body_bytes);
    Route {
        pool,
        counters: slots.route_counters(&name),
        name,
        prefix: route.prefix.trim_end_matches('/').to_owned(),
        host_header: route.host_header.clone(),
        wants_certificate: route.wants_certificate.is_some(),
        request_fields: route.request_headers.clone(),
        response_fields: route.response_headers.clone(),
        options: route.options.clone(),
        timeouts: settings.route_timeouts.changed_by(&route.timeouts),
        request_body_bytes: if body_bytes == 0 {
            u64::MAX
        } else {
            body_bytes
        },
        cookies: route.cookies.clone(),
        forwarded: route.forwarded.unwrap_or(settings.forwarded),
        x_real_ip: route.x_real_ip.unwrap_or(settings.x_real_ip),
        cache: None,
        cache_counters: None,
    }
}

/// The policy of a route's cache, by the name that the cache of this process has. A process that was started without a
/// cache caches nothing before its next start.
fn compile_cache(route: &RouteSettings, start: &StartSettings) -> Option<Arc<Policy>> {
    let (cache, process) = (route.cache.as_ref()?, start.cache.as_ref()?);
    let pool = match &route.target {
        RouteTarget::Pool(name) => name.value.clone(),
        RouteTarget::Own(pool) => pool.name.value.clone(),
    };
    Some(Arc::new(cache.policy(&process.name, pool)))
}

fn compile_pool(
    pool: &PoolSettings,
    settings: &Settings,
    resolved: &Resolved,
    slots: &mut Slots,
    tls_store: &mut TlsStore,
) -> Result<Pool, CannotCompile> {
    let name = &pool.name.value;
    let tls = compile_client_tls(pool, tls_store)?;
    let host = literal_host(settings, name);
    let mut seen = HashSet::new();
    let mut backends = Vec::new();
    for written in &pool.backends {
        // Two backends of one pool must not share a row: a repetition is left out (and was warned of).
        if !seen.insert(&written.address.target) {
            continue;
        }
        let addresses = addresses(written, resolved);
        debug_assert!(
            !addresses.is_empty(),
            "a backend without an address has a row all the same"
        );
        let first = backends.len() as u32;
        let all = first..first + addresses.len() as u32;
        let check = written.health_check.as_ref().or(pool.health_check.as_ref());
        let check = check.map(|check| compile_check(check, pool, host, tls_store));
        let check = check.transpose()?;
        for address in addresses {
            let backend = compile_backend(pool, written, address, &all, slots)?;
            let health_check = check.clone();
            backends.push(Backend {
                health_check,
                ..backend
            });
        }
    }
    Ok(Pool {
        name: name.clone(),
        algorithm: pool.algorithm.clone(),
        table: pool.algorithm.table(backends.iter().map(member)),
        backends,
        outlier: pool.outlier.clone(),
        options: pool.options.clone(),
        tls,
        keepalive: settings.timeouts.upstream_keepalive,
        counters: slots.pool_counters(name),
    })
}

/// The first literal `host_header` of a route that leads to this pool. A probe names this host unless its settings name
/// another.
fn literal_host<'s>(settings: &'s Settings, pool: &str) -> Option<&'s str> {
    let leads_here = |route: &&RouteSettings| match &route.target {
        RouteTarget::Pool(name) => name.value == pool,
        RouteTarget::Own(own) => own.name.value == pool,
    };
    let mut routes = settings.routes.iter().filter(leads_here);
    routes.find_map(|route| match &route.host_header {
        HostHeader::Literal(host) => Some(host.as_str()),
        HostHeader::Backend | HostHeader::Preserve => None,
    })
}

fn compile_check(
    written: &HealthCheckSettings,
    pool: &PoolSettings,
    host: Option<&str>,
    tls_store: &mut TlsStore,
) -> Result<HealthCheck, CannotCompile> {
    let mut check = written.check.clone();
    check.host = check.host.or_else(|| host.map(str::to_owned));
    if let Some((tls, settings)) = written.own_tls(pool.options.protocol) {
        let config = tls_store.client(&pool.name, &settings);
        let config = config.map_err(|fault| CannotCompile::tls(&tls.position, fault))?;
        check.tls = ProbeTls::Own(config, tls.server_name.clone());
    }
    Ok(check)
}
