//! The router against a loop that decides by a real desk and has no workers to wait for.

use std::path::Path;
use std::time::SystemTime;

use axum::body::Body;
use axum::http::{Method, Response as HttpResponse};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower::ServiceExt;

use super::*;
use crate::base::addresses::ListenAddr;
use crate::base::time::Micros;
use crate::config::{self, Machine, Resolved};
use crate::control::access_log::Progress;
use crate::control::ask::{Accepted, Ask, Wish};
use crate::control::desk::{Desk, Diff, Overlay, Problem, ProblemKind, Proposal};
use crate::control::metrics::Boards;
use crate::shared::backend_table::BackendTables;
use crate::shared::gauges;
use crate::shared::slots::Slots;
use crate::tls::Vault;

const FILE: &str = r#"
[[routes]]
prefix = "/"
pool = "api"
[[routes]]
prefix = "/own"
backend_addrs = ["127.0.0.1:9009"]
request_headers = { set = { "authorization" = "Bearer hidden" } }
[[pools]]
name = "other"
backends = ["[::1]:9004", "unix:/run/app.sock"]
[[pools]]
name = "api"
backends = ["127.0.0.1:9001", { addr = "127.0.0.1:9002", weight = 2 }]
"#;

/// The router with what stands behind it.
struct Api {
    router: Router,
    /// What was asked, as text.
    asked: mpsc::UnboundedReceiver<String>,
    /// Makes the boards; without it there is none.
    _boards: Boards,
}

impl Api {
    fn new() -> Api {
        Api::with(Tokens::default())
    }

    fn with(tokens: Tokens) -> Api {
        let mut desk_loop = Loop::new();
        let (asks, mut taken) = mpsc::channel::<Ask>(4);
        let sources = Sources {
            standing: desk_loop.standing.subscribe(),
            tables: desk_loop.tables.clone(),
            gauges: gauges::gauges(2),
            orders: Default::default(),
            wanted: Default::default(),
            access_log: Arc::new(Progress::new(Micros::now())),
            health: Default::default(),
            files: Default::default(),
            texts: Default::default(),
            generations: Default::default(),
            hanging_look_ups: Default::default(),
        };
        let boards = Boards::new(sources.clone(), Micros::now());
        let (note, asked) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(ask) = taken.recv().await {
                let _ = note.send(format!("{}: {:?}", ask.origin, ask.wish));
                let _ = ask.answer.send(desk_loop.decide(ask.wish, ask.if_match));
            }
        });
        let gate = Gate {
            listen_addr: ListenAddr::Tcp(([127, 0, 0, 1], 8687).into()),
            tokens,
            is_tls: false,
            wants_certificate: false,
        };
        Api {
            router: router(
                ApiState::new(asks, sources, boards.watch(), BadRequests::default()),
                gate,
            ),
            asked,
            _boards: boards,
        }
    }

    /// Sends a request as `METHOD /path`, with JSON where a method takes it.
    async fn ask(&self, line: &str, fields: &[(&str, &str)], body: &str) -> Answer {
        let (method, path) = line.split_once(' ').unwrap();
        let method: Method = method.parse().unwrap();
        let mut request = Request::builder().uri(path).header("host", "localhost");
        if [Method::POST, Method::PUT, Method::PATCH].contains(&method) {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.method(method).body(Body::from(body.to_owned()));
        let answer = self.router.clone().oneshot(request.unwrap()).await.unwrap();
        Answer::read(answer).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), &[], "").await
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    fields: axum::http::HeaderMap,
    text: String,
}

impl Answer {
    async fn read(answer: HttpResponse<Body>) -> Answer {
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status.as_u16(),
            fields: parts.headers,
            text: String::from_utf8(bytes.into()).unwrap(),
        }
    }

    fn field(&self, name: &str) -> &str {
        self.fields
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The answer must be a problem of this status, whose first field at fault is this one.
    #[track_caller]
    fn is_problem(&self, status: u16, field: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.field("content-type"), problem::MEDIA_TYPE);
        let problem = self.json();
        assert_eq!(problem["status"], status);
        let first = problem["errors"][0]["field"].as_str();
        assert_eq!(first.unwrap_or(""), field, "{problem}");
        assert_ne!(problem["detail"], "", "{problem}");
    }
}

