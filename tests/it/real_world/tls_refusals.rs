//! TLS with backends and clients: a certificate that `ca` names itself is trusted, and both sides of a refusal can read
//! its reason.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::support::nginx::Nginx;
use crate::support::origin::ok;
use crate::support::place::{Directory, free_addr};
use crate::support::tls::{Authority, Dialer, Front, Pair, Server};
use crate::support::{Origin, Proxy, eventually, get};

/// A self-signed certificate of a backend, with the mark of an authority, as `openssl req -x509` makes it, or without
/// it.
fn self_signed(names: &[&str], is_ca: bool) -> Pair {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let key = KeyPair::generate().unwrap();
    Pair {
        cert: params.self_signed(&key).unwrap().pem(),
        key: key.serialize_pem(),
    }
}

fn serving(pair: &Pair) -> Origin {
    Server::new(pair).start(|link| while link.request().is_some() && link.try_send(ok("fine")) {})
}

/// A proxy to this backend, which is probed with the same TLS as requests.
fn proxy(backend: SocketAddr, tls: &str) -> Proxy {
    let check = "health_check = { path = \"/\", interval_secs = 0.1, timeout_secs = 50, unhealthy_after = 1 }";
    Proxy::start(&format!(
        "workers = 1\n[timeouts]\nconnect = 50\n[[routes]]\nbackend_addrs = [\"{backend}\"]\n{tls}\n{check}\n"
    ))
}

#[test]
fn a_certificate_of_the_backends_own_that_ca_names_is_believed() {
    let directory = Directory::new();
    for is_ca in [false, true] {
        let own = self_signed(&["a.example", "127.0.0.1"], is_ca);
        let other = self_signed(&["a.example"], is_ca);
        // The certificate stands beside others in one file.
        let both = format!("{}{}", Authority::new().pem(), own.cert);
        let named = directory.write("named.pem", &both);
        let unnamed = directory.write("unnamed.pem", &other.cert);
        let origin = serving(&own);
        let good = proxy(
            origin.addr,
            &format!("tls = {{ ca = {named:?}, server_name = \"a.example\" }}"),
        );
        assert_eq!(good.ask(get("/")).text(), "fine", "{is_ca}");
        assert!(!good.log().contains("unhealthy"), "{}", good.log());
        let label = origin.addr.to_string();
        let rows = [
            (
                format!("tls = {{ ca = {named:?}, server_name = \"b.example\" }}"),
                "the certificate is for a.example, 127.0.0.1, not for b.example",
            ),
            (
                format!("tls = {{ ca = {unnamed:?}, server_name = \"a.example\" }}"),
                "the certificate is self-signed, and is not itself one of those in ca",
            ),
        ];
        for (tls, words) in rows {
            let bad = proxy(origin.addr, &tls);
            bad.wait_for_log(&["unhealthy", &label, "no TLS as", words]);
            drop(bad);
        }
    }
}

/// The key of a backend whose certificate is named must not make its owner another backend.
#[test]
fn a_certificate_that_is_no_authoritys_vouches_for_no_other() {
    let directory = Directory::new();
    for is_ca in [IsCa::ExplicitNoCa, IsCa::NoCa] {
        let (own, sub) = own_and_issued(is_ca, "a.example");
        let (named, issued) = (serving(&own), serving(&sub));
        let beside = Authority::new().pem();
        for (file, more) in [("alone.pem", ""), ("beside.pem", beside.as_str())] {
            let ca = directory.write(file, &format!("{more}{}", own.cert));
            let tls = format!("tls = {{ ca = {ca:?}, server_name = \"a.example\" }}");
            assert_eq!(proxy(named.addr, &tls).ask(get("/")).text(), "fine");
            let refusing = proxy(issued.addr, &tls);
            refusing.wait_for_log(&["unhealthy", &issued.addr.to_string(), "no TLS as"]);
        }
    }
}

