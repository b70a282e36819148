//! Good files, and what they compile to.

mod defaults;

use std::time::Duration;

use super::parsed;
use crate::balance::HashKey;
use crate::base::addresses::{BackendAddr, ListenAddr, SocketAccess};
use crate::base::ids::{PoolId, RouteId};
use crate::config::{Machine, Resolved, Stores, compile};
use crate::http::h1::HeadLimits;
use crate::http::names::FieldEdits;
use crate::http::path::MergeSlashes;
use crate::shared::backend_table::BackendTables;
use crate::shared::slots::Slots;
use crate::snapshot::{
    AccessLog, AccessLogFormat, Admin, Descriptors, HalfClose, HealthCheck, HostHeader, Outlier,
    ProbeKind, ProbeTls, Protocol, ProxyProtocol, Snapshot, Traceparent,
};
use crate::tls::TlsStore;

pub(super) const MACHINE: Machine = Machine {
    cpus: 3,
    descriptors: 1064,
    memory_bytes: 1 << 30,
};

/// A machine on which a process may open a usual number of files.
pub(super) const AMPLE: Machine = Machine {
    descriptors: 65_536,
    ..MACHINE
};

/// All that a complete file needs.
const SHORT: &str = r#"
listen_addr = "0.0.0.0:80"
shutdown_timeout = 20

[[routes]]
prefix = "/"
backend_addrs = ["127.0.0.1:8001", "127.0.0.1:8002"]
health_check = { path = "/health", interval_secs = 10 }
balancing_algorithm = "round_robin"
"#;

/// Every key that there is except for those of the cache, none at its default.
pub(super) const EVERY_KEY: &str = r#"
listen_addr = ["127.0.0.1:8081", "[::1]:8081", "unix:/run/palantir.sock"]
shutdown_timeout = 0
workers = 2
trusted_proxies = ["10.0.0.0/8", "fd00::1", "unix:"]
pass_fields = ["CF-Connecting-IP"]
forwarded = true
x_real_ip = true
resolve_secs = 5

[timeouts]
client_header = 1
client_body = 2
client_idle = 3
client_stream_stall = 4
connect = 0.25
upstream_response = 5
upstream_idle = 6
tunnel_idle = 8
upstream_keepalive = 7

[limits]
request_head_bytes = 4096
request_headers = 20
request_target_bytes = 1024
request_body_bytes = 1000
connections = 60
requests_per_connection = 10
memory_bytes = 536870912

[[listeners]]
addr = "127.0.0.1:8082"
connections = 30
http2 = false
proxy_protocol = true
proxy_protocol_from = ["10.1.0.0/16", "::1"]
redirect_to_https = true
https_port = 8443
merge_slashes = "match_only"
half_close = "abort"
tolerate = ["control_bytes"]

[access_log]
path = "/var/log/palantir.log"
format = "combined"

[admin]
listen_addr = "0.0.0.0:8687"
token_file = "/etc/palantir/token"
read_token_file = "/etc/palantir/read-token"
state_file = "/var/lib/palantir/state.json"

[tracing]
create = true
propagate = false

[test_server]
listen_addrs = ["127.0.0.1:9001"]

[[pools]]
name = "api"
backends = ["127.0.0.1:9001", { addr = "http://127.0.0.1:9002", weight = 2, max_connections = 512, drain = true, remove_after_secs = 60, health_check = { tcp = true } }, "unix:/run/app.sock"]
balancing_algorithm = "consistent_hash"
hash_on = "header:X-User"
health_check = { path = "/health", interval_secs = 3, timeout_secs = 1, unhealthy_after = 4, healthy_after = 5, expect = "2xx, 404" }
outlier = { consecutive_failures = 7, eject_secs = 8, max_ejected_percent = 9 }
idle_connections = 16
proxy_protocol = "v2"
strict_responses = true

[[routes]]
host = "API.example.com"
prefix = "/api/"
pool = "api"
strip_prefix = true
host_header = "preserve"
request_headers = { set = { X-Team = "a", "x-b" = "ü" }, remove = ["X-Debug"] }
response_headers = { remove = ["server"] }
retries = 0
timeout = 12.5
timeouts = { client_body = 21, connect = 22, upstream_response = 23, upstream_idle = 24, tunnel_idle = 25 }
limits = { request_body_bytes = 0 }
via = true
rewrite_location = false
cookie_domain = { ".App.internal" = "www.example", "old.internal" = "" }
cookie_path = { "/app" = "/" }
forwarded = false
answer_continue = true

[[routes]]
backend_addrs = ["[::1]:80"]
balancing_algorithm = "least_connections"
health_check = { tcp = true }
protocol = "h2"
host_header = "origin.internal:81"
"#;

