//! Backends that refuse this proxy's certificate, or the lack of one. With TLS 1.3 they say so behind the handshake, so
//! that a request is on its way by then.

use std::net::SocketAddr;

use crate::support::h2::answering::Answering;
use crate::support::origin::ok;
use crate::support::place::{Directory, free_addr};
use crate::support::tls::{Authority, Pair, Server};
use crate::support::{Origin, Proxy, eventually, get};

const POST: &str = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody";

/// A backend over HTTP/1.1 or HTTP/2.
fn serving(server: Server, protocol: &str) -> Origin {
    if protocol == "h1" {
        let serve = |link: &mut crate::support::Link<_>| {
            while link.request().is_some() && link.try_send(ok("fine")) {}
        };
        return server.start(serve);
    }
    server.choosing(&["h2"]).start(|link| {
        let mut backend = Answering::over(&mut link.stream);
        while let Some((stream, _)) = backend.request() {
            backend.answer(stream, "fine");
        }
    })
}

/// A pool of backends for `a.example`; `more` are settings of the pool.
fn config(backends: &[SocketAddr], protocol: &str, tls: &str, more: &str) -> String {
    let backends: Vec<String> = backends.iter().map(|addr| format!("\"{addr}\"")).collect();
    format!(
        "workers = 1\n[timeouts]\nconnect = 50\n[[pools]]\nname = \"api\"\nbackends = [{}]\n\
         protocol = \"{protocol}\"\ntls = {{ server_name = \"a.example\", {tls} }}\n{more}\n[[routes]]\npool = \"api\"\n",
        backends.join(", ")
    )
}

