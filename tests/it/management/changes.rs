//! Changes by the management API, and what their answers promise.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use serde_json::json;

use crate::support::managed::{Managed, is_problem, json_of, request};
use crate::support::place::free_addr;
use crate::support::{Client, Origin, get};

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

#[test]
fn whatever_would_change_something_minds_the_revision_that_the_caller_has_seen() {
    let origin = Origin::saying("here");
    let managed = Managed::to(&[origin.addr]);
    let other = json!({ "url": format!("http://{}", free_addr()) }).to_string();
    assert_eq!(managed.ask("POST /servers", &[], &other).status(), 201);
    let server = format!("/pools/api/servers/{}", origin.addr);
    let late = [("If-Match", "\"1\"")];
    let rows = [
        ("POST /servers", other.as_str()),
        (&format!("PUT {server}"), "{}"),
        (&format!("PATCH {server}"), "{}"),
        (&format!("DELETE {server}"), ""),
        (&format!("DELETE {server}?drain=1s"), ""),
        ("PATCH /pools/api", "{}"),
        ("DELETE /pools/api", ""),
        ("POST /reload", ""),
        ("POST /reload", r#"{"confirm_secs":60}"#),
        ("POST /reload/confirm", ""),
        ("POST /config/rollback", r#"{"revision":1}"#),
        ("POST /upgrade", ""),
    ];
    for (line, body) in rows {
        let answer = managed.ask(line, &late, body);
        assert_eq!(answer.status(), 412, "{line}: {}", answer.text());
        is_problem(&answer, 412);
    }
    assert_eq!(managed.get("/version")["revision"], 2);
    let now = [("If-Match", "\"2\"")];
    assert_eq!(managed.ask("POST /reload", &now, "").status(), 200);
    let back = managed.ask("POST /config/rollback", &now, r#"{"revision":1}"#);
    assert_eq!(back.status(), 200, "{}", back.text());
}

#[test]
fn a_server_is_added_from_the_command_line_as_the_documentation_of_old_has_it() {
    let [first, second] = ["first", "second"].map(Origin::saying);
    let managed = Managed::to(&[first.addr]);
    let body = json!({ "url": format!("http://{}/any/path?query", second.addr), "weight": 2,
        "health_check": { "path": "/health", "interval_secs": 3600, "timeout_secs": 60 } });
    let body = body.to_string();
    for fields in [
        [FORM, ("Origin", "null")],
        [FORM, ("Origin", "http://evil.example")],
    ] {
        is_problem(&managed.ask("POST /servers", &fields, &body), 403);
    }
    for fields in [
        [FORM, ("Origin", &format!("http://{}", managed.admin))],
        [FORM, ("Sec-Fetch-Site", "none")],
        [FORM, ("Sec-Fetch-Mode", "navigate")],
        [("Content-Type", "text/plain"), ("X-Any", "1")],
    ] {
        is_problem(&managed.ask("POST /servers", &fields, &body), 415);
    }
    is_problem(&managed.ask("POST /reload", &[FORM], "{}"), 415);
    is_problem(&managed.ask("POST /servers", &[FORM], "url=http"), 400);
    let added = managed.ask("POST /servers", &[FORM], &body);
    assert_eq!(added.status(), 201, "{}", added.text());
    let added = json_of(&added);
    assert_eq!(added["addr"], second.addr.to_string());
    assert_eq!(added["health_check"]["path"], "/health");
    let taken: Vec<_> = (0..6).map(|_| managed.proxy.ask(get("/")).text()).collect();
    assert!(taken.contains(&"second".to_owned()), "{taken:?}");
}

#[test]
fn a_put_is_answered_with_what_it_did_whatever_another_one_did_since() {
    const PUTS: usize = 300;
    let origin = Origin::saying("here");
    let managed = Managed::to(&[origin.addr]);
    let server = format!("/pools/api/servers/{}", free_addr());
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut client = Client::connect(managed.admin);
                while !over.load(SeqCst) {
                    let delete = format!("DELETE {server}");
                    let delete = request(managed.admin, &delete, &[], "");
                    assert!([200, 404].contains(&client.ask(delete).status()));
                }
            });
        }
        let mut client = Client::connect(managed.admin);
        let mut wrong = Vec::new();
        for _ in 0..PUTS {
            let put = format!("PUT {server}");
            let put = request(managed.admin, &put, &[], "{}");
            let status = client.ask(put).status();
            wrong.extend((![200, 201].contains(&status)).then_some(status));
        }
        over.store(true, SeqCst);
        assert_eq!(wrong, [0; 0]);
    });
}

