//! Listening sockets that a new process is given and has no use for, or another one: whoever waits in their queues is
//! turned away in a protocol that it speaks, or closed. Nobody's request goes where it was not meant to go.

use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use crate::support::origin::ok;
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::{command, route};
use crate::support::tls::{Authority, BOTH, Dialer, NAMES};
use crate::support::{Client, Lineage, Origin, PATIENCE, eventually, get};

const TOKEN: &str = "secret-admin-token-0123456789";

/// A client that keeps the old process busy, so that all others wait.
struct Busy {
    origin: Origin,
    let_go: mpsc::Sender<()>,
    /// Requests that wait to be let go.
    held: usize,
    /// Hold what the old process takes at once.
    clients: Vec<Client>,
    /// Keeps the connections of a management API while it is there.
    admin: Option<mpsc::Sender<()>>,
}

impl Busy {
    /// A backend that holds requests for `/held` until it is let go.
    fn new() -> Busy {
        let (let_go, wait) = mpsc::channel();
        let wait = Arc::new(Mutex::new(wait));
        let origin = Origin::start(move |link| {
            while let Some(request) = link.request() {
                if request.head.first_line().contains(" /held ") {
                    let _ = wait.lock().unwrap().recv_timeout(2 * PATIENCE);
                }
                link.send(ok("served"));
            }
        });
        Busy {
            origin,
            let_go,
            held: 0,
            clients: Vec::new(),
            admin: None,
        }
    }

    /// A configuration of one worker, which takes one connection at each listener.
    fn config(&self, head: &str, more: &str) -> String {
        let route = route("/", &[self.origin.addr]);
        format!("{head}\nworkers = 1\n[limits]\nconnections = 1\n{more}\n{route}")
    }

    /// Takes the only connection that each of these listeners may have, and the one more that the worker accepts there
    /// to serve it next.
    #[track_caller]
    fn hold_listeners(&mut self, addrs: &[SocketAddr]) {
        for (addr, count) in addrs.iter().zip(1..) {
            let mut client = Client::connect(*addr);
            client.send(get("/held"));
            self.origin.wait_for_requests(count);
            self.held = count;
            self.clients.extend([client, Client::connect(*addr)]);
        }
    }

    /// Takes all connections of a management API, and asks on them again and again: those that are idle are closed.
    #[track_caller]
    fn hold_admin(&mut self, addr: SocketAddr) {
        let asked = format!(
            "GET /version HTTP/1.1\r\nHost: {addr}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        );
        let mut clients: Vec<_> = (0..palantir::base::limits::ADMIN_CONNECTIONS)
            .map(|_| {
                let mut client = Client::connect(addr);
                assert_eq!(client.ask(&asked).status(), 200);
                client
            })
            .collect();
        let (keep, is_kept) = mpsc::channel();
        self.admin = Some(keep);
        thread::spawn(move || {
            while is_kept.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                for client in &mut clients {
                    client.try_send(&asked);
                }
            }
        });
    }

    fn end(&mut self) {
        self.admin = None;
        for _ in 0..self.held {
            self.let_go.send(()).unwrap();
        }
        self.clients.clear();
    }

    /// The heads that the backend was sent beside those of the test itself.
    fn heads(&self) -> String {
        let requests = self.origin.requests();
        requests
            .iter()
            .map(|request| format!("{:?}\n", request.head))
            .collect()
    }
}

fn asking_admin(addr: SocketAddr) -> String {
    format!("GET /stats HTTP/1.1\r\nHost: {addr}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n")
}

fn admin(addr: SocketAddr) -> String {
    format!("[admin]\nlisten_addr = \"{addr}\"\ntoken_file = \"{{dir}}/token\"\n")
}

/// Replaces the configuration; `{dir}` is the proxy's directory.
fn write_config(lineage: &Lineage, config: &str) {
    let dir = lineage.proxy.directory.path().display().to_string();
    lineage.write_config(&config.replace("{dir}", &dir));
}

