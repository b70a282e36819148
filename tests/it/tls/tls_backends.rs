//! Backends that speak TLS: whom palantir believes, what it says of itself, and what follows when there is no TLS.

use std::sync::Arc;

use rustls::HandshakeKind;

use crate::support::h2::frame::{get, post};
use crate::support::nginx::Nginx;
use crate::support::origin::{echoing, ok};
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::{command, list, route};
use crate::support::tls::{Authority, Pair, Served, Server};
use crate::support::{Link, Origin, Proxy, eventually};

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello";

/// A handshake is given all the time that a busy machine may need.
const PATIENT: &str = "timeouts = { connect = 60 }\n";

/// An authority with its file, and a pair for `backend.example`.
struct Place {
    directory: Directory,
    authority: Authority,
    pair: Pair,
    ca: String,
}

impl Place {
    fn new() -> Place {
        let (directory, authority) = (Directory::new(), Authority::new());
        let ca = directory.write("ca.crt", &authority.pem());
        Place {
            pair: authority.issue(&["backend.example"]),
            ca: format!("ca = {ca:?}"),
            directory,
            authority,
        }
    }

    fn server(&self) -> Server {
        Server::new(&self.pair)
    }

    /// `tls` of a pool that believes the authority and asks for `backend.example`.
    fn tls(&self) -> String {
        format!(
            "tls = {{ {}, server_name = \"backend.example\" }}\n",
            self.ca
        )
    }
}

/// The handshake as a backend sees it.
fn seen(link: &Link<Served>) -> String {
    let connection = &link.stream.conn;
    let alpn = connection.alpn_protocol().map(String::from_utf8_lossy);
    format!(
        "name={} alpn={} resumed={} certificate={}",
        connection.server_name().unwrap_or("-"),
        alpn.as_deref().unwrap_or("-"),
        connection.handshake_kind() == Some(HandshakeKind::Resumed),
        connection.peer_certificates().is_some()
    )
}

/// Says what it sees, on connections that stay open.
fn telling(link: &mut Link<Served>) {
    let seen = seen(link);
    while link.request().is_some() && link.try_send(ok(&seen)) {}
}

/// Tells of the handshake, and ends the connection after every answer.
fn telling_once(link: &mut Link<Served>) {
    let seen = seen(link);
    if link.request().is_some() {
        let length = seen.len();
        link.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{seen}"
        ));
    }
}

#[test]
fn whom_palantir_believes() {
    let (place, stranger) = (Place::new(), Authority::new());
    let foreign = stranger.issue(&["backend.example"]);
    let ours = place.authority.issue(&["backend.example", "127.0.0.1"]);
    let server = Server::new(&ours).start(telling);
    let numbered =
        Server::new(&place.authority.issue(&[&server.addr.ip().to_string()])).start(telling);
    let foreign = Server::new(&foreign).start(telling);
    let (ca, both) = (&place.ca, place.tls());
    let only_ca = format!("tls = {{ {ca} }}\n");
    let wrong = format!("tls = {{ {ca}, server_name = \"other.example\" }}\n");
    let unverified = "tls = { verify = false, server_name = \"any.example\" }\n";
    let rows = [
        (
            "what it should be",
            &server,
            both.as_str(),
            Ok("name=backend.example"),
        ),
        ("by its address", &numbered, &only_ca, Ok("name=-")),
        (
            "not by its address",
            &server,
            &only_ca,
            Err("certificate_wrong_name"),
        ),
        (
            "another name",
            &server,
            &wrong,
            Err("certificate_wrong_name"),
        ),
        (
            "another authority",
            &foreign,
            &both,
            Err("certificate_unknown_issuer"),
        ),
        (
            "the machine's authorities",
            &server,
            "tls = true\n",
            Err("certificate_"),
        ),
        ("anybody", &foreign, unverified, Ok("name=any.example")),
    ];
    for (name, origin, tls, expected) in rows {
        // The machine's authorities are those of a file with none but the stranger, so that no machine differs.
        let roots = place.directory.write("roots.crt", &stranger.pem());
        let mut command = command();
        command
            .env("SSL_CERT_FILE", roots)
            .env_remove("SSL_CERT_DIR");
        let config = route("/", &[origin.addr]) + tls;
        let proxy = Proxy::start_as(command, &("workers = 1\n".to_owned() + PATIENT + &config));
        let before = origin.count();
        let answer = proxy.ask(GET);
        match expected {
            Ok(start) => assert!(answer.text().starts_with(start), "{name}: {answer:?}"),
            Err(word) => {
                assert_eq!(answer.status(), 502, "{name}");
                assert_eq!(answer.reason(), "tls_certificate_error", "{name}");
                assert!(!answer.text().contains(word), "{name}: {answer:?}");
                proxy.wait_for_log(&["no TLS with backend", word]);
                assert_eq!(origin.count(), before, "{name}");
            }
        }
    }
}

