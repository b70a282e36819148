//! Session tickets of clients with certificates: a ticket opens a listener no longer than the certificate that it was
//! given for.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, SystemTime};

use rustls::HandshakeKind;

use crate::support::place::{Directory, free_addr};
use crate::support::proxy::route;
use crate::support::tls::{Authority, Dialer, Front, NAMES, Pair, TLS12, TLS13, s_client};
use crate::support::{Origin, Proxy, get};

/// Long enough for two handshakes on a machine that is busy.
const VALIDITY: Duration = Duration::from_secs(10);

/// A client's certificate, and when it ends.
struct Ending {
    pair: Pair,
    end: SystemTime,
}

impl Ending {
    fn of(authority: &Authority) -> Ending {
        let end = SystemTime::now() + VALIDITY;
        let pair = authority.issue_until(&["fired.example"], end);
        Ending { pair, end }
    }

    /// Waits until the certificate has ended for everybody: times in certificates are whole seconds.
    fn wait(&self) {
        let past = self.end + Duration::from_secs(2);
        while let Ok(left) = past.duration_since(SystemTime::now()) {
            thread::sleep(left);
        }
    }
}

/// Makes a full handshake and a resumed one.
#[track_caller]
fn enter_twice(dialer: &Dialer, addr: SocketAddr, name: &str, path: &str) {
    for is_resumed in [false, true] {
        let mut client = dialer.client(addr, name);
        assert_eq!(client.ask(asking(path, name)).status(), 200);
        let kind = client.stream.conn.handshake_kind();
        assert_eq!(kind == Some(HandshakeKind::Resumed), is_resumed);
    }
}

fn asking(path: &str, host: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

#[test]
fn a_ticket_ends_with_the_certificate() {
    let origin = Origin::saying("");
    for mode in ["required", "optional"] {
        let keys = format!("client_ca = \"{{certs}}/ca.crt\"\nclient_cert = \"{mode}\"");
        let front = Front::to(&origin, &keys);
        let ending = Ending::of(&front.authority);
        let dialers = [TLS12, TLS13].map(|versions| {
            let dialer = Dialer::with_identity_over(&front.authority, &ending.pair, versions);
            enter_twice(&dialer, front.addr, "a.example", "/");
            dialer
        });
        let requests = origin.count();
        ending.wait();
        for dialer in &dialers {
            for _ in 0..3 {
                let refusal = dialer.refusal(front.addr, "a.example");
                let refusal = refusal.expect("no connection");
                assert!(refusal.contains("CertificateExpired"), "{mode}: {refusal}");
            }
        }
        front.wait_for_failures("certificate_expired", 6);
        assert_eq!(origin.count(), requests, "{mode}");
    }
}

/// A client that has a new certificate by now is not shut out by the ticket of the old one.
#[test]
fn a_renewed_certificate_is_asked_for_again() {
    let origin = Origin::saying("");
    let front = Front::to(&origin, "client_ca = \"{certs}/ca.crt\"");
    let ending = Ending::of(&front.authority);
    ending.pair.write(&front.directory, "old");
    let renewed = front.authority.issue(&["fired.example"]);
    renewed.write(&front.directory, "new");
    let file = |name: &str| front.directory.path().join(name).display().to_string();
    let shake = |pair: &str, option: &str| {
        let (cert, key) = (file(&format!("{pair}.crt")), file(&format!("{pair}.key")));
        let ticket = file("ticket");
        let said = s_client(
            front.addr,
            &[
                "-servername",
                "a.example",
                "-tls1_2",
                "-cert",
                &cert,
                "-key",
                &key,
                option,
                &ticket,
            ],
        );
        String::from_utf8_lossy(&said.stdout).into_owned()
    };
    let said = shake("old", "-sess_out");
    assert!(said.contains("New, TLSv1.2"), "{said}");
    let said = shake("old", "-sess_in");
    assert!(said.contains("Reused, TLSv1.2"), "{said}");
    ending.wait();
    let said = shake("new", "-sess_in");
    assert!(said.contains("New, TLSv1.2"), "{said}");
}

#[test]
fn the_management_api_knows_of_it_too() {
    let (directory, authority, addr) = (Directory::new(), Authority::new(), free_addr());
    let ca = directory.write("ca.crt", &authority.pem());
    let pair = authority.issue(&NAMES).write(&directory, "admin");
    let origin = Origin::saying("served");
    let proxy = Proxy::start(&format!(
        "[admin]\nlisten_addr = \"{addr}\"\ntls = {{ certificates = [{pair}], client_ca = {ca:?} }}\n{}",
        route("/", &[origin.addr])
    ));
    let ending = Ending::of(&authority);
    let dialers = [TLS12, TLS13].map(|versions| {
        let dialer = Dialer::with_identity_over(&authority, &ending.pair, versions);
        enter_twice(&dialer, addr, "a.example", "/version");
        dialer
    });
    ending.wait();
    for dialer in &dialers {
        for _ in 0..3 {
            let refusal = dialer.refusal(addr, "a.example").expect("no connection");
            assert!(refusal.contains("CertificateExpired"), "{refusal}");
        }
    }
    assert_eq!(proxy.ask(get("/")).text(), "served");
}