#[test]
fn the_management_api_leaves_no_token_to_a_backend() {
    let [addr, old, new] = [free_addr(), free_addr(), free_addr()];
    let listen = format!("listen_addr = \"{addr}\"");
    let both = format!("listen_addr = [\"{addr}\", \"{old}\"]");
    // The API moves, or ends, or its address becomes a listener's.
    let rows = [
        (&listen, admin(new), false),
        (&listen, String::new(), false),
        (&both, admin(new), true),
    ];
    for (head, after, is_listener) in rows {
        let mut busy = Busy::new();
        let directory = Directory::new();
        let token = directory.write("token", TOKEN);
        let here = |text: String| text.replace("{dir}/token", token.to_str().unwrap());
        let mut lineage =
            Lineage::launch(command(), addr, &busy.config(&listen, &here(admin(old))));
        lineage.proxy.wait_until_it_accepts();
        busy.hold_admin(old);
        let mut waiting: Vec<_> = (0..5).map(|_| Client::connect(old)).collect();
        waiting
            .iter_mut()
            .for_each(|client| client.send(asking_admin(old)));
        write_config(&lineage, &busy.config(head, &here(after)));
        lineage.upgrade();
        for mut client in waiting {
            let answer = client.answer();
            assert_eq!(
                (answer.status(), answer.field("connection")),
                (503, Some("close"))
            );
            client.ends();
        }
        assert_eq!(busy.heads(), "", "nothing of it reached the backend");
        if is_listener {
            eventually("the listener serves", || {
                Client::connect(old).ask(get("/")).text() == "served"
            })
        } else {
            eventually("nobody listens there", || TcpStream::connect(old).is_err())
        }
        busy.end();
        assert_eq!(lineage.stop(), 0);
    }
}

#[test]
fn who_waits_at_a_listener_in_cleartext_is_told() {
    tell_all(5, None);
}

/// The new process has far fewer descriptors than there are clients.
#[test]
fn everybody_is_told_where_descriptors_are_few() {
    tell_all(150, Some(60));
}

/// Has so many clients wait at an address that the new process does not listen on; `descriptors`: how many it has to
/// spare.
#[track_caller]
fn tell_all(clients: usize, descriptors: Option<u64>) {
    let [addr, gone] = [free_addr(), free_addr()];
    let mut busy = Busy::new();
    let both = format!("listen_addr = [\"{addr}\", \"{gone}\"]");
    let mut lineage = Lineage::launch(command(), addr, &busy.config(&both, ""));
    lineage.proxy.wait_until_it_accepts();
    busy.hold_listeners(&[addr, gone]);
    let mut waiting: Vec<_> = (0..clients).map(|_| Client::connect(gone)).collect();
    for client in &mut waiting {
        client.send("POST /late HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody");
    }
    write_config(
        &lineage,
        &busy.config(&format!("listen_addr = \"{addr}\""), ""),
    );
    if let Some(descriptors) = descriptors {
        lineage.proxy.leave_descriptors(descriptors); // The new process inherits the bound.
    }
    lineage.upgrade();
    // The clients keep their connections, so that each takes up a descriptor for as long as it is allowed to.
    for client in &mut waiting {
        assert_eq!(client.answer().status(), 503);
        client.ends();
    }
    drop(waiting);
    eventually("nobody listens there", || TcpStream::connect(gone).is_err());
    assert!(!busy.heads().contains("late"));
    busy.end();
    assert_eq!(lineage.stop(), 0);
}

#[test]
fn the_management_api_does_nothing_that_was_asked_of_a_backend() {
    let [addr, taken] = [free_addr(), free_addr()];
    let mut busy = Busy::new();
    let both = format!("listen_addr = [\"{addr}\", \"{taken}\"]");
    let mut lineage = Lineage::launch(command(), addr, &busy.config(&both, ""));
    lineage.proxy.wait_until_it_accepts();
    busy.hold_listeners(&[addr, taken]);
    let mut waiting: Vec<_> = (0..5).map(|_| Client::connect(taken)).collect();
    let ask = |client: &mut Client| client.send(get("/version"));
    waiting.iter_mut().for_each(ask);
    let head = format!("listen_addr = \"{addr}\"");
    let api = format!("[admin]\nlisten_addr = \"{taken}\"\n");
    write_config(&lineage, &busy.config(&head, &api));
    lineage.upgrade();
    for mut client in waiting {
        assert_eq!(client.answer().status(), 503);
        client.ends();
    }
    let version = format!("GET /version HTTP/1.1\r\nHost: {taken}\r\n\r\n");
    eventually("the management API serves", || {
        Client::connect(taken).ask(version.as_str()).status() == 200
    });
    busy.end();
    assert_eq!(lineage.stop(), 0);
}

