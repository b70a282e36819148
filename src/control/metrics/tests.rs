//! From counters to the text of `/metrics`, the live statistics and the stats, with workers played by the tests.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::json;
use tokio::sync::watch;

use super::*;
use crate::base::ids::WorkerId;
use crate::base::limits;
use crate::config::{self, Machine};
use crate::control::access_log::LogProgress;
use crate::control::change_request::InForce;
use crate::messages::StateChange;
use crate::shared::backend_table::{BackendState, BackendTables};
use crate::shared::cache::{CacheStore, StoreSettings};
use crate::shared::failure::{Failure, STATUS_5XX};
use crate::shared::slots::Slots;
use crate::shared::worker_counters;
use crate::tls::TlsStore;

const CONFIG: &str = r#"
workers = 2
[[routes]]
prefix = "/api"
pool = "api"
[[routes]]
prefix = "/unused"
pool = "api"
[[routes]]
prefix = "/quote"
host = "example.com"
backend_addrs = ["127.0.0.1:9003"]
[[pools]]
name = "api"
backends = [{ addr = "127.0.0.1:9001", weight = 3 }, "unix:/run/app.sock", "nowhere.test:80"]
"#;

const MILLIS: u64 = 1_000;

/// The sources, and what keeps the standing alive.
fn sources() -> (Sources, watch::Sender<Arc<InForce>>) {
    let config = config::parse(Path::new("config.toml"), CONFIG.to_owned()).unwrap();
    let tables = BackendTables::new(2);
    let mut slots = Slots::new(tables.clone());
    let machine = Machine::of_this_process();
    let snapshot = config::compile(
        &config,
        &machine,
        &Default::default(),
        config::Stores {
            slots: &mut slots,
            tls_store: &mut TlsStore::default(),
        },
        1,
    )
    .unwrap();
    let (sender, standing) = watch::channel(Arc::new(InForce {
        revision: 7,
        snapshot: Arc::new(snapshot),
        config: Arc::new(config),
        document: toml::Table::new(),
        revisions: Vec::new(),
        draining: false,
        retired: false,
    }));
    let counters = worker_counters::counters(2);
    let sources = Sources {
        standing,
        tables,
        counters,
        store: None,
        orders: Default::default(),
        wanted: Default::default(),
        access_log: Arc::new(LogProgress::new(Micros::now())),
        health: Default::default(),
        files: Default::default(),
        texts: Default::default(),
        generations: Default::default(),
        hanging_look_ups: Default::default(),
    };
    (sources, sender)
}

/// Plays a worker: `count` requests of `/api`, each answered by the first backend with `status` after `micros`.
fn answer(sources: &Sources, worker: u32, count: u64, status: u16, micros: u64) {
    let snapshot = sources.standing.borrow().snapshot.clone();
    let (worker, class) = (
        WorkerId(worker),
        crate::shared::route_counters::status_class(status),
    );
    let counters = &sources.counters[worker.index()];
    let route = snapshot.routes[0].counters.of(worker);
    let backend = snapshot.pools[0].backends[0].slot.counters();
    let backend = backend.workers.of(worker);
    for _ in 0..count {
        counters.answer(class);
        counters.attempt(status < 500);
        route.classes[class].add(1);
        route.response_times.observe(micros);
        backend.answers[class].add(1);
        backend.response_times.observe(micros);
        if status >= 500 {
            counters.fail();
            backend.note_failure(STATUS_5XX, Micros::now());
        }
    }
}

#[track_caller]
fn assert_has(text: &str, line: &str) {
    let name = line.split(['{', ' ']).next().unwrap_or_default();
    let similar = text.lines().filter(|line| line.starts_with(name));
    assert!(
        text.lines().any(|found| found == line),
        "no {line}\namong {:#?}",
        similar.collect::<Vec<_>>()
    );
}