#[test]
fn the_machines_authorities_are_believed() {
    let place = Place::new();
    let origin = place.server().start(telling);
    let mut command = command();
    let roots = place.directory.write("roots.crt", &place.authority.pem());
    command
        .env("SSL_CERT_FILE", roots)
        .env_remove("SSL_CERT_DIR");
    let config = PATIENT.to_owned()
        + &route("/", &[origin.addr])
        + "tls = { server_name = \"backend.example\" }\n";
    let proxy = Proxy::start_as(command, &config);
    assert_eq!(proxy.ask(GET).status(), 200);
}

#[test]
fn bodies_and_connections() {
    let place = Place::new();
    let origin = place.server().start(echoing);
    let config = "workers = 1\n".to_owned() + PATIENT + &route("/", &[origin.addr]) + &place.tls();
    let proxy = Proxy::start(&config);
    let mut client = proxy.client();
    for _ in 0..5 {
        assert_eq!(client.ask(GET).status(), 200);
    }
    assert_eq!(origin.accepted(), 1, "one connection, kept");
    let large = "0123456789abcdef".repeat(1 << 16);
    let length = large.len();
    let answer = client.ask(format!(
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{large}"
    ));
    assert!(answer.text() == large, "HTTP/1.1");
    let answer = proxy.h2().ask_with(&post("/", &[]), large.as_bytes());
    assert!(answer.text() == large, "HTTP/2");
}

#[test]
fn keys_of_earlier_connections_are_taken_up() {
    let place = Place::new();
    let origin = place.server().start(telling_once);
    let config = "workers = 2\n".to_owned() + PATIENT + &route("/", &[origin.addr]) + &place.tls();
    let proxy = Proxy::start(&config);
    assert!(proxy.ask(GET).text().contains("resumed=false"));
    for _ in 0..6 {
        let said = proxy.ask(GET).text();
        assert!(said.contains("resumed=true"), "{said}");
    }
}

#[test]
fn certificates_of_our_own() {
    let place = Place::new();
    let ours = place
        .authority
        .issue(&["palantir.example"])
        .write(&place.directory, "ours");
    let ours = ours.trim_matches(['{', '}', ' ']);
    let server = || Server::for_clients_of(&place.authority, &place.pair);
    let origin = server().start(telling);
    let tls = |more: &str| {
        format!(
            "tls = {{ {}, server_name = \"backend.example\"{more} }}\n",
            place.ca
        )
    };
    let proxy = Proxy::start(
        &(PATIENT.to_owned() + &route("/", &[origin.addr]) + &tls(&format!(", {ours}"))),
    );
    assert!(proxy.ask(GET).text().ends_with("certificate=true"));
    let proxy = Proxy::start(&(PATIENT.to_owned() + &route("/", &[origin.addr]) + &tls("")));
    let answer = proxy.ask(GET);
    assert_eq!(answer.status(), 502, "{answer:?}");
    assert_eq!(origin.count(), 1);
}

#[test]
fn the_protocol_is_agreed_on() {
    let place = Place::new();
    let chooses = |alpn: &[&str]| place.server().choosing(alpn).start(telling);
    let [h1, h2, none] = [&["http/1.1"][..], &["h2"], &[]].map(chooses);
    let rows = [
        ("h1", &h1, Some("alpn=http/1.1")),
        ("h1", &none, Some("alpn=-")),
        ("h1", &h2, None),
        ("h2", &h1, None),
        ("h2", &none, None),
    ];
    for (protocol, origin, expected) in rows {
        let config = format!(
            "{PATIENT}{}{}protocol = \"{protocol}\"\n",
            route("/", &[origin.addr]),
            place.tls()
        );
        let proxy = Proxy::start(&config);
        let answer = proxy.ask(GET);
        match expected {
            Some(alpn) => assert!(answer.text().contains(alpn), "{answer:?}"),
            None => assert_eq!(
                (answer.status(), answer.reason()),
                (502, "tls_certificate_error".to_owned()),
                "{protocol}"
            ),
        }
    }
}

