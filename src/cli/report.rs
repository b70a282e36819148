//! The report on a request's way through the configuration, as lines for people.

use std::fmt::Display;

use super::report_cache::cache_lines;
use crate::balance::{AlgorithmSettings, HashKey};
use crate::base::quantity::show_time;
use crate::base::setting::{Plain, Value};
use crate::config::{self, MASK};
use crate::http::names::FieldEdits;
use crate::http::path;
use crate::snapshot::{
    Backend, HealthCheck, HostHeader, OnUnhealthy, Outlier, Pool, ProbeKind, ProbeTls,
    ProxyProtocol, Route, Snapshot,
};

/// Lines of a label and a text each.
#[derive(Default)]
pub(super) struct Report(String);

impl Report {
    pub(super) fn line(&mut self, label: &str, text: impl Display) {
        self.0.push_str(format!("{label:<16}{text}").trim_end());
        self.0.push('\n');
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

/// All that holds for a request of this method and normalised path on its route.
pub(super) fn report_route(
    report: &mut Report,
    snapshot: &Snapshot,
    route: &Route,
    method: &str,
    path: &str,
) {
    report.line("route", &route.name);
    report_forwarding(report, route, method, path);
    report_pool(report, &snapshot.pools[route.pool.index()]);
    for (label, text) in cache_lines(route.cache.as_deref()) {
        report.line(label, text);
    }
    report_limits(report, snapshot, route);
}

fn report_forwarding(report: &mut Report, route: &Route, method: &str, path: &str) {
    let mut scratch = Vec::new();
    let path = if route.strip_prefix {
        path::without_prefix(path.as_bytes(), &route.prefix, &mut scratch)
    } else {
        path.as_bytes()
    };
    let path = String::from_utf8_lossy(path);
    let host = match &route.host_header {
        HostHeader::Backend => "the backend's address",
        HostHeader::Preserve => "as the client sent it",
        HostHeader::Literal(host) => host,
    };
    report.line("forwarded", format!("{method} {path}, Host: {host}"));
    if route.wants_certificate {
        report.line(
            "client_cert",
            "required: 403 for a client without a certificate",
        );
    }
    report_edits(report, "request headers", &route.request_fields);
    report_edits(report, "response headers", &route.response_fields);
    if route.via {
        report.line("via", "added in both directions");
    }
    if !route.rewrite_location {
        report.line(
            "references",
            "a reference that names the backend stays as it is",
        );
    }
    if route.forwarded {
        report.line("Forwarded", "written in requests");
    }
    if route.x_real_ip {
        report.line("X-Real-IP", "written in requests");
    }
    if route.answer_continue {
        report.line("100-continue", "answered by palantir");
    }
}

fn report_edits(report: &mut Report, label: &str, edits: &FieldEdits) {
    for name in &edits.remove {
        report.line(label, format!("remove {name}"));
    }
    for (name, value) in &edits.set {
        let value = if config::is_credential(name) {
            MASK
        } else {
            value
        };
        report.line(label, format!("set {name}: {value}"));
    }
}

fn report_pool(report: &mut Report, pool: &Pool) {
    report.line("pool", &pool.name);
    report.line("protocol", protocol(pool));
    report.line("algorithm", algorithm(&pool.algorithm));
    for (index, backend) in pool.backends.iter().enumerate() {
        report.line("backend", describe(pool, backend));
        // Once for all backends in a row that are probed alike.
        let next = pool.backends.get(index + 1);
        if next.is_none_or(|next| next.health_check != backend.health_check) {
            let health = backend.health_check.as_ref();
            report.line(
                "health check",
                health.map_or("none".to_owned(), health_check),
            );
        }
    }
    report.line(
        "outlier",
        pool.outlier.as_ref().map_or("none".to_owned(), outlier),
    );
    if pool.on_unhealthy == OnUnhealthy::Cut {
        let what = "a backend that turns unhealthy has its requests and tunnels cut";
        report.line("on unhealthy", what);
    }
    if pool.panic_threshold > 0 {
        let percent = pool.panic_threshold;
        let what = format!("all backends take requests while less than {percent} % are healthy");
        report.line("panic", what);
    }
    let keepalive = pool.keepalive;
    report.line(
        "idle kept",
        format!(
            "at most {} per core and backend, for {}",
            pool.idle_connections,
            show_time(keepalive)
        ),
    );
}

fn protocol(pool: &Pool) -> String {
    let tls = pool.tls.as_ref().map_or("", |_| " over TLS");
    let header = match pool.proxy_protocol {
        None => "",
        Some(ProxyProtocol::V1) => ", after a PROXY header, version 1",
        Some(ProxyProtocol::V2) => ", after a PROXY header, version 2",
    };
    format!("{}{tls}{header}", pool.protocol)
}

fn algorithm(plan: &AlgorithmSettings) -> String {
    if !plan.uses_key() {
        return plan.name().to_owned();
    }
    let key = match &plan.key {
        HashKey::ClientAddress => "the client's address".to_owned(),
        HashKey::Path => "the path".to_owned(),
        HashKey::Header(name) => format!("header {name}"),
        HashKey::Cookie(name) => format!("cookie {name}"),
    };
    format!("{} on {key}", plan.name())
}

fn describe(pool: &Pool, backend: &Backend) -> String {
    let mut text = format!("{}, weight {}", backend.label, backend.weight);
    if pool.tls.is_some() {
        text.push_str(&format!(", by TLS as {}", backend.server_name.to_str()));
    }
    if backend.max_connections != u32::MAX {
        text.push_str(&format!(
            ", at most {} connections",
            backend.max_connections
        ));
    }
    if backend.draining {
        text.push_str(", draining: takes no new requests");
    }
    if backend.addr.is_none() {
        text.push_str(", looked up when the proxy runs");
    }
    text
}

fn health_check(check: &HealthCheck) -> String {
    let probe = match &check.kind {
        ProbeKind::Tcp => "connect".to_owned(),
        ProbeKind::Grpc { service } if service.is_empty() => "gRPC health".to_owned(),
        ProbeKind::Grpc { service } => format!("gRPC health of {service}"),
        ProbeKind::Http {
            method,
            path,
            expect,
            body_contains,
        } => {
            let expect: Vec<_> = expect
                .iter()
                .map(|(first, last)| format!("{first}-{last}"))
                .collect();
            let contains = body_contains.as_ref();
            let contains = contains.map(|text| format!(" and a body with {text:?}"));
            let (expect, contains) = (expect.join(", "), contains.unwrap_or_default());
            format!("{method} {path} for {expect}{contains}")
        }
    };
    let HealthCheck {
        interval, timeout, ..
    } = check;
    let (down, up) = (check.unhealthy_after, check.healthy_after);
    let host = check.host.as_ref();
    let host = host.map_or(String::new(), |host| format!(" as Host {host}"));
    let port = check.port;
    let port = port.map_or(String::new(), |port| format!(" on port {port}"));
    let tls = match &check.tls {
        ProbeTls::AsPool => "",
        ProbeTls::Off => " in cleartext",
        ProbeTls::Own(..) => " by TLS of its own",
    };
    format!(
        "{probe}{host}{port}{tls} every {} within {}; {down} failures down, {up} successes up",
        show_time(*interval),
        show_time(*timeout)
    )
}

fn outlier(outlier: &Outlier) -> String {
    let Outlier {
        eject,
        max_ejected_percent,
        ..
    } = outlier;
    let failures = outlier.consecutive_failures;
    format!(
        "{failures} failures in a row eject for {}, at most {max_ejected_percent} % of the backends",
        show_time(*eject)
    )
}

fn report_limits(report: &mut Report, snapshot: &Snapshot, route: &Route) {
    let bytes = match route.request_body_bytes {
        u64::MAX => "unlimited".to_owned(),
        bytes => format!("at most {bytes} bytes"),
    };
    let head = &snapshot.client.head;
    report.line(
        "request head",
        format!("at most {} bytes, {} fields", head.head_bytes, head.fields),
    );
    report.line("request body", bytes);
    report.line("retries", route.retries);
    let whole = route.timeout.map_or("none".to_owned(), show_time);
    report.line("timeout", format!("{whole} for the whole exchange"));
    let timeouts = route.timeouts.values().into_iter();
    let timeouts = timeouts.filter_map(|(setting, value)| match value {
        Some(Value::Time(time)) => Some(format!("{} {}", setting.name, show_time(time))),
        _ => None,
    });
    report.line("timeouts", timeouts.collect::<Vec<_>>().join(", "));
}
