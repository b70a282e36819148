//! Reloads that change what a listener demands of its clients: who came before ends, with an answer that says so, and
//! is not served by the demands of before.

use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc;

use crate::support::h2::H2;
use crate::support::h2::frame;
use crate::support::origin::ok;
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::route;
use crate::support::tls::{Authority, BOTH, Dialer, NAMES, Secure};
use crate::support::{Client, Link, Origin, PATIENCE, Proxy, eventually};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// A listener that changes, beside another one, and whom it may trust.
struct Site {
    directory: Directory,
    addr: SocketAddr,
    /// Where the management API listens.
    admin: SocketAddr,
    /// Issues the listener's certificate.
    servers: Authority,
    /// Issue those of clients.
    clients: [Authority; 2],
    backend: SocketAddr,
}

impl Site {
    fn new(origin: &Origin) -> Site {
        let site = Site {
            directory: Directory::new(),
            addr: free_addr(),
            admin: free_addr(),
            servers: Authority::new(),
            clients: [Authority::new(), Authority::new()],
            backend: origin.addr,
        };
        site.renew_certificate();
        site.trust(&[0]);
        site
    }

    fn renew_certificate(&self) {
        self.servers.issue(&NAMES).write(&self.directory, "a");
    }

    /// Puts these authorities into the file of those that are trusted.
    fn trust(&self, authorities: &[usize]) {
        let pems = authorities.iter().map(|index| self.clients[*index].pem());
        self.directory
            .write("clients.crt", &pems.collect::<String>());
    }

    /// A configuration whose listener has these keys; `{tls}` stands for a certificate, `{ca}` for the authorities.
    fn config(&self, keys: &str) -> String {
        let dir = self.directory.path().display();
        let tls = format!("certificates = [{{ cert = \"{dir}/a.crt\", key = \"{dir}/a.key\" }}]");
        let ca = format!("client_ca = \"{dir}/clients.crt\"");
        let keys = keys.replace("{tls}", &tls).replace("{ca}", &ca);
        format!(
            "workers = 1\nshutdown_timeout = 0.2\n[[listeners]]\naddr = \"{}\"\n{keys}\n{}",
            self.addr,
            route("/", &[self.backend])
        )
    }

    #[track_caller]
    fn start(&self, keys: &str) -> Proxy {
        Proxy::start(&self.managed(keys))
    }

    /// Puts these keys of the listener in force on every worker.
    #[track_caller]
    fn reload(&self, proxy: &Proxy, keys: &str) {
        proxy.reload_everywhere(self.admin, &self.managed(keys));
    }

    /// A configuration whose listener has these keys, with the management API.
    fn managed(&self, keys: &str) -> String {
        let admin = format!("[admin]\nlisten_addr = \"{}\"\n", self.admin);
        self.config(keys).replacen("[[", &format!("{admin}[["), 1)
    }

    fn plain(&self) -> Client {
        Client::connect(self.addr)
    }

    /// A client without a certificate.
    fn anybody(&self) -> Dialer {
        Dialer::new(&self.servers, BOTH)
    }

    /// One with a certificate of the first authority.
    fn alice(&self) -> Dialer {
        let pair = self.clients[0].issue(&["alice"]);
        Dialer::with_identity(&self.servers, &pair)
    }
}

fn secure(site: &Site, dialer: &Dialer) -> Client<Secure> {
    dialer.client(site.addr, "a.example")
}

/// Answers requests for `/held` when it is let go, and others at once.
fn holding() -> (Origin, mpsc::Sender<()>) {
    let (let_go, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            if request.head.first_line().contains(" /held ") {
                let _ = wait.lock().unwrap().recv_timeout(2 * PATIENCE);
            }
            link.send(ok("served"));
        }
    });
    (origin, let_go)
}

#[track_caller]
fn closes_with(answer: &crate::support::Answer, status: u16) {
    let said = (answer.status(), answer.field("connection"));
    assert_eq!(said, (status, Some("close")));
}

