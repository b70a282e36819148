//! `palantir explain METHOD URL`: what would become of a request, decided by the same code as in the proxy.

use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;

use crate::base::ids::RouteId;
use crate::config::{self, Machine, Resolved};
use crate::http::h1::{self, FieldSlots, HeadLimits};
use crate::http::host;
use crate::http::path;
use crate::http::refusal::Refusal;
use crate::shared::backend_table::BackendTables;
use crate::shared::slots::Slots;
use crate::snapshot::{
    Backend, FieldEdits, HealthCheck, HostHeader, Outlier, Pool, ProbeKind, Route, Snapshot,
};
use crate::worker::balance::{AlgorithmPlan, HashKey};
use crate::worker::route::Outcome;

/// Prints which route, pool and limits the request would meet, and why. Names are not looked up and nothing is sent.
/// Fails if the configuration has mistakes or the arguments are no request.
pub fn explain(path: &Path, method: &str, url: &str) -> ExitCode {
    match compile(path).and_then(|snapshot| report(&snapshot, method, url)) {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn compile(path: &Path) -> Result<Snapshot, String> {
    let config = config::load(path).map_err(|mistakes| mistakes.to_string())?;
    let machine = Machine::of_this_process();
    let mut slots = Slots::new(BackendTables::new(1));
    config::compile(&config, &machine, &Resolved::new(), &mut slots, 1)
        .map_err(|error| error.to_string())
}

/// Lines of a label and a text each.
#[derive(Default)]
struct Report(String);

impl Report {
    fn line(&mut self, label: &str, text: impl Display) {
        self.0.push_str(format!("{label:<16}{text}").trim_end());
        self.0.push('\n');
    }
}

fn report(snapshot: &Snapshot, method: &str, url: &str) -> Result<String, String> {
    let mut report = Report::default();
    let (host, path) = match read_request(&snapshot.client.head, method, url)? {
        Ok(request) => request,
        Err(refusal) => {
            report.line(
                "answer",
                format!("{}: {}", refusal.status(), refusal.word()),
            );
            return Ok(report.0);
        }
    };
    report.line("request", format!("{method} {path} of host {host}"));
    let outcomes = snapshot
        .route_table
        .explain(host.as_bytes(), path.as_bytes());
    let chosen = outcomes
        .iter()
        .find(|(_, outcome)| *outcome == Outcome::Chosen);
    match chosen {
        Some((id, _)) => report_route(
            &mut report,
            snapshot,
            &snapshot.routes[id.index()],
            method,
            &path,
        ),
        None => report.line("answer", "404: no route takes it"),
    }
    for (id, outcome) in &outcomes {
        if let Some(why) = why_not(snapshot, *outcome) {
            report.line(
                "not route",
                format!("{}: {why}", snapshot.routes[id.index()].name),
            );
        }
    }
    Ok(report.0)
}

/// Host and normalised path of a request as the proxy would read them, or the reason why it would refuse them. Errors:
/// the arguments are no request at all.
fn read_request(
    limits: &HeadLimits,
    method: &str,
    url: &str,
) -> Result<Result<(String, String), Refusal>, String> {
    let is_blank = |char: char| char.is_whitespace() || char.is_control();
    let authority = url
        .split_once("://")
        .map(|(_, rest)| rest.split(['/', '?']).next().unwrap_or_default());
    let authority =
        authority.ok_or_else(|| format!("{url:?} is not a URL such as \"http://host/path\""))?;
    if method.is_empty() || method.contains(is_blank) || url.contains(is_blank) {
        return Err("neither the method nor the URL has blanks".to_owned());
    }
    let head = format!("{method} {url} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    Ok(parse(&head, limits))
}

fn parse(head: &str, limits: &HeadLimits) -> Result<(String, String), Refusal> {
    let mut slots = FieldSlots::new();
    let request =
        h1::parse_request(head.as_bytes(), &mut slots, limits)?.ok_or(Refusal::HeadTooLarge)?;
    let (host, _) = host::split(request.host).ok_or(Refusal::BadHost)?;
    let mut scratch = Vec::new();
    let path = path::normalise(request.path, &mut scratch)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((text(host).to_ascii_lowercase(), text(path)))
}

fn why_not(snapshot: &Snapshot, outcome: Outcome) -> Option<String> {
    let name = |id: RouteId| &snapshot.routes[id.index()].name;
    match outcome {
        Outcome::Chosen => None,
        Outcome::OtherHost => Some("another host".to_owned()),
        Outcome::OtherPrefix => Some("the path does not begin with its prefix".to_owned()),
        Outcome::LostByHost(winner) => Some(format!(
            "its host is less specific than that of {}",
            name(winner)
        )),
        Outcome::LostByPrefix(winner) => Some(format!(
            "its prefix is shorter than that of {}",
            name(winner)
        )),
    }
}

fn report_route(report: &mut Report, snapshot: &Snapshot, route: &Route, method: &str, path: &str) {
    report.line(
        "route",
        format!("{} (most specific host, then longest prefix)", route.name),
    );
    report_forwarding(report, route, method, path);
    report_pool(report, &snapshot.pools[route.pool.index()]);
    report_limits(report, snapshot, route);
}

fn report_forwarding(report: &mut Report, route: &Route, method: &str, path: &str) {
    let stripped = match route.strip_prefix {
        true => path.strip_prefix(&route.prefix).unwrap_or(path),
        false => path,
    };
    let path = if stripped.is_empty() { "/" } else { stripped };
    let host = match &route.host_header {
        HostHeader::Backend => "the backend's address",
        HostHeader::Preserve => "as the client sent it",
        HostHeader::Literal(host) => host,
    };
    report.line("forwarded", format!("{method} {path}, Host: {host}"));
    report_edits(report, "request headers", &route.request_fields);
    report_edits(report, "response headers", &route.response_fields);
    if route.via {
        report.line("via", "added in both directions");
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
        report.line(label, format!("set {name}: {value}"));
    }
}

fn report_pool(report: &mut Report, pool: &Pool) {
    report.line("pool", &pool.name);
    report.line("algorithm", algorithm(&pool.algorithm));
    for backend in &pool.backends {
        report.line("backend", describe(backend));
    }
    let health = pool
        .health_check
        .as_ref()
        .map_or("none".to_owned(), health_check);
    report.line("health check", health);
    report.line(
        "outlier",
        pool.outlier.as_ref().map_or("none".to_owned(), outlier),
    );
    let keepalive = pool.keepalive;
    report.line(
        "idle kept",
        format!(
            "{} per core and backend, for {keepalive:?}",
            pool.idle_connections
        ),
    );
}

fn algorithm(plan: &AlgorithmPlan) -> String {
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

fn describe(backend: &Backend) -> String {
    let mut text = format!("{}, weight {}", backend.label, backend.weight);
    if backend.max_connections != u32::MAX {
        text.push_str(&format!(
            ", at most {} connections",
            backend.max_connections
        ));
    }
    if backend.addr.is_none() {
        text.push_str(", looked up when the proxy runs");
    }
    text
}

fn health_check(check: &HealthCheck) -> String {
    let probe = match &check.kind {
        ProbeKind::Tcp => "connect".to_owned(),
        ProbeKind::Http { path, expect } => {
            let expect: Vec<_> = expect
                .iter()
                .map(|(first, last)| format!("{first}-{last}"))
                .collect();
            format!("GET {path} for {}", expect.join(", "))
        }
    };
    let HealthCheck {
        interval, timeout, ..
    } = check;
    let (down, up) = (check.unhealthy_after, check.healthy_after);
    format!(
        "{probe} every {interval:?} within {timeout:?}; {down} failures down, {up} successes up"
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
        "{failures} failures in a row eject for {eject:?}, at most {max_ejected_percent} % of the backends"
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
    let whole = route
        .timeout
        .map_or("none".to_owned(), |timeout| format!("{timeout:?}"));
    report.line("timeout", format!("{whole} for the whole exchange"));
    let timeouts = &route.timeouts;
    report.line(
        "timeouts",
        format!(
            "client_body {:?}, connect {:?}, upstream_response {:?}, upstream_idle {:?}",
            timeouts.client_body,
            timeouts.connect,
            timeouts.upstream_response,
            timeouts.upstream_idle
        ),
    );
}
