//! `/metrics` and `/stats` tell what happened, as seen by who scrapes a running proxy.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::{Mutex, mpsc};

use serde_json::{Value, json};

use crate::support::place::free_addr;
use crate::support::proxy::{list, route};
use crate::support::{Client, Origin, Proxy, eventually, get};

/// A proxy with a management API at the second address.
fn start(routes: &str) -> (Proxy, SocketAddr) {
    let admin = free_addr();
    let config = format!("workers = 2\n[admin]\nlisten_addr = \"{admin}\"\n{routes}");
    (Proxy::start(&config), admin)
}

/// The body of an answer of the management API.
#[track_caller]
fn fetch(admin: SocketAddr, path: &str, accept: &str) -> (String, String) {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {admin}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    );
    let answer = Client::connect(admin).ask(request);
    assert_eq!(answer.status(), 200, "{answer:?}");
    let kind = answer.field("content-type").unwrap_or_default().to_owned();
    (kind, answer.text())
}

/// The sum of the samples whose name and labels begin with `start` and have all of `labels`.
fn sum(text: &str, start: &str, labels: &[&str]) -> f64 {
    let is_wanted = |line: &&str| {
        let rest = line.strip_prefix(start);
        rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| line.contains(label))
    };
    let samples = text.lines().filter(is_wanted);
    samples
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
        .sum()
}

#[test]
fn requests_failures_and_times_are_counted_where_they_belong() {
    let origin = Origin::saying("hello");
    let (down, down_too) = (free_addr(), free_addr());
    let routes = route("/api", &[origin.addr])
        + "[[routes]]\nprefix = \"/down\"\nbackend_addrs = "
        + &list(&[down, down_too])
        + "\n"
        + &route("/idle", &[origin.addr]);
    let (proxy, admin) = start(&routes);
    for _ in 0..3 {
        proxy.ask(get("/api/x"));
    }
    proxy.ask("POST /api HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody");
    proxy.ask(get("/down"));
    proxy.ask(get("/none"));
    proxy.ask("GET / HTTP/1.1\r\nHost : test\r\n\r\n");
    // A request is counted when it has ended, a moment after its answer was sent.
    let total = |text: &str| sum(text, "palantir_requests_total", &[]);
    eventually("all are counted", || {
        total(&fetch(admin, "/metrics", "").1) == 7.0
    });
    let text = fetch(admin, "/metrics", "").1;
    assert!(sum(&text, "palantir_client_connections_accepted_total", &[]) >= 7.0);
    let address = |addr: SocketAddr| format!("backend=\"{addr}\"");
    let (up, down) = (address(origin.addr), address(down));
    let rows = [
        ("palantir_requests_total", vec!["code=\"2xx\""], 4.0),
        ("palantir_requests_total", vec!["code=\"4xx\""], 2.0),
        ("palantir_requests_total", vec!["code=\"5xx\""], 1.0),
        (
            "palantir_failures_total",
            vec!["reason=\"no_route\"", "fault=\"client\""],
            1.0,
        ),
        (
            "palantir_failures_total",
            vec!["reason=\"connect_failed\"", "fault=\"backend\""],
            1.0,
        ),
        (
            "palantir_failures_total",
            vec!["reason=\"bad_field_name\"", "fault=\"client\""],
            1.0,
        ),
        ("palantir_failures_total", vec![], 3.0),
        (
            "palantir_route_requests_total",
            vec!["route=\"/api\"", "code=\"2xx\""],
            4.0,
        ),
        (
            "palantir_route_failures_total",
            vec!["route=\"/down\"", "reason=\"connect_failed\""],
            1.0,
        ),
        ("palantir_route_retries_total", vec!["route=\"/down\""], 1.0),
        (
            "palantir_route_request_bytes_total",
            vec!["route=\"/api\""],
            4.0,
        ),
        (
            "palantir_route_response_bytes_total",
            vec!["route=\"/api\""],
            20.0,
        ),
        ("palantir_route_requests_in_flight", vec![], 0.0),
        (
            "palantir_route_response_seconds_count",
            vec!["route=\"/api\""],
            4.0,
        ),
        (
            "palantir_backend_responses_total",
            vec![&*up, "code=\"2xx\""],
            4.0,
        ),
        ("palantir_backend_response_seconds_count", vec![&*up], 4.0),
        (
            "palantir_backend_failures_total",
            vec![&*down, "reason=\"connect_failed\""],
            1.0,
        ),
        ("palantir_backend_failures_total", vec![&*up], 0.0),
        ("palantir_backend_state", vec!["state=\"healthy\""], 4.0),
    ];
    for (name, labels, expected) in rows {
        assert_eq!(
            sum(&text, name, &labels),
            expected,
            "{name} {labels:?} in\n{text}"
        );
    }
    assert!(sum(&text, "palantir_backend_connect_seconds_count", &[&up]) >= 1.0);
    assert!(!text.contains("route=\"/idle\""), "nobody asked for it yet");
    let (_, stats) = fetch(admin, "/stats", "application/json");
    let expected = json!({
        "client": {"success": 4, "failed": 3},
        "server": {"success": 4, "failed": 2},
    });
    assert_eq!(serde_json::from_str::<Value>(&stats).unwrap(), expected);
}

