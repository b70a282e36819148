//! Certificates, tickets, OCSP responses and orders are judged by the present time of the clock, and are valid again
//! when the clock is.

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustls::HandshakeKind;
use rustls::pki_types::CertificateDer;

use super::{DAY, STEPS, YEARS, is_well, step};
use crate::support::odd_authority::{Given, OddAuthority};
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::command;
use crate::support::shim::{Clock, Names};
use crate::support::tls::{Authority, BOTH, Dialer, Pair, Server, s_client};
use crate::support::{Origin, PATIENCE, Proxy, eventually, get};
use crate::tls::certificates::ocsp_response;

const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// A proxy whose clock a test sets, with every kind of certificate.
struct Walked {
    proxy: Proxy,
    admin: SocketAddr,
    clock: Clock,
    _names: Names,
    odd: OddAuthority,
    authority: Authority,
    /// The listener for which a certificate is ordered.
    automatic: SocketAddr,
    /// The listener whose certificate has an OCSP response.
    stapled: SocketAddr,
    /// The listener that demands a certificate of clients.
    demanding: SocketAddr,
    _files: Directory,
    _state: Directory,
    _backend: Origin,
}

/// The end of the certificates that may end.
fn tomorrow() -> SystemTime {
    SystemTime::now() + Duration::from_secs(DAY as u64)
}

/// A backend whose certificate ends tomorrow. It answers once on each connection, since the certificate is checked on
/// new connections only.
fn backend(authority: &Authority) -> Origin {
    let server = Server::new(&authority.issue_until(&["backend.example"], tomorrow()));
    let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\nsecure";
    server.start(move |link| {
        if link.request().is_some() {
            link.try_send(answer);
        }
    })
}

impl Walked {
    #[track_caller]
    fn start() -> Walked {
        let odd = OddAuthority::start(Given::Certificate("a.example", 0, 90 * DAY));
        let (authority, files, clock) = (Authority::new(), Directory::new(), Clock::ahead(0));
        let (names, state) = (Names::new(&odd.name_line()), Directory::new());
        let mut command = command();
        names.apply(&mut command);
        clock.apply(&mut command);
        let backend = backend(&authority);
        let [admin, automatic, stapled, demanding] = [(); 4].map(|()| free_addr());
        authority.issue(&["a.example"]).write(&files, "a");
        files.write("ca.crt", &authority.pem());
        let ocsp = files.path().join("a.ocsp");
        fs::write(ocsp, ocsp_response(tomorrow())).unwrap();
        let dir = files.path().display();
        let pair = format!("cert = \"{dir}/a.crt\", key = \"{dir}/a.key\"");
        let config = format!(
            "workers = 1\n{}[admin]\nlisten_addr = \"{admin}\"\n\
             [tls]\nticket_key_file = \"{dir}/tickets\"\n\
             [[listeners]]\naddr = \"{automatic}\"\ntls = {{ automatic = [\"a.example\"] }}\n\
             [[listeners]]\naddr = \"{stapled}\"\n\
             tls = {{ certificates = [{{ {pair}, ocsp = \"{dir}/a.ocsp\" }}] }}\n\
             [[listeners]]\naddr = \"{demanding}\"\n\
             tls = {{ certificates = [{{ {pair} }}], client_ca = \"{dir}/ca.crt\", client_cert = \"required\" }}\n\
             [[routes]]\npool = \"secure\"\n\
             [[pools]]\nname = \"secure\"\nbackends = [\"{}\"]\n\
             tls = {{ ca = \"{dir}/ca.crt\", server_name = \"backend.example\" }}\n",
            odd.section(&state),
            backend.addr
        );
        Walked {
            proxy: Proxy::start_as(command, &config),
            admin,
            clock,
            _names: names,
            odd,
            authority,
            automatic,
            stapled,
            demanding,
            _files: files,
            _state: state,
            _backend: backend,
        }
    }

    /// The certificate of the listener for which one is ordered.
    fn ordered(&self) -> Option<CertificateDer<'static>> {
        let dialer = Dialer::new(self.odd.issuer(), BOTH);
        let stream = dialer.connect(self.automatic, "a.example").ok()?;
        Some(stream.conn.peer_certificates()?[0].clone().into_owned())
    }

    fn is_stapled(&self) -> bool {
        let output = s_client(self.stapled, &["-status", "-servername", "a.example"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_absent = said.contains("OCSP response: no response sent");
        assert!(is_absent || said.contains("OCSP Response Data"), "{said}");
        !is_absent
    }

    /// Whether clients can resume an earlier connection.
    #[track_caller]
    fn resumes(&self) -> bool {
        let dialer = Dialer::new(&self.authority, BOTH);
        let mut resumed = None;
        for _ in 0..2 {
            let mut client = dialer.client(self.stapled, "a.example");
            client.ask(GET);
            resumed = client.stream.conn.handshake_kind();
        }
        resumed == Some(HandshakeKind::Resumed)
    }

    /// Every certificate is judged as it must be at this time; `has_ended`: whether tomorrow is over.
    #[track_caller]
    fn judges(&self, has_ended: bool, client: &Pair) {
        let status = if has_ended { 502 } else { 200 };
        eventually("the backend's certificate is judged", || {
            self.proxy.ask(get("/")).status() == status
        });
        let dialer = Dialer::with_identity(&self.authority, client);
        let refused = dialer.refusal(self.demanding, "a.example");
        assert_eq!(refused.is_some(), has_ended, "{refused:?}");
        eventually("the OCSP response is judged", || {
            self.is_stapled() != has_ended
        });
        eventually("connections are taken up", || self.resumes());
        assert!(self.ordered().is_some(), "a certificate is given up");
    }
}

#[test]
fn certificates_are_judged_by_the_clock_and_are_renewed_when_it_came_back() {
    let walked = Walked::start();
    let client = walked.authority.issue_until(&["alice"], tomorrow());
    eventually("there is a certificate", || walked.ordered().is_some());
    let first = walked.ordered();
    for ahead in STEPS {
        step(&walked.clock, walked.admin, ahead);
        walked.judges(ahead == YEARS, &client);
        is_well(&walked.proxy, walked.admin);
    }
    let given = walked.odd.given();
    assert!(given < 20, "{given} orders: {}", walked.proxy.log());
    let longer = Given::Certificate("a.example", 0, 300 * DAY);
    walked.odd.give(longer);
    step(&walked.clock, walked.admin, 80 * DAY);
    // The proxy reads a clock that may have been set once a minute.
    let deadline = Instant::now() + 3 * PATIENCE;
    while walked.ordered() == first {
        assert!(Instant::now() < deadline, "nothing is renewed");
        thread::sleep(Duration::from_millis(100));
    }
    assert!(walked.ordered().is_some());
}