/// The file of a proxy whose only route has a pool of its own with these backends, and these further settings.
fn write_file(managed: &Managed, backends: &str, more: &str) {
    let text = format!(
        "listen_addr = \"{}\"\nworkers = 2\n[admin]\nlisten_addr = \"{}\"\n\
         [[pools]]\nname = \"api\"\nbackends = [{backends}]\n{more}[[routes]]\npool = \"api\"\n",
        managed.proxy.addr, managed.admin
    );
    managed.proxy.directory.write("config.toml", &text);
}

#[test]
fn a_file_that_is_only_written_in_another_way_changes_nothing() {
    let backends = [free_addr(), free_addr()];
    let managed = Managed::to(&backends);
    let [first, second] = backends;
    let one = format!("{{ addr = \"{first}\", remove_after_secs = 60 }}, \"{second}\"");
    write_file(&managed, &one, "outlier = { eject_secs = 30 }\n");
    assert_eq!(managed.ask("POST /reload", &[], "").status(), 200);
    let line = format!("PATCH /pools/api/servers/{first}");
    assert_eq!(
        managed
            .ask(&line, &[], r#"{"weight":5,"drain":true}"#)
            .status(),
        200
    );
    let algorithm = r#"{"balancing_algorithm":"least_connections"}"#;
    assert_eq!(
        managed.ask("PATCH /pools/api", &[], algorithm).status(),
        200
    );
    let before = managed.get("/version")["revision"].clone();
    let shown = managed.get("/servers?pool=api");
    let other = format!("\"{second}\", {{ addr = \"{first}\", remove_after = \"1m\" }}");
    write_file(&managed, &other, "outlier = { eject = \"30s\" }\n");
    assert_eq!(managed.get("/config/diff")["differences"], json!([]));
    let reloaded = json_of(&managed.ask("POST /reload", &[], ""));
    assert_eq!(reloaded["changed"], false, "{reloaded}");
    assert_eq!(managed.get("/version")["revision"], before);
    assert_eq!(managed.get("/servers?pool=api"), shown);
}

#[test]
fn a_backend_that_went_and_came_back_is_no_difference_from_the_file() {
    let backends = [free_addr(), free_addr()];
    let managed = Managed::to(&backends);
    let [first, _] = backends;
    let removed = format!("DELETE /servers/{}/{}", first.ip(), first.port());
    assert!(managed.ask(&removed, &[], "").status() < 300);
    let url = json!({ "url": format!("http://{first}") }).to_string();
    assert_eq!(managed.ask("POST /servers", &[], &url).status(), 201);
    let reloaded = json_of(&managed.ask("POST /reload", &[], ""));
    assert_eq!(reloaded["changed"], false, "{reloaded}");
    assert_eq!(managed.get("/version")["revision"], 3);
}

#[test]
fn changes_that_no_upgrade_could_hand_over_are_refused() {
    let managed = Managed::to(&[free_addr()]);
    let headers: serde_json::Map<_, _> = (0..64)
        .map(|number| (format!("x-h{number}"), "v".repeat(4_000).into()))
        .collect();
    let check = json!({ "path": "/", "headers": headers });
    let backends: Vec<_> = (1..=3)
        .map(|port| json!({ "addr": format!("127.0.0.1:{port}"), "health_check": check }))
        .collect();
    let pool = json!({ "backends": backends }).to_string();
    let mut answers =
        (0..30).map(|number| managed.ask(&format!("PUT /pools/p{number}"), &[], &pool));
    let refused = answers.find(|answer| answer.status() >= 300).unwrap();
    is_problem(&refused, 500);
    assert!(
        refused.text().contains("would be larger than"),
        "{}",
        refused.text()
    );
}

#[test]
fn a_request_of_the_api_writes_no_line_of_its_own_into_the_log() {
    let managed = Managed::to(&[free_addr()]);
    let forged = "2026-01-01T00:00:00Z%20%20INFO%20forged";
    let line = format!("DELETE /pools/api/servers/a%0A{forged}");
    is_problem(&managed.ask(&line, &[], ""), 404);
    managed.proxy.wait_for_log(&["refused", "forged"]);
    let log = managed.proxy.log();
    assert!(
        log.lines().all(|line| !line.starts_with("2026-01-01")),
        "{log}"
    );
}