pub(super) fn snapshot_with(text: &str, resolved: &Resolved) -> Snapshot {
    let config = parsed(text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let mut slots = Slots::new(BackendTables::new(1));
    compile(
        &config,
        &MACHINE,
        resolved,
        Stores {
            slots: &mut slots,
            tls_store: &mut TlsStore::default(),
        },
        7,
    )
    .unwrap()
}

pub(super) fn snapshot(text: &str) -> Snapshot {
    snapshot_with(text, &Resolved::new())
}

/// As the log names them.
fn listeners(snapshot: &Snapshot) -> Vec<String> {
    let listeners = snapshot.listeners.iter();
    listeners.map(|listener| listener.to_string()).collect()
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(super) fn tcp(addr: &str) -> Option<BackendAddr> {
    Some(BackendAddr::Tcp(addr.parse().unwrap()))
}

#[test]
fn every_key_of_the_connection_takes_effect() {
    let snapshot = snapshot(EVERY_KEY);
    assert_eq!(
        listeners(&snapshot),
        [
            "127.0.0.1:8081 (HTTP/2)",
            "[::1]:8081 (HTTP/2)",
            "unix:/run/palantir.sock (HTTP/2)",
            "127.0.0.1:8082 (PROXY protocol, redirects to https)",
        ]
    );
    let addr = &snapshot.listeners[3].addr;
    assert_eq!(&snapshot.listener(addr).unwrap().addr, addr);
    let other = ListenAddr::Tcp("127.0.0.1:8083".parse().unwrap());
    assert!(snapshot.listener(&other).is_none());
    assert_eq!(
        (snapshot.workers, snapshot.shutdown_timeout),
        (2, Duration::ZERO)
    );
    assert_eq!(
        snapshot.trusted_proxies,
        ["10.0.0.0/8".parse().unwrap(), "fd00::1".parse().unwrap()]
    );
    let client = &snapshot.client;
    assert_eq!(
        (client.header_timeout, client.idle_timeout),
        (secs(1), secs(3))
    );
    assert_eq!(client.stream_stall, secs(4));
    let head = HeadLimits {
        head_bytes: 4096,
        fields: 20,
        target_bytes: 1024,
    };
    assert_eq!(client.head, head);
    assert_eq!(client.requests_per_connection, 10);
    let bounds: Vec<usize> = snapshot.listeners.iter().map(|it| it.connections).collect();
    assert_eq!(bounds, [60, 60, 60, 30]);
    assert_eq!(snapshot.descriptors.clients, 210);
    assert_eq!(snapshot.memory_bytes, 512 << 20);
    let path = "/var/log/palantir.log".into();
    assert_eq!(
        snapshot.access_log,
        Some(AccessLog {
            path,
            format: AccessLogFormat::Combined
        })
    );
    let admin = Admin {
        listen_addr: ListenAddr::Tcp("0.0.0.0:8687".parse().unwrap()),
        access: SocketAccess::of_mode(0o600),
        token_file: Some("/etc/palantir/token".into()),
        read_token_file: Some("/etc/palantir/read-token".into()),
        state_file: Some("/var/lib/palantir/state.json".into()),
        tls: None,
    };
    assert_eq!(snapshot.admin, Some(admin));
    let traceparent = Traceparent {
        create: true,
        propagate: false,
    };
    assert_eq!(snapshot.traceparent, traceparent);
    assert_eq!(snapshot.test_servers, ["127.0.0.1:9001".parse().unwrap()]);
    assert_eq!(
        parsed(EVERY_KEY).unwrap().settings.resolve_interval,
        secs(5)
    );
}

#[test]
fn every_key_of_a_route_takes_effect() {
    let snapshot = snapshot(EVERY_KEY);
    let route = &snapshot.routes[0];
    assert_eq!(
        (route.name.as_str(), route.prefix.as_str(), route.pool),
        ("api.example.com/api/", "/api", PoolId(0))
    );
    assert!(route.strip_prefix && route.via && route.answer_continue);
    assert!(!route.forwarded && route.x_real_ip && !route.rewrite_location);
    let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    let domains = [
        pair("app.internal", "www.example"),
        pair("old.internal", ""),
    ];
    assert_eq!(route.cookies.domains, domains);
    assert_eq!(route.cookies.paths, [pair("/app", "/")]);
    assert!(snapshot.trusts_unix && snapshot.pass_fields.contains(b"cf-connecting-ip"));
    assert_eq!(route.host_header, HostHeader::Preserve);
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        route.request_fields.set,
        [field("x-team", "a"), field("x-b", "ü")]
    );
    assert_eq!(route.request_fields.remove, ["x-debug"]);
    assert_eq!(route.response_fields.remove, ["server"]);
    assert_eq!(
        (route.retries, route.timeout),
        (0, Some(Duration::from_millis(12_500)))
    );
    let timeouts = &route.timeouts;
    assert_eq!(
        (timeouts.client_body, timeouts.connect),
        (secs(21), secs(22))
    );
    assert_eq!(
        (timeouts.upstream_response, timeouts.upstream_idle),
        (secs(23), secs(24))
    );
    assert_eq!(timeouts.tunnel_idle, secs(25));
    assert_eq!(route.request_body_bytes, u64::MAX);

    let other = &snapshot.routes[1];
    assert_eq!((other.name.as_str(), other.pool), ("/", PoolId(1)));
    assert_eq!(other.request_body_bytes, 1000);
    assert_eq!(
        other.host_header,
        HostHeader::Literal("origin.internal:81".to_owned())
    );
    assert_eq!(
        (other.timeouts.client_body, other.timeouts.connect),
        (secs(2), Duration::from_millis(250))
    );
    let found = snapshot.route_table.find(b"api.example.com", b"/api/x");
    assert_eq!(found, Some(RouteId(0)));
}

#[test]
fn every_key_of_a_pool_takes_effect() {
    let snapshot = snapshot(EVERY_KEY);
    let pool = &snapshot.pools[0];
    assert_eq!(
        (pool.name.as_str(), pool.algorithm.name()),
        ("api", "consistent_hash")
    );
    assert_eq!(pool.algorithm.key, HashKey::Header("x-user".to_owned()));
    assert_eq!((pool.idle_connections, pool.keepalive), (16, secs(7)));
    let expect = vec![(200, 299), (404, 404)];
    let kind = ProbeKind::Http {
        method: "GET".to_owned(),
        body_contains: None,
        path: "/health".to_owned(),
        expect,
    };
    let check = HealthCheck {
        port: None,
        tls: ProbeTls::AsPool,
        host: None,
        headers: Vec::new(),
        kind,
        interval: secs(3),
        timeout: secs(1),
        timeout_again: secs(1),
        unhealthy_after: 4,
        healthy_after: 5,
    };
    let probed = |index: usize| pool.backends[index].health_check.clone();
    assert_eq!((probed(0), probed(2)), (Some(check.clone()), Some(check)));
    assert_eq!(probed(1).map(|check| check.kind), Some(ProbeKind::Tcp));
    let drained: Vec<_> = pool
        .backends
        .iter()
        .map(|backend| (backend.draining, backend.remove_after))
        .collect();
    assert_eq!(
        drained,
        [(false, None), (true, Some(secs(60))), (false, None)]
    );
    let outlier = Outlier {
        consecutive_failures: 7,
        eject: secs(8),
        max_ejected_percent: 9,
    };
    assert_eq!(pool.outlier, Some(outlier));
    assert_eq!(
        (pool.protocol, pool.proxy_protocol),
        (Protocol::Http1, Some(ProxyProtocol::V2))
    );
    let unix = Some(BackendAddr::Unix("/run/app.sock".into()));
    let expected = [
        (
            tcp("127.0.0.1:9001"),
            "127.0.0.1:9001",
            "127.0.0.1:9001",
            1,
            u32::MAX,
        ),
        (
            tcp("127.0.0.1:9002"),
            "127.0.0.1:9002",
            "127.0.0.1:9002",
            2,
            512,
        ),
        (unix, "localhost", "unix:/run/app.sock", 1, u32::MAX),
    ];
    for (backend, (addr, host, label, weight, max_connections)) in
        pool.backends.iter().zip(expected)
    {
        assert_eq!(
            (&backend.addr, backend.host.as_str(), backend.label.as_str()),
            (&addr, host, label)
        );
        assert_eq!(
            (backend.weight, backend.max_connections),
            (weight, max_connections)
        );
    }
    assert_eq!(pool.backends.len(), 3);
    let names: Vec<_> = pool
        .backends
        .iter()
        .map(|backend| backend.server_name.to_str())
        .collect();
    assert_eq!(names, ["127.0.0.1", "127.0.0.1", "localhost"]);
    let other = &snapshot.pools[1];
    assert_eq!(other.algorithm.name(), "least_connections");
    assert_eq!(other.protocol, Protocol::Http2);
    assert_eq!(
        other.backends[0]
            .health_check
            .as_ref()
            .map(|check| &check.kind),
        Some(&ProbeKind::Tcp)
    );
}

#[test]
fn what_is_liberal_by_default_can_be_set() {
    let (short, every) = (snapshot(SHORT), snapshot(EVERY_KEY));
    let of = |snapshot: &Snapshot| {
        let listener = snapshot.listeners.last().unwrap();
        (
            listener.merge_slashes,
            listener.half_close,
            listener.tolerates_control_bytes,
            snapshot.pools[0].strict_responses,
        )
    };
    assert_eq!(
        of(&short),
        (MergeSlashes::On, HalfClose::Serve, false, false)
    );
    assert_eq!(
        of(&every),
        (MergeSlashes::MatchOnly, HalfClose::Abort, true, true)
    );
}

/// A prefix may be written in any form. Its normal form is compared with the normal form of requests' paths.
#[test]
fn prefixes_get_their_normal_form() {
    let prefix = |written: &str| {
        let text =
            format!("[[routes]]\nprefix = \"{written}\"\nbackend_addrs = [\"127.0.0.1:1\"]\n");
        snapshot(&text).routes[0].prefix.clone()
    };
    assert_eq!(prefix("/caf%c3%a9/%61"), "/caf%C3%A9/a");
    assert_eq!(prefix("/a%2fb"), "/a%2Fb");
}
