//! Snapshots for tests of what stands above.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;

use crate::balance::{AlgorithmSettings, HashKey};
use crate::base::addresses::{BackendAddr, ListenAddr, SocketAccess};
use crate::base::ids::PoolId;
use crate::base::limits;
use crate::http::cookies::CookieEdits;
use crate::http::h1::HeadLimits;
use crate::http::names::{FieldEdits, NameSet};
use crate::route::RouteTable;
use crate::shared::backend_table::BackendTables;
use crate::shared::client_count::ClientCount;
use crate::shared::counter::PerWorker;
use crate::shared::slots::Slots;
use crate::snapshot::{
    Backend, ClientLimits, Descriptors, HealthCheck, HostHeader, Listener, ListenerOptions,
    Outlier, Pool, PoolOptions, ProbeKind, ProbeTls, Route, RouteOptions, RouteTimeouts, Snapshot,
    Traceparent,
};
use crate::tls::FilesRead;

/// Rows for one worker.
pub fn slots() -> Slots {
    Slots::new(BackendTables::new(1))
}

/// A snapshot with these pools and nothing else.
pub fn snapshot(generation: u64, pools: Vec<Pool>) -> Arc<Snapshot> {
    Arc::new(Snapshot {
        generation,
        listeners: Vec::new(),
        challenges: Arc::default(),
        files: FilesRead::default(),
        workers: 1,
        descriptors: Descriptors {
            sockets: 2048,
            clients: 1024,
            backends: 1536,
            probes: limits::PROBES,
            management: limits::ADMIN_CONNECTIONS,
            test_servers: 0,
        },
        shutdown_timeout: Duration::from_secs(10),
        memory_bytes: 1 << 30,
        identity_names: NameSet::none(),
        trusted_proxies: Vec::new(),
        trusts_unix: false,
        pass_fields: NameSet::none(),
        client: ClientLimits {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            stream_stall: Duration::from_secs(300),
            head: HeadLimits {
                head_bytes: 32_768,
                fields: 100,
                target_bytes: 8_192,
            },
            requests_per_connection: u32::MAX,
        },
        access_log: None,
        admin: None,
        admin_tls: None,
        cache: None,
        traceparent: Traceparent::default(),
        test_servers: Vec::new(),
        route_table: Arc::new(RouteTable::default()),
        routes: Vec::new(),
        pools: pools.into_iter().map(Arc::new).collect(),
    })
}

/// The snapshot as `adapt` changes it, before anybody else has it.
pub fn adapted(mut snapshot: Arc<Snapshot>, adapt: impl FnOnce(&mut Snapshot)) -> Arc<Snapshot> {
    adapt(Arc::get_mut(&mut snapshot).expect("nobody else has the snapshot"));
    snapshot
}

/// A listener in cleartext that speaks both versions of HTTP.
pub fn listener(addr: ListenAddr) -> Listener {
    Listener {
        addr,
        tls: None,
        options: ListenerOptions {
            min_rate: 0,
            ..ListenerOptions::default()
        },
        proxy_protocol_from: Vec::new(),
        tolerates_control_bytes: false,
        access: SocketAccess::of_mode(0o600),
        connections: usize::MAX,
        clients: Arc::new(ClientCount::new(1)),
    }
}

/// The snapshot whose only route takes all requests to the first pool. Requests and responses pass as they are.
pub fn with_route(snapshot: &mut Snapshot) {
    let long = Duration::from_secs(60);
    snapshot.route_table = Arc::new(RouteTable::new(&[(None, "/".to_owned())]));
    snapshot.routes = vec![Arc::new(Route {
        name: "/".to_owned(),
        pool: PoolId(0),
        prefix: String::new(),
        host_header: HostHeader::Preserve,
        wants_certificate: false,
        request_fields: FieldEdits::new(Vec::new(), Vec::new()),
        response_fields: FieldEdits::new(Vec::new(), Vec::new()),
        options: RouteOptions {
            rewrite_location: false,
            ..RouteOptions::default()
        },
        timeouts: RouteTimeouts {
            client_body: long,
            connect: long,
            upstream_response: long,
            upstream_idle: long,
            tunnel_idle: long,
        },
        request_body_bytes: u64::MAX,
        cookies: CookieEdits::default(),
        forwarded: false,
        x_real_ip: false,
        cache: None,
        cache_counters: None,
        counters: Arc::new(PerWorker::new(1)),
    })];
}

/// The only route of a snapshot, to be changed.
pub fn route_of(snapshot: &mut Snapshot) -> &mut Route {
    Arc::get_mut(&mut snapshot.routes[0]).expect("nobody else has the route")
}

/// A pool that is neither probed nor watched for outliers.
pub fn pool(slots: &mut Slots, name: &str, addrs: &[BackendAddr]) -> Pool {
    Pool {
        name: name.to_owned(),
        algorithm: AlgorithmSettings::new("round_robin", HashKey::ClientAddress).unwrap(),
        table: None,
        backends: addrs
            .iter()
            .map(|addr| backend(slots, name, addr))
            .collect(),
        outlier: None,
        options: PoolOptions {
            idle_connections: 1,
            ..PoolOptions::default()
        },
        tls: None,
        keepalive: Duration::from_secs(60),
        counters: slots.pool_counters(name),
    }
}

/// The pool, every backend of it probed like this.
pub fn probed(mut pool: Pool, check: &HealthCheck) -> Pool {
    for backend in &mut pool.backends {
        backend.health_check = Some(check.clone());
    }
    pool
}

fn backend(slots: &mut Slots, pool: &str, addr: &BackendAddr) -> Backend {
    let label = match addr {
        BackendAddr::Tcp(addr) => addr.to_string(),
        BackendAddr::Unix(path) => format!("unix:{}", path.display()),
    };
    Backend {
        slot: slots.slot(pool, &label).unwrap(),
        addr: Some(addr.clone()),
        host: label.clone(),
        server_name: ServerName::try_from("localhost").unwrap(),
        addresses: 0..0,
        label,
        weight: 1,
        max_connections: u32::MAX,
        draining: false,
        health_check: None,
        remove_after: None,
    }
}

/// Addresses on loopback that nothing listens on.
pub fn addrs(count: u16) -> Vec<BackendAddr> {
    (1..=count)
        .map(|port| BackendAddr::Tcp(([127, 0, 0, 1], port).into()))
        .collect()
}

/// Down after three failures, up after two successes.
pub fn check(interval: Duration) -> HealthCheck {
    HealthCheck {
        kind: ProbeKind::Tcp,
        port: None,
        tls: ProbeTls::AsPool,
        host: None,
        headers: Vec::new(),
        interval,
        timeout: Duration::from_secs(5),
        timeout_again: Duration::from_secs(2),
        unhealthy_after: 3,
        healthy_after: 2,
    }
}

/// Ejected for 30 s after so many failures, at most half of the pool.
pub fn outlier(consecutive_failures: u32) -> Outlier {
    Outlier {
        consecutive_failures,
        eject: Duration::from_secs(30),
        max_ejected_percent: 50,
    }
}