/// Every change of a demand, and what a request gets on a connection that had not asked before.
#[test]
fn who_came_before_ends_and_is_asked_what_is_demanded_now() {
    const TLS: &str = "tls = { {tls} }";
    const OPTIONAL: &str = "tls = { {tls}, {ca}, client_cert = \"optional\" }";
    const REQUIRED: &str = "tls = { {tls}, {ca} }";
    const NAMED: &str = "tls = { {tls}, {ca}, client_subject_header = \"x-subject\" }";
    let rows = [
        // Before, after, whether with a certificate of its own, and the status then.
        ("", "redirect_to_https = true", false, 308),
        ("", "http2 = false", false, 200),
        ("", "proxy_protocol = true", false, 421),
        ("", TLS, false, 421),
        ("redirect_to_https = true", "", false, 200),
        (TLS, "", false, 200),
        (TLS, "redirect_to_https = true", false, 200),
        (TLS, OPTIONAL, false, 200),
        (TLS, REQUIRED, false, 421),
        (TLS, "tls = { {tls}, min_version = \"1.3\" }", false, 200),
        (TLS, "tls = { {tls}, alpn = [\"http/1.1\"] }", false, 200),
        (TLS, "tls = { {tls}, unknown_sni = \"refuse\" }", false, 200),
        (OPTIONAL, REQUIRED, false, 421),
        (OPTIONAL, REQUIRED, true, 200),
        (REQUIRED, OPTIONAL, true, 200),
        (REQUIRED, NAMED, true, 421),
        (NAMED, REQUIRED, true, 421),
        (NAMED, TLS, true, 421),
        (REQUIRED, TLS, true, 421),
        (REQUIRED, "", true, 421),
        (
            "",
            "http2 = false\nproxy_protocol = true\nproxy_protocol_from = [\"192.0.2.0/24\"]",
            false,
            421,
        ),
    ];
    let origin = Origin::saying("served");
    let site = Site::new(&origin);
    let proxy = site.start("");
    for (before, after, is_known, expected) in rows {
        site.reload(&proxy, before);
        let first = if before.contains("redirect") {
            308
        } else {
            200
        };
        let dialer = if is_known {
            site.alice()
        } else {
            site.anybody()
        };
        let served = if before.contains("tls") {
            asked_around(
                || secure(&site, &dialer),
                first,
                || site.reload(&proxy, after),
            )
        } else {
            asked_around(|| site.plain(), first, || site.reload(&proxy, after))
        };
        assert_eq!(served, expected, "{before} then {after}");
    }
}

/// Asks on one connection before and leaves it idle, makes another one, and asks on that after; gives the status.
#[track_caller]
fn asked_around<S: std::io::Read + std::io::Write>(
    connect: impl Fn() -> Client<S>,
    first: u16,
    reload: impl FnOnce(),
) -> u16 {
    let mut silent = connect();
    let mut idle = connect();
    assert_eq!(idle.ask(GET).status(), first);
    reload();
    idle.ends();
    let answer = silent.ask(GET);
    assert_eq!(answer.field("connection"), Some("close"));
    silent.ends();
    answer.status()
}

#[test]
fn who_is_trusted_is_verified_by_the_present_authorities() {
    let origin = Origin::saying("served");
    let site = Site::new(&origin);
    for mode in ["required", "optional"] {
        let keys = format!("tls = {{ {{tls}}, {{ca}}, client_cert = \"{mode}\" }}");
        site.trust(&[0]);
        let proxy = site.start(&keys);
        // One more authority, which takes nothing from who has the first; then the first one goes.
        for (authorities, status) in [(&[0, 1][..], 200), (&[1], 421)] {
            let (mut idle, mut silent) =
                (secure(&site, &site.alice()), secure(&site, &site.alice()));
            assert_eq!(idle.ask(GET).status(), 200);
            let mut streams = site.alice().h2(site.addr, "test");
            site.trust(authorities);
            site.reload(&proxy, &keys);
            idle.ends();
            closes_with(&silent.ask(GET), status);
            silent.ends();
            // Told to go, it asks once more all the same.
            streams.pump_until("GOAWAY", |client| !client.goaways.is_empty());
            if let Some(said) = asked_late(&mut streams) {
                assert_eq!(said, status);
            }
        }
        let refusal = site.alice().refusal(site.addr, "a.example");
        assert!(refusal.expect("no connection").contains("UnknownCA"));
    }
}

/// The status of an answer on a connection that is about to end, if there is any.
fn asked_late(client: &mut H2<Secure>) -> Option<u16> {
    let stream = client.begin(&frame::get("/", &[]), true);
    while client.pump() {
        let answer = client
            .answers
            .get(&stream)
            .filter(|answer| answer.has_ended());
        if let Some(answer) = answer {
            return Some(answer.status());
        }
    }
    None
}