/// A self-signed certificate, and one that its key has signed.
fn own_and_issued(is_ca: IsCa, name: &str) -> (Pair, Pair) {
    let names = || CertificateParams::new(vec![name.to_owned()]).unwrap();
    let (key, subs_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut params = names();
    params.is_ca = is_ca;
    let own = Pair {
        cert: params.self_signed(&key).unwrap().pem(),
        key: key.serialize_pem(),
    };
    let sub = Pair {
        cert: names()
            .signed_by(&subs_key, &Issuer::new(params, key))
            .unwrap()
            .pem(),
        key: subs_key.serialize_pem(),
    };
    (own, sub)
}

/// A client that is named itself is let in, and lets in no other by its key.
#[test]
fn a_client_that_is_named_vouches_for_no_other() {
    let directory = Directory::new();
    for is_ca in [IsCa::ExplicitNoCa, IsCa::NoCa] {
        let (own, sub) = own_and_issued(is_ca, "client.example");
        let ca = directory.write("clients.pem", &own.cert);
        let origin = Origin::saying("fine");
        let front = Front::to(&origin, &format!("client_ca = {ca:?}\n"));
        let named = Dialer::with_identity(&front.authority, &own);
        let mut client = named.client(front.addr, "a.example");
        let asked = client.ask("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(asked.text(), "fine");
        let issued = Dialer::with_identity(&front.authority, &sub);
        assert!(issued.refusal(front.addr, "a.example").is_some());
        front
            .proxy
            .wait_for_log(&["INFO", "was refused", "unknown issuer"]);
    }
}

#[test]
fn every_refusal_of_a_backend_has_its_words() {
    let (authority, stranger, directory) = (Authority::new(), Authority::new(), Directory::new());
    let ca = directory.write("ca.pem", &authority.pem());
    let tls = format!("tls = {{ ca = {ca:?}, server_name = \"a.example\" }}");
    let ended = SystemTime::now() - Duration::from_secs(86_400);
    let cleartext = Origin::start(|link| {
        link.bytes(1);
        link.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        link.rest();
    });
    let closing = Origin::start(|link| drop(link.bytes(1)));
    let (_nginx, old) = of_version_1(&directory);
    let rows = [
        (
            serving(&stranger.issue(&["a.example"])).addr_kept(),
            "comes from an unknown issuer",
        ),
        (
            serving(&authority.issue(&["b.example", "*.c.example"])).addr_kept(),
            "the certificate is for b.example, *.c.example, not for a.example",
        ),
        (
            serving(&authority.issue_until(&["a.example"], ended)).addr_kept(),
            "has expired: it was valid until",
        ),
        (
            Server::for_clients_of(&authority, &authority.issue(&["a.example"]))
                .start(|link| drop(link.request()))
                .addr_kept(),
            "wants a certificate",
        ),
        (cleartext.addr_kept(), "does not speak TLS"),
        (closing.addr_kept(), "perhaps it does not speak TLS"),
        ((old, None), "is of X.509 version 1"),
    ];
    for ((addr, _origin), words) in rows {
        let label = addr.to_string();
        // Once by a request, and once by a probe.
        let asked = Proxy::start(&format!(
            "workers = 1\n[timeouts]\nconnect = 50\n[[routes]]\nbackend_addrs = [\"{addr}\"]\n{tls}\n"
        ));
        assert_eq!(asked.ask(get("/")).status(), 502, "{words}");
        if !words.contains("wants a certificate") {
            asked.wait_for_log(&["no TLS with backend", &label, "as a.example", words]);
            proxy(addr, &tls).wait_for_log(&["unhealthy", &label, words]);
        }
    }
}

/// An nginx whose certificate is of X.509 version 1, as OpenSSL makes it from a request.
fn of_version_1(directory: &Directory) -> (Nginx, SocketAddr) {
    let dir = directory.path().display();
    let make = format!(
        "openssl req -newkey rsa:2048 -nodes -keyout {dir}/old.key -subj /CN=a.example -out {dir}/old.csr && \
         openssl x509 -req -in {dir}/old.csr -signkey {dir}/old.key -days 30 -out {dir}/old.crt"
    );
    let made = Command::new("sh").args(["-c", &make]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let addr = free_addr();
    let nginx = Nginx::start(&format!(
        "listen {addr} ssl; ssl_certificate {dir}/old.crt; ssl_certificate_key {dir}/old.key;"
    ));
    (nginx, addr)
}

trait AddrKept {
    /// The address, and the origin that keeps it in use, if there is one.
    fn addr_kept(self) -> (SocketAddr, Option<Origin>);
}

impl AddrKept for Origin {
    fn addr_kept(self) -> (SocketAddr, Option<Origin>) {
        (self.addr, Some(self))
    }
}

/// With TLS 1.3 a client has sent its first request before it reads that it is refused.
#[test]
fn a_client_that_is_refused_reads_why_and_the_log_says_so() {
    let front = Front::to(&Origin::saying(""), "client_ca = \"{certs}/ca.crt\"\n");
    let stranger = Authority::new().issue(&["client.example"]);
    let late = SystemTime::now() - Duration::from_secs(86_400);
    let late = front.authority.issue_until(&["client.example"], late);
    let rows = [
        (
            front.dialer(),
            "CertificateRequired",
            "no certificate was shown",
        ),
        (
            Dialer::with_identity(&front.authority, &stranger),
            "UnknownCA",
            "unknown issuer",
        ),
        (
            Dialer::with_identity(&front.authority, &late),
            "CertificateExpired",
            "has expired",
        ),
    ];
    let mut refused = 0;
    for (dialer, alert, words) in rows {
        for alpn in ["h2", "http/1.1"] {
            eventually("the alert arrives", || {
                let dialed = dialer.offering(&[alpn]).connect(front.addr, "a.example");
                refused += 1;
                let log = || front.proxy.log();
                eventually("the refusal is logged", || {
                    let lines = log();
                    let lines = lines.lines().filter(|line| line.contains("was refused: "));
                    lines.count() >= refused || log().contains("more clients were refused")
                });
                let Ok(mut stream) = dialed else { return false };
                // The proxy has given the connection up already when these bytes arrive.
                let is_sent = (0..10).all(|_| {
                    let sent = stream.sock.write_all(&[0x17, 3, 3, 0, 1, 0]);
                    std::thread::sleep(Duration::from_millis(5));
                    sent.is_ok()
                });
                let read = stream.read(&mut [0; 1]).expect_err("a refusal");
                is_sent && read.to_string().contains(alert)
            });
            front
                .proxy
                .wait_for_log(&["INFO", "was refused", words, "client=\"127.0.0.1\""]);
        }
    }
}