#[test]
fn what_workers_counted_is_exposed() {
    let (sources, _sender) = sources();
    answer(&sources, 0, 3, 200, 100);
    answer(&sources, 1, 2, 503, 1 << 27);
    let snapshot = sources.standing.borrow().snapshot.clone();
    let reset = Failure::Reset;
    sources.counters[1].note_reason(reset.reason());
    snapshot.routes[0].counters.of(WorkerId(1)).failures.0[reset.reason_group()].add(1);
    let first = &snapshot.pools[0].backends[0];
    first
        .slot
        .counters()
        .workers
        .of(WorkerId(1))
        .fail(reset.reason_group(), Micros::now());
    first
        .slot
        .counters()
        .changes
        .note(BackendState::Ejected, Micros::now());
    for table in sources.tables.iter() {
        table.set_state(first.id(), BackendState::Ejected);
    }
    let kind = content_type("");
    let text = render(&sources, kind);
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    let backend = r#"pool="api",backend="127.0.0.1:9001""#;
    for line in [
        "# TYPE palantir_requests_total counter",
        "# TYPE palantir_backend_response_seconds histogram",
        "palantir_config_revision 7",
        "palantir_draining 0",
        r#"palantir_requests_total{worker="0",code="2xx"} 3"#,
        r#"palantir_requests_total{worker="1",code="5xx"} 2"#,
        r#"palantir_failures_total{reason="reset",fault="backend"} 1"#,
        r#"palantir_failures_total{reason="bad_chunk",fault="client"} 0"#,
        r#"palantir_route_requests_total{route="/api",code="2xx"} 3"#,
        r#"palantir_route_failures_total{route="/api",reason="reset"} 1"#,
        r#"palantir_route_response_seconds_count{route="/api"} 5"#,
        r#"palantir_route_response_seconds_bucket{le="0.000128",route="/api"} 3"#,
        r#"palantir_route_response_seconds_bucket{le="+Inf",route="/api"} 5"#,
        r#"palantir_pool_waiting_requests{pool="api"} 0"#,
        &format!(r#"palantir_backend_responses_total{{{backend},code="2xx"}} 3"#),
        &format!(r#"palantir_backend_failures_total{{{backend},reason="reset"}} 1"#),
        &format!(r#"palantir_backend_state{{{backend},state="ejected"}} 1"#),
        &format!(r#"palantir_backend_state{{{backend},state="healthy"}} 0"#),
        &format!(r#"palantir_backend_transitions_total{{{backend},to="ejected"}} 1"#),
        &format!("palantir_backend_weight{{{backend}}} 3"),
        r#"palantir_backend_state{pool="api",backend="nowhere.test:80",state="unresolved"} 1"#,
    ] {
        assert_has(&text, line);
    }
    assert!(!text.contains("/unused") && !text.contains("# EOF"));
}

#[test]
fn openmetrics_is_the_same_in_its_own_words() {
    let (sources, _sender) = sources();
    let kind = content_type("application/openmetrics-text; version=1.0.0");
    let text = render(&sources, kind);
    assert_eq!(
        kind,
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert_has(&text, "# TYPE palantir_requests counter");
    assert_has(&text, r#"palantir_requests_total{worker="0",code="2xx"} 0"#);
    assert!(text.ends_with("# EOF\n"));
}

/// Runs `promtool` with these arguments, or says why it cannot.
fn promtool_accepts(arguments: &[&str], text: &str) {
    let started = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match started {
        Ok(promtool) => promtool,
        Err(error) => {
            eprintln!("not checked: promtool (Debian: prometheus) cannot be run: {error}");
            return;
        }
    };
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "promtool {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn promtool_finds_nothing_to_blame_in_the_metrics() {
    let (sources, _sender) = sources();
    answer(&sources, 0, 1, 200, 100);
    let text = render(&sources, "");
    promtool_accepts(&["check", "metrics"], &text);
}

#[test]
fn promtool_finds_nothing_to_blame_in_the_alert_rules() {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/alerts.yml");
    promtool_accepts(&["check", "rules", rules], "");
}

#[test]
fn rules_and_dashboard_name_only_metrics_that_there_are() {
    let (mut sources, _sender) = sources();
    let settings = StoreSettings {
        max_bytes: 8 << 20,
        cores: 1,
    };
    sources.store = Some(CacheStore::new(settings).unwrap());
    answer(&sources, 0, 1, 200, 100);
    let text = render(&sources, "");
    let families: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let rules = include_str!("../../../docs/alerts.yml");
    let dashboard = include_str!("../../../docs/grafana.json");
    let dashboard: serde_json::Value = serde_json::from_str(dashboard).unwrap();
    let mut seen = 0;
    for text in [rules, &dashboard.to_string()] {
        for name in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            if name.starts_with("palantir_") || name.starts_with("process_") {
                let family = name.strip_suffix("_bucket").unwrap_or(name);
                assert!(families.contains(&family), "{name} is no metric");
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "only {seen} names were found");
}

#[test]
fn live_statistics_tell_what_the_last_second_brought() {
    let (sources, _sender) = sources();
    answer(&sources, 0, 10, 200, 100);
    let start = Micros::now();
    let mut live_stats = LiveStatsMaker::new(sources.clone(), start);
    let watch = live_stats.watch();
    answer(&sources, 0, 40, 200, 100);
    answer(&sources, 1, 10, 500, 10 * MILLIS);
    sources.counters[1].set_connections(3);
    sources.counters[1].set_worst_lag(2_500);
    live_stats.turn(Micros(start.0 + 999 * MILLIS));
    assert!(watch.borrow().pools.is_empty(), "no second has passed");
    live_stats.turn(Micros(start.0 + 2_000 * MILLIS));
    let stats = watch.borrow().clone();
    assert_eq!((stats.revision, stats.phase), (7, "running"));
    assert_eq!(stats.totals.requests_per_sec, 25.0);
    assert_eq!(stats.totals.failures_per_sec, 5.0);
    assert_eq!(stats.totals.connections, 3);
    assert!(stats.totals.p50_ms.unwrap() < 0.13);
    assert!(stats.totals.p99_ms.unwrap() > 8.0);
    assert_eq!(stats.workers[1].requests_per_sec, 5.0);
    assert_eq!(stats.workers[1].loop_lag_ms, 2.5);
    let row = &stats.pools[0].backends[0];
    assert_eq!((row.address.as_str(), row.weight), ("127.0.0.1:9001", 3));
    assert_eq!((row.success, row.failed), (50, 10));
    assert_eq!(row.last_failure.as_ref().unwrap().reason, "status_5xx");
    assert!((row.error_percent.unwrap() - 100.0 / 6.0).abs() < 0.1);
    assert_eq!(stats.pools[0].backends[2].state, "unresolved");
    live_stats.turn(Micros(start.0 + 3_000 * MILLIS));
    let stats = watch.borrow().clone();
    assert_eq!(stats.totals.requests_per_sec, 0.0);
    assert_eq!(stats.totals.p50_ms, None);
    assert!(stats.pools[0].backends[0].p50_ms.is_some(), "it fades");
    let rates: Vec<f64> = stats
        .history
        .iter()
        .map(|point| point.requests_per_sec)
        .collect();
    assert_eq!(rates, [25.0, 0.0]);
}

#[test]
fn the_history_of_live_statistics_is_bounded() {
    let (sources, _sender) = sources();
    let mut live_stats = LiveStatsMaker::new(sources, Micros(0));
    for second in 1..=limits::HISTORY_SECS as u64 + 3 {
        live_stats.turn(Micros(second * 1_000 * MILLIS));
    }
    assert_eq!(
        live_stats.watch().borrow().history.len(),
        limits::HISTORY_SECS
    );
}

#[test]
fn live_statistics_show_who_changed_and_since_when() {
    let (sources, _sender) = sources();
    let backend = sources.standing.borrow().snapshot.pools[0].backends[0].id();
    let start = Micros::now();
    let mut live_stats = LiveStatsMaker::new(sources.clone(), start);
    let change = StateChange {
        id: backend,
        pool: "api".to_owned(),
        backend: "127.0.0.1:9001".to_owned(),
        from: Some(BackendState::Healthy),
        to: BackendState::Unhealthy,
        is_down: true,
        reason: "3 probes failed: connection refused".to_owned(),
    };
    let after = Micros(start.0 + 5_000 * MILLIS);
    live_stats.note(change, after);
    live_stats.turn(after);
    let stats = live_stats.watch().borrow().clone();
    assert!((stats.pools[0].backends[0].since - stats.time).abs() < 0.01);
    let shown = serde_json::to_value(&stats.transitions[0]).unwrap();
    let expected = json!({
        "time": stats.transitions[0].time,
        "pool": "api",
        "backend": "127.0.0.1:9001",
        "from": "healthy",
        "to": "unhealthy",
        "reason": "3 probes failed: connection refused",
    });
    assert_eq!(shown, expected);
    let shown = serde_json::to_value(&*stats).unwrap();
    assert!(
        shown.get("history").is_none() && shown["pools"][0]["backends"][0]["state"] == "healthy"
    );
}

#[test]
fn stats_are_of_both_sides() {
    let (sources, _sender) = sources();
    answer(&sources, 0, 4, 204, 100);
    answer(&sources, 1, 1, 502, 100);
    sources.counters[0].answer(3);
    sources.counters[0].refuse();
    let shown = serde_json::to_value(stats(&sources.counters)).unwrap();
    let expected = json!({
        "client": {"success": 4, "failed": 2},
        "server": {"success": 4, "failed": 1},
    });
    assert_eq!(shown, expected);
    let stats = LiveStatsMaker::new(sources.clone(), Micros(0))
        .watch()
        .borrow()
        .clone();
    let servers = server_stats(&sources, &stats);
    assert_eq!(servers.len(), 4);
    let first = &servers[0];
    assert_eq!(
        (first.ip.as_deref(), first.port),
        (Some("127.0.0.1"), Some(9001))
    );
    assert_eq!(
        (first.success, first.failed, first.state),
        (4, 1, "healthy")
    );
    assert_eq!(
        (servers[1].ip.as_deref(), servers[1].address.as_str()),
        (None, "unix:/run/app.sock")
    );
}
