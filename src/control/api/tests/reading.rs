//! Resources that only show something: the configuration, its revisions, figures, events and the description of the
//! API.

use super::*;

#[tokio::test]
async fn the_configuration_is_shown_without_its_secrets() {
    let api = Api::new();
    let answer = api.get("/config").await;
    assert_eq!(answer.field("content-type"), "application/json");
    let set = &answer.json()["routes"][1]["request_headers"]["set"];
    assert_eq!(set["authorization"], "***");
    let answer = api
        .send_request("GET /config", &[("accept", "application/toml")], "")
        .await;
    assert_eq!(answer.field("content-type"), "application/toml");
    let table: toml::Table = answer.text.parse().unwrap();
    assert_eq!(table["pools"].as_array().unwrap().len(), 2);
    assert!(!answer.text.contains("hidden"));
    let answer = api
        .send_request("GET /config", &[("accept", "text/html")], "")
        .await;
    answer.is_problem(406, "");
}

#[tokio::test]
async fn a_configuration_is_checked_in_every_guise() {
    let api = Api::new();
    let wrong = "[[routes]]\nprefix = \"/\"\nbackend_addrs = [\"a:1\"]\nretries = 99\n";
    let json = json!({ "text": wrong }).to_string();
    for (kind, body) in [
        ("application/json", json.as_str()),
        ("application/toml", wrong),
        ("text/plain; charset=utf-8", wrong),
    ] {
        let request = Request::post("/config/check")
            .header("host", "localhost")
            .header("content-type", kind)
            .body(Body::from(body.to_owned()));
        let answer = api.router.clone().oneshot(request.unwrap()).await.unwrap();
        let findings = Answer::read(answer).await.json();
        assert_eq!(findings["ok"], false, "{kind}");
        let mistake = &findings["mistakes"][0];
        assert_eq!(
            (&mistake["line"], &mistake["field"]),
            (&json!(4), &json!("routes[0].retries"))
        );
    }
    let right = json!({ "text": FILE }).to_string();
    let findings = api
        .send_request("POST /config/check", &[], &right)
        .await
        .json();
    assert_eq!(
        (&findings["ok"], &findings["mistakes"]),
        (&json!(true), &json!([]))
    );
}

