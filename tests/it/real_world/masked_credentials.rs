//! A health check that the API has shown may be sent back: a credential that is masked in it keeps its value.

use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::support::managed::Managed;
use crate::support::origin::ok;
use crate::support::{Origin, eventually};

#[test]
fn a_mask_that_is_sent_back_stands_for_the_value_in_force() {
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let noted = seen.clone();
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            let field = request.head.field("authorization").unwrap_or("").to_owned();
            noted.lock().unwrap().push(field);
            link.try_send(ok("here"));
        }
    });
    let addr = origin.addr;
    let check =
        "{ path = \"/\", interval_secs = 0.1, headers = { Authorization = \"Bearer one\" } }";
    let managed = Managed::start(
        "",
        &format!(
            "[[pools]]\nname = \"api\"\nbackends = [\"{addr}\"]\nhealth_check = {check}\n\
             [[routes]]\npool = \"api\"\n"
        ),
    );
    let server = format!("/pools/api/servers/{addr}");
    let probed_on = || {
        let before = seen.lock().unwrap().len();
        eventually("two more probes", || {
            seen.lock().unwrap().len() > before + 2
        });
    };
    let shown = managed.get("/pools/api")["health_check"].clone();
    assert_eq!(shown["headers"]["authorization"], "***", "{shown}");
    for line in ["PATCH /pools/api".to_owned(), format!("PATCH {server}")] {
        let mut check = shown.clone();
        check["healthy_after"] = json!(1);
        let change = json!({ "health_check": check }).to_string();
        let answer = managed.ask(&line, &[], &change);
        assert_eq!(answer.status(), 200, "{line}: {}", answer.text());
        probed_on();
    }
    assert!(
        seen.lock()
            .unwrap()
            .iter()
            .all(|field| field == "Bearer one")
    );

    // There is no value that this mask could stand for.
    let change =
        json!({ "health_check": { "path": "/", "headers": { "x-api-key": "***" } } }).to_string();
    for line in ["PATCH /pools/api".to_owned(), format!("PATCH {server}")] {
        let answer = managed.ask(&line, &[], &change);
        assert_eq!(answer.status(), 422, "{line}: {}", answer.text());
        let text = answer.text();
        assert!(
            text.contains("\"health_check.headers.x-api-key\""),
            "{text}"
        );
    }
}

/// Every way in which a check that was shown can be sent back.
#[test]
fn a_mask_stands_for_the_same_value_in_put_and_in_a_routes_own_pool() {
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let origin = noting(seen.clone());
    let addr = origin.addr;
    let check = "{ path = \"/probe\", interval_secs = 0.1, headers = { Cookie = \"secret=one\" } }";
    let managed = Managed::start(
        "",
        &format!(
            "[[routes]]\nprefix = \"/own\"\nbackend_addrs = [\"{addr}\"]\nhealth_check = {check}\n\
             [[pools]]\nname = \"api\"\nbackends = [\"{addr}\"]\nhealth_check = {check}\n\
             [[routes]]\npool = \"api\"\n"
        ),
    );
    for pool in ["/pools/api", "/pools/%2Fown"] {
        let shown = managed.get(pool)["health_check"].clone();
        assert_eq!(shown["headers"]["cookie"], "***", "{shown}");
        let whole = json!({ "backends": [addr.to_string()], "health_check": shown });
        let backend = json!({ "addr": addr.to_string(), "health_check": shown });
        for (line, body) in [
            (format!("PUT {pool}"), &whole),
            (format!("PATCH {pool}"), &whole),
            (format!("PUT {pool}/servers/{addr}"), &backend),
        ] {
            let answer = managed.ask(&line, &[], &body.to_string());
            assert_eq!(answer.status(), 200, "{line}: {}", answer.text());
            let before = seen.lock().unwrap().len();
            eventually("more probes", || seen.lock().unwrap().len() > before + 3);
        }
    }
    assert!(
        seen.lock()
            .unwrap()
            .iter()
            .all(|field| field == "secret=one")
    );

    let headers = json!({ "path": "/", "headers": { "x-api-key": "***" } });
    let nothing = [
        (
            "PUT /pools/new",
            json!({ "backends": ["127.0.0.1:1"], "health_check": headers }),
        ),
        (
            "PUT /pools/api",
            json!({ "backends": ["127.0.0.1:1"], "health_check": headers }),
        ),
        (
            "PUT /pools/api/servers/127.0.0.1:1",
            json!({ "addr": "127.0.0.1:1", "health_check": headers }),
        ),
    ];
    for (line, body) in nothing {
        let answer = managed.ask(line, &[], &body.to_string());
        assert_eq!(answer.status(), 422, "{line}: {}", answer.text());
        assert!(
            answer.text().contains("headers.x-api-key\""),
            "{}",
            answer.text()
        );
    }
}

/// A configuration that was shown and is loaded as a file would make `***` the value of every credential.
#[test]
fn a_configuration_that_was_shown_makes_no_mask_a_credential() {
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let origin = noting(seen.clone());
    let addr = origin.addr;
    let managed = Managed::start(
        "",
        &format!(
            "[[routes]]\nbackend_addrs = [\"{addr}\"]\n[routes.request_headers.set]\ncookie = \"secret=one\"\n\
             x-team = \"***\"\n[routes.response_headers.set]\nx-session-key = \"two\"\n"
        ),
    );
    let toml = [("Accept", "application/toml")];
    let shown = managed.ask("GET /config", &toml, "").text();
    assert!(shown.contains("cookie = \"***\""), "{shown}");
    let toml = [("Content-Type", "application/toml")];
    let found = managed.ask("POST /config/check", &toml, &shown);
    let found: serde_json::Value = serde_json::from_slice(&found.body).unwrap();
    let mistakes = found["mistakes"].as_array().unwrap();
    let mut fields: Vec<_> = mistakes
        .iter()
        .map(|mistake| mistake["field"].as_str().unwrap())
        .collect();
    fields.sort_unstable();
    let expected = [
        "routes[0].request_headers.set.cookie",
        "routes[0].response_headers.set.x-session-key",
    ];
    assert_eq!(fields, expected, "{found}");
    assert!(
        mistakes.iter().all(|mistake| mistake["line"].is_u64()),
        "{found}"
    );
    managed.proxy.reload(&shown);
    managed
        .proxy
        .wait_for_log(&["*** stands for a credential that is not shown"]);
    let answer = managed.proxy.ask(crate::support::get("/"));
    assert_eq!(answer.field("x-session-key"), Some("two"));
    assert_eq!(*seen.lock().unwrap(), ["secret=one"]);
}

/// A backend that notes the cookie of each request.
fn noting(seen: Arc<Mutex<Vec<String>>>) -> Origin {
    Origin::start(move |link| {
        while let Some(request) = link.request() {
            let field = request.head.field("cookie").unwrap_or("").to_owned();
            seen.lock().unwrap().push(field);
            link.try_send(ok("here"));
        }
    })
}
