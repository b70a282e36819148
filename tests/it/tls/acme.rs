//! Certificates that palantir orders itself: from a real authority, which comes and asks over real sockets.

mod odd;

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use palantir::tls::{PairFiles, TlsStore};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::odd_authority::{Given, OddAuthority};
use crate::support::pebble::{CUSTOMER_KEY, Habits, Pebble};
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::command;
use crate::support::shim::{Clock, Names};
use crate::support::tls::{Authority, BOTH, Dialer};
use crate::support::{Client, PATIENCE, Proxy, eventually, get, metrics};

/// A route that is answered by palantir itself: nobody listens there.
const ROUTE: &str = "[[routes]]\nbackend_addrs = [\"127.0.0.1:1\"]\n";

/// A proxy whose only listener is where the authority asks for tls-alpn-01, and which keeps its state in `{state}`.
fn secure(pebble: &Pebble, state: &Directory, names: &[&str]) -> String {
    let (acme, tls, state) = (pebble.section(), pebble.tls, state.path().display());
    format!(
        "{acme}state_dir = \"{state}\"\n\
         [[listeners]]\naddr = \"{tls}\"\ntls = {{ automatic = {names:?} }}\n{ROUTE}"
    )
}

/// A client's end of a TLS connection.
struct Secure(StreamOwned<ClientConnection, TcpStream>);

impl Secure {
    /// Errors: the handshake failed.
    fn connect(addr: SocketAddr, name: &str, roots: &Arc<RootCertStore>) -> io::Result<Secure> {
        Secure::offer(addr, name, roots, &[])
    }

    fn offer(
        addr: SocketAddr,
        name: &str,
        roots: &Arc<RootCertStore>,
        alpn: &[&str],
    ) -> io::Result<Secure> {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots.clone());
        let mut config = config.with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = TcpStream::connect(addr)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut secure = Secure(StreamOwned::new(tls, socket));
        while secure.0.conn.is_handshaking() {
            secure.0.conn.complete_io(&mut secure.0.sock)?;
        }
        Ok(secure)
    }

    /// The certificate that the server showed.
    fn certificate(&self) -> CertificateDer<'static> {
        self.0.conn.peer_certificates().unwrap()[0].clone()
    }

    /// Asks for something that no backend answers; the status.
    fn ask(&mut self) -> u16 {
        self.0.write_all(get("/").as_bytes()).unwrap();
        let mut received = Vec::new();
        while !received.ends_with(b"\n") || !received.windows(11).any(|at| at == b"request id:") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            received.push(byte[0]);
        }
        let text = String::from_utf8(received).unwrap();
        text.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

/// Waits until a client that believes the authority is shown a certificate for this name.
#[track_caller]
fn wait_for_certificate(addr: SocketAddr, name: &str, roots: &Arc<RootCertStore>) -> Secure {
    let mut secure = None;
    eventually(&format!("there is a certificate for {name}"), || {
        secure = Secure::connect(addr, name, roots).ok();
        secure.is_some()
    });
    secure.unwrap()
}

/// How often the log says that an order began.
fn orders(proxy: &Proxy) -> usize {
    proxy.log().matches("ordering a certificate").count()
}

