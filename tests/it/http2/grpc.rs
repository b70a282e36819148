//! gRPC through the proxy, with the client and the server that most programs use; then, frame by frame, what the proxy
//! itself says to calls.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::h2::Answer;
use crate::support::h2::frame::post;
use crate::support::peer::{self, Peer};
use crate::support::place::free_addr;
use crate::support::proxy::list;
use crate::support::trusted::Trusted;
use crate::support::{Origin, Proxy, eventually};

/// A route for everything to a pool whose backends speak HTTP/2.
fn route(backends: &[SocketAddr]) -> String {
    let backends = list(backends);
    format!(
        "[[pools]]\nname = \"calls\"\nprotocol = \"h2\"\nbackends = {backends}\n\
         [[routes]]\nprefix = \"/test.Peer\"\npool = \"calls\"\n"
    )
}

/// A backend and a proxy before it.
fn start() -> (Peer, Proxy) {
    let addr = free_addr();
    let origin = Peer::start("grpc_origin.py", &[&addr.to_string()]);
    (origin, Proxy::start(&route(&[addr])))
}

/// Runs a case of `grpc_client.py`.
#[track_caller]
fn run(proxy: &Proxy, case: &str) {
    peer::run("grpc_client.py", &[&proxy.addr.to_string(), case]);
}

#[test]
fn calls_of_every_kind() {
    let (_origin, proxy) = start();
    for case in [
        "unary",
        "client_streaming",
        "server_streaming",
        "bidirectional",
    ] {
        run(&proxy, case);
    }
}

#[test]
fn many_calls_at_once() {
    let (_origin, proxy) = start();
    run(&proxy, "many");
}

/// The caller comes with TLS; the backend has it too or not.
#[test]
fn calls_over_tls() {
    let trusted = Trusted::new();
    for secure in [false, true] {
        let addr = free_addr();
        let (mut origin, mut pool) = (vec![addr.to_string()], String::new());
        if secure {
            origin.extend([trusted.cert().to_owned(), trusted.key().to_owned()]);
            pool = format!("tls = {{ ca = {:?} }}\n", trusted.cert());
        }
        let origin: Vec<&str> = origin.iter().map(String::as_str).collect();
        let _origin = Peer::start("grpc_origin.py", &origin);
        let routes = route(&[addr]).replace("protocol", &format!("{pool}protocol"));
        let proxy = trusted.proxy(&routes);
        for case in [
            "unary",
            "client_streaming",
            "server_streaming",
            "bidirectional",
            "many",
            "error",
            "cancel",
        ] {
            let address = proxy.addr.to_string();
            peer::run("grpc_client.py", &[&address, case, trusted.cert()]);
        }
        // Of two calls that sleep the backend has heard the end.
        let address = proxy.addr.to_string();
        peer::run("grpc_client.py", &[&address, "deadline", trusted.cert()]);
    }
}

#[test]
fn errors_of_the_backend_pass() {
    let (_origin, proxy) = start();
    run(&proxy, "error");
    run(&proxy, "cancel");
}

#[test]
fn a_deadline_ends_the_call_on_both_sides() {
    let (_origin, proxy) = start();
    run(&proxy, "deadline");
}

#[test]
fn a_backend_that_is_down_is_unavailable() {
    let proxy = Proxy::start(&route(&[free_addr()]));
    run(&proxy, "down");
}

#[test]
fn what_nobody_serves_is_unimplemented() {
    let proxy =
        Proxy::start("[[routes]]\nprefix = \"/other\"\nbackend_addrs = [\"127.0.0.1:9\"]\n");
    run(&proxy, "no_route");
}

/// The status of a call that the proxy has answered by itself.
#[track_caller]
fn own_status(answer: &Answer) -> u32 {
    assert_eq!(answer.status(), 200, "{answer:?}");
    let kind = answer.field("content-type").unwrap_or_default();
    assert!(kind.starts_with("application/grpc"), "{answer:?}");
    assert!(answer.body.is_empty() && answer.complete, "{answer:?}");
    let status = answer.field("grpc-status").expect("grpc-status");
    status.parse().unwrap()
}

const CALL: [(&str, &str); 2] = [("content-type", "application/grpc"), ("te", "trailers")];

