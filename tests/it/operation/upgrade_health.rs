//! A new process goes on with what the old one knows of its backends, so that its first request already avoids those
//! that are down.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::support::load::Load;
use crate::support::managed::{ask, json_of};
use crate::support::origin::ok;
use crate::support::place::free_addr;
use crate::support::proxy::route;
use crate::support::{Client, Lineage, Origin, eventually, get};

/// A backend that fails its probes and answers every other request.
fn sick() -> Origin {
    Origin::start(|link| {
        while let Some(request) = link.request() {
            let answer = if request.head.first_line().starts_with("GET /health ") {
                "HTTP/1.1 500 Ill\r\nContent-Length: 3\r\n\r\nill".to_owned()
            } else {
                ok("ill")
            };
            if !link.try_send(answer) {
                return;
            }
        }
    })
}

/// Three failures in a row take two seconds after a start: a new process that knows nothing sends requests to the sick
/// backend for as long.
const CHECK: &str = "health_check = { path = \"/health\", interval_secs = 600, timeout_secs = 50, \
                     unhealthy_after = 3, healthy_after = 2 }\n";

#[test]
fn a_new_process_sends_no_request_to_a_backend_that_the_old_one_knows_as_down() {
    let (sick, well) = (sick(), Origin::saying("served"));
    let config = format!(
        "workers = 2\n{}{CHECK}",
        route("/", &[sick.addr, well.addr])
    );
    let mut lineage = Lineage::start(&config);
    let fell = [&sick.addr.to_string(), "unhealthy"];
    lineage.proxy.wait_for_log(&fell);
    eventually("the workers know", || {
        (0..20).all(|_| lineage.proxy.ask(get("/")).text() == "served")
    });
    let load = Load::on(lineage.proxy.addr);
    load.wait_for(200);
    for _ in 0..3 {
        lineage.upgrade();
        load.wait_for(500);
    }
    load.end();
    assert_eq!(lineage.stop(), 0);
}

/// A proxy with a management API on the second address.
fn managed(pool: &str) -> (Lineage, std::net::SocketAddr) {
    let admin = free_addr();
    let config = format!("workers = 2\n[admin]\nlisten_addr = \"{admin}\"\n{pool}");
    (Lineage::start(&config), admin)
}

/// The entry of `/stats/detail` for the server at this address.
fn stats_of(admin: std::net::SocketAddr, addr: std::net::SocketAddr) -> Value {
    let answer = ask(admin, "GET /stats/detail", &[], "");
    let all = json_of(&answer);
    let servers = all["servers"].as_array().unwrap().iter();
    let mut of_addr = servers.filter(|server| server["address"] == addr.to_string());
    of_addr.next().expect("the server").clone()
}

fn unix_now() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs_f64()
}

#[test]
fn a_drained_backend_stays_drained_and_since_the_same_time() {
    let (drained, other) = (Origin::saying("drained"), Origin::saying("served"));
    let pool = format!(
        "[[routes]]\npool = \"api\"\n[[pools]]\nname = \"api\"\nbackends = [\"{}\", \"{}\"]\n",
        drained.addr, other.addr
    );
    let (mut lineage, admin) = managed(&pool);
    let line = format!("PATCH /pools/api/servers/{}", drained.addr);
    let answer = ask(admin, &line, &[], "{\"drain\": true}");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    eventually("it is drained", || {
        stats_of(admin, drained.addr)["state"] == "draining"
    });
    let since = stats_of(admin, drained.addr)["since"].as_f64().unwrap();
    eventually("some time has passed", || unix_now() > since + 2.0);
    let before = drained.count();
    lineage.upgrade();
    for _ in 0..20 {
        assert_eq!(lineage.proxy.ask(get("/")).text(), "served");
    }
    assert_eq!(drained.count(), before);
    lineage.wait_for_elders();
    let stats = stats_of(admin, drained.addr);
    assert_eq!(stats["state"], "draining");
    let still = stats["since"].as_f64().unwrap();
    assert!((still - since).abs() < 1.0, "{since} became {still}");
    assert_eq!(lineage.stop(), 0);
}

#[test]
fn an_ejected_backend_stays_ejected() {
    let failing = Origin::answering("HTTP/1.1 500 Ill\r\nContent-Length: 3\r\n\r\nill");
    let other = Origin::saying("served");
    let pool = route("/", &[failing.addr, other.addr])
        + "outlier = { consecutive_failures = 2, eject_secs = 600 }\nretries = 0\n";
    let (mut lineage, admin) = managed(&pool);
    eventually("it is ejected", || {
        lineage.proxy.ask(get("/"));
        stats_of(admin, failing.addr)["state"] == "ejected"
    });
    let before = failing.count();
    lineage.upgrade();
    for _ in 0..20 {
        let mut client = Client::connect(lineage.proxy.addr);
        assert_eq!(client.ask(get("/")).text(), "served");
    }
    assert_eq!(failing.count(), before);
    lineage.wait_for_elders();
    assert_eq!(stats_of(admin, failing.addr)["state"], "ejected");
    assert_eq!(lineage.stop(), 0);
}

#[test]
fn a_backend_whose_health_check_is_another_one_is_a_new_one() {
    let (sick, well) = (sick(), Origin::saying("served"));
    let config = route("/", &[sick.addr, well.addr]) + CHECK;
    let mut lineage = Lineage::start(&config);
    lineage
        .proxy
        .wait_for_log(&[&sick.addr.to_string(), "unhealthy"]);
    // By this check the backend is well.
    let changed = lineage.config().replace("\"/health\"", "\"/other\"");
    lineage.write_config(&changed);
    lineage.upgrade();
    eventually("it takes requests", || {
        lineage.proxy.ask(get("/")).text() == "ill"
    });
    assert_eq!(lineage.stop(), 0);
}
