//! Clients with certificates of their own: who gets in, what a backend learns of them, and for which hosts they may
//! ask.

use crate::support::Origin;
use crate::support::Proxy;
use crate::support::h2::frame::get;
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::route;
use crate::support::tls::{Authority, BOTH, Dialer, Front, NAMES};

const WANTED: &str = "client_ca = \"{certs}/ca.crt\"\nclient_subject_header = \"X-Subject\"\n";

/// Says what it was told of the client.
fn telling() -> Origin {
    Origin::start(|link| {
        while let Some(request) = link.request() {
            let subjects = request.head.all("x-subject").join("|");
            link.send(crate::support::origin::ok(&subjects));
        }
    })
}

fn known(front: &Front) -> Dialer {
    let pair = front.authority.issue(&["client.example"]);
    Dialer::with_identity(&front.authority, &pair)
}

#[test]
fn who_has_no_certificate_stays_outside() {
    let origin = telling();
    let front = Front::to(&origin, WANTED);
    let mut beside = known(&front).client(front.addr, "a.example");
    let nobody = front.dialer();
    let stranger = Authority::new().issue(&["client.example"]);
    let stranger = Dialer::with_identity(&front.authority, &stranger);
    let rows = [
        (nobody, "CertificateRequired", "certificate_missing"),
        (stranger, "UnknownCA", "certificate_unknown_issuer"),
    ];
    for (dialer, alert, reason) in rows {
        for dialer in [dialer.clone(), dialer.offering(&["h2"])] {
            let refusal = dialer.refusal(front.addr, "a.example").expect(alert);
            assert!(refusal.contains(alert), "{refusal}");
        }
        front.wait_for_failures(reason, 2);
    }
    assert_eq!(origin.count(), 0);
    assert_eq!(
        beside
            .ask("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
            .status(),
        200
    );
}

/// A subject that a client itself writes into the field is never believed, nor a field that a backend could take for
/// it.
#[test]
fn backends_learn_the_subject_and_nothing_else() {
    let origin = telling();
    let required = Front::to(&origin, WANTED);
    let optional = Front::to(&origin, &format!("{WANTED}client_cert = \"optional\""));
    let rows = [
        (known(&required), &required, "CN=client.example"),
        (known(&optional), &optional, "CN=client.example"),
        (optional.dialer(), &optional, ""),
    ];
    for (dialer, front, subject) in rows {
        let mut client = dialer.client(front.addr, "a.example");
        for forged in [
            "",
            "X-Subject: CN=root\r\n",
            "x-subject: a\r\nX-SUBJECT: b\r\n",
        ] {
            let answer = client.ask(format!("GET / HTTP/1.1\r\nHost: a.example\r\n{forged}\r\n"));
            assert_eq!(answer.text(), subject, "{forged}");
        }
        let mut client = dialer.h2(front.addr, "test");
        for forged in [
            &[][..],
            &[("x-subject", "CN=root")],
            &[("x-subject", "a"), ("x-subject", "b")],
        ] {
            assert_eq!(client.ask(&get("/", forged)).text(), subject, "{forged:?}");
        }
    }
    for request in origin.requests() {
        assert_eq!(request.head.all("x_subject").len(), 0, "{request:?}");
    }
}

/// Another host may have other rules, so it is asked for on a connection of its own (RFC 9110 section 15.5.20).
#[test]
fn a_certificate_is_for_the_host_of_its_handshake() {
    let origin = telling();
    let front = Front::to(&origin, WANTED);
    let open = Front::to(&origin, "");
    let rows = [
        ("a.example", 200),
        ("A.Example:443", 200),
        ("b.example", 421),
        ("a.example.", 200),
        ("[::1]", 421),
        ("a.example", 200),
    ];
    let (first, second) = (known(&front), known(&front));
    let mut first = first.client(front.addr, "a.example");
    let mut second = second.h2(front.addr, "a.example");
    let mut anybody = open.client();
    for (host, status) in rows {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let answer = first.ask(&request);
        assert_eq!(answer.status(), status, "{host}");
        let fields = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", host),
            (":path", "/"),
        ];
        assert_eq!(second.ask(&fields).status(), status, "{host}");
        // Where nobody is asked for a certificate, a connection serves whatever the certificate is for.
        assert_eq!(anybody.ask(&request).status(), 200, "{host}");
    }
    let mut nameless = known(&front).client(front.addr, "a.example");
    assert_eq!(
        nameless
            .ask("GET http://b.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n")
            .status(),
        421
    );
}

/// A ticket is no certificate: one from where nobody was asked does not open a listener that asks.
#[test]
fn tickets_of_other_listeners_open_nothing() {
    let (directory, authority, origin) = (Directory::new(), Authority::new(), telling());
    let pair = authority.issue(&NAMES).write(&directory, "a");
    let ca = directory.write("ca.crt", &authority.pem());
    let (open, closed) = (free_addr(), free_addr());
    let _proxy = Proxy::start(&format!(
        "workers = 1\n[[listeners]]\naddr = \"{open}\"\ntls = {{ certificates = [{pair}] }}\n\
         [[listeners]]\naddr = \"{closed}\"\n\
         tls = {{ certificates = [{pair}], client_ca = {ca:?}, client_subject_header = \"x-subject\" }}\n{}",
        route("/", &[origin.addr])
    ));
    let dialer = Dialer::new(&authority, BOTH);
    let get = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    assert_eq!(dialer.client(open, "a.example").ask(get).status(), 200);
    let refusal = dialer.refusal(closed, "a.example").expect("a refusal");
    assert!(refusal.contains("CertificateRequired"), "{refusal}");
    // One from here does, and says who was there.
    let dialer = Dialer::with_identity(&authority, &authority.issue(&["client.example"]));
    for is_resumed in [false, true] {
        let mut client = dialer.client(closed, "a.example");
        assert_eq!(client.ask(get).text(), "CN=client.example");
        let kind = client.stream.conn.handshake_kind();
        assert_eq!(kind == Some(rustls::HandshakeKind::Resumed), is_resumed);
    }
}