#[test]
fn own_answers_have_a_grpc_status() {
    let silent = Origin::start(|link| {
        link.rest();
    });
    let config = [
        "[timeouts]\nupstream_response = 0.3\n".to_owned(),
        crate::support::proxy::route("/down", &[free_addr()]),
        crate::support::proxy::route("/silent", &[silent.addr]),
    ];
    let proxy = Proxy::start(&config.concat());
    let mut client = proxy.h2();
    const UNIMPLEMENTED: u32 = 12;
    const UNAVAILABLE: u32 = 14;
    const DEADLINE_EXCEEDED: u32 = 4;
    for (path, status) in [
        ("/none", UNIMPLEMENTED),
        ("/down", UNAVAILABLE),
        ("/silent", DEADLINE_EXCEEDED),
    ] {
        let answer = client.ask_with(&post(path, &CALL), b"\0\0\0\0\0");
        // A deadline of the proxy's own may also be told as unavailability.
        let found = own_status(&answer);
        assert!(
            found == status || (status == DEADLINE_EXCEEDED && found == UNAVAILABLE),
            "{path}: {found}"
        );
        assert!(answer.field("grpc-message").is_some(), "{answer:?}");
        // A client that is no gRPC client gets an HTTP status for the failure.
        let plain = client.ask_with(&post(path, &[]), b"");
        assert!(plain.status() >= 400, "{plain:?}");
    }
}

#[test]
fn the_callers_deadline_bounds_the_backend() {
    let silent = Origin::start(|link| {
        link.rest();
    });
    let proxy = Proxy::to(&[silent.addr]);
    let mut client = proxy.h2();
    for timeout in ["300m", "300000u", "99999999n"] {
        let fields = [&CALL[..], &[("grpc-timeout", timeout)]].concat();
        let begin = Instant::now();
        let answer = client.ask_with(&post("/", &fields), b"\0\0\0\0\0");
        assert_eq!(own_status(&answer), 4, "{timeout}");
        let waited = begin.elapsed();
        assert!(
            waited > Duration::from_millis(90) && waited < Duration::from_secs(30),
            "{timeout}: {waited:?}"
        );
    }
    silent.wait_for_ended(3);
}

#[test]
fn health_is_asked_for_by_grpc() {
    let addr = free_addr();
    let mut origin = Peer::start("grpc_origin.py", &[&addr.to_string()]);
    assert_eq!(origin.tell("orders SERVING"), "set");
    let check = "{ grpc = \"orders\", interval_secs = 0.1, timeout_secs = 50, unhealthy_after = 2, healthy_after = 1 }";
    let config = route(&[addr]).replace("protocol", &format!("health_check = {check}\nprotocol"));
    let proxy = Proxy::start(&config);
    run(&proxy, "unary");
    for (status, reason) in [
        ("NOT_SERVING", "not serving"),
        ("UNKNOWN", "unknown whether"),
    ] {
        assert_eq!(origin.tell(&format!("orders {status}")), "set");
        proxy.wait_for_log(&["unhealthy", reason]);
        run(&proxy, "down");
        let healthy = proxy.log().matches("to=\"healthy\"").count();
        assert_eq!(origin.tell("orders SERVING"), "set");
        eventually("it is healthy again", || {
            proxy.log().matches("to=\"healthy\"").count() > healthy
        });
        run(&proxy, "unary");
    }
}

/// The server as a whole, a service that it does not know, and a server that has no health service.
#[test]
fn what_a_health_check_by_grpc_can_find() {
    let known = free_addr();
    let _origin = Peer::start("grpc_origin.py", &[&known.to_string()]);
    let without = Origin::saying("");
    for (addr, service, words) in [
        (known, "\"none\"", &["unhealthy", "unknown service"][..]),
        (without.addr, "true", &["unhealthy"]),
    ] {
        let check = format!("{{ grpc = {service}, interval_secs = 0.1, unhealthy_after = 1 }}");
        let config =
            route(&[addr]).replace("protocol", &format!("health_check = {check}\nprotocol"));
        Proxy::start(&config).wait_for_log(words);
    }
    let check = "health_check = { grpc = true, interval_secs = 0.05, timeout_secs = 50, unhealthy_after = 1 }\n\
                 protocol";
    let proxy = Proxy::start(&route(&[known]).replace("protocol", check));
    std::thread::sleep(Duration::from_secs(1));
    assert!(!proxy.log().contains("unhealthy"), "{}", proxy.log());
    run(&proxy, "unary");
}
