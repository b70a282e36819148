//! The management API of the running program.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::managed::{Managed, is_problem, json_of, pool, request};
use crate::support::origin::ok;
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::route;
use crate::support::{Client, Origin, PATIENCE, Proxy, eventually, get};

fn url(addr: SocketAddr) -> String {
    json!({ "url": format!("http://{addr}") }).to_string()
}

#[test]
fn every_resource_answers() {
    let origin = Origin::saying("hello");
    let managed = Managed::to(&[origin.addr]);
    assert_eq!(managed.proxy.ask(get("/")).status(), 200);
    for (path, key) in [
        ("/servers", "servers"),
        ("/pools", "pools"),
        ("/pools/api", "backends"),
        (&format!("/pools/api/servers/{}", origin.addr), "state"),
        ("/routes", "routes"),
        ("/config", "admin"),
        ("/config/diff", "differences"),
        ("/config/revisions", "revisions"),
        ("/workers", "workers"),
        ("/version", "version"),
        ("/health", "status"),
        ("/ready", "status"),
        ("/stats", "server"),
        ("/stats/detail", "servers"),
        ("/board", "pools"),
        ("/openapi.json", "paths"),
    ] {
        assert!(!managed.get(path)[key].is_null(), "{key} of {path}");
    }
    eventually("the request is counted", || {
        managed.get("/stats")["client"] == json!({"success": 1, "failed": 0})
    });
    let servers = &managed.get("/stats/detail")["servers"];
    assert_eq!(servers[0]["port"], origin.addr.port());
    assert_eq!(servers[0]["success"], 1);
    let requests = managed.get("/workers")["workers"].clone();
    let requests = requests.as_array().unwrap().iter();
    let requests = requests.map(|worker| worker["requests"].as_u64().unwrap());
    assert_eq!(requests.sum::<u64>(), 1);
    for (path, words) in [
        ("/", "<!doctype html>"),
        ("/docs", "<!doctype html>"),
        ("/metrics", "# TYPE"),
    ] {
        let answer = managed.ask(&format!("GET {path}"), &[], "");
        assert_eq!(answer.status(), 200);
        assert!(answer.text().contains(words), "{path}");
    }
}

#[test]
fn a_new_backend_takes_requests_on_every_core_when_the_answer_is_there() {
    let (old, new) = (Origin::saying("old"), Origin::saying("new"));
    let managed = Managed::to(&[old.addr]);
    let mut clients: Vec<Client> = (0..16).map(|_| managed.proxy.client()).collect();
    for client in &mut clients {
        assert_eq!(client.ask(get("/")).text(), "old");
    }
    let added = managed.ask("POST /servers", &[], &url(new.addr));
    assert_eq!(added.status(), 201, "{}", added.text());
    let server = json_of(&added);
    assert_eq!(
        (&server["pool"], &server["state"]),
        (&json!("api"), &json!("healthy"))
    );
    for client in &mut clients {
        let taken: Vec<_> = (0..3).map(|_| client.ask(get("/")).text()).collect();
        assert!(taken.contains(&"new".to_owned()), "{taken:?}");
    }
    let again = managed.ask("POST /servers", &[], &url(new.addr));
    assert_eq!(again.status(), 200);
    assert_eq!(again.field("etag"), added.field("etag"));
    managed.proxy.wait_for_log(&["audit=", "api 127."]);
}

