//! Whom a client thinks that it speaks to: the name of its handshake, the host of its requests, and the protocol.

use std::net::SocketAddr;

use crate::support::h2::frame::PREFACE;
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::route;
use crate::support::tls::{Authority, Dialer, Front, TLS12, TLS13, s_client};
use crate::support::{Client, Origin, Proxy};

const WANTED: &str = "client_ca = \"{certs}/ca.crt\"\n";

fn known(authority: &Authority) -> Dialer {
    Dialer::with_identity(authority, &authority.issue(&["client.example"]))
}

fn get(host: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

fn get2(host: &str) -> [(&str, &str); 4] {
    [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", host),
        (":path", "/"),
    ]
}

/// Asks for each host on one connection of each version.
#[track_caller]
fn check(dialer: &Dialer, addr: SocketAddr, name: &str, rows: &[(&str, u16)]) {
    let mut first = dialer.client(addr, name);
    let mut second = dialer.h2(addr, name);
    for (host, status) in rows {
        assert_eq!(first.ask(get(host)).status(), *status, "{host}");
        assert_eq!(second.ask(&get2(host)).status(), *status, "{host}, HTTP/2");
    }
}

/// Browsers and curl leave the dot out of the handshake and write it in the request.
#[test]
fn a_dot_at_the_end_of_a_host_is_no_other_host() {
    let origin = Origin::saying("");
    let front = Front::to(&origin, WANTED);
    let rows = [
        ("a.example", 200),
        ("a.example.", 200),
        ("A.EXAMPLE.:443", 200),
        ("b.example.", 421),
        ("a.example.b.example", 421),
        ("a.example..", 400),
    ];
    // A malformed request ends a connection of HTTP/1.
    let (good, bad) = rows.split_at(rows.len() - 1);
    check(&known(&front.authority), front.addr, "a.example", good);
    check(&known(&front.authority), front.addr, "a.example", bad);
}

/// A proxy that wants client certificates, with two certificates of its own of which the first is the default.
fn several() -> (Proxy, SocketAddr, Authority, Origin, Directory) {
    let (directory, authority, origin) = (Directory::new(), Authority::new(), Origin::saying(""));
    let default = ["a.example", "*.wild.example", "127.0.0.1", "::1"];
    let default = authority.issue(&default).write(&directory, "default");
    let other = authority.issue(&["b.example"]).write(&directory, "other");
    let ca = directory.write("ca.crt", &authority.pem());
    let addr = free_addr();
    let proxy = Proxy::start(&format!(
        "workers = 1\n[[listeners]]\naddr = \"{addr}\"\n\
         tls = {{ certificates = [{default}, {other}], client_ca = {ca:?} }}\n{}",
        route("/", &[origin.addr])
    ));
    (proxy, addr, authority, origin, directory)
}

/// A client that asks for no name takes the certificate that is shown for the host's.
#[test]
fn without_a_name_the_default_certificate_must_be_the_hosts() {
    let (_proxy, addr, authority, origin, _directory) = several();
    let mut nameless = known(&authority);
    nameless.0.enable_sni = false;
    let rows = [
        ("a.example", 200),
        ("A.example.:443", 200),
        ("x.wild.example", 200),
        ("wild.example", 421),
        ("x.y.wild.example", 421),
        ("b.example", 421),
        ("example", 421),
        ("127.0.0.1", 200),
        ("127.0.0.2", 421),
        ("[::1]", 200),
        ("[::2]", 421),
    ];
    check(&nameless, addr, "a.example", &rows);
    // An address is no server name (RFC 6066 section 3).
    check(&known(&authority), addr, "127.0.0.1", &rows);
    let served = origin.count();
    let mut hostless = nameless.client(addr, "a.example");
    assert_eq!(hostless.ask("GET / HTTP/1.0\r\n\r\n").status(), 421);
    // A name has its own certificate, and the default one's names are none of it.
    let rows = [("b.example", 200), ("a.example", 421), ("127.0.0.1", 421)];
    check(&known(&authority), addr, "b.example", &rows);
    assert_eq!(origin.count(), served + 2);
}

/// Where nobody is asked for a certificate, a connection serves whatever the proxy serves.
#[test]
fn without_client_certificates_nothing_is_misdirected() {
    let origin = Origin::saying("");
    let front = Front::to(&origin, "");
    let mut nameless = front.dialer();
    nameless.0.enable_sni = false;
    check(
        &nameless,
        front.addr,
        "a.example",
        &[("a.example", 200), ("c.example", 200)],
    );
}

/// rustls passes over an alert that comes before the first message, so whoever reads the name must do so, too.
#[test]
fn an_alert_before_the_handshake_does_not_hide_its_name() {
    let origin = Origin::saying("");
    let front = Front::to(&origin, &format!("{WANTED}unknown_sni = \"refuse\"\n"));
    let alert = [21, 3, 1, 0, 2, 1, 90];
    let dialer = known(&front.authority).offering(&["http/1.1"]);
    let stream = dialer.connect_behind(&alert, front.addr, "a.example");
    let mut client = Client::over(stream.expect("a handshake"));
    for (host, status) in [("b.example", 421), ("a.example", 200), ("test", 421)] {
        assert_eq!(client.ask(get(host)).status(), status, "{host}");
    }
}

#[test]
fn a_certificate_is_found_for_a_name_with_a_dot_at_its_end() {
    let (_proxy, addr, authority, _origin, directory) = several();
    let pair = authority.issue(&["client.example"]);
    let cert = directory.write("client.crt", &pair.cert);
    let key = directory.write("client.key", &pair.key);
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    for (name, subject) in [
        ("b.example.", "b.example"),
        ("b.example", "b.example"),
        ("c.example.", "a.example"),
    ] {
        let arguments = ["-servername", name, "-cert", cert, "-key", key];
        let output = s_client(addr, &arguments);
        let told = String::from_utf8_lossy(&output.stdout).replace("CN = ", "CN=");
        assert!(told.contains(&format!("CN={subject}")), "{name}: {told}");
    }
}

#[test]
fn hosts_with_empty_labels_are_malformed() {
    let origin = Origin::saying("");
    let config = route("/", &[origin.addr]) + &route("/", &[origin.addr]) + "host = \"*.test\"\n";
    let proxy = Proxy::start(&config);
    let mut client = proxy.h2();
    for host in [
        ".",
        "..",
        ".a",
        "a..",
        "a..b",
        "a.b..",
        "..a",
        "admin..test",
        ".admin.test",
        "admin.test..",
        "a..b:80",
    ] {
        let answer = proxy.ask(get(host));
        assert_eq!(answer.status(), 400, "{host}");
        let status = answer.field("proxy-status").unwrap();
        assert!(status.contains("bad_host"), "{host}: {status}");
        let absolute = format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(proxy.ask(absolute).status(), 400, "{host}");
        let old = format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n");
        assert_eq!(proxy.ask(old).status(), 400, "{host}");
        assert_eq!(client.ask(&get2(host)).status(), 400, "{host}, HTTP/2");
    }
    assert_eq!(origin.count(), 0);
    for host in ["a", "a.", "a.test.", "a.b.test.:80"] {
        assert_eq!(proxy.ask(get(host)).status(), 200, "{host}");
        assert_eq!(client.ask(&get2(host)).status(), 200, "{host}, HTTP/2");
    }
}

/// A listener for HTTP/2 alone speaks HTTP/1.1 to nobody, and so not to who offers nothing.
#[test]
fn a_listener_for_http2_alone_refuses_others() {
    let origin = Origin::saying("");
    let front = Front::to(&origin, "alpn = [\"h2\"]\n");
    let mut count = 0;
    for versions in [TLS12, TLS13] {
        let dialer = Dialer::new(&front.authority, versions);
        for dialer in [
            dialer.clone(),
            dialer.offering(&["http/1.1"]),
            dialer.offering(&["x"]),
        ] {
            let refusal = dialer.refusal(front.addr, "a.example").expect("a refusal");
            assert!(refusal.contains("NoApplicationProtocol"), "{refusal}");
            count += 1;
            front.wait_for_failures("no_common_protocol", count);
        }
        let mut client = dialer.h2(front.addr, "a.example");
        assert_eq!(client.ask(&get2("a.example")).status(), 200);
    }
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_listener_for_http1_alone_never_speaks_http2() {
    let origin = Origin::saying("");
    let front = Front::to(&origin, "alpn = [\"http/1.1\"]\n");
    let dialer = front.dialer();
    let refusal = dialer.offering(&["h2"]).refusal(front.addr, "a.example");
    assert!(
        refusal
            .expect("a refusal")
            .contains("NoApplicationProtocol")
    );
    for dialer in [dialer.clone(), dialer.offering(&["h2", "http/1.1"])] {
        let mut client = dialer.client(front.addr, "a.example");
        assert_eq!(client.ask(get("a.example")).status(), 200);
        let mut client = dialer.client(front.addr, "a.example");
        client.send(PREFACE);
        assert!(client.rest().starts_with(b"HTTP/1.1 "));
    }
}