#[test]
fn what_is_under_way_finishes_and_nothing_behind_it() {
    let (origin, let_go) = holding();
    let site = Site::new(&origin);
    let proxy = site.start("");
    let mut idle = site.plain();
    assert_eq!(idle.ask(GET).text(), "served");
    let mut running = site.plain();
    let held = GET.replace(" / ", " /held ");
    running.send(format!("{held}{GET}{GET}"));
    let mut streams = H2::start(site.addr, &[]);
    let stream = streams.begin(&frame::get("/held", &[]), true);
    origin.wait_for_requests(3);
    site.reload(&proxy, "redirect_to_https = true");
    idle.ends();
    for _ in 0..2 {
        let_go.send(()).unwrap();
    }
    let answer = running.answer();
    closes_with(&answer, 200);
    assert_eq!(answer.text(), "served");
    running.ends();
    let answer = streams.answer(stream);
    assert_eq!((answer.status(), answer.text().as_str()), (200, "served"));
    assert_eq!(streams.end(), Some(0), "GOAWAY without an error");
    assert_eq!(origin.count(), 3, "nothing was decided by what held before");
    assert_eq!(site.plain().ask(GET).status(), 308);
}

/// A listener's certificate is no demand, nor is anything else in the file.
#[test]
fn a_new_certificate_ends_nothing() {
    let origin = Origin::saying("served");
    let site = Site::new(&origin);
    let keys = "tls = { {tls}, {ca} }";
    let proxy = site.start(keys);
    let mut client = secure(&site, &site.alice());
    let mut streams = site.alice().h2(site.addr, "test");
    for _ in 0..3 {
        assert_eq!(client.ask(GET).field("connection"), None);
        assert_eq!(streams.ask(&frame::get("/", &[])).status(), 200);
        let before = site.directory.path().join("a.crt");
        let before = std::fs::read(before).unwrap();
        site.renew_certificate();
        site.trust(&[0]); // The authorities do not change, but the file is newer.
        site.reload(&proxy, keys);
        eventually("the new certificate is shown", || {
            let stream = site.alice().connect(site.addr, "a.example").unwrap();
            let shown = stream.conn.peer_certificates().unwrap()[0].clone();
            let before = <rustls::pki_types::CertificateDer as rustls::pki_types::pem::PemObject>::from_pem_slice(&before);
            shown != before.unwrap()
        });
    }
    assert_eq!(client.ask(GET).field("connection"), None);
    assert!(streams.goaways.is_empty());
}

/// Switches protocols, and sends back every byte that comes.
fn switching(link: &mut Link) {
    if link.request().is_some() {
        link.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
        while let Some(byte) = link.bytes(1) {
            link.send(byte);
        }
    }
}

#[test]
fn tunnels_end_after_a_while() {
    let origin = Origin::start(switching);
    let site = Site::new(&origin);
    let proxy = site.start("");
    let tunnel = |addr| {
        let mut client = Client::connect(addr);
        client.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
        assert_eq!(client.head().status(), 101);
        client.send("x");
        assert_eq!(client.bytes(1), b"x");
        client
    };
    let mut staying = tunnel(proxy.addr);
    let mut changed = tunnel(site.addr);
    site.reload(&proxy, "redirect_to_https = true");
    changed.ends();
    site.reload(&proxy, "");
    let mut removed = tunnel(site.addr);
    let gone = site
        .managed("")
        .replace(&site.addr.to_string(), &free_addr().to_string());
    proxy.reload_everywhere(site.admin, &gone);
    removed.ends();
    eventually("nobody listens there", || {
        TcpStream::connect(site.addr).is_err()
    });
    staying.send("y");
    assert_eq!(staying.bytes(1), b"y");
}

#[test]
fn the_management_api_does_the_same() {
    let origin = Origin::saying("served");
    let site = Site::new(&origin);
    let admin = site.admin;
    let dir = site.directory.path().display();
    let section = format!(
        "[admin]\nlisten_addr = \"{admin}\"\n\
         tls = {{ certificates = [{{ cert = \"{dir}/a.crt\", key = \"{dir}/a.key\" }}], client_ca = \"{dir}/clients.crt\" }}\n"
    );
    let config = site.config("").replacen("[[", &format!("{section}[["), 1);
    let proxy = Proxy::start(&config);
    let version = GET.replace(" / ", " /version ");
    let connect = || site.alice().client(admin, "a.example");
    let (mut idle, mut silent, mut slow) = (connect(), connect(), connect());
    assert_eq!(idle.ask(&version).status(), 200);
    let (begun, rest) = version.split_at(20);
    let reload = || proxy.reload(&format!("listen_addr = \"{}\"\n{config}", proxy.addr));
    site.renew_certificate();
    reload();
    assert_eq!(idle.ask(&version).status(), 200, "certificates end nothing");
    slow.send(begun);
    site.trust(&[1]);
    reload();
    idle.ends();
    silent.ends();
    slow.try_send(rest);
    let said = String::from_utf8(slow.rest()).unwrap();
    assert!(said.is_empty() || said.contains(" 421 "), "{said}");
    assert!(site.alice().refusal(admin, "a.example").is_some());
}