#[test]
fn a_drained_backend_finishes_its_requests_and_is_gone() {
    let (let_go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let slow = Origin::start(move |link| {
        while link.request().is_some() {
            let _ = wait.lock().unwrap().recv_timeout(2 * PATIENCE);
            link.send(ok("slow"));
        }
    });
    let other = Origin::saying("other");
    let managed = Managed::to(&[slow.addr]);
    let mut client = managed.proxy.client();
    client.send(get("/"));
    slow.wait_for_requests(1);
    managed.ask("POST /servers", &[], &url(other.addr));
    let (ip, port) = (slow.addr.ip(), slow.addr.port());
    let drained = managed.ask(&format!("DELETE /servers/{ip}/{port}?drain=60s"), &[], "");
    assert_eq!(drained.status(), 202, "{}", drained.text());
    let server = managed.get(&format!("/pools/api/servers/{}", slow.addr));
    assert_eq!(
        (&server["state"], &server["in_flight"]),
        (&json!("draining"), &json!(1))
    );
    for _ in 0..8 {
        assert_eq!(managed.proxy.ask(get("/")).text(), "other");
    }
    let_go.send(()).unwrap();
    assert_eq!(client.answer().text(), "slow");
    eventually("the backend is gone", || {
        managed.servers() == BTreeSet::from([other.addr.to_string()])
    });
    assert_eq!(slow.count(), 1);
}

#[test]
fn backends_on_ipv6_come_and_go() {
    let first = Origin::saying("four");
    let addr = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, free_addr().port()));
    let six = Origin::start_at(addr, |link| {
        while link.request().is_some() && link.try_send(ok("six")) {}
    });
    let managed = Managed::to(&[first.addr]);
    let added = managed.ask("POST /servers", &[], &url(six.addr));
    assert_eq!(added.status(), 201, "{}", added.text());
    let removed = format!("DELETE /servers/{}/{}", first.addr.ip(), first.addr.port());
    assert_eq!(managed.ask(&removed, &[], "").status(), 200);
    assert_eq!(managed.proxy.ask(get("/")).text(), "six");
    let href = json_of(&added)["href"].as_str().unwrap().to_owned();
    assert_eq!(managed.get(&href)["addr"], format!("[::1]:{}", addr.port()));
    assert_eq!(
        managed.ask("POST /servers", &[], &url(first.addr)).status(),
        201
    );
    let removed = format!("DELETE /servers/[::1]/{}", addr.port());
    assert_eq!(managed.ask(&removed, &[], "").status(), 200);
    assert_eq!(managed.proxy.ask(get("/")).text(), "four");
}

#[test]
fn a_backend_that_stays_down_is_removed() {
    let origin = Origin::saying("hello");
    let managed = Managed::to(&[origin.addr]);
    let nobody = free_addr();
    let server = json!({
        "url": nobody.to_string(),
        "remove_after_secs": 0.5,
        "health_check": {"tcp": true, "interval_secs": 0.1, "unhealthy_after": 1},
    });
    let added = managed.ask("POST /servers", &[], &server.to_string());
    assert_eq!(added.status(), 201, "{}", added.text());
    eventually("the backend is removed", || managed.servers().len() == 1);
    managed
        .proxy
        .wait_for_log(&["audit=", "removed", &nobody.to_string()]);
}

#[test]
fn strangers_change_nothing() {
    let origin = Origin::saying("hello");
    let directory = Directory::new();
    let change = directory.write("token", "0123456789abcdef\n");
    let read = directory.write("read-token", "fedcba9876543210\n");
    let admin = format!("token_file = {change:?}\nread_token_file = {read:?}");
    let managed = Managed::start(&admin, &pool(&[origin.addr]));
    const CHANGE: (&str, &str) = ("Authorization", "Bearer 0123456789abcdef");
    const READ: (&str, &str) = ("Authorization", "Bearer fedcba9876543210");
    type Fields<'a> = &'a [(&'a str, &'a str)];
    let add = url(free_addr());
    let large = format!("{{\"url\":\"{}\"}}", "x".repeat(4 << 20));
    let rows: [(&str, Fields, &str, u16); 13] = [
        ("POST /servers", &[], &add, 401),
        ("GET /servers", &[], "", 401),
        (
            "GET /metrics",
            &[("Authorization", "Bearer nonsense")],
            "",
            401,
        ),
        (
            "POST /servers",
            &[("Authorization", "Bearer 0123456789abcdeX")],
            &add,
            401,
        ),
        ("POST /servers", &[READ], &add, 403),
        ("DELETE /pools/api", &[READ], "", 403),
        (
            "POST /servers",
            &[CHANGE, ("Host", "rebound.example")],
            &add,
            421,
        ),
        (
            "GET /servers",
            &[CHANGE, ("Host", "rebound.example")],
            "",
            421,
        ),
        (
            "POST /servers",
            &[CHANGE, ("Origin", "http://evil.example")],
            &add,
            403,
        ),
        (
            "POST /servers",
            &[CHANGE, ("Content-Type", "text/plain")],
            &add,
            415,
        ),
        (
            "POST /servers",
            &[
                CHANGE,
                ("Content-Type", "application/x-www-form-urlencoded"),
                ("Sec-Fetch-Site", "cross-site"),
            ],
            &add,
            415,
        ),
        ("POST /servers", &[CHANGE], &large, 413),
        ("PUT /servers", &[CHANGE], "", 405),
    ];
    for (line, fields, body, status) in rows {
        eprintln!("{line} {fields:?}");
        let mut client = Client::connect(managed.admin);
        // The API may close the connection before a slow client has sent all of a large body.
        client.try_send(request(managed.admin, line, fields, body));
        is_problem(&client.answer(), status);
    }
    let answer = managed.ask("GET /config/revisions", &[READ], "");
    let revisions = json_of(&answer)["revisions"].clone();
    assert_eq!(revisions.as_array().unwrap().len(), 1, "{revisions}");
    let own = format!("http://{}", managed.admin);
    let added = managed.ask("POST /servers", &[CHANGE, ("Origin", &own)], &add);
    assert_eq!(added.status(), 201, "{}", added.text());
    for path in ["/", "/docs", "/openapi.json", "/health", "/ready"] {
        let answer = managed.ask(&format!("GET {path}"), &[], "");
        assert_eq!(answer.status(), 200, "{path}");
    }
    assert!(!managed.proxy.log().contains("0123456789abcdef"));
}

