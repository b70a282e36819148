//! `palantir explain METHOD URL`: what would become of a request, decided by the same code as in the proxy.

use std::path::Path;
use std::process::ExitCode;

use super::explain_now::explain_now;
use super::listener;
use super::output;
use super::report::{Report, report_route};
use crate::config::{self, Config, Machine, Resolved, Stores};
use crate::http::h1::{self, FieldSlots, HeadLimits};
use crate::http::path::{self, MergeSlashes};
use crate::http::refusal::Refusal;
use crate::route::RouteOutcome;
use crate::shared::backend_table::BackendTables;
use crate::shared::slots::Slots;
use crate::snapshot::{Route, Snapshot};
use crate::tls::TlsStore;

/// Prints the route, pool and limits that the request would meet, and why. No name is looked up, no backend is asked.
/// `listener` is the address of the listener that the request reaches. Fails if the configuration has mistakes, if the
/// arguments are no request, or if there is no such listener.
///
/// Where responses are cached, the running palantir, if there is one, is asked what its cache would do with the request
/// now. `fields`: those of the request, which matter for this alone.
pub fn explain(
    path: &Path,
    method: &str,
    url: &str,
    listener: Option<&str>,
    fields: &[String],
) -> ExitCode {
    let told = compile(path).and_then(|snapshot| {
        let mut told = report(&snapshot, method, url, listener)?;
        if snapshot.cache.is_some() {
            told += &explain_now(path, method, url, fields);
        }
        Ok(told)
    });
    match told {
        Ok(report) => output::print(&report),
        Err(error) => {
            output::complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn compile(path: &Path) -> Result<Snapshot, String> {
    let config = config::load(path).map_err(|mistakes| mistakes.to_string())?;
    compile_for(&Machine::of_this_process(), &config)
}

fn compile_for(machine: &Machine, config: &Config) -> Result<Snapshot, String> {
    let stores = Stores {
        slots: &mut Slots::new(BackendTables::new(1)),
        tls_store: &mut TlsStore::default(),
    };
    let compiled = config::compile(config, machine, &Resolved::new(), stores, 1);
    compiled.map_err(|error| error.to_string())
}

fn report(
    snapshot: &Snapshot,
    method: &str,
    url: &str,
    wanted: Option<&str>,
) -> Result<String, String> {
    let mut report = Report::default();
    let (host, sent) = match read_request(&snapshot.client.head, method, url)? {
        Ok(request) => request,
        Err(refusal) => {
            report.line(
                "answer",
                format!("{}: {}", refusal.status(), refusal.label()),
            );
            return Ok(report.into_text());
        }
    };
    let (listener, why) = listener::take(snapshot, url, wanted)?;
    let merge = listener.merge_slashes;
    let mut scratch = Vec::new();
    let path = match merge {
        MergeSlashes::Off => sent.clone(),
        _ => text(path::merge_slashes(sent.as_bytes(), &mut scratch)),
    };
    let sent = if merge == MergeSlashes::MatchOnly {
        sent
    } else {
        path.clone()
    };
    report.line("request", format!("{method} {path} of host {host}"));
    report.line("listener", format!("{}, {why}", listener.addr));
    if listener.redirect_to_https && listener.tls.is_none() {
        report.line("answer", "308: https_wanted");
        return Ok(report.into_text());
    }
    report_routes(&mut report, snapshot, &host, &path, |report, route| {
        report_route(report, snapshot, route, method, &sent);
    });
    Ok(report.into_text())
}

/// Prints for every route whether it takes a request for this host and path. `tell` prints the details of the route
/// that takes it.
fn report_routes(
    report: &mut Report,
    snapshot: &Snapshot,
    host: &str,
    path: &str,
    tell: impl FnOnce(&mut Report, &Route),
) {
    let outcomes = snapshot
        .route_table
        .explain(host.as_bytes(), path.as_bytes());
    let chosen = outcomes
        .iter()
        .find(|(_, outcome)| *outcome == RouteOutcome::Chosen);
    let misreading = chosen.and_then(|(id, _)| {
        let table = &snapshot.route_table;
        table.misreading(host.as_bytes(), path.as_bytes(), *id)
    });
    if let Some(reading) = misreading {
        let label = Refusal::AmbiguousRoute.label();
        let reading = String::from_utf8_lossy(&reading);
        report.line(
            "answer",
            format!(
                "400: {label}: a server may read the path as {reading}, which another route takes"
            ),
        );
        return;
    }
    match chosen {
        Some((id, _)) => tell(report, &snapshot.routes[id.index()]),
        None => report.line("answer", "404: no route takes it"),
    }
    for (id, outcome) in outcomes {
        if outcome != RouteOutcome::Chosen {
            let name = &snapshot.routes[id.index()].name;
            report.line("other route", format!("{name} {outcome}"));
        }
    }
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
    let mut scratch = Vec::new();
    let path = path::normalise(request.path, &mut scratch)?;
    Ok((text(request.host_name).to_ascii_lowercase(), text(path)))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
        [[routes]]
        backend_addrs = ["127.0.0.1:1"]
        [[routes]]
        host = "*.example.com"
        prefix = "/api"
        backend_addrs = ["127.0.0.1:2"]
        [[routes]]
        host = "api.example.com"
        prefix = "/api/v1"
        strip_prefix = true
        host_header = "preserve"
        request_headers = { set = { x-team = "a" }, remove = ["x-debug"] }
        retries = 2
        timeout = 9
        pool = "api"
        [[routes]]
        host = "api.example.com"
        pool = "api"
        [[routes]]
        host = "api.example.com"
        prefix = "/other"
        pool = "api"
        [[pools]]
        name = "api"
        backends = [{ addr = "app.internal:80", weight = 2, max_connections = 5 }, "unix:/run/app.sock"]
        balancing_algorithm = "consistent_hash"
        hash_on = "cookie:session"
        health_check = { path = "/health" }
        outlier = {}
    "#;

    fn compiled(text: &str) -> Snapshot {
        let config = config::parse(Path::new("c.toml"), text.to_owned()).unwrap();
        let machine = Machine {
            cpus: 1,
            descriptors: 1024,
            memory_bytes: 1 << 30,
        };
        compile_for(&machine, &config).unwrap()
    }

    fn explained(method: &str, url: &str) -> Result<String, String> {
        report(&compiled(CONFIG), method, url, None)
    }

    #[test]
    fn a_request_with_a_route() {
        let expected = "\
request         GET /api/v1/x of host api.example.com
listener        127.0.0.1:8080, by scheme and port of the URL
route           api.example.com/api/v1
forwarded       GET /x, Host: as the client sent it
request headers remove x-debug
request headers set x-team: a
pool            api
protocol        HTTP/1.1
algorithm       consistent_hash on cookie session
backend         app.internal:80, weight 2, at most 5 connections, looked up when the proxy runs
backend         unix:/run/app.sock, weight 1
health check    GET /health for 200-299 every 2s within 2s; 3 failures down, 2 successes up
outlier         5 failures in a row eject for 30s, at most 50 % of the backends
idle kept       at most 1024 per core and backend, for 1m
cache           none
request head    at most 32768 bytes, 100 fields
request body    unlimited
retries         2
timeout         9s for the whole exchange
timeouts        client_body 30s, connect 2s, upstream_response 1m, upstream_idle 1m, tunnel_idle 1h
other route     / matches, but the host of another route is more specific
other route     *.example.com/api matches, but the host of another route is more specific
other route     api.example.com/ matches, but the prefix of another route is longer
other route     api.example.com/other is for another prefix
";
        let found = explained("GET", "http://API.example.com:8080/a/../api/v1/x?q");
        assert_eq!(found.as_deref(), Ok(expected));
    }

    #[test]
    fn a_request_without_a_route() {
        let snapshot = compiled("[[routes]]\nhost = \"b\"\nbackend_addrs = [\"c:1\"]");
        let expected = "\
request         GET / of host a
listener        127.0.0.1:8080, the first one of the URL's scheme
answer          404: no route takes it
other route     b/ is for another host
";
        assert_eq!(
            report(&snapshot, "GET", "http://a", None).as_deref(),
            Ok(expected)
        );
    }

    #[test]
    fn a_request_that_passes_by_a_route() {
        let expected = "\
request         GET /api%2Fv1/x of host api.example.com
listener        127.0.0.1:8080, the first one of the URL's scheme
answer          400: ambiguous_route: a server may read the path as /api/v1/x, which another route takes
";
        let found = explained("GET", "http://api.example.com/api%2fv1/x");
        assert_eq!(found.as_deref(), Ok(expected));
    }

    #[test]
    fn requests_that_the_proxy_refuses() {
        let rows = [
            ("GET", "http://a/../b", "400: path_above_root"),
            ("GET", "http://a/%zz", "400: bad_escape"),
            (
                "GET",
                "http://a b/",
                "neither the method nor the URL has blanks",
            ),
            ("GET", "http://user@a/", "400: bad_host"),
            ("TRACE", "http://a/", "405: method_not_allowed"),
            (
                "GET",
                "/path",
                "\"/path\" is not a URL such as \"http://host/path\"",
            ),
            (
                "GET /a HTTP/1.1\r\nX:",
                "http://a/",
                "neither the method nor the URL has blanks",
            ),
        ];
        for (method, url, expected) in rows {
            let found = match explained(method, url) {
                Ok(report) => report.trim_end().replace("answer          ", ""),
                Err(error) => error,
            };
            assert_eq!(found, expected, "{method} {url}");
        }
    }

    /// Slashes are merged as the listener that the request reaches demands.
    #[test]
    fn the_listener_of_a_request() {
        let snapshot = compiled(
            r#"
            [[listeners]]
            addr = "127.0.0.1:80"
            redirect_to_https = true
            [[listeners]]
            addr = "127.0.0.1:8080"
            [[listeners]]
            addr = "[::1]:81"
            merge_slashes = "off"
            [[listeners]]
            addr = "unix:/run/a.sock"
            merge_slashes = "match_only"
            [[routes]]
            backend_addrs = ["127.0.0.1:1"]
            "#,
        );
        let first = "127.0.0.1:80, by scheme and port of the URL";
        let rows = [
            ("http://a/b//c", None, first, "308: https_wanted", ""),
            (
                "http://a:8080//b",
                None,
                "127.0.0.1:8080, by scheme and port of the URL",
                "",
                "/b",
            ),
            (
                "http://a:81//b",
                None,
                "[::1]:81, by scheme and port of the URL",
                "",
                "//b",
            ),
            (
                "http://a:9//b",
                None,
                "127.0.0.1:80, the first one of the URL's scheme",
                "308: https_wanted",
                "",
            ),
            (
                "https://a:81//b",
                None,
                "127.0.0.1:80, the first one",
                "308: https_wanted",
                "",
            ),
            (
                "http://a//b",
                Some("unix:/run/a.sock"),
                "unix:/run/a.sock, by --listener",
                "",
                "//b",
            ),
            (
                "http://a//b",
                Some("[::1]:81"),
                "[::1]:81, by --listener",
                "",
                "//b",
            ),
        ];
        for (url, wanted, listener, answer, forwarded) in rows {
            let told = report(&snapshot, "GET", url, wanted).unwrap();
            let line = |label: &str| {
                let found = told.lines().find_map(|line| line.strip_prefix(label));
                found.unwrap_or_default().trim().to_owned()
            };
            assert_eq!(line("listener"), listener, "{told}");
            assert_eq!(line("answer"), answer, "{told}");
            let sent = line("forwarded");
            let sent = sent
                .strip_prefix("GET ")
                .and_then(|rest| rest.split(',').next());
            assert_eq!(sent.unwrap_or_default(), forwarded, "{told}");
        }
        assert_eq!(
            report(&snapshot, "GET", "http://a/", Some("127.0.0.1:9")),
            Err("there is no listener 127.0.0.1:9; known: 127.0.0.1:80, 127.0.0.1:8080, [::1]:81, unix:/run/a.sock".to_owned())
        );
    }
}
