//! After a reload no request goes out over a connection that was made as the configuration was before.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use palantir::http::h2::ErrorCode;

use crate::support::h2::answering::Answering;
use crate::support::origin::ok;
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::route;
use crate::support::tls::{Authority, Pair, Server};
use crate::support::{Client, Link, Origin, Proxy, eventually, get};

/// Speaks whatever it is spoken to, and says what that was. Requests for `/slow` wait until the test lets them go.
struct Witness {
    origin: Origin,
    go: Sender<()>,
    gate: Arc<Gate>,
    admin: SocketAddr,
    authority: Authority,
    stranger: Authority,
    directory: Directory,
}

/// Where slow requests wait.
struct Gate {
    go: Mutex<Receiver<()>>,
    /// How many have come to it.
    come: AtomicUsize,
    /// Whether none was refused yet.
    is_refusing: AtomicBool,
}

impl Gate {
    fn pass(&self) {
        self.come.fetch_add(1, SeqCst);
        let _ = self.go.lock().unwrap().recv();
    }
}

impl Witness {
    fn start() -> Witness {
        let (authority, stranger, directory) =
            (Authority::new(), Authority::new(), Directory::new());
        directory.write("ca.crt", &authority.pem());
        directory.write("stranger.crt", &stranger.pem());
        let pair = authority.issue(&["backend.example", "other.example"]);
        let (go, gate) = channel();
        let gate = Arc::new(Gate {
            go: Mutex::new(gate),
            come: AtomicUsize::new(0),
            is_refusing: AtomicBool::new(true),
        });
        let shared = gate.clone();
        let server = Server::asking_for_clients_of(&authority, &pair).choosing(&["h2", "http/1.1"]);
        Witness {
            origin: Origin::start(move |link| serve(link, &server, &shared)),
            go,
            gate,
            admin: free_addr(),
            authority,
            stranger,
            directory,
        }
    }

    /// A configuration with these further settings of the only route.
    fn config(&self, settings: &str) -> String {
        let place = self.directory.path().to_str().unwrap();
        let settings = settings.replace("{certs}", place);
        format!(
            "workers = 1\ntimeouts = {{ connect = 60 }}\n[admin]\nlisten_addr = \"{}\"\n{}{settings}\n",
            self.admin,
            route("/", &[self.origin.addr])
        )
    }

    /// Waits until so many slow requests have come, beyond those that it was called for before.
    #[track_caller]
    fn wait_for_slow(&self, count: usize) {
        eventually("slow requests have come", || {
            self.gate.come.load(SeqCst) >= count
        });
        self.gate.come.fetch_sub(count, SeqCst);
    }

    fn write_identity(&self, name: &str) -> Pair {
        let pair = self.authority.issue(&[name]);
        pair.write(&self.directory, "identity");
        pair
    }
}

fn serve(link: &mut Link, server: &Server, gate: &Gate) {
    let mut first = [0; 6];
    let count = link.stream.peek(&mut first).unwrap_or(0);
    if count > 0 && first[0] == 0x16 {
        let Some(mut link) = server.accept(link) else {
            return;
        };
        let connection = &link.stream.conn;
        let certificate = connection.peer_certificates().map(|chain| chain[0].len());
        let name = connection.server_name().unwrap_or("-").to_owned();
        let seen = format!("tls {name} {}", certificate.unwrap_or(0));
        if connection.alpn_protocol() == Some(b"h2") {
            serve_h2(Answering::over(&mut link.stream), &(seen + " h2"), gate)
        } else {
            serve_h1(&mut link, &seen, gate)
        }
    } else if first.starts_with(b"PRI * ") {
        serve_h2(Answering::over(&mut link.stream), "plain h2", gate);
    } else if first.starts_with(b"PROXY ") {
        while link.bytes(1).is_some_and(|byte| byte != b"\n") {}
        serve_h1(link, "plain proxied", gate);
    } else {
        serve_h1(link, "plain", gate);
    }
}

fn serve_h1<S: Read + Write>(link: &mut Link<S>, seen: &str, gate: &Gate) {
    while let Some(request) = link.request() {
        if request.head.first_line().contains("/slow") {
            gate.pass();
        }
        link.send(ok(seen));
    }
}

fn serve_h2<S: Read + Write>(mut backend: Answering<S>, seen: &str, gate: &Gate) {
    while let Some((stream, path)) = backend.request() {
        if path.contains("/slow") {
            gate.pass();
        }
        if path == "/slow/refused" && gate.is_refusing.swap(false, SeqCst) {
            backend.reset(stream, ErrorCode::REFUSED_STREAM);
        } else {
            backend.answer(stream, seen);
        }
    }
}

/// Reloads while a request runs, and again lets one run: afterwards all requests are seen as `after` says.
#[track_caller]
fn changes(witness: &Witness, before: (&str, &str), after: (&str, Result<&str, u16>)) {
    let proxy = Proxy::start(&witness.config(before.0));
    let mut client = proxy.client();
    assert_eq!(client.ask(get("/")).text(), before.1);
    // Over HTTP/2 the backend takes one after the other.
    let count = if before.1.ends_with("h2") { 1 } else { 3 };
    let mut slow: Vec<Client> = (0..count).map(|_| proxy.client()).collect();
    for client in &mut slow {
        client.send(get("/slow"));
    }
    witness.wait_for_slow(count);
    proxy.reload_everywhere(witness.admin, &witness.config(after.0));
    for _ in 0..count {
        witness.go.send(()).unwrap();
    }
    for client in &mut slow {
        assert_eq!(client.answer().text(), before.1, "what had begun goes on");
    }
    for _ in 0..4 {
        let answer = client.ask(get("/after"));
        match after.1 {
            Ok(seen) => assert_eq!(answer.text(), seen, "from {before:?}"),
            Err(status) => assert_eq!(answer.status(), status, "from {before:?}"),
        }
    }
}