/// HTTP/2 over TLS with nginx, which tells what it sees.
#[test]
fn http2_with_nginx() {
    let place = Place::new();
    place.pair.write(&place.directory, "backend");
    let addr = free_addr();
    let dir = place.directory.path().display();
    let _nginx = Nginx::start(&format!(
        "listen {addr} ssl http2; ssl_certificate {dir}/backend.crt; ssl_certificate_key {dir}/backend.key;
         keepalive_requests 1; client_max_body_size 10m;
         location / {{ return 200 \"$server_protocol $ssl_server_name $ssl_session_reused\"; }}"
    ));
    let config = "workers = 1\n".to_owned()
        + PATIENT
        + &route("/", &[addr])
        + &place.tls()
        + "protocol = \"h2\"\n";
    let proxy = Proxy::start(&config);
    let mut client = proxy.h2();
    assert_eq!(
        client.ask(&get("/", &[])).text(),
        "HTTP/2.0 backend.example ."
    );
    for _ in 0..3 {
        assert_eq!(
            client.ask(&get("/", &[])).text(),
            "HTTP/2.0 backend.example r"
        );
        assert_eq!(proxy.ask(GET).text(), "HTTP/2.0 backend.example r");
    }
}

/// Whether a request is sent again depends on what its backend can have seen of it.
#[test]
fn what_follows_when_there_is_no_tls() {
    let place = Arc::new(Place::new());
    let good = place.server().start(telling);
    let plain = Origin::start(|link| {
        link.bytes(100);
        link.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        link.rest();
    });
    let closing = Origin::start(|link| drop(link.bytes(1)));
    let untrusted = Server::new(&Authority::new().issue(&["backend.example"])).start(telling);
    let resetting = Origin::start(|link| {
        link.bytes(100);
        link.reset_on_close();
    });
    // The leaving backend makes the handshake, reads the request and leaves.
    let leaving = place.server().start(|link| drop(link.request()));
    let rows = [
        ("speaks no TLS", &plain, "tls_certificate_error", [200, 200]),
        (
            "closes in the handshake",
            &closing,
            "connection_refused",
            [200, 200],
        ),
        (
            "resets in the handshake",
            &resetting,
            "connection_refused",
            [200, 200],
        ),
        (
            "is somebody else",
            &untrusted,
            "tls_certificate_error",
            [200, 200],
        ),
        (
            "leaves with the request",
            &leaving,
            "connection_terminated",
            [200, 502],
        ),
    ];
    for (name, bad, reason, statuses) in rows {
        let alone = Proxy::start(&(PATIENT.to_owned() + &route("/", &[bad.addr]) + &place.tls()));
        for request in [GET, POST] {
            let answer = alone.ask(request);
            assert_eq!(
                (answer.status(), answer.reason().as_str()),
                (502, reason),
                "{name}"
            );
        }
        // Of two requests one meets the bad one first.
        let both = route("/", &[bad.addr, good.addr]) + &place.tls();
        for (request, status) in [GET, POST].into_iter().zip(statuses) {
            let both = Proxy::start(&("workers = 1\n".to_owned() + PATIENT + &both));
            let mut found = [0; 2].map(|_| both.ask(request).status());
            found.sort();
            assert_eq!(found, [200, status], "{name}: {request:?}");
        }
    }
}

#[test]
fn a_handshake_has_a_deadline() {
    let place = Place::new();
    let silent = Origin::start(|link| drop(link.rest()));
    let config =
        route("/", &[silent.addr]) + &place.tls() + "timeouts = { connect = 1 }\nretries = 0\n";
    let proxy = Proxy::start(&config);
    let answer = proxy.ask(GET);
    assert_eq!(
        (answer.status(), answer.reason().as_str()),
        (504, "connection_timeout")
    );
}

/// An answer that lasts until its connection ends is whole only if the backend said so: anybody can forge the end of
/// TCP.
#[test]
fn an_end_without_a_word_is_no_end() {
    let place = Place::new();
    for (is_said, http) in [(true, "1.1"), (false, "1.1"), (true, "1.0"), (false, "1.0")] {
        let server = place.server();
        let origin = Origin::start(move |link| {
            let Some(mut link) = server.accept(link) else {
                return;
            };
            link.request();
            link.send("HTTP/1.1 200 OK\r\n\r\nhello");
            if is_said {
                crate::support::tls::finish_sending(&mut link.stream);
            }
        });
        let proxy =
            Proxy::start(&(PATIENT.to_owned() + &route("/", &[origin.addr]) + &place.tls()));
        let mut client = proxy.client();
        client.send(format!("GET / HTTP/{http}\r\nHost: test\r\n\r\n"));
        match http {
            "1.1" => assert_eq!(client.answer().complete, is_said),
            _ => {
                let mut text = String::new();
                let read = std::io::Read::read_to_string(&mut client.stream, &mut text);
                assert_eq!(
                    read.is_ok(),
                    is_said,
                    "a reset, where the end is not the end: {text:?}"
                );
            }
        }
        let answer = proxy.h2().ask(&get("/", &[]));
        assert_eq!(answer.complete, is_said, "{answer:?}");
        if !is_said {
            proxy.wait_for_log(&["truncated"]);
        }
    }
}

/// Probes prove as much as requests do.
#[test]
fn probes_speak_tls() {
    let place = Place::new();
    let good = place.server().start(telling);
    let bad = Server::new(&Authority::new().issue(&["backend.example"])).start(telling);
    let config = format!(
        "[[routes]]\nbackend_addrs = {}\nhealth_check = {{ path = \"/health\", interval_secs = 1 }}\n{}",
        list(&[good.addr, bad.addr]),
        place.tls()
    );
    let proxy = Proxy::start(&config);
    proxy.wait_for_log(&[&bad.addr.to_string(), "unhealthy"]);
    eventually("the good one is probed", || good.count() > 0);
    assert!(!proxy.log().contains(&format!("{} is unhealthy", good.addr)));
    assert_eq!(bad.count(), 0);
}