#[test]
fn a_listener_that_wants_certificates_serves_nobody_without() {
    let [addr, gone] = [free_addr(), free_addr()];
    let (directory, authority) = (Directory::new(), Authority::new());
    let pair = authority.issue(&NAMES).write(&directory, "a");
    let ca = directory.write("ca.crt", &authority.pem());
    let listen = format!("listen_addr = \"{addr}\"");
    let tls = format!(
        "[[listeners]]\naddr = \"{gone}\"\ntls = {{ certificates = [{pair}], client_ca = {ca:?} }}\n"
    );
    let mut busy = Busy::new();
    let mut lineage = Lineage::launch(command(), addr, &busy.config(&listen, &tls));
    lineage.proxy.wait_until_it_accepts();
    busy.hold_listeners(&[addr]);
    // The place there is kept by one who is at work: who says nothing has to make room.
    let known = Dialer::with_identity(&authority, &authority.issue(&["client"]));
    let mut holding = known.client(gone, "a.example");
    holding.send("GET /held HTTP/1.1\r\nHost: a.example\r\n\r\n");
    busy.origin.wait_for_requests(2);
    busy.held = 2;
    busy.clients.push(Client::connect(gone));
    let mut waiting: Vec<_> = (0..5).map(|_| Client::connect(gone)).collect();
    for client in &mut waiting {
        client.send(get("/stolen"));
    }
    write_config(&lineage, &busy.config(&listen, ""));
    lineage.upgrade();
    for client in &mut waiting {
        assert_eq!(client.rest(), b"", "closed without a word");
    }
    eventually("nobody listens there", || TcpStream::connect(gone).is_err());
    assert!(!busy.heads().contains("stolen"));
    // The listener may come back.
    write_config(&lineage, &busy.config(&listen, &tls));
    eventually("the listener is there again", || {
        lineage.signal(libc::SIGHUP);
        TcpStream::connect(gone).is_ok()
    });
    assert_eq!(known.refusal(gone, "a.example"), None);
    let refusal = Dialer::new(&authority, BOTH).refusal(gone, "a.example");
    assert!(
        refusal
            .expect("no connection")
            .contains("CertificateRequired")
    );
    busy.end();
    assert_eq!(lineage.stop(), 0);
}

/// A client that waits when a listener changes meets the demands that the listener has from then on.
#[test]
fn a_listener_that_speaks_something_else_from_now_on_serves_nobody_by_what_was() {
    let addr = free_addr();
    let (directory, authority) = (Directory::new(), Authority::new());
    let pair = authority.issue(&NAMES).write(&directory, "a");
    let ca = directory.write("ca.crt", &authority.pem());
    let listener = |more: &str| format!("[[listeners]]\naddr = \"{addr}\"\n{more}\n");
    let rows = [
        (
            format!("tls = {{ certificates = [{pair}], client_ca = {ca:?} }}"),
            "HTTP/1.1 400",
        ),
        ("redirect_to_https = true".to_owned(), "HTTP/1.1 308"),
        ("proxy_protocol = true".to_owned(), ""),
    ];
    for (after, expected) in rows {
        let mut busy = Busy::new();
        let config = busy.config("", &listener(""));
        let mut lineage = Lineage::launch(command(), addr, &config);
        lineage.proxy.wait_until_it_accepts();
        busy.hold_listeners(&[addr]);
        let mut waiting = Client::connect(addr);
        waiting.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        write_config(&lineage, &busy.config("", &listener(&after)));
        lineage.upgrade();
        let said = String::from_utf8(waiting.rest()).unwrap();
        assert!(said.starts_with(expected), "{after}: {said}");
        assert!(!said.contains(" 200 "), "{after}: {said}");
        busy.end();
        assert_eq!(lineage.stop(), 0);
        assert_eq!(busy.origin.count(), 1);
    }
}

/// The reload must bring the listener back at once, while a process may still hold its old sockets.
#[test]
fn a_listener_that_an_upgrade_dropped_is_there_again_with_the_next_reload() {
    let [addr, gone] = [free_addr(), free_addr()];
    let socket = Directory::new();
    let path = socket.path().join("socket");
    let origin = Origin::saying("served");
    let route = route("/", &[origin.addr]);
    let without = format!("listen_addr = \"{addr}\"\n{route}");
    let with = format!(
        "listen_addr = [\"{addr}\", \"{gone}\", \"unix:{}\"]\n{route}",
        path.display()
    );
    let mut lineage = Lineage::launch(command(), addr, &with);
    lineage.proxy.wait_until_it_accepts();
    for round in 1..=3 {
        write_config(&lineage, &without);
        lineage.upgrade();
        write_config(&lineage, &with);
        let begun = "no longer listening on unix:";
        lineage.proxy.wait_for_log_times(&[begun], round);
        // An upgrade that is still under way refuses reloads.
        eventually("the reload is accepted", || {
            let refused = |log: &str| log.matches("an upgrade is under way").count();
            let accepted = |log: &str| log.matches("audit=\"changed\"").count();
            let before = lineage.proxy.log();
            lineage.signal(libc::SIGHUP);
            eventually("the reload has an outcome", || {
                let log = lineage.proxy.log();
                refused(&log) > refused(&before) || accepted(&log) > accepted(&before)
            });
            accepted(&lineage.proxy.log()) > accepted(&before)
        });
        eventually("it is served again", || TcpStream::connect(gone).is_ok());
        assert_eq!(Client::connect(gone).ask(get("/")).text(), "served");
        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
    }
    assert_eq!(lineage.stop(), 0);
}