/// Decides at once, with no worker to wait for.
struct Loop {
    desk: Desk,
    slots: Slots,
    tables: crate::shared::SharedTables,
    standing: watch::Sender<Arc<InForce>>,
}

impl Loop {
    fn new() -> Loop {
        let config = config::parse(Path::new("test.toml"), FILE.to_owned()).unwrap();
        let desk = Desk::new(config, Overlay::default(), SystemTime::now()).0;
        let tables = BackendTables::new(2);
        let mut slots = Slots::new(tables.clone());
        let in_force = in_force(&desk, &mut slots);
        Loop {
            desk,
            slots,
            tables,
            standing: watch::Sender::new(in_force),
        }
    }

    fn decide(&mut self, wish: Wish, if_match: Option<u64>) -> Result<Accepted, Problem> {
        if if_match.is_some_and(|revision| revision != self.desk.revision()) {
            return Err(Problem::new(ProblemKind::Changed, "it is another one"));
        }
        match wish {
            Wish::Edit(edit) => {
                let proposal = self.desk.propose(&edit)?;
                Ok(self.accept(proposal))
            }
            Wish::Rollback { revision } => {
                let proposal = self.desk.propose_revision(revision)?;
                Ok(self.accept(proposal))
            }
            Wish::Reload { .. } | Wish::Compare | Wish::DrainServer { .. } => Ok(Accepted {
                revision: self.desk.revision(),
                changed: false,
                notes: vec!["as it was".to_owned()],
                diff: Diff::default(),
                in_force: self.standing.borrow().clone(),
            }),
            Wish::Confirm | Wish::Upgrade { .. } => {
                Err(Problem::new(ProblemKind::Conflict, "not now"))
            }
        }
    }

    fn accept(&mut self, proposal: Proposal) -> Accepted {
        let (changed, diff) = (proposal.changed, proposal.diff.clone());
        let revision = self.desk.accept(proposal, "test", SystemTime::now());
        self.standing
            .send_replace(in_force(&self.desk, &mut self.slots));
        Accepted {
            revision,
            changed,
            notes: Vec::new(),
            diff,
            in_force: self.standing.borrow().clone(),
        }
    }
}

fn in_force(desk: &Desk, slots: &mut Slots) -> Arc<InForce> {
    let machine = Machine::of_this_process();
    let generation = desk.revision();
    let snapshot = config::compile(
        desk.config(),
        &machine,
        &Resolved::new(),
        slots,
        &mut Vault::default(),
        generation,
    );
    Arc::new(InForce::new(desk, &Arc::new(snapshot.unwrap())))
}