#[tokio::test]
async fn revisions_are_listed_and_gone_back_to() {
    let api = Api::new();
    api.send_request("POST /servers", &[], r#"{"url":"127.0.0.1:9003"}"#)
        .await;
    let revisions = api.get("/config/revisions").await.json();
    assert_eq!(revisions["revisions"][0]["number"], 2);
    let back = api
        .send_request("POST /config/rollback", &[], r#"{"revision":1}"#)
        .await;
    assert_eq!(back.json()["revision"], 3);
    let servers = api.get("/servers").await.json();
    assert_eq!(servers["servers"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn every_reading_resource_answers() {
    let api = Api::new();
    for (path, key) in [
        ("/health", "status"),
        ("/ready", "status"),
        ("/routes", "routes"),
        ("/config/diff", "lines"),
        ("/workers", "workers"),
        ("/version", "pid"),
        ("/stats", "client"),
        ("/stats/detail", "servers"),
        ("/board", "totals"),
        ("/debug/bad-requests", "requests"),
        ("/openapi.json", "openapi"),
    ] {
        let answer = api.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert!(!answer.json()[key].is_null(), "{path}: {answer:?}");
        assert_eq!(answer.field("cache-control"), "no-store");
        assert_eq!(answer.field("x-frame-options"), "DENY");
        let head = api.send_request(&format!("HEAD {path}"), &[], "").await;
        assert_eq!((head.status, head.text.as_str()), (200, ""), "{path}");
    }
    assert!(api.get("/board/history").await.json().is_array());
    assert!(api.get("/metrics").await.text.contains("# TYPE"));
    for path in ["/", "/docs"] {
        let answer = api.get(path).await;
        assert_eq!(answer.field("content-type"), "text/html; charset=utf-8");
        assert!(
            answer
                .field("content-security-policy")
                .starts_with("default-src 'none'")
        );
        assert!(!answer.text.contains("src=\"http"), "{path}");
    }
}

#[tokio::test]
async fn events_begin_with_the_history_and_are_bounded() {
    let api = Api::new();
    let mut streams = Vec::new();
    let follow = async || {
        let request = Request::get("/events").header("host", "localhost");
        let request = request.body(Body::empty()).unwrap();
        api.router.clone().oneshot(request).await.unwrap()
    };
    for _ in 0..limits::ADMIN_STREAMS {
        let answer = follow().await;
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        streams.push(answer.into_body());
    }
    let frame = streams[0]
        .frame()
        .await
        .unwrap()
        .unwrap()
        .into_data()
        .unwrap();
    let text = std::str::from_utf8(&frame).unwrap();
    assert!(text.starts_with("event: history\ndata: ["), "{text}");
    assert!(text.contains("\n\nevent: board\ndata: {"), "{text}");
    Answer::read(follow().await).await.is_problem(503, "");
    streams.pop();
    assert_eq!(follow().await.status(), 200);
}

#[tokio::test]
async fn tokens_are_asked_for_and_described() {
    let api = Api::with(Tokens::of(
        Some("changes-changes"),
        Some("reads-reads-reads"),
    ));
    let answer = api.get("/pools").await;
    answer.is_problem(401, "");
    assert!(answer.field("www-authenticate").starts_with("Bearer"));
    let read = [("authorization", "Bearer reads-reads-reads")];
    assert_eq!(api.send_request("GET /pools", &read, "").await.status, 200);
    api.send_request("POST /reload", &read, "")
        .await
        .is_problem(403, "");
    let change = [("authorization", "Bearer changes-changes")];
    assert_eq!(
        api.send_request("POST /reload", &change, "").await.status,
        200
    );
    let document = api.get("/openapi.json").await.json();
    let operation = &document["paths"]["/pools"]["get"];
    assert_eq!(operation["security"], json!([{ "token": [] }]));
    assert!(operation["responses"]["401"].is_object());
    assert!(document["paths"]["/health"]["get"]["security"].is_null());
}

/// Each described resource is there, and each schema that the description refers to.
#[tokio::test]
async fn the_document_is_whole() {
    let api = Api::new();
    let document = api.get("/openapi.json").await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 20, "{}", paths.len());
    for (path, item) in paths {
        let path = path
            .replace("{name}", "api")
            .replace("{addr}", "127.0.0.1:1")
            .replace("{ip}", "127.0.0.1")
            .replace("{port}", "1");
        for (method, operation) in item.as_object().unwrap() {
            if path == "/events" {
                continue;
            }
            let line = format!("{} {path}", method.to_uppercase());
            let answer = api.send_request(&line, &[], "").await;
            let status = answer.status.to_string();
            assert!(
                operation["responses"][&status].is_object(),
                "{line}: {answer:?}"
            );
            assert_ne!(answer.status, 405, "{line}");
            assert!(operation["summary"].is_string(), "{line}");
        }
    }
    let text = document.to_string();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(
            document["components"]["schemas"][name].is_object(),
            "{name}"
        );
    }
    let page = api.get("/docs").await.text;
    for path in paths.keys() {
        assert!(page.contains(&format!("<code>{path}</code>")), "{path}");
    }
}

/// The cache of a route is shown with all defaults, and an edit of the route's own pool leaves it alone.
#[tokio::test]
async fn the_cache_of_a_route_is_shown_and_outlives_edits() {
    let api = Api::new();
    let before = api.get("/routes").await.json();
    assert_eq!(before["routes"][0]["cache"], Value::Null);
    let cache = &before["routes"][1]["cache"];
    assert_eq!(
        (&cache["zone"], &cache["stale_after"], &cache["slice"]),
        (&json!("/own"), &json!(0.25), &json!("off"))
    );
    assert_eq!(
        cache["ttl"],
        json!({ "200": 600, "404": 30, "override": true })
    );
    assert_eq!(cache["key_headers"], json!(["x-tenant"]));
    let edit = api.send_request("PATCH /pools/%2Fown", &[], r#"{"idle_connections":3}"#);
    assert_eq!(edit.await.status, 200);
    let after = api.get("/routes").await.json();
    assert_eq!(after["routes"], before["routes"]);
    let document = api.get("/config").await.json();
    let written = &document["routes"][1];
    assert_eq!(written["idle_connections"], 3);
    assert_eq!(
        written["cache"],
        json!({
            "ttl": { "404": "30s", "200": "10m", "override": true },
            "key_headers": ["X-Tenant"],
            "stale_after": "250ms",
        })
    );
    // A cache is the route's and not the pool's.
    for pool in ["%2Fown", "api"] {
        let line = format!("PATCH /pools/{pool}");
        let edit = api.send_request(&line, &[], r#"{"cache":{}}"#);
        edit.await.is_problem(422, "cache");
    }
}