/// The backend that refuses, the settings of TLS for it, and the words.
fn refusals(authority: &Authority, directory: &Directory) -> [(Server, String, &'static str); 2] {
    let stranger = Authority::new();
    let own: Pair = authority.issue(&["a.example"]);
    let ca = format!("ca = {:?}", directory.write("ca.pem", &authority.pem()));
    let shown = authority.issue(&["client.example"]);
    let cert = directory.write("client.pem", &shown.cert);
    let key = directory.write("client.key", &shown.key);
    [
        (
            Server::for_clients_of(authority, &own),
            ca.clone(),
            "wants a certificate",
        ),
        (
            Server::for_clients_of(&stranger, &own),
            format!("{ca}, cert = {cert:?}, key = {key:?}"),
            "refused the handshake",
        ),
    ]
}

#[test]
fn a_request_that_is_refused_behind_the_handshake_goes_to_the_next_backend() {
    let (authority, directory) = (Authority::new(), Directory::new());
    for protocol in ["h1", "h2"] {
        let good = serving(Server::new(&authority.issue(&["a.example"])), protocol);
        for (refusing, tls, words) in refusals(&authority, &directory) {
            let bad = serving(refusing, protocol);
            let label = bad.addr.to_string();
            let proxy = Proxy::start(&config(&[bad.addr, good.addr], protocol, &tls, ""));
            for turn in 0..20 {
                let request = [POST.to_owned(), get("/")];
                let answer = proxy.ask(&request[turn % 2]);
                assert_eq!(answer.text(), "fine", "{protocol}, {words}, {turn}");
            }
            proxy.wait_for_log(&["no TLS with backend", &label, "as a.example", words]);
            proxy.wait_for_log(&[&label, "rests for", "untrusted"]);
            assert_eq!(bad.count(), 0);
        }
    }
}

/// A backend that rests because it refuses this proxy is tried without requests, and rests on.
#[test]
fn a_trial_waits_for_the_refusal() {
    let (authority, directory) = (Authority::new(), Directory::new());
    for protocol in ["h1", "h2"] {
        let [(refusing, tls, _), _] = refusals(&authority, &directory);
        let bad = serving(refusing, protocol);
        let label = bad.addr.to_string();
        let proxy = Proxy::start(&config(&[bad.addr], protocol, &tls, ""));
        assert_eq!(proxy.ask(get("/")).status(), 502);
        proxy.wait_for_log(&[&label, "rests for 2000 ms", "untrusted"]);
    }
}

#[test]
fn a_lone_backend_that_refuses_has_its_reason_in_the_log() {
    let (authority, directory) = (Authority::new(), Directory::new());
    for protocol in ["h1", "h2"] {
        for (refusing, tls, words) in refusals(&authority, &directory) {
            let bad = serving(refusing, protocol);
            let label = bad.addr.to_string();
            let check = "health_check = { path = \"/\", interval_secs = 0.1, timeout_secs = 50, unhealthy_after = 1 }";
            let asked = Proxy::start(&config(&[bad.addr], protocol, &tls, ""));
            let answer = asked.ask(POST);
            assert_eq!(answer.status(), 502, "{protocol}, {words}");
            asked.wait_for_log(&["request failed: untrusted", &label]);
            asked.wait_for_log(&["no TLS with backend", &label, words]);
            let probing = Proxy::start(&config(&[bad.addr], protocol, &tls, check));
            probing.wait_for_log(&["unhealthy", &label, "no TLS as a.example", words]);
        }
    }
}

/// A check that only connects, with TLS of its own, asks nothing by which a refusal could be noticed.
#[test]
fn a_check_that_only_connects_waits_for_the_refusal() {
    let (authority, directory) = (Authority::new(), Directory::new());
    let check = |tls: &str, bounds: &str| {
        format!("health_check = {{ tcp = true, tls = {{ {tls} }}, interval_secs = 0.1, {bounds} }}")
    };
    let patient = "timeout_secs = 50, unhealthy_after = 1";
    for (refusing, tls, words) in refusals(&authority, &directory) {
        let bad = serving(refusing, "h1");
        let proxy = Proxy::start(&config(&[bad.addr], "h1", &tls, &check(&tls, patient)));
        let label = bad.addr.to_string();
        proxy.wait_for_log(&["unhealthy", &label, "no TLS as a.example", words]);
    }
    // Backends that accept this proxy, of which one says nothing behind the handshake.
    let [(_, tls, _), _] = refusals(&authority, &directory);
    let own = authority.issue(&["a.example"]);
    let mut silent = Server::new(&own);
    silent.0.send_tls13_tickets = 0;
    let bounds = [patient, "timeout_secs = 1, unhealthy_after = 5"];
    for (server, bounds) in [Server::new(&own), silent].into_iter().zip(bounds) {
        let good = serving(server, "h1");
        let proxy = Proxy::start(&config(&[good.addr], "h1", &tls, &check(&tls, bounds)));
        eventually("it was probed", || good.ended() >= 2);
        assert!(!proxy.log().contains("unhealthy"), "{}", proxy.log());
    }
}

/// A backend that takes connections and says nothing in the handshake.
#[test]
fn a_silent_handshake_is_told_as_what_it_is() {
    let silent = Origin::start(|link| drop(link.rest()));
    let (authority, directory) = (Authority::new(), Directory::new());
    let ca = format!("ca = {:?}", directory.write("ca.pem", &authority.pem()));
    let label = silent.addr.to_string();
    let quick = config(&[silent.addr], "h1", &ca, "").replace("connect = 50", "connect = 1");
    let asked = Proxy::start(&quick);
    assert_eq!(asked.ask(get("/")).status(), 504);
    asked.wait_for_log(&["no TLS with backend", &label, "timeout", "took too long"]);
    let check = "health_check = { path = \"/\", interval_secs = 0.1, timeout_secs = 0.2, unhealthy_after = 1 }";
    let probing = Proxy::start(&config(&[silent.addr], "h1", &ca, check));
    probing.wait_for_log(&[
        "unhealthy",
        &label,
        "no TLS as a.example",
        "handshake was not over",
    ]);
}

/// A check that asks at another port names the address that failed.
#[test]
fn a_check_at_another_port_names_its_address() {
    let origin = Origin::saying("fine");
    let port = free_addr().port();
    let proxy = Proxy::start(&format!(
        "[[pools]]\nname = \"api\"\nbackends = [\"{}\"]\n\
         health_check = {{ path = \"/\", port = {port}, interval_secs = 0.1, unhealthy_after = 1 }}\n\
         [[routes]]\npool = \"api\"\n",
        origin.addr
    ));
    eventually("the backend is down", || {
        proxy.ask(get("/")).status() == 503
    });
    let asked = format!("(asked at {}:{port})", origin.addr.ip());
    proxy.wait_for_log(&["unhealthy", &origin.addr.to_string(), "refused", &asked]);
}