#[tokio::test]
async fn the_short_form_adds_shows_and_takes_out() {
    let mut api = Api::new();
    let body = r#"{"url":"http://127.0.0.1:9003","weight":3,"health_check":{"path":"/h"}}"#;
    let added = api.ask("POST /servers", &[], body).await;
    assert_eq!((added.status, added.field("etag")), (201, "\"2\""));
    assert_eq!(added.field("location"), "/pools/api/servers/127.0.0.1:9003");
    let server = added.json();
    assert_eq!(server["pool"], "api");
    assert_eq!(
        (&server["weight"], &server["state"]),
        (&json!(3), &json!("healthy"))
    );
    assert_eq!(server["health_check"]["path"], "/h");
    assert_eq!(server["health_check"]["expect"], "2xx");
    let again = api
        .ask("POST /servers", &[], r#"{"url":"127.0.0.1:9003"}"#)
        .await;
    assert_eq!((again.status, again.field("etag")), (200, "\"2\""));
    assert_eq!(again.json()["weight"], 3, "what is there stays as it is");
    let servers = api.get("/servers").await.json();
    assert_eq!(servers["servers"].as_array().unwrap().len(), 3);
    let gone = api.ask("DELETE /servers/127.0.0.1/9003", &[], "").await;
    assert_eq!((gone.status, gone.field("etag")), (200, "\"3\""));
    let gone = api.ask("DELETE /servers/127.0.0.1/9003", &[], "").await;
    gone.is_problem(404, "");
    let drained = "DELETE /servers/127.0.0.1/9002?drain=10s";
    assert_eq!(api.ask(drained, &[], "").await.status, 202);
    let mut last = String::new();
    while let Ok(ask) = api.asked.try_recv() {
        last = ask;
    }
    assert!(last.starts_with("api unknown: DrainServer"), "{last}");
    assert!(last.contains("patience: 10s"), "{last}");
}

#[tokio::test]
async fn addresses_of_every_kind_are_named_in_a_path() {
    let api = Api::new();
    for path in [
        "/pools/other/servers/[::1]:9004",
        "/pools/other/servers/%5B::1%5D:9004",
        "/pools/other/servers/%5B0:0::1%5D%3A9004",
        "/pools/other/servers/unix:%2Frun%2Fapp.sock",
        "/pools/%2Fown/servers/127.0.0.1:9009",
    ] {
        let server = api.get(path).await;
        assert_eq!(server.status, 200, "{path}: {server:?}");
        let href = server.json()["href"].as_str().unwrap().to_owned();
        assert_eq!(api.get(&href).await.json(), server.json(), "{path}");
    }
    for line in [
        "DELETE /servers/[::1]/9004?pool=other",
        "PUT /pools/other/servers/[::1]:9004",
        "DELETE /servers/::1/9004?pool=other",
    ] {
        let answer = api.ask(line, &[], "{}").await;
        assert!([200, 201].contains(&answer.status), "{line}: {answer:?}");
    }
    api.get("/pools/other/servers/nonsense")
        .await
        .is_problem(404, "");
    api.get("/pools/nowhere").await.is_problem(404, "");
    api.get("/servers?pool=nowhere").await.is_problem(404, "");
}

#[tokio::test]
async fn servers_and_pools_are_changed_in_full() {
    let api = Api::new();
    let server = "/pools/api/servers/127.0.0.1:9001";
    let patched = api
        .ask(
            &format!("PATCH {server}"),
            &[],
            r#"{"weight":7,"drain":true}"#,
        )
        .await;
    assert_eq!(patched.json()["state"], "draining");
    let patched = api
        .ask(&format!("PATCH {server}"), &[], r#"{"weight":null}"#)
        .await;
    let json = patched.json();
    assert_eq!((&json["weight"], &json["drain"]), (&json!(1), &json!(true)));
    let put = api
        .ask(&format!("PUT {server}"), &[], r#"{"max_connections":5}"#)
        .await;
    let json = put.json();
    assert_eq!(
        (&json["max_connections"], &json["drain"]),
        (&json!(5), &json!(false))
    );
    let pool = r#"{"backends":[{"addr":"127.0.0.1:9005","weight":2}],"balancing_algorithm":"peak_ewma",
        "outlier":{"consecutive_failures":3},"protocol":"h2"}"#;
    let put = api.ask("PUT /pools/new", &[], pool).await;
    assert_eq!((put.status, put.field("location")), (201, "/pools/new"));
    let json = put.json();
    assert_eq!(json["balancing_algorithm"], "peak_ewma");
    assert_eq!(json["outlier"]["eject_secs"], 30.0);
    assert_eq!(
        (&json["protocol"], &json["proxy_protocol"]),
        (&json!("h2"), &Value::Null)
    );
    assert_eq!(json["backends"][0]["weight"], 2);
    let patch = r#"{"proxy_protocol":"v2","protocol":null,"outlier":null,"balancing_algorithm":"consistent_hash","hash_on":"path"}"#;
    let json = api.ask("PATCH /pools/new", &[], patch).await.json();
    assert_eq!(
        (&json["outlier"], &json["hash_on"]),
        (&Value::Null, &json!("path"))
    );
    assert_eq!(
        (&json["protocol"], &json["proxy_protocol"]),
        (&json!("h1"), &json!("v2"))
    );
    assert_eq!(api.ask("DELETE /pools/new", &[], "").await.status, 200);
    api.ask("DELETE /pools/api", &[], "")
        .await
        .is_problem(409, "");
    let pools = api.get("/pools").await.json();
    assert_eq!(pools["default"], "api");
    let names: Vec<_> = pools["pools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pool| &pool["name"])
        .collect();
    assert_eq!(names, ["other", "api", "/own"]);
    assert_eq!(pools["pools"][1]["routes"], json!(["/"]));
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let api = Api::new();
    let rows = [
        (
            "POST /servers",
            r#"{"url":"127.0.0.1:9003","weigth":2}"#,
            422,
            "weigth",
        ),
        (
            "POST /servers",
            r#"{"url":"127.0.0.1:9003","weight":0}"#,
            422,
            "weight",
        ),
        ("POST /servers", r#"{"url":"https://a:1"}"#, 422, "url"),
        ("POST /servers", r#"{"url":7}"#, 422, "url"),
        (
            "POST /servers",
            r#"{"url":"a:1","addr":"b:1"}"#,
            422,
            "addr",
        ),
        ("POST /servers", r#"{"url":"a:1","pool":{}}"#, 422, "pool"),
        (
            "POST /servers",
            r#"{"url":"a:1","pool":"nowhere"}"#,
            404,
            "",
        ),
        ("POST /servers", "{}", 422, "url"),
        (
            "POST /servers",
            r#"{"url":"a:1","wight":null}"#,
            422,
            "wight",
        ),
        ("POST /servers", "[]", 422, ""),
        ("POST /servers", "{", 400, ""),
        ("POST /servers", "", 400, ""),
        (
            "PUT /pools/api/servers/127.0.0.1:1",
            r#"{"health_check":{"path":"x"}}"#,
            422,
            "health_check.path",
        ),
        ("PUT /pools/api/servers/nonsense", "{}", 422, "addr"),
        ("PATCH /pools/api", r#"{"backends":[]}"#, 422, "backends"),
        (
            "PATCH /pools/api",
            r#"{"balancing_algorithm":"best"}"#,
            422,
            "balancing_algorithm",
        ),
        (
            "PUT /pools/api",
            r#"{"backends":["a:1",null]}"#,
            422,
            "backends[1]",
        ),
        (
            "POST /config/rollback",
            r#"{"revision":-1}"#,
            422,
            "revision",
        ),
        ("POST /config/rollback", r#"{"revision":99}"#, 404, ""),
        ("POST /reload", r#"{"confirm":3}"#, 422, "confirm"),
        ("POST /reload", r#"{"confirm_secs":0}"#, 422, "confirm_secs"),
        ("POST /reload/confirm", "", 409, ""),
        ("POST /upgrade", "{}", 409, ""),
        ("POST /upgrade", r#"{"now":true}"#, 422, "now"),
        ("DELETE /servers/127.0.0.1/9001?drain=soon", "", 400, ""),
        ("DELETE /servers/127.0.0.1/9001?drian=1s", "", 400, ""),
        ("DELETE /servers/127.0.0.1/999999", "", 400, ""),
        ("GET /servers?pol=api", "", 400, ""),
        ("GET /nothing", "", 404, ""),
        ("GET /pools/api/", "", 404, ""),
        ("GET /pools/%ff", "", 400, ""),
        ("DELETE /pools", "", 405, ""),
        ("POST /metrics", "", 405, ""),
        ("OPTIONS /pools", "", 405, ""),
    ];
    for (line, body, status, field) in rows {
        let answer = api.ask(line, &[], body).await;
        eprintln!("{line} {body}");
        answer.is_problem(status, field);
    }
    let answer = api.ask("DELETE /pools", &[], "").await;
    assert_eq!(answer.field("allow"), "GET,HEAD");
}

#[tokio::test]
async fn bodies_are_bounded() {
    let api = Api::new();
    let large = format!("{{\"url\":\"{}\"}}", "x".repeat(limits::ADMIN_BODY_BYTES));
    api.ask("POST /servers", &[], &large)
        .await
        .is_problem(413, "");
    let chunk = vec![b'['; 1 << 16];
    let chunks = (0..100).map(move |_| Ok::<_, std::io::Error>(chunk.clone()));
    let body = Body::from_stream(futures_util::stream::iter(chunks));
    let request = Request::post("/servers")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(body);
    let answer = api.router.clone().oneshot(request.unwrap()).await.unwrap();
    Answer::read(answer).await.is_problem(413, "");
}

#[tokio::test]
async fn a_content_type_is_only_wrong_where_the_rest_is_right() {
    let api = Api::new();
    let plain = [("content-type", "text/plain")];
    for (line, status) in [
        ("POST /servers", 415),
        ("PUT /pools/api", 415),
        ("POST /pools", 405),
        ("POST /nothing", 404),
    ] {
        let (method, path) = line.split_once(' ').unwrap();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header(plain[0].0, plain[0].1)
            .body(Body::empty());
        let answer = api.router.clone().oneshot(request.unwrap()).await.unwrap();
        Answer::read(answer).await.is_problem(status, "");
    }
}

#[tokio::test]
async fn a_change_with_an_old_tag_is_refused() {
    let api = Api::new();
    let tag = api.get("/pools/api").await.field("etag").to_owned();
    assert_eq!(tag, "\"1\"");
    let patch = "PATCH /pools/api/servers/127.0.0.1:9001";
    let first = api
        .ask(patch, &[("if-match", &tag)], r#"{"weight":2}"#)
        .await;
    assert_eq!((first.status, first.field("etag")), (200, "\"2\""));
    let second = api
        .ask(patch, &[("if-match", &tag)], r#"{"weight":3}"#)
        .await;
    second.is_problem(412, "");
    for (line, body) in [
        ("DELETE /servers/127.0.0.1/9001", ""),
        ("POST /servers", r#"{"url":"127.0.0.1:9003"}"#),
        ("PUT /pools/api", r#"{"backends":["a:1"]}"#),
        ("PATCH /pools/api", "{}"),
        ("DELETE /pools/other", ""),
    ] {
        let answer = api.ask(line, &[("if-match", &tag)], body).await;
        answer.is_problem(412, "");
    }
    let any = api
        .ask(patch, &[("if-match", "*")], r#"{"weight":3}"#)
        .await;
    assert_eq!(any.status, 200);
}

#[tokio::test]
async fn the_configuration_is_shown_without_its_secrets() {
    let api = Api::new();
    let answer = api.get("/config").await;
    assert_eq!(answer.field("content-type"), "application/json");
    let set = &answer.json()["routes"][1]["request_headers"]["set"];
    assert_eq!(set["authorization"], "***");
    let answer = api
        .ask("GET /config", &[("accept", "application/toml")], "")
        .await;
    assert_eq!(answer.field("content-type"), "application/toml");
    let table: toml::Table = answer.text.parse().unwrap();
    assert_eq!(table["pools"].as_array().unwrap().len(), 2);
    assert!(!answer.text.contains("hidden"));
    let answer = api.ask("GET /config", &[("accept", "text/html")], "").await;
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
    let findings = api.ask("POST /config/check", &[], &right).await.json();
    assert_eq!(
        (&findings["ok"], &findings["mistakes"]),
        (&json!(true), &json!([]))
    );
}

#[tokio::test]
async fn revisions_are_listed_and_gone_back_to() {
    let api = Api::new();
    api.ask("POST /servers", &[], r#"{"url":"127.0.0.1:9003"}"#)
        .await;
    let revisions = api.get("/config/revisions").await.json();
    assert_eq!(revisions["revisions"][0]["number"], 2);
    let back = api
        .ask("POST /config/rollback", &[], r#"{"revision":1}"#)
        .await;
    assert_eq!(back.json()["revision"], 3);
    let servers = api.get("/servers").await.json();
    assert_eq!(servers["servers"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn every_reading_resource_answers() {
    let api = Api::new();
    for (path, key) in [
        // This row comes first because no worker of this test shows signs of life later on.
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
        let head = api.ask(&format!("HEAD {path}"), &[], "").await;
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
    assert_eq!(api.ask("GET /pools", &read, "").await.status, 200);
    api.ask("POST /reload", &read, "").await.is_problem(403, "");
    let change = [("authorization", "Bearer changes-changes")];
    assert_eq!(api.ask("POST /reload", &change, "").await.status, 200);
    let document = api.get("/openapi.json").await.json();
    let operation = &document["paths"]["/pools"]["get"];
    assert_eq!(operation["security"], json!([{ "token": [] }]));
    assert!(operation["responses"]["401"].is_object());
    assert!(document["paths"]["/health"]["get"]["security"].is_null());
}

/// What is described is there, and what it refers to is described.
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
            let answer = api.ask(&line, &[], "").await;
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
