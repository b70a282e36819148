//! The cache as operators see and purge it: the management API, PURGE and BAN, and the commands.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use serde_json::{Value, json};

use crate::support::managed::{Managed, is_problem, json_of};
use crate::support::proxy::{list, run};
use crate::support::{Answer, Origin, eventually, metrics};

/// A backend whose responses are fresh for a minute, tell how many there were, and have tags.
fn counting() -> (Origin, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let origin = Origin::start(move |link| {
        while link.request().is_some() {
            let body = format!("answer {}", counted.fetch_add(1, SeqCst) + 1);
            let length = body.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nCache-Control: max-age=60\r\n\
                 Surrogate-Key: all page-1\r\nCache-Groups: \"group\"\r\n"
            );
            if !link.try_send(format!("{head}\r\n{body}")) {
                return;
            }
        }
    });
    (origin, count)
}

fn cached(origin: &Origin, cache: &str) -> Managed {
    let backends = list(&[origin.addr]);
    let config = format!(
        "[cache]\nmax_size = \"8MiB\"\n[[routes]]\nprefix = \"/\"\nbackend_addrs = {backends}\ncache = {{ {cache} }}\n\
         [[routes]]\nprefix = \"/plain\"\nbackend_addrs = {backends}\n"
    );
    Managed::start("", &config)
}

fn ask(managed: &Managed, line: &str, fields: &str) -> Answer {
    let request = format!("{line} HTTP/1.1\r\nHost: shop.test\r\n{fields}\r\n");
    managed.proxy.ask(request)
}

/// Asks for a path twice and gives the number of the answer, which comes from the store the second time.
#[track_caller]
fn stored(managed: &Managed, path: &str) -> String {
    let first = ask(managed, &format!("GET {path}"), "").text();
    eventually("the response is stored", || {
        let again = ask(managed, &format!("GET {path}"), "");
        again.field("age").is_some() && again.text() == first
    });
    first
}

#[track_caller]
fn purge(managed: &Managed, order: &Value) -> Value {
    let answer = managed.ask("POST /cache/purge", &[], &order.to_string());
    assert_eq!(answer.status(), 200, "{}", answer.text());
    json_of(&answer)
}

#[test]
fn each_kind_of_purge_is_in_force_when_it_is_answered() {
    let (origin, _) = counting();
    let managed = cached(&origin, "ignore_query = [\"utm_*\"]");
    let orders = [
        (json!({"url": "http://shop.test/a?b=1"}), json!(1)),
        (
            json!({"url": "http://SHOP.test:80/a?utm_x=2&b=1"}),
            json!(1),
        ),
        (json!({"url": "http://shop.test//a?b=1"}), json!(1)),
        (json!({"prefix": "http://shop.test/a"}), Value::Null),
        (json!({"tag": "page-1"}), Value::Null),
        (
            json!({"group": {"origin": "http://shop.test", "group": "group"}}),
            Value::Null,
        ),
        (json!({"all": true}), Value::Null),
        (json!({"all": true, "zone": "/"}), Value::Null),
    ];
    let mut last = 0;
    for (order, entries) in orders {
        let before = stored(&managed, "/a?b=1");
        let report = purge(&managed, &order);
        assert_eq!(report["entries"], entries, "{order}");
        let number = report["number"].as_u64().unwrap();
        assert!(number > last, "{order}: {report}");
        last = number;
        let after = ask(&managed, "GET /a?b=1", "").text();
        assert_ne!(after, before, "{order}");
    }
    let others = [
        json!({"url": "http://shop.test/a"}),
        json!({"url": "https://shop.test/a?b=1"}),
        json!({"url": "http://shop.test/a?b=1", "zone": "other"}),
        json!({"prefix": "http://shop.test/b"}),
        json!({"tag": "page"}),
        json!({"group": {"origin": "https://shop.test", "group": "group"}}),
    ];
    let before = stored(&managed, "/a?b=1");
    for order in others {
        purge(&managed, &order);
        assert_eq!(ask(&managed, "GET /a?b=1", "").text(), before, "{order}");
    }
    managed.proxy.wait_for_log(&[
        "audit=",
        "purged",
        "URLs that begin with http://shop.test/b",
    ]);
}

#[test]
fn a_soft_purge_leaves_what_is_stale() {
    let (origin, count) = counting();
    let managed = cached(&origin, "stale_while_revalidate = \"1h\"");
    let before = stored(&managed, "/a");
    purge(&managed, &json!({"tag": "all", "soft": true}));
    let asked = count.load(SeqCst);
    assert_eq!(ask(&managed, "GET /a", "").text(), before);
    eventually("the response is fetched anew", || {
        count.load(SeqCst) > asked
    });
    eventually("the new response answers", || {
        ask(&managed, "GET /a", "").text() != before
    });
}

