//! The router against a loop that decides by a real configuration store and has no workers to wait for.

mod reading;
mod refusals;

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
use crate::control::access_log::LogProgress;
use crate::control::change_request::{ChangeRequest, CompletedOperation, Operation};
use crate::control::config_store::{ConfigStore, Diff, Overrides, Problem, ProblemKind, Proposal};
use crate::control::metrics::LiveStatsMaker;
use crate::shared::backend_table::BackendTables;
use crate::shared::slots::Slots;
use crate::shared::worker_counters;
use crate::tls::TlsStore;

const FILE: &str = r#"
[cache]
max_size = "8MiB"
[[routes]]
prefix = "/"
pool = "api"
[[routes]]
prefix = "/own"
backend_addrs = ["127.0.0.1:9009"]
request_headers = { set = { "authorization" = "Bearer hidden" } }
cache = { ttl = { 404 = "30s", 200 = "10m", override = true }, key_headers = ["X-Tenant"], stale_after = "250ms" }
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
    /// The request, as text.
    asked: mpsc::UnboundedReceiver<String>,
    /// Makes the live statistics; without a maker there are none.
    _live_stats: LiveStatsMaker,
}

impl Api {
    fn new() -> Api {
        Api::with(Tokens::default())
    }

    fn with(tokens: Tokens) -> Api {
        let mut store_loop = Loop::new();
        let (change_requests, mut taken) = mpsc::channel::<ChangeRequest>(4);
        let sources = Sources {
            standing: store_loop.standing.subscribe(),
            tables: store_loop.tables.clone(),
            counters: worker_counters::counters(2),
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
        // The threads of this test seem to live for ever, however long the test takes.
        let workers = sources.counters.iter().map(|counters| counters.pulse());
        workers
            .chain([&*sources.health])
            .for_each(|pulse| pulse.beat(Micros(u64::MAX)));
        let live_stats = LiveStatsMaker::new(sources.clone(), Micros::now());
        let (note, asked) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(request) = taken.recv().await {
                let _ = note.send(format!("{}: {:?}", request.requested_by, request.operation));
                let _ = request
                    .answer
                    .send(store_loop.decide(request.operation, request.if_match));
            }
        });
        let access_policy = AccessPolicy {
            listen_addr: ListenAddr::Tcp(([127, 0, 0, 1], 8687).into()),
            tokens,
            is_tls: false,
            wants_certificate: false,
        };
        Api {
            router: router(
                ApiState::new(
                    change_requests,
                    sources,
                    live_stats.watch(),
                    BadRequests::default(),
                ),
                access_policy,
            ),
            asked,
            _live_stats: live_stats,
        }
    }

    /// Sends a request as `METHOD /path`, with JSON where a method takes it.
    async fn send_request(&self, line: &str, fields: &[(&str, &str)], body: &str) -> Answer {
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
        self.send_request(&format!("GET {path}"), &[], "").await
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
    config_store: ConfigStore,
    slots: Slots,
    tables: crate::shared::SharedTables,
    standing: watch::Sender<Arc<InForce>>,
}

impl Loop {
    fn new() -> Loop {
        let config = config::parse(Path::new("test.toml"), FILE.to_owned()).unwrap();
        let config_store = ConfigStore::new(config, Overrides::default(), SystemTime::now()).0;
        let tables = BackendTables::new(2);
        let mut slots = Slots::new(tables.clone());
        let in_force = in_force(&config_store, &mut slots);
        Loop {
            config_store,
            slots,
            tables,
            standing: watch::Sender::new(in_force),
        }
    }

    fn decide(
        &mut self,
        operation: Operation,
        if_match: Option<u64>,
    ) -> Result<CompletedOperation, Problem> {
        if if_match.is_some_and(|revision| revision != self.config_store.revision()) {
            return Err(Problem::new(ProblemKind::Changed, "it is another one"));
        }
        match operation {
            Operation::Edit(edit) => {
                let proposal = self.config_store.propose(&edit)?;
                Ok(self.accept(proposal))
            }
            Operation::Rollback { revision } => {
                let proposal = self.config_store.propose_revision(revision)?;
                Ok(self.accept(proposal))
            }
            Operation::Reload { .. } | Operation::Compare | Operation::DrainServer { .. } => {
                Ok(CompletedOperation {
                    revision: self.config_store.revision(),
                    changed: false,
                    notes: vec!["as it was".to_owned()],
                    diff: Diff::default(),
                    in_force: self.standing.borrow().clone(),
                })
            }
            Operation::Confirm | Operation::Upgrade { .. } => {
                Err(Problem::new(ProblemKind::Conflict, "not now"))
            }
        }
    }