const TLS: &str = "tls = { ca = \"{certs}/ca.crt\", server_name = \"backend.example\" }";

#[test]
fn encryption_begins_and_ends_with_the_reload() {
    let witness = Witness::start();
    let seen = "tls backend.example 0";
    changes(&witness, ("", "plain"), (TLS, Ok(seen)));
    changes(&witness, (TLS, seen), ("", Ok("plain")));
}

#[test]
fn what_is_verified_is_verified_again() {
    let witness = Witness::start();
    let seen = "tls backend.example 0";
    let other_ca = TLS.replace("ca.crt", "stranger.crt");
    let unverified = "tls = { verify = false, server_name = \"backend.example\" }";
    let other_name = TLS.replace("backend.example", "other.example");
    let wrong_name = TLS.replace("backend.example", "wrong.example");
    changes(&witness, (TLS, seen), (&other_ca, Err(502)));
    changes(&witness, (unverified, seen), (&other_ca, Err(502)));
    changes(&witness, (TLS, seen), (&wrong_name, Err(502)));
    changes(
        &witness,
        (TLS, seen),
        (&other_name, Ok("tls other.example 0")),
    );
}

/// The file is the same by name, and so is all that the configuration says.
#[test]
fn replaced_files_count() {
    let witness = Witness::start();
    let tls = TLS.replace(
        " }",
        ", cert = \"{certs}/identity.crt\", key = \"{certs}/identity.key\" }",
    );
    let short = witness.write_identity("a.example").der().len();
    let proxy = Proxy::start(&witness.config(&tls));
    let mut client = proxy.client();
    let seen = |length: usize| format!("tls backend.example {length}");
    assert_eq!(client.ask(get("/")).text(), seen(short));
    client.send(get("/slow"));
    witness.origin.wait_for_requests(2);
    let long = witness
        .write_identity("a-longer-name-than-that.example")
        .der()
        .len();
    proxy.reload_everywhere(witness.admin, &witness.config(&tls));
    witness.go.send(()).unwrap();
    assert_eq!(client.answer().text(), seen(short));
    for _ in 0..4 {
        assert_eq!(client.ask(get("/after")).text(), seen(long));
    }
    // The authorities, too.
    witness.directory.write("ca.crt", &witness.stranger.pem());
    client.send(get("/slow"));
    witness.origin.wait_for_requests(7);
    proxy.reload_everywhere(witness.admin, &witness.config(&tls));
    witness.go.send(()).unwrap();
    assert_eq!(client.answer().text(), seen(long));
    assert_eq!(client.ask(get("/after")).status(), 502);
}

#[test]
fn the_proxy_header_begins_and_ends_with_the_reload() {
    let witness = Witness::start();
    let proxied = "proxy_protocol = \"v1\"";
    changes(&witness, ("", "plain"), (proxied, Ok("plain proxied")));
    changes(&witness, (proxied, "plain proxied"), ("", Ok("plain")));
}

#[test]
fn the_protocol_changes_with_the_reload() {
    let witness = Witness::start();
    let h2 = "protocol = \"h2\"";
    let tls_h2 = format!("{TLS}\n{h2}");
    changes(&witness, ("", "plain"), (h2, Ok("plain h2")));
    changes(&witness, (h2, "plain h2"), ("", Ok("plain")));
    changes(
        &witness,
        (h2, "plain h2"),
        (&tls_h2, Ok("tls backend.example 0 h2")),
    );
}

/// A pool that has not changed gives no reason to connect anew.
#[test]
fn connections_outlive_reloads_that_do_not_concern_them() {
    let witness = Witness::start();
    let proxy = Proxy::start(&witness.config(TLS));
    let mut client = proxy.client();
    assert_eq!(client.ask(get("/")).status(), 200);
    for retries in 2..5 {
        proxy.reload_everywhere(
            witness.admin,
            &witness.config(&format!("{TLS}\nretries = {retries}")),
        );
        assert_eq!(client.ask(get("/")).status(), 200);
    }
    assert_eq!(witness.origin.accepted(), 1);
}

/// A request that began before the reload, and is sent again after it, connects as it began; nobody else uses that.
#[test]
fn a_late_connection_of_an_earlier_configuration_is_nobody_elses() {
    let witness = Witness::start();
    let h2 = "protocol = \"h2\"";
    let proxy = Proxy::start(&witness.config(h2));
    let mut early = proxy.client();
    early.send(get("/slow/refused"));
    witness.wait_for_slow(1);
    proxy.reload_everywhere(witness.admin, &witness.config(&format!("{TLS}\n{h2}")));
    witness.go.send(()).unwrap();
    witness.wait_for_slow(1);
    let mut late = proxy.client();
    for _ in 0..3 {
        assert_eq!(late.ask(get("/after")).text(), "tls backend.example 0 h2");
    }
    witness.go.send(()).unwrap();
    assert_eq!(early.answer().text(), "plain h2");
}