#[test]
fn eight_clients_at_once_lose_nothing() {
    const CLIENTS: usize = 8;
    const CHANGES: usize = 4;
    let origin = Origin::saying("hello");
    let managed = Managed::to(&[origin.addr]);
    let server = format!("/pools/api/servers/{}", origin.addr);
    let conflicts = thread::scope(|scope| {
        let one = || {
            let mut client = Client::connect(managed.admin);
            let mut conflicts = 0;
            for _ in 0..CHANGES {
                let add = request(managed.admin, "POST /servers", &[], &url(free_addr()));
                assert_eq!(client.ask(add).status(), 201);
                conflicts += raise_weight(&mut client, managed.admin, &server);
            }
            conflicts
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(one)).collect();
        let conflicts = clients.into_iter().map(|client| client.join().unwrap());
        conflicts.sum::<usize>()
    });
    assert_eq!(managed.servers().len(), 1 + CLIENTS * CHANGES);
    assert_eq!(managed.get(&server)["weight"], 1 + CLIENTS * CHANGES);
    let revision = managed.get("/version")["revision"].as_u64().unwrap();
    assert_eq!(revision as usize, 1 + 2 * CLIENTS * CHANGES);
    eprintln!("{conflicts} conflicts");
    let old = managed.ask(&format!("PATCH {server}"), &[("If-Match", "\"1\"")], "{}");
    is_problem(&old, 412);
}

/// Adds 1 to a server's weight, as often anew as somebody else was quicker; how often that was.
fn raise_weight(client: &mut Client, admin: SocketAddr, server: &str) -> usize {
    let mut conflicts = 0;
    loop {
        let now = client.ask(request(admin, &format!("GET {server}"), &[], ""));
        let weight = json_of(&now)["weight"].as_u64().unwrap() + 1;
        let tag = [("If-Match", now.field("etag").unwrap())];
        let body = json!({ "weight": weight }).to_string();
        let patch = request(admin, &format!("PATCH {server}"), &tag, &body);
        match client.ask(patch).status() {
            200 => return conflicts,
            412 => conflicts += 1,
            status => panic!("{status}"),
        }
    }
}

#[test]
fn what_was_answered_outlives_a_kill_at_any_moment() {
    let origin = Origin::saying("hello");
    let directory = Directory::new();
    let state_file = directory.path().join("state.json");
    let admin = format!("state_file = {state_file:?}");
    let config = pool(&[origin.addr]);
    let mut answered = BTreeSet::from([origin.addr.to_string()]);
    for round in 0..12u64 {
        let managed = Managed::start(&admin, &config);
        let there = managed.servers();
        assert!(answered.is_subset(&there), "{answered:?} not in {there:?}");
        let there_before = there.len();
        answered = there;
        let stopped = Arc::new(AtomicBool::new(false));
        let client = thread::spawn({
            let (admin, stopped) = (managed.admin, stopped.clone());
            move || add_until(admin, &stopped)
        });
        // Moments that differ from round to round, the earliest before anything was asked, the last ones after an
        // answer.
        if round > 8 {
            eventually("a server is added", || {
                managed.servers().len() > there_before
            });
        }
        thread::sleep(Duration::from_millis(round * round));
        managed.proxy.signal(libc::SIGKILL);
        stopped.store(true, SeqCst);
        answered.extend(client.join().unwrap());
    }
    assert!(answered.len() > 1, "nothing was ever answered");
}

