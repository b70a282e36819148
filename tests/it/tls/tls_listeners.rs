//! Listeners that speak TLS: versions, protocols, certificates by name, and the way there from cleartext.

use std::process::Command;

use rustls::ProtocolVersion;
use rustls::pki_types::CertificateDer;

use crate::support::h2::frame::{get, post, request};
use crate::support::origin::{echoing, ok};
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::route;
use crate::support::tls::{Authority, BOTH, Dialer, Front, TLS12, TLS13, ended_orderly, s_client};
use crate::support::{Origin, Proxy, eventually};

const MEBIBYTE: usize = 1 << 20;

fn text(bytes: usize) -> String {
    (0..bytes)
        .map(|place| (b'a' + (place % 23) as u8) as char)
        .collect()
}

fn post_of(body: &str) -> String {
    let length = body.len();
    format!("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// Both versions and both protocols: small and large bodies in both directions, several on one connection.
#[test]
fn requests_of_every_kind() {
    let origin = Origin::start(echoing);
    let front = Front::to(&origin, "");
    let large = text(MEBIBYTE);
    for versions in [TLS12, TLS13] {
        let dialer = Dialer::new(&front.authority, versions);
        let mut client = dialer.client(front.addr, "a.example");
        let mut second = dialer.h2(front.addr, "test");
        for body in ["", "hello", &large, "again"] {
            assert!(client.ask(post_of(body)).text() == body, "{versions:?}");
            let answer = second.ask_with(&post("/", &[]), body.as_bytes());
            assert!(answer.text() == body, "{versions:?}");
        }
        let answer = client.ask("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(answer.status(), 200);
        let answer = client.ask("HEAD / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(answer.status(), 200);
        assert_eq!(second.ask(&request("HEAD", "/", &[])).status(), 200);
        // The end is said, so that nobody can forge it.
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
        assert_eq!(client.answer().status(), 200);
        client.ends();
        assert!(ended_orderly(&mut client.stream), "{versions:?}");
    }
    let request = &origin.requests()[0];
    assert_eq!(request.head.field("x-forwarded-proto"), Some("https"));
}

#[test]
fn the_same_with_curl() {
    let origin = Origin::start(echoing);
    let front = Front::to(&origin, "");
    let large = front.directory.write("large", &text(MEBIBYTE));
    let file = format!("@{}", large.display());
    let ca = front.directory.path().join("ca.crt");
    let url = format!("https://a.example:{}/", front.addr.port());
    let resolve = format!("a.example:{}:{}", front.addr.port(), front.addr.ip());
    for (protocol, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        for bounds in [["--tls-max", "1.2"], ["--tlsv1.3", "--globoff"]] {
            let done = Command::new("curl")
                .args(["-sS", "--max-time", "120", protocol, "--resolve", &resolve])
                .args(["--cacert", ca.to_str().unwrap(), "-w", "%{http_version}"])
                .args(bounds)
                // Both on one connection.
                .args(["--data-binary", &file, &url, &url])
                .output()
                .expect("curl");
            let said = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success(), "{protocol} {bounds:?}: {said}");
            let once = text(MEBIBYTE) + version;
            assert!(
                done.stdout == once.repeat(2).into_bytes(),
                "{protocol} {bounds:?}"
            );
        }
    }
}

#[test]
fn versions_and_protocols() {
    let origin = Origin::saying("");
    let modern = Front::to(&origin, "min_version = \"1.3\"");
    let old = Dialer::new(&modern.authority, TLS12);
    let refusal = old.refusal(modern.addr, "a.example").expect("a refusal");
    assert!(refusal.contains("ProtocolVersion"), "{refusal}");
    modern.wait_for_failures("incompatible", 1);
    let stream = modern.dialer().connect(modern.addr, "a.example").unwrap();
    assert_eq!(
        stream.conn.protocol_version(),
        Some(ProtocolVersion::TLSv1_3)
    );

    let both = Front::to(&origin, "");
    let h1_only = Front::to(&origin, "alpn = [\"http/1.1\"]");
    let h2_only = Front::to(&origin, "alpn = [\"h2\"]");
    type Row<'a> = (&'a Front, &'a [&'a str], Option<&'a str>);
    let rows: [Row; 8] = [
        (&both, &["h2", "http/1.1"], Some("h2")),
        (&both, &["http/1.1", "h2"], Some("h2")),
        (&both, &["http/1.1"], Some("http/1.1")),
        (&both, &["spdy/3", "http/1.1"], Some("http/1.1")),
        (&both, &[], None),
        (&h1_only, &["h2", "http/1.1"], Some("http/1.1")),
        (&h1_only, &[], None),
        (&h2_only, &["h2", "http/1.1"], Some("h2")),
    ];
    for (front, offered, chosen) in rows {
        let dialer = front.dialer().offering(offered);
        let mut client = dialer.client(front.addr, "a.example");
        let alpn = client.stream.conn.alpn_protocol();
        assert_eq!(alpn, chosen.map(str::as_bytes), "{offered:?}");
        if chosen != Some("h2") {
            let answer = client.ask("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
            assert_eq!(answer.status(), 200, "{offered:?}");
        }
    }
    // Nothing in common (RFC 7301 section 3.2); a connection beside it does not notice.
    let mut beside = both.client();
    for (front, offered) in [(&both, "spdy/3"), (&both, "h2c"), (&h1_only, "h2")] {
        let dialer = front.dialer().offering(&[offered]);
        let refusal = dialer.refusal(front.addr, "a.example").expect("a refusal");
        assert!(refusal.contains("NoApplicationProtocol"), "{refusal}");
    }
    both.wait_for_failures("no_common_protocol", 2);
    h1_only.wait_for_failures("no_common_protocol", 1);
    let answer = beside.ask("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(answer.status(), 200);
}

/// The certificate that a client gets that asks for this name.
#[track_caller]
fn certificate_for(dialer: &Dialer, front: &Front, name: &str) -> CertificateDer<'static> {
    let stream = dialer.connect(front.addr, name).expect("a handshake");
    stream.conn.peer_certificates().unwrap()[0]
        .clone()
        .into_owned()
}

#[test]
fn certificates_by_name() {
    let (directory, authority) = (Directory::new(), Authority::new());
    let default = authority.issue(&["first.example", "10.0.0.1", "unknown.example"]);
    let wildcard = authority.issue(&["*.w.example"]);
    let exact = authority.issue(&["x.w.example"]);
    let rsa = authority.issue_rsa(&["x.w.example"]);
    let files = [
        // The last name is one that the certificate has, but is not to be used for.
        default
            .write(&directory, "default")
            .replace('}', ", names = [\"first.example\"] }"),
        wildcard.write(&directory, "wildcard"),
        exact.write(&directory, "exact"),
        rsa.write(&directory, "rsa"),
    ];
    let certificates = format!("certificates = [{}]\n", files.join(", "));
    let origin = Origin::saying("");
    let front = Front::to(&origin, &certificates);
    let dialer = Dialer::new(&authority, BOTH);
    let rows = [
        ("first.example", &default),
        ("y.w.example", &wildcard),
        ("Y.W.Example", &wildcard),
        ("x.w.example", &exact),
        ("unknown.example", &default),
        ("10.0.0.1", &default), // Without a name.
    ];
    for (name, pair) in rows {
        assert!(
            certificate_for(&dialer, &front, name) == pair.der(),
            "{name}"
        );
    }
    // A client that can verify RSA alone.
    let said = s_client(
        front.addr,
        &[
            "-tls1_2",
            "-servername",
            "x.w.example",
            "-cipher",
            "ECDHE-RSA-AES128-GCM-SHA256",
        ],
    );
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.contains("rsaEncryption") || said.contains("Peer signature type: RSA"),
        "{said}"
    );

    let strict = Front::to(&origin, &(certificates + "unknown_sni = \"refuse\""));
    assert!(certificate_for(&dialer, &strict, "y.w.example") == wildcard.der());
    for name in ["unknown.example", "w.example", "a.y.w.example", "10.0.0.1"] {
        let refusal = dialer.refusal(strict.addr, name).expect(name);
        assert!(
            refusal.contains("AccessDenied") || refusal.contains("UnrecognisedName"),
            "{refusal}"
        );
    }
}

#[test]
fn redirects_to_https() {
    let addr = free_addr();
    let origin = Origin::saying("never");
    let proxy = Proxy::start(&format!(
        "[[listeners]]\naddr = \"{addr}\"\nredirect_to_https = true\n{}",
        route("/", &[origin.addr])
    ));
    let rows = [
        ("a.example", "/", "https://a.example/"),
        (
            "a.example:8080",
            "/x?y=%2f&z",
            "https://a.example/x?y=%2f&z",
        ),
        ("[::1]", "/", "https://[::1]/"),
        ("[::1]:80", "/a/../b", "https://[::1]/b"),
        ("a.example", "http://a.example/x?y", "https://a.example/x?y"),
        ("a.example:80", "http://a.example", "https://a.example/"),
        ("a.example", "*", "https://a.example"),
    ];
    for (host, target, location) in rows {
        let mut client = crate::support::Client::connect(addr);
        // The connection goes on.
        for _ in 0..2 {
            let method = if target == "*" { "OPTIONS" } else { "GET" };
            let answer = client.ask(format!(
                "{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"
            ));
            assert_eq!(answer.status(), 308);
            assert_eq!(answer.field("location"), Some(location), "{host} {target}");
            assert_eq!(answer.reason(), "http_request_denied");
        }
        if target.starts_with("http:") {
            continue;
        }
        let fields = [
            (":method", if target == "*" { "OPTIONS" } else { "GET" }),
            (":scheme", "http"),
            (":authority", host),
            (":path", target),
        ];
        let mut client = crate::support::h2::H2::start(addr, &[]);
        for _ in 0..2 {
            let answer = client.ask(&fields);
            assert_eq!(answer.status(), 308);
            assert_eq!(answer.field("location"), Some(location), "{host} {target}");
        }
    }
    assert_eq!(origin.count(), 0);
    // The other listener goes on as before.
    assert_eq!(proxy.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status(), 200);
}

/// Certificates that change reach those who come from now on, and disturb nobody else.
#[test]
fn a_changed_certificate_is_for_new_connections() {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            let large = text(MEBIBYTE);
            if request.head.first_line().contains("/large") {
                link.send(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {MEBIBYTE}\r\n\r\n"
                ));
                link.send(&large[..1000]);
                let _ = gone.lock().unwrap().recv();
                link.send(&large[1000..]);
            } else {
                link.send(ok("small"))
            }
        }
    });
    let front = Front::to(&origin, "");
    let dialer = front.dialer();
    let first = certificate_for(&dialer, &front, "a.example");
    let (mut busy, mut idle, mut second) = (front.client(), front.client(), front.h2());
    busy.send("GET /large HTTP/1.1\r\nHost: a.example\r\n\r\n");
    busy.begin_answer();
    let stream = second.begin(&get("/large", &[]), true);
    second.head(stream);
    assert_eq!(
        idle.ask("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
            .status(),
        200
    );

    // Broken: the old one stays.
    let pair = front.authority.issue(&["a.example", "test"]);
    front.directory.write("a.key", "no key");
    front
        .proxy
        .wait_for_log(&["a.key", "what was read before stays"]);
    assert!(certificate_for(&dialer, &front, "a.example") == first);
    pair.write(&front.directory, "a");
    eventually("the new certificate is shown", || {
        certificate_for(&dialer, &front, "a.example") == pair.der()
    });
    go.send(()).unwrap();
    go.send(()).unwrap();
    assert_eq!(busy.bytes(MEBIBYTE), text(MEBIBYTE).into_bytes());
    assert!(second.answer(stream).text() == text(MEBIBYTE));
    assert_eq!(
        idle.ask("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
            .status(),
        200
    );
    assert_eq!(second.ask(&get("/", &[])).status(), 200);
}
