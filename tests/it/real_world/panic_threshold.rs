//! A pool in which all checks fail, perhaps because the check itself is broken: with `panic_threshold` all backends of
//! the pool take requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use crate::support::managed::Managed;
use crate::support::origin::ok;
use crate::support::{Origin, eventually, get, metrics};

/// A backend that serves, and whose check fails unless `passes` is set.
fn backend(name: &'static str, passes: &Arc<AtomicBool>) -> Origin {
    let passes = passes.clone();
    Origin::start(move |link| {
        while let Some(request) = link.request() {
            let is_check = request.head.first_line().starts_with("GET /health ");
            let answer = if is_check && !passes.load(SeqCst) {
                "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_owned()
            } else {
                ok(name)
            };
            if !link.try_send(answer) {
                return;
            }
        }
    })
}

fn config(backends: [SocketAddr; 3]) -> String {
    let [first, second, drained] = backends;
    format!(
        "[[pools]]\nname = \"api\"\n\
         backends = [\"{first}\", \"{second}\", {{ addr = \"{drained}\", drain = true }}]\n\
         health_check = {{ path = \"/health\", interval_secs = 0.1, timeout_secs = 50, unhealthy_after = 1, \
         healthy_after = 1 }}\n[[routes]]\npool = \"api\"\n"
    )
}

#[test]
fn all_backends_take_requests_while_too_few_are_healthy() {
    let passes: [_; 3] = std::array::from_fn(|_| Arc::new(AtomicBool::new(false)));
    let origins = ["first", "second", "drained"];
    let origins: Vec<Origin> = origins
        .into_iter()
        .zip(&passes)
        .map(|(name, passes)| backend(name, passes))
        .collect();
    let backends = [0, 1, 2].map(|index| origins[index].addr);
    let managed = Managed::start("", &config(backends));
    let proxy = &managed.proxy;
    let served = |name: &str| proxy.ask(get("/")).text() == name;
    // Without the setting, no backend that fails its check is used.
    eventually("no backend is used", || {
        (0..4).all(|_| proxy.ask(get("/")).status() == 503)
    });
    let change = managed.ask("PATCH /pools/api", &[], r#"{"panic_threshold":50}"#);
    assert_eq!(change.status(), 200, "{}", change.text());
    proxy.wait_for_log(&["WARN", "panics", "0 of 2", "50 %", "api"]);
    for name in ["first", "second"] {
        eventually("both are used", || served(name));
    }
    assert!((0..20).all(|_| !served("drained")));
    assert_eq!(managed.get("/pools/api")["panics"], true);
    assert_eq!(managed.get("/pools/api")["panic_threshold"], 50);
    assert!(metrics(managed.admin).contains("palantir_pool_panic{pool=\"api\"} 1"));
    for path in ["/health", "/ready"] {
        let reasons = managed.get(path)["reasons"].to_string();
        assert!(reasons.contains("pool api panics"), "{path}: {reasons}");
    }

    // Half of the backends are enough: from then on only the healthy one is used.
    passes[0].store(true, SeqCst);
    proxy.wait_for_log(&["panics no longer", "api"]);
    eventually("the other one is not used", || {
        (0..10).all(|_| served("first"))
    });
    assert_eq!(managed.get("/pools/api")["panics"], false);
    assert_eq!(managed.get("/ready")["reasons"], serde_json::Value::Null);
}