#[test]
fn what_is_under_way_shows_and_is_gone_afterwards() {
    let (let_go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::start(move |link| {
        while link.request().is_some() {
            link.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na");
            let _ = wait.lock().unwrap().recv();
            link.send("b");
        }
    });
    let (proxy, admin) = start(&route("/", &[origin.addr]));
    let mut client = proxy.client();
    client.send(get("/"));
    let gauge = |name: &str| sum(&fetch(admin, "/metrics", "").1, name, &[]);
    let names = [
        "palantir_requests_in_flight",
        "palantir_route_requests_in_flight",
        "palantir_backend_requests_in_flight",
    ];
    for name in names {
        eventually("it is under way", || gauge(name) == 1.0);
    }
    let_go.send(()).unwrap();
    client.answer();
    for name in names {
        eventually("it has ended", || gauge(name) == 0.0);
    }
    eventually("its connection is idle", || {
        gauge("palantir_backend_idle_connections") == 1.0
    });
    eventually("the next tick tells of operations", || {
        gauge("palantir_worker_operations_total") > 3.0
    });
    assert!(gauge("palantir_worker_loop_lag_seconds_count") > 0.0);
}

#[test]
fn counts_go_on_across_a_reload() {
    let origin = Origin::saying("hello");
    let admin = free_addr();
    let config = |prefix: &str| {
        let routes = route("/", &[origin.addr]) + &route(prefix, &[origin.addr]);
        format!("[admin]\nlisten_addr = \"{admin}\"\n{routes}")
    };
    let proxy = Proxy::start(&config("/old"));
    let reloaded = format!("listen_addr = \"{}\"\n{}", proxy.addr, config("/new"));
    proxy.ask(get("/"));
    proxy.ask(get("/old"));
    proxy.directory.write("config.toml", &reloaded);
    // Answered when every worker has followed.
    let request = format!(
        "POST /reload HTTP/1.1\r\nHost: {admin}\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
    );
    let answer = Client::connect(admin).ask(request);
    assert_eq!(answer.status(), 200, "{answer:?}");
    proxy.ask(get("/"));
    proxy.ask(get("/new"));
    let mut text = String::new();
    eventually("all are counted", || {
        text = fetch(admin, "/metrics", "").1;
        sum(&text, "palantir_requests_total", &["code=\"2xx\""]) == 4.0
    });
    let requests = |route: &str| sum(&text, "palantir_route_requests_total", &[route]);
    assert_eq!(requests("route=\"/\""), 2.0, "{text}");
    assert_eq!(requests("route=\"/new\""), 1.0, "{text}");
    assert_eq!(requests("route=\"/old\""), 0.0, "nothing is left of it");
}

#[test]
fn the_format_is_negotiated_and_prometheus_takes_it() {
    let origin = Origin::saying("hello");
    let (proxy, admin) = start(&route("/", &[origin.addr]));
    proxy.ask(get("/"));
    let (kind, text) = fetch(
        admin,
        "/metrics",
        "application/openmetrics-text;version=1.0.0",
    );
    assert_eq!(
        kind,
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(text.ends_with("\n# EOF\n"), "{text}");
    let (kind, text) = fetch(admin, "/metrics", "*/*");
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        eprintln!("not checked: promtool (Debian: prometheus) is not installed");
        return;
    };
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
}
