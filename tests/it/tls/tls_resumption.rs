//! Connections that take up the keys of an earlier one: on any core, and after a restart if the keys of tickets are
//! kept.

use std::net::SocketAddr;

use rustls::HandshakeKind;

use crate::support::place::{Directory, free_addr};
use crate::support::proxy::route;
use crate::support::tls::{Authority, BOTH, Dialer, Front, NAMES, TLS12, TLS13, s_client};
use crate::support::{Origin, Proxy, metrics};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// Whether a new connection takes up an earlier one; it is used, so that the next may take up this one.
#[track_caller]
fn resumes(dialer: &Dialer, addr: SocketAddr) -> bool {
    let mut client = dialer.client(addr, "a.example");
    assert_eq!(client.ask(GET).status(), 200);
    client.stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
}

/// Workers that have served requests.
#[track_caller]
fn busy_workers(admin: SocketAddr) -> usize {
    let text = metrics(admin);
    let rows = text
        .lines()
        .filter(|line| line.starts_with("palantir_requests_total{"));
    rows.filter(|line| !line.ends_with(" 0")).count()
}

#[test]
fn on_every_core() {
    let origin = Origin::saying("");
    let config = "workers = 2\n".to_owned() + &route("/", &[origin.addr]);
    let front = Front::start("", &config);
    for versions in [TLS12, TLS13] {
        let dialer = Dialer::new(&front.authority, versions);
        assert!(!resumes(&dialer, front.addr), "{versions:?}");
        // The kernel spreads connections over the workers at random.
        for _ in 0..12 {
            assert!(resumes(&dialer, front.addr), "{versions:?}");
        }
    }
    assert_eq!(busy_workers(front.admin), 2);
}

#[test]
fn with_openssl() {
    let origin = Origin::saying("");
    let front = Front::to(&origin, "");
    let ticket = front.directory.path().join("ticket");
    let ticket = ticket.to_str().unwrap();
    let common = ["-servername", "a.example", "-tls1_2"];
    for (option, kind) in [("-sess_out", "New"), ("-sess_in", "Reused")] {
        let said = s_client(front.addr, &[&common[..], &[option, ticket]].concat());
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.contains(&format!("{kind}, TLSv1.2")), "{said}");
    }
}

#[test]
fn not_without_tickets() {
    let origin = Origin::saying("");
    let front = Front::to(&origin, "session_tickets = false");
    for versions in [TLS12, TLS13] {
        let dialer = Dialer::new(&front.authority, versions);
        for _ in 0..3 {
            assert!(!resumes(&dialer, front.addr), "{versions:?}");
        }
    }
}

/// Tells whether a connection is resumed after palantir is started, stopped, and started again with the same files.
#[track_caller]
fn resumes_after_a_restart(keeps_keys: bool) -> bool {
    let (directory, authority, origin) = (Directory::new(), Authority::new(), Origin::saying(""));
    let pair = authority.issue(&NAMES).write(&directory, "a");
    let keys = directory.path().join("tickets");
    let keys = format!("tls = {{ ticket_key_file = {keys:?} }}\n");
    let dialer = Dialer::new(&authority, BOTH);
    let start = || {
        let addr = free_addr();
        let mut proxy = Proxy::start(&format!(
            "workers = 1\n{}[[listeners]]\naddr = \"{addr}\"\ntls = {{ certificates = [{pair}] }}\n{}",
            if keeps_keys { &keys } else { "" },
            route("/", &[origin.addr])
        ));
        let resumed = resumes(&dialer, addr);
        assert!(resumes(&dialer, addr), "the same process");
        assert_eq!(proxy.stop(), 0);
        resumed
    };
    assert!(!start(), "the first connection of all");
    start()
}

#[test]
fn after_a_restart_with_the_keys_of_tickets_alone() {
    assert!(resumes_after_a_restart(true));
    assert!(!resumes_after_a_restart(false));
}