/// All files below a folder.
fn files(folder: &Directory) -> Vec<PathBuf> {
    let below = fs::read_dir(folder.path()).unwrap();
    let folders = below.map(|entry| entry.unwrap().path());
    let entries = folders.flat_map(|folder| fs::read_dir(folder).unwrap());
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn file(folder: &Directory, name: &str) -> PathBuf {
    let found = files(folder).into_iter().find(|path| path.ends_with(name));
    found.unwrap_or_else(|| panic!("no {name} in {:?}", files(folder)))
}

#[test]
fn a_name_is_proven_in_cleartext_and_its_certificate_kept() {
    let pebble = Pebble::start(Habits::default());
    let (state, tls) = (Directory::new(), free_addr());
    let (acme, http, folder) = (pebble.section(), pebble.http, state.path().display());
    let config = format!(
        "{acme}challenge = \"http-01\"\nstate_dir = \"{folder}/deep/er\"\n\
         [[listeners]]\naddr = \"{http}\"\nredirect_to_https = true\n\
         [[listeners]]\naddr = \"{tls}\"\ntls = {{ automatic = [\"a.example\"] }}\n{ROUTE}"
    );
    let roots = pebble.roots();
    for round in 0..2 {
        let mut proxy = Proxy::launch(command(), http, &config);
        proxy.wait_until_it_accepts();
        let mut secure = wait_for_certificate(tls, "a.example", &roots);
        assert_eq!(secure.ask(), 502);
        // A question that nobody waits for goes the ordinary way, and every other request did so all the time.
        for target in ["/.well-known/acme-challenge/x", "/"] {
            let answer = Client::connect(http).ask(get(target));
            assert_eq!(answer.status(), 308, "{answer:?}");
        }
        // A restart finds what was kept.
        assert_eq!(orders(&proxy), 1 - round, "{}", proxy.log());
        assert_eq!(proxy.stop(), 0);
    }
    let kept = state.path().join("deep/er").read_dir().unwrap();
    let kept = kept.last().unwrap().unwrap().path();
    for name in ["account.json", "a.example.pem"] {
        let mode = fs::metadata(kept.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(kept.read_dir().unwrap().count(), 2, "nothing else is left");
}

#[test]
fn a_name_is_proven_in_a_handshake_on_the_port_that_wants_the_certificate() {
    let pebble = Pebble::start(Habits::default());
    let (state, admin) = (Directory::new(), free_addr());
    let names = ["a.example", "b.example"];
    let config = secure(&pebble, &state, &names);
    let config = format!("{config}[admin]\nlisten_addr = \"{admin}\"\n");
    let proxy = Proxy::launch(command(), pebble.tls, &config);
    let roots = pebble.roots();
    for name in names {
        let mut secure = wait_for_certificate(pebble.tls, name, &roots);
        assert_eq!(secure.ask(), 502);
        proxy.wait_for_log(&["ordering a certificate", name]);
        proxy.wait_for_log(&["there is a certificate", name, "issued"]);
    }
    // Nobody waits for a proof any more; who offers more than that protocol means something else.
    for name in ["a.example", "c.example"] {
        assert!(Secure::offer(pebble.tls, name, &roots, &["acme-tls/1"]).is_err());
    }
    let mut ordinary = None;
    eventually("every worker has the certificate", || {
        ordinary = Secure::offer(pebble.tls, "a.example", &roots, &["acme-tls/1", "h2"]).ok();
        ordinary.is_some()
    });
    assert_eq!(ordinary.unwrap().0.conn.alpn_protocol(), Some(&b"h2"[..]));
    eventually("both orders are counted", || {
        metrics(admin).contains("palantir_certificate_orders_total{result=\"issued\"} 2")
    });
    let counted = metrics(admin);
    let refused = "palantir_certificate_orders_total{result=\"refused\"} 0";
    assert!(counted.contains(refused), "{counted}");
    let expiry = "palantir_certificate_expiry_seconds{listener=";
    assert_eq!(counted.matches(expiry).count(), 2, "{counted}");
}

#[test]
fn a_certificate_is_renewed_in_time_and_connections_go_on() {
    let pebble = Pebble::start(Habits {
        lifetime: 36, // Of which a third is left for the renewal.
        ..Habits::default()
    });
    let state = Directory::new();
    // One worker has the certificate before another one.
    let config = secure(&pebble, &state, &["a.example"]);
    let config = format!("workers = 1\n{config}");
    let proxy = Proxy::launch(command(), pebble.tls, &config);
    let roots = pebble.roots();
    let mut first = wait_for_certificate(pebble.tls, "a.example", &roots);
    assert_eq!(first.ask(), 502);
    let before = first.certificate();
    eventually("another certificate is shown", || {
        let secure = Secure::connect(pebble.tls, "a.example", &roots).unwrap();
        secure.certificate() != before
    });
    assert_eq!(first.ask(), 502, "a connection outlives its certificate");
    assert!(!proxy.log().contains("no certificate:"), "{}", proxy.log());
}

#[test]
fn an_authority_that_is_away_stops_nothing() {
    let mut pebble = Pebble::prepare(Habits::default());
    let (state, plain) = (Directory::new(), free_addr());
    let config = secure(&pebble, &state, &["a.example"]);
    let config = format!("listen_addr = \"{plain}\"\n{config}");
    let proxy = Proxy::launch(command(), plain, &config);
    proxy.wait_until_it_accepts();
    proxy.wait_for_log(&["a.example", "unreachable", "tried again in"]);
    assert_eq!(proxy.ask(get("/")).status(), 502);
    let nobody = Arc::new(RootCertStore::empty());
    let refused = Secure::connect(pebble.tls, "a.example", &nobody)
        .err()
        .unwrap();
    assert!(refused.to_string().contains("AccessDenied"), "{refused}");
    pebble.run();
    wait_for_certificate(pebble.tls, "a.example", &pebble.roots());
}

#[test]
fn a_name_that_cannot_be_proven_is_tried_again_later() {
    let pebble = Pebble::start(Habits::default());
    let (state, elsewhere) = (Directory::new(), free_addr());
    let config = secure(&pebble, &state, &["a.example"]);
    // Nobody answers where the authority asks.
    let (there, here) = (
        format!("addr = \"{}\"", pebble.tls),
        format!("addr = \"{elsewhere}\""),
    );
    let proxy = Proxy::launch(command(), elsewhere, &config.replace(&there, &here));
    proxy.wait_until_it_accepts();
    proxy.wait_for_log(&["a.example", "not_proven", "failures=1", "Failed to connect"]);
    let more = format!("{there}\ntls = {{ automatic = [\"a.example\"] }}\n[[listeners]]\n{here}");
    proxy.reload(&config.replace(&there, &more));
    assert_eq!(orders(&proxy), 1, "the same names: the pause goes on");
    wait_for_certificate(pebble.tls, "a.example", &pebble.roots());
    wait_for_certificate(elsewhere, "a.example", &pebble.roots());
    assert_eq!(orders(&proxy), 2);
}

#[test]
fn requests_that_are_refused_for_no_fault_are_made_again() {
    let pebble = Pebble::start(Habits {
        refused_nonces: 10,
        ..Habits::default()
    });
    let state = Directory::new();
    let names = [
        "a.example",
        "b.example",
        "c.example",
        "d.example",
        "e.example",
        "f.example",
    ];
    let proxy = Proxy::launch(command(), pebble.tls, &secure(&pebble, &state, &names));
    let roots = pebble.roots();
    for name in names {
        wait_for_certificate(pebble.tls, name, &roots);
    }
    // Three refusals in a row make one order in a hundred fail. Without a second try, hardly one in two would succeed.
    let failed = proxy.log().matches("no certificate:").count();
    assert!(failed <= 1, "{}", proxy.log());
}

#[test]
fn a_file_that_is_torn_or_foreign_is_told_and_replaced() {
    let pebble = Pebble::start(Habits::default());
    let state = Directory::new();
    let config = secure(&pebble, &state, &["a.example", "b.example"]);
    let roots = pebble.roots();
    let start = || Proxy::launch(command(), pebble.tls, &config);
    let mut proxy = start();
    wait_for_certificate(pebble.tls, "a.example", &roots);
    wait_for_certificate(pebble.tls, "b.example", &roots);
    proxy.stop();
    let (a, b) = (file(&state, "a.example.pem"), file(&state, "b.example.pem"));
    let whole = fs::read(&a).unwrap();
    fs::write(&a, &whole[..whole.len() / 2]).unwrap();
    fs::write(&b, &whole).unwrap();
    let account = file(&state, "account.json");
    fs::write(&account, "{").unwrap();
    let mut proxy = start();
    proxy.wait_for_log(&["a.example.pem", "another one is ordered"]);
    proxy.wait_for_log(&["b.example.pem is for other names: a.example"]);
    proxy.wait_for_log(&["account.json holds no account"]);
    wait_for_certificate(pebble.tls, "a.example", &roots);
    wait_for_certificate(pebble.tls, "b.example", &roots);
    assert_eq!(orders(&proxy), 2);
    proxy.stop();
    let proxy = start();
    proxy.wait_until_it_accepts();
    wait_for_certificate(pebble.tls, "a.example", &roots);
    assert_eq!(orders(&proxy), 0, "{}", proxy.log());
}

#[test]
fn a_kill_while_renewing_leaves_the_old_or_the_new() {
    let pebble = Pebble::start(Habits::default());
    let state = Directory::new();
    let config = secure(&pebble, &state, &["a.example"]);
    let proxy = Proxy::launch(command(), pebble.tls, &config);
    wait_for_certificate(pebble.tls, "a.example", &pebble.roots());
    drop(proxy);
    let path = file(&state, "a.example.pem");
    // Good until tomorrow, and due since years ago.
    let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    let old = Authority::new().issue_until(&["a.example"], tomorrow);
    let old = format!("{}{}", old.key, old.cert);
    let mut renewed = 0;
    for round in 0..8 {
        fs::write(&path, &old).unwrap();
        let proxy = Proxy::launch(command(), pebble.tls, &config);
        // In every other round while the new one is written, else just after.
        let deadline = Instant::now() + PATIENCE;
        let is_writing = || round % 2 == 0 && path.with_extension("pem.new").exists();
        while !is_writing() && fs::read_to_string(&path).unwrap() == old {
            assert!(Instant::now() < deadline, "nothing is renewed");
        }
        thread::sleep(Duration::from_micros(300 * round));
        drop(proxy);
        renewed += usize::from(fs::read_to_string(&path).unwrap() != old);
        let pair = TlsStore::default().pair(&PairFiles::in_one(path.clone()));
        pair.expect("a whole certificate");
        let account = fs::read(file(&state, "account.json")).unwrap();
        let kept: serde_json::Value = serde_json::from_slice(&account).unwrap();
        assert!(kept["credentials"]["id"].is_string(), "{kept}");
    }
    assert!(renewed >= 4, "{renewed} of 8 were renewed");
}

#[test]
fn an_authority_that_wants_to_know_its_customers_is_told() {
    let pebble = Pebble::start(Habits {
        wants_binding: true,
        ..Habits::default()
    });
    let state = Directory::new();
    let key = pebble
        .directory
        .write("customer.key", &format!("{CUSTOMER_KEY}\n"));
    let bound = format!("eab = {{ key_id = \"customer\", hmac_key_file = {key:?} }}\nstate_dir");
    let config = secure(&pebble, &state, &["a.example"]);
    let mut proxy = Proxy::launch(command(), pebble.tls, &config);
    proxy.wait_for_log(&["a.example", "refused", "externalAccountRequired"]);
    proxy.stop();
    let _proxy = Proxy::launch(command(), pebble.tls, &config.replace("state_dir", &bound));
    wait_for_certificate(pebble.tls, "a.example", &pebble.roots());
}

#[test]
fn new_contacts_are_told_to_the_authority() {
    let pebble = Pebble::start(Habits::default());
    let state = Directory::new();
    let config = secure(&pebble, &state, &["a.example"]);
    let account = || {
        let bytes = fs::read(file(&state, "account.json")).unwrap();
        serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()
    };
    let mut proxy = Proxy::launch(command(), pebble.tls, &config);
    wait_for_certificate(pebble.tls, "a.example", &pebble.roots());
    proxy.stop();
    let before = account();
    assert_eq!(before["contacts"][0], "mailto:ops@example.com");
    fs::remove_file(file(&state, "a.example.pem")).unwrap();
    let config = config.replace("ops@", "others@");
    let _proxy = Proxy::launch(command(), pebble.tls, &config);
    wait_for_certificate(pebble.tls, "a.example", &pebble.roots());
    let after = account();
    assert_eq!(after["contacts"][0], "mailto:others@example.com");
    assert_eq!(after["credentials"], before["credentials"]);
}

#[test]
fn an_account_that_the_authority_has_lost_is_made_again() {
    let mut pebble = Pebble::start(Habits::default());
    let state = Directory::new();
    let config = secure(&pebble, &state, &["a.example"]);
    let mut proxy = Proxy::launch(command(), pebble.tls, &config);
    wait_for_certificate(pebble.tls, "a.example", &pebble.roots());
    proxy.stop();
    let before = fs::read(file(&state, "account.json")).unwrap();
    fs::remove_file(file(&state, "a.example.pem")).unwrap();
    pebble.end();
    pebble.run();
    let proxy = Proxy::launch(command(), pebble.tls, &config);
    proxy.wait_for_log(&["a.example", "refused", "accountDoesNotExist"]);
    wait_for_certificate(pebble.tls, "a.example", &pebble.roots());
    assert_ne!(fs::read(file(&state, "account.json")).unwrap(), before);
}