    fn accept(&mut self, proposal: Proposal) -> CompletedOperation {
        let (changed, diff) = (proposal.changed, proposal.diff.clone());
        let revision = self
            .config_store
            .accept(proposal, "test", SystemTime::now());
        self.standing
            .send_replace(in_force(&self.config_store, &mut self.slots));
        CompletedOperation {
            revision,
            changed,
            notes: Vec::new(),
            diff,
            in_force: self.standing.borrow().clone(),
        }
    }
}

fn in_force(config_store: &ConfigStore, slots: &mut Slots) -> Arc<InForce> {
    let machine = Machine::of_this_process();
    let generation = config_store.revision();
    let snapshot = config::compile(
        config_store.config(),
        &machine,
        &Resolved::new(),
        config::Stores {
            slots,
            tls_store: &mut TlsStore::default(),
        },
        generation,
    );
    Arc::new(InForce::new(config_store, &Arc::new(snapshot.unwrap())))
}

#[tokio::test]
async fn the_short_form_adds_shows_and_takes_out() {
    let mut api = Api::new();
    let body = r#"{"url":"http://127.0.0.1:9003","weight":3,"health_check":{"path":"/h"}}"#;
    let added = api.send_request("POST /servers", &[], body).await;
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
        .send_request("POST /servers", &[], r#"{"url":"127.0.0.1:9003"}"#)
        .await;
    assert_eq!((again.status, again.field("etag")), (200, "\"2\""));
    assert_eq!(again.json()["weight"], 3, "what is there stays as it is");
    let servers = api.get("/servers").await.json();
    assert_eq!(servers["servers"].as_array().unwrap().len(), 3);
    let gone = api
        .send_request("DELETE /servers/127.0.0.1/9003", &[], "")
        .await;
    assert_eq!((gone.status, gone.field("etag")), (200, "\"3\""));
    let gone = api
        .send_request("DELETE /servers/127.0.0.1/9003", &[], "")
        .await;
    gone.is_problem(404, "");
    let drained = "DELETE /servers/127.0.0.1/9002?drain=10s";
    assert_eq!(api.send_request(drained, &[], "").await.status, 202);
    let mut last = String::new();
    while let Ok(request) = api.asked.try_recv() {
        last = request;
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
        let answer = api.send_request(line, &[], "{}").await;
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
        .send_request(
            &format!("PATCH {server}"),
            &[],
            r#"{"weight":7,"drain":true}"#,
        )
        .await;
    assert_eq!(patched.json()["state"], "draining");
    let patched = api
        .send_request(&format!("PATCH {server}"), &[], r#"{"weight":null}"#)
        .await;
    let json = patched.json();
    assert_eq!((&json["weight"], &json["drain"]), (&json!(1), &json!(true)));
    let put = api
        .send_request(&format!("PUT {server}"), &[], r#"{"max_connections":5}"#)
        .await;
    let json = put.json();
    assert_eq!(
        (&json["max_connections"], &json["drain"]),
        (&json!(5), &json!(false))
    );
    let pool = r#"{"backends":[{"addr":"127.0.0.1:9005","weight":2}],"balancing_algorithm":"peak_ewma",
        "outlier":{"consecutive_failures":3},"protocol":"h2"}"#;
    let put = api.send_request("PUT /pools/new", &[], pool).await;
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
    let json = api
        .send_request("PATCH /pools/new", &[], patch)
        .await
        .json();
    assert_eq!(
        (&json["outlier"], &json["hash_on"]),
        (&Value::Null, &json!("path"))
    );
    assert_eq!(
        (&json["protocol"], &json["proxy_protocol"]),
        (&json!("h1"), &json!("v2"))
    );
    assert_eq!(
        api.send_request("DELETE /pools/new", &[], "").await.status,
        200
    );
    api.send_request("DELETE /pools/api", &[], "")
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