#[test]
fn orders_that_are_not_right_are_refused() {
    let (origin, _) = counting();
    let managed = cached(&origin, "");
    let rows = [
        ("{}", 422, ""),
        (r#"{"all": true, "tag": "a"}"#, 422, ""),
        (r#"{"url": "/a"}"#, 422, "url"),
        (r#"{"tag": "a", "zone": "b"}"#, 422, "zone"),
        (r#"{"urls": []}"#, 422, "urls"),
    ];
    for (order, status, field) in rows {
        let answer = managed.ask("POST /cache/purge", &[], order);
        is_problem(&answer, status);
        let first = &json_of(&answer)["errors"][0]["field"];
        assert_eq!(first, field, "{order}");
    }
    let other = managed.ask(
        "POST /cache/purge",
        &[("If-Match", "\"99\"")],
        r#"{"all":true}"#,
    );
    assert_eq!(other.status(), 412, "{}", other.text());
    let without = Managed::to(&[origin.addr]);
    for line in ["GET /cache", "GET /cache/entries", "POST /cache/purge"] {
        let body = if line.starts_with("POST") {
            r#"{"all": true}"#
        } else {
            ""
        };
        let answer = without.ask(line, &[], body);
        assert_eq!(answer.status(), 404, "{line}: {}", answer.text());
    }
}

#[test]
fn entries_are_listed_and_taken_out() {
    let (origin, _) = counting();
    let managed = cached(&origin, "key_headers = [\"X-Tenant\"]");
    for path in ["/a/1", "/a/2", "/b"] {
        stored(&managed, path);
    }
    let all = managed.get("/cache/entries");
    assert_eq!(all["entries"].as_array().unwrap().len(), 3, "{all}");
    let part = managed.get("/cache/entries?prefix=http://shop.test/a/&limit=1");
    let entry = &part["entries"][0];
    assert!(
        entry["url"]
            .as_str()
            .unwrap()
            .starts_with("http://shop.test/a/")
    );
    assert_eq!(entry["zone"], "/");
    assert_eq!(entry["status"], 200);
    assert_eq!(entry["state"], "fresh");
    assert_eq!(entry["lifetime_source"], "max_age");
    assert!(
        (1..=60).contains(&entry["ttl"].as_i64().unwrap()),
        "{entry}"
    );
    assert_eq!(
        entry["key_fields"],
        json!([{"name": "x-tenant", "value": null}])
    );
    let cursor = part["next"].as_u64().unwrap();
    let path = format!("/cache/entries?prefix=http://shop.test/a/&limit=5&cursor={cursor}");
    assert_eq!(managed.get(&path)["entries"].as_array().unwrap().len(), 1);
    let path = "/cache/entries?zone=none";
    assert_eq!(managed.get(path)["entries"], json!([]));
    let taken = managed.ask("DELETE /cache/entries?url=http://shop.test/b", &[], "");
    assert_eq!(taken.status(), 200, "{}", taken.text());
    assert_eq!(
        managed.get("/cache/entries")["entries"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let summary = managed.get("/cache");
    assert_eq!(summary["entries"], 2, "{summary}");
    assert_eq!(summary["max_bytes"], 8 << 20);
    assert_eq!(summary["zones"][0]["name"], "/");
}

#[test]
fn what_the_cache_does_is_counted() {
    let (origin, _) = counting();
    let managed = cached(&origin, "bypass = { paths = [\"/cart*\"] }");
    stored(&managed, "/a");
    ask(&managed, "GET /cart", "");
    eventually("all are counted", || {
        let requests = managed.get("/cache")["requests"].clone();
        requests["bypassed"] == 1 && requests["hits"].as_u64() > Some(0)
    });
    let summary = managed.get("/cache");
    assert_eq!(summary["responses"]["stored"], 1, "{summary}");
    assert_eq!(summary["responses"]["stored_bytes"], 8);
    assert_eq!(summary["requests"]["misses"], 1);
    assert!(summary["requests"]["hit_percent"].as_f64().unwrap() > 0.0);
    assert_eq!(summary["largest"][0]["url"], "http://shop.test/a");
    let text = metrics(managed.admin);
    for line in [
        "palantir_route_cache_requests_total{route=\"/\",outcome=\"bypass\",reason=\"bypass_path\"} 1",
        "palantir_route_cache_requests_total{route=\"/\",outcome=\"miss\",reason=\"miss\"} 1",
        "palantir_route_cache_stored_total{route=\"/\"} 1",
        "palantir_cache_limit_bytes 8388608",
        "palantir_cache_entries{zone=\"/\"} 1",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "no {line} in\n{text}"
        );
    }
    eventually("the live page has the cache", || {
        managed.get("/board")["cache"]["entries"] == 1
    });
}

#[test]
fn it_is_explained_what_would_become_of_a_request() {
    let (origin, _) = counting();
    let managed = cached(&origin, "bypass = { cookies = [\"session\"] }");
    stored(&managed, "/a");
    let rows = [
        ("url=http://shop.test/a", "hit", "max_age"),
        ("url=http://shop.test/b", "miss", "no_entry"),
        ("url=https://shop.test/a", "miss", "no_entry"),
        ("url=http://shop.test/a&method=POST", "invalidate", "method"),
        ("url=http://shop.test/a&method=OPTIONS", "none", "method"),
        (
            "url=http://shop.test/a&header=Cookie:%20session=1",
            "bypass",
            "bypass_cookie",
        ),
        (
            "url=http://shop.test/a&header=Cache-Control:%20no-cache",
            "validate",
            "client_no_cache",
        ),
        (
            "url=http://shop.test/b&header=Cache-Control:%20only-if-cached",
            "not_cached",
            "no_entry",
        ),
        ("url=http://shop.test/plain", "none", "route_without_cache"),
    ];
    for (query, outcome, reason) in rows {
        let found = managed.get(&format!("/cache/explain?{query}"));
        assert_eq!(
            (&found["outcome"], &found["reason"]),
            (&json!(outcome), &json!(reason)),
            "{found}"
        );
    }
    purge(&managed, &json!({"all": true, "soft": true}));
    let found = managed.get("/cache/explain?url=http://shop.test/a");
    assert_eq!(
        (&found["outcome"], &found["reason"]),
        (&json!("validate"), &json!("purged"))
    );
    assert_eq!(found["entry"]["state"], "purged");
    assert_eq!(found["if_unreachable"], true);
}

#[test]
fn allowed_clients_purge_at_the_data_port() {
    let (origin, count) = counting();
    let managed = cached(&origin, "purge_method = { allow = [\"127.0.0.0/8\"] }");
    let rows = [
        ("PURGE /a?b", ""),
        ("PURGE /a", "X-Purge-Method: default\r\n"),
        ("PURGE /.*", "X-Purge-Method: regex\r\n"),
        ("BAN /", "X-Url: ^/a\r\n"),
        ("BAN /", "X-Url: .*\r\nX-Host: .*\r\n"),
        ("PURGE /", "xkey: page-1\r\n"),
        ("BAN /", "X-Cache-Tags: (^|,)(other|page-1)(,|$)\r\n"),
    ];
    for (line, fields) in rows {
        let before = stored(&managed, "/a?b");
        let answer = ask(&managed, line, fields);
        assert_eq!(answer.status(), 200, "{line}: {answer:?}");
        assert!(answer.text().starts_with("purged"), "{}", answer.text());
        assert_ne!(
            ask(&managed, "GET /a?b", "").text(),
            before,
            "{line} {fields}"
        );
    }
    let before = stored(&managed, "/a?b");
    for (line, fields) in [("PURGE /a", ""), ("PURGE /", "xkey: other\r\n")] {
        assert_eq!(ask(&managed, line, fields).status(), 200);
        assert_eq!(
            ask(&managed, "GET /a?b", "").text(),
            before,
            "{line} {fields}"
        );
    }
    let asked = count.load(SeqCst);
    let unknown = ask(&managed, "PURGE /(a|b)", "X-Purge-Method: regex\r\n");
    assert_eq!(unknown.status(), 400, "{unknown:?}");
    assert_eq!(count.load(SeqCst), asked, "no purge reaches the backend");
}

#[test]
fn other_clients_do_not_purge() {
    let (origin, count) = counting();
    let strict = cached(&origin, "purge_method = { allow = [\"192.0.2.0/24\"] }");
    let before = stored(&strict, "/a");
    let asked = count.load(SeqCst);
    let refused = ask(&strict, "PURGE /a", "X-Forwarded-For: 192.0.2.1\r\n");
    assert_eq!(refused.status(), 403, "{refused:?}");
    assert_eq!(count.load(SeqCst), asked, "the backend does not get it");
    assert_eq!(ask(&strict, "GET /a", "").text(), before);
    let off = cached(&origin, "");
    stored(&off, "/a");
    let asked = count.load(SeqCst);
    assert_eq!(ask(&off, "PURGE /a", "").status(), 200);
    assert_eq!(count.load(SeqCst), asked + 1, "the backend gets it");
}

#[test]
fn commands_purge_and_explain() {
    let (origin, _) = counting();
    let managed = cached(&origin, "");
    let path = managed.proxy.directory.path().join("config.toml");
    let config = ["--config", path.to_str().unwrap()];
    let palantir = |arguments: &[&str]| {
        let output = run(&[arguments, &config].concat());
        let said = String::from_utf8(output.stdout).unwrap();
        (
            output.status.code(),
            said + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let before = stored(&managed, "/a");
    let explain = [
        "explain",
        "GET",
        "http://shop.test/a",
        "--header",
        "Accept: */*",
    ];
    let (code, said) = palantir(&explain);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("cache now       hit: max_age"), "{said}");
    let (code, said) = palantir(&["purge", "--url", "http://shop.test/a"]);
    assert_eq!((code, said.contains("1 entry")), (Some(0), true), "{said}");
    assert_ne!(ask(&managed, "GET /a", "").text(), before);
    let (code, said) = palantir(&["purge", "--prefix", "shop.test"]);
    assert_eq!(
        (code, said.contains("prefix: must begin")),
        (Some(1), true),
        "{said}"
    );
    let (code, said) = palantir(&["purge"]);
    assert_eq!(code, Some(2), "{said}");
}