/// Adds servers until nobody answers any more; those that were answered.
fn add_until(admin: SocketAddr, stopped: &AtomicBool) -> Vec<String> {
    let mut added = Vec::new();
    while !stopped.load(SeqCst) {
        let addr = free_addr();
        let Ok(mut stream) = std::net::TcpStream::connect(admin) else {
            break;
        };
        let line = request(
            admin,
            "POST /servers",
            &[("Connection", "close")],
            &url(addr),
        );
        let mut text = String::new();
        let sent = stream.write_all(line.as_bytes());
        if sent
            .and_then(|()| stream.read_to_string(&mut text))
            .is_err()
        {
            break;
        }
        if text.starts_with("HTTP/1.1 201") {
            added.push(addr.to_string());
        }
    }
    added
}

#[test]
fn a_unix_socket_serves_too() {
    let origin = Origin::saying("hello");
    let config = format!(
        "[admin]\nlisten_addr = \"unix:{{dir}}/admin.sock\"\n{}",
        pool(&[origin.addr])
    );
    let proxy = Proxy::start(&config);
    let mut stream = UnixStream::connect(proxy.directory.path().join("admin.sock")).unwrap();
    let body = url(free_addr());
    let head = "POST /servers HTTP/1.1\r\nHost: any\r\nContent-Type: application/json\r\nConnection: close\r\n";
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    proxy.wait_for_log(&["audit=", "api unix, user"]);
}

#[test]
fn a_head_that_does_not_come_ends_the_connection() {
    let managed = Managed::start("", &route("/", &[free_addr()]));
    let began = Instant::now();
    let mut silent = Client::connect(managed.admin);
    let mut slow = Client::connect(managed.admin);
    slow.send("GET /version HTTP/1.1\r\nHost: loc");
    silent.rest();
    slow.rest();
    assert!(began.elapsed() > Duration::from_secs(5));
    assert_eq!(managed.get("/health")["status"], "ok");
}

#[test]
fn events_come_every_second() {
    let managed = Managed::start("", &route("/", &[free_addr()]));
    let mut client = Client::connect(managed.admin);
    let began = Instant::now();
    client.send(request(managed.admin, "GET /events", &[], ""));
    let head = client.head();
    assert_eq!(head.status(), 200);
    assert_eq!(head.field("content-type"), Some("text/event-stream"));
    let (mut text, mut boards) = (String::new(), 0);
    while boards < 3 {
        text += &String::from_utf8_lossy(&client.bytes(1));
        boards = text.matches("event: board\n").count();
    }
    assert!(began.elapsed() > Duration::from_millis(900), "{text}");
    assert!(text.contains("event: history\ndata: ["), "{text}");
}

#[test]
fn refused_requests_are_shown_with_the_byte_at_fault() {
    let managed = Managed::to(&[free_addr()]);
    let bad = "GET /a HTTP/1.1\r\nHost: test\r\nCookie: secret=1\r\nX-Bad: on\x01e\r\n\r\n";
    assert_eq!(managed.proxy.ask(bad).status(), 400);
    assert_eq!(managed.proxy.ask(get("/a/%zz")).status(), 400);
    let mut requests = Value::Null;
    eventually("both are listed", || {
        requests = managed.get("/debug/bad-requests")["requests"].clone();
        requests.as_array().unwrap().len() == 2
    });
    assert_eq!(requests[0]["reason"], "bad_escape");
    assert_eq!(requests[0]["before"], "GET /a/");
    assert_eq!(requests[0]["fault"], "%");
    assert_eq!(requests[1]["reason"], "bad_field_value");
    assert_eq!(requests[1]["fault"], "\\x01");
    let before = requests[1]["before"].as_str().unwrap();
    assert!(
        before.ends_with("Cookie: ********\\r\\nX-Bad: on"),
        "{before}"
    );
    // A flood is told of in part, and forgotten in its order.
    let mut flood = managed.proxy.client();
    for _ in 0..200 {
        if flood.try_send(bad) {
            flood.rest();
        }
        flood = managed.proxy.client();
    }
    let listed = managed.get("/debug/bad-requests")["requests"].clone();
    assert!((3..=100).contains(&listed.as_array().unwrap().len()));
}
