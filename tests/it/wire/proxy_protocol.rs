//! The PROXY protocol: who the client is when another proxy stands before this one, and what backends are told.

mod backends;

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{Shutdown, SocketAddr, TcpStream};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::support::h2::H2;
use crate::support::h2::frame::{PREFACE, get};
use crate::support::origin::ok;
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::route;
use crate::support::tls::{Authority, BOTH, Dialer, NAMES, Server, connection_failures};
use crate::support::{Client, Link, Origin, PATIENCE, Proxy, eventually};

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const LINE: &str = "PROXY TCP4 192.0.2.7 192.0.2.1 4000 443\r\n";

/// A header of version 2.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = (rest.len() as u16).to_be_bytes();
    [
        b"\r\n\r\n\0\r\nQUIT\n",
        &[command, family][..],
        &length,
        rest,
    ]
    .concat()
}

fn binary4(client: [u8; 4]) -> Vec<u8> {
    binary(
        0x21,
        0x11,
        &[&client[..], &[192, 0, 2, 1, 0x0f, 0xa0, 1, 0xbb]].concat(),
    )
}

fn binary6(extensions: &[u8]) -> Vec<u8> {
    let address = |last| [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    binary(
        0x21,
        0x21,
        &[&address(7)[..], &address(1), &[0, 1, 0, 2], extensions].concat(),
    )
}

/// Says whom it was told the request is from.
fn telling() -> Origin {
    Origin::start(|link| {
        while let Some(request) = link.request() {
            let told = request
                .head
                .field("x-forwarded-for")
                .unwrap_or("nobody")
                .to_owned();
            link.send(ok(&told));
        }
    })
}

/// A proxy with two listeners that want a header, the second of which then speaks TLS.
struct Front {
    proxy: Proxy,
    plain: SocketAddr,
    tls: SocketAddr,
    admin: SocketAddr,
    dialer: Dialer,
    _directory: Directory,
}

impl Front {
    #[track_caller]
    fn start(config: &str) -> Front {
        Front::with_patience(60, config)
    }

    /// Starts a front where a header has to come in so many seconds.
    #[track_caller]
    fn with_patience(seconds: u32, config: &str) -> Front {
        let (directory, authority) = (Directory::new(), Authority::new());
        let pair = authority.issue(&NAMES).write(&directory, "a");
        let [plain, tls, admin] = [(); 3].map(|()| free_addr());
        let proxy = Proxy::start(&format!(
            "workers = 1\ntimeouts = {{ client_header = {seconds} }}\n[admin]\nlisten_addr = \"{admin}\"\n\
             [access_log]\npath = \"{{dir}}/access.log\"\nformat = \"json\"\n\
             [[listeners]]\naddr = \"{plain}\"\nproxy_protocol = true\n\
             [[listeners]]\naddr = \"{tls}\"\nproxy_protocol = true\n\
             tls = {{ certificates = [{pair}] }}\n{config}"
        ));
        Front {
            proxy,
            plain,
            tls,
            admin,
            dialer: Dialer::new(&authority, BOTH),
            _directory: directory,
        }
    }

    /// A client that says this first.
    #[track_caller]
    fn client(&self, header: impl AsRef<[u8]>) -> Client {
        let mut client = Client::connect(self.plain);
        client.send(header);
        client
    }

    #[track_caller]
    fn refused(&self) -> u64 {
        connection_failures(self.admin, "proxy_header")
    }
}

#[test]
fn the_client_is_who_the_header_says() {
    let origin = telling();
    let front = Front::start(&route("/", &[origin.addr]));
    // Without a client to name, it is whoever connected.
    let itself = front
        .proxy
        .client()
        .stream
        .local_addr()
        .unwrap()
        .ip()
        .to_string();
    let rows: [(&str, Vec<u8>, &str); 10] = [
        ("line, IPv4", LINE.into(), "192.0.2.7"),
        (
            "line, IPv6",
            "PROXY TCP6 2001:db8::7 ::1 1 2\r\n".into(),
            "2001:db8::7",
        ),
        (
            "line, mapped",
            "PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n".into(),
            "192.0.2.7",
        ),
        ("line, unknown", "PROXY UNKNOWN\r\n".into(), &itself),
        ("binary, IPv4", binary4([192, 0, 2, 8]), "192.0.2.8"),
        ("binary, IPv6", binary6(&[]), "2001:db8::7"),
        (
            "binary, with an extension",
            binary6(&[1, 0, 2, b'h', b'2']),
            "2001:db8::7",
        ),
        ("binary, Unix", binary(0x21, 0x31, &[0; 216]), &itself),
        ("binary, unspecified", binary(0x21, 0, &[]), &itself),
        ("binary, the proxy itself", binary(0x20, 0, &[]), &itself),
    ];
    for (name, header, expected) in &rows {
        // Sent apart from the request, with it, and byte by byte.
        let mut client = front.client(header);
        assert_eq!(client.ask(GET).text(), *expected, "{name}");
        assert_eq!(client.ask(GET).text(), *expected, "{name}, again");
        let mut client = front.client([header, GET.as_bytes()].concat());
        assert_eq!(client.answer().text(), *expected, "{name}, in one piece");
        let mut client = front.client("");
        header.iter().for_each(|byte| client.send([*byte]));
        assert_eq!(client.ask(GET).text(), *expected, "{name}, in pieces");
        let mut client = H2::connect(front.plain);
        client.send(header);
        client.greet(&[]);
        assert_eq!(
            client.ask(&get("/", &[])).text(),
            *expected,
            "{name}, HTTP/2"
        );
        let secured = |alpn: &str| {
            let dialer = front.dialer.offering(&[alpn]);
            dialer
                .connect_behind(header, front.tls, "a.example")
                .expect("a handshake")
        };
        let mut client = Client::over(secured("http/1.1"));
        assert_eq!(client.ask(GET).text(), *expected, "{name}, TLS");
        let mut client = H2::over(secured("h2"));
        client.greet(&[]);
        assert_eq!(
            client.ask(&get("/", &[])).text(),
            *expected,
            "{name}, TLS and HTTP/2"
        );
    }
    let lines = front.proxy.access_lines(rows.len() * 7);
    for (lines, (name, _, expected)) in lines.chunks(7).zip(&rows) {
        for line in lines {
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["client"], **expected, "{name}");
        }
    }
    assert_eq!(front.refused(), 0);
}

#[test]
fn the_hash_goes_by_the_client() {
    let (one, other) = (telling(), telling());
    let hashed =
        route("/", &[one.addr, other.addr]) + "balancing_algorithm = \"consistent_hash\"\n";
    let front = Front::start(&hashed);
    for last in 0..20 {
        let before = [one.count(), other.count()];
        for _ in 0..3 {
            front.client(binary4([192, 0, 2, last])).ask(GET);
        }
        let after = [one.count(), other.count()];
        let grown = [after[0] - before[0], after[1] - before[1]];
        assert!(grown.contains(&3), "{grown:?}");
    }
    assert!(one.count() > 0 && other.count() > 0);
}

#[test]
fn without_a_proper_header_nobody_is_served() {
    let origin = telling();
    let front = Front::start(&route("/", &[origin.addr]));
    let rows: [(&str, Vec<u8>); 10] = [
        ("a request", GET.into()),
        ("HTTP/2", PREFACE.into()),
        ("TLS", vec![22, 3, 1, 0, 5, 1, 0, 0, 1, 0]),
        (
            "a line that is too long",
            [b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat(),
        ),
        (
            "IPv4 said to be IPv6",
            "PROXY TCP6 192.0.2.7 192.0.2.1 1 2\r\n".into(),
        ),
        (
            "a port that is none",
            "PROXY TCP4 192.0.2.7 192.0.2.1 1 65536\r\n".into(),
        ),
        ("version 3", binary(0x31, 0x11, &[0; 12])),
        ("datagrams", binary(0x21, 0x12, &[0; 12])),
        ("too short for its family", binary(0x21, 0x21, &[0; 12])),
        ("too long", binary(0x21, 0x11, &[0; 5000])),
    ];
    let mut expected = 0;
    for (name, bytes) in &rows {
        for addr in [front.plain, front.tls] {
            let mut client = Client::connect(addr);
            client.try_send(bytes);
            client.ends();
            expected += 1;
            eventually(&format!("{name} is counted"), || {
                front.refused() == expected
            });
        }
    }
    // The client has no say in it: what is behind the header is its own.
    let answer = front
        .client(LINE)
        .ask("PROXY TCP4 192.0.2.9 192.0.2.1 4000 443\r\n\r\n");
    assert_eq!(answer.status(), 400);
    let twice = [LINE, LINE].concat();
    assert!(
        front
            .dialer
            .connect_behind(twice.as_bytes(), front.tls, "a.example")
            .is_err()
    );
    // The listener without this setting takes no header.
    assert_eq!(front.proxy.ask(LINE).status(), 400);
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_header_that_does_not_come_is_not_awaited_for_ever() {
    let origin = telling();
    let front = Front::with_patience(1, &route("/", &[origin.addr]));
    let mut expected = 0;
    // Clients that end or fall silent on the way.
    let mut silent = Vec::new();
    for header in [LINE.as_bytes(), &binary6(&[])] {
        for length in [0, 1, header.len() - 1] {
            // A client that is too slow to send so much has fallen silent before.
            let begin = || {
                let mut client = Client::connect(front.plain);
                client.try_send(&header[..length]);
                client
            };
            let mut gone = begin();
            let _ = gone.stream.shutdown(Shutdown::Write);
            gone.ends();
            silent.push(begin());
            expected += 2;
        }
    }
    silent.iter_mut().for_each(Client::ends);
    eventually("they are counted", || front.refused() == expected);
    assert_eq!(origin.count(), 0);
}

/// A connection from this address of the loopback network.
fn connect_from(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

/// A client that could send a header could say that it is anybody.
#[test]
fn a_header_is_only_taken_from_who_may_send_one() {
    let origin = telling();
    let (listed, anybody, admin) = (free_addr(), free_addr(), free_addr());
    let _proxy = Proxy::start(&format!(
        "workers = 1\n[admin]\nlisten_addr = \"{admin}\"\n\
         [[listeners]]\naddr = \"{listed}\"\nproxy_protocol = true\n\
         proxy_protocol_from = [\"10.0.0.0/8\", \"127.0.0.2\"]\n\
         [[listeners]]\naddr = \"{anybody}\"\nproxy_protocol = true\n{}",
        route("/", &[origin.addr])
    ));
    let mut refused = 0;
    for header in [LINE.as_bytes().to_vec(), binary4([10, 1, 2, 3]), Vec::new()] {
        for from in [[127, 0, 0, 1], [127, 0, 0, 3]] {
            let mut client = Client::over(connect_from(from, listed));
            client.try_send([&header[..], GET.as_bytes()].concat());
            client.ends();
            refused += 1;
            eventually("it is counted", || {
                connection_failures(admin, "proxy_sender") == refused
            });
        }
    }
    assert_eq!(origin.count(), 0);
    for (from, to) in [([127, 0, 0, 2], listed), ([127, 0, 0, 3], anybody)] {
        let mut client = Client::over(connect_from(from, to));
        client.send(LINE);
        assert_eq!(client.ask(GET).text(), "192.0.2.7");
        let mut client = H2::over(connect_from(from, to));
        client.send(LINE);
        client.greet(&[]);
        assert_eq!(client.ask(&get("/", &[])).text(), "192.0.2.7");
    }
    assert_eq!(connection_failures(admin, "proxy_header"), 0);
}

/// Says what it was told of the client's way.
fn repeating() -> Origin {
    Origin::start(|link| {
        while let Some(request) = link.request() {
            let told = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"]
                .map(|name| request.head.field(name).unwrap_or("nothing").to_owned());
            link.send(ok(&told.join(" | ")));
        }
    })
}

/// A header says for whom a proxy speaks, which makes nobody a trusted proxy.
#[test]
fn who_is_trusted_is_the_peer_of_the_connection() {
    let from = |client: &str| format!("PROXY TCP4 {client} 192.0.2.1 4000 443\r\n");
    let unknown = "PROXY UNKNOWN\r\n".to_owned();
    let rows = [
        // Trusted, header, client in the log, whether the proxy's word is passed on.
        ("\"10.0.0.0/8\"", from("10.1.2.3"), "10.1.2.3", false),
        ("\"10.0.0.0/8\"", unknown.clone(), "127.0.0.1", false),
        ("\"127.0.0.0/8\"", unknown.clone(), "203.0.113.99", true),
        ("\"127.0.0.0/8\"", from("192.0.2.7"), "192.0.2.7", true),
        (
            "\"127.0.0.1\", \"10.0.0.0/8\"",
            from("10.1.2.3"),
            "203.0.113.99",
            true,
        ),
        ("\"::ffff:127.0.0.0/104\"", unknown, "203.0.113.99", true),
    ];
    for (trusted, header, expected, is_believed) in rows {
        let (origin, behind) = (repeating(), free_addr());
        let proxy = Proxy::start(&format!(
            "workers = 1\ntrusted_proxies = [{trusted}]\n\
             [access_log]\npath = \"{{dir}}/access.log\"\nformat = \"json\"\n\
             [[listeners]]\naddr = \"{behind}\"\nproxy_protocol = true\n{}",
            route("/", &[origin.addr])
        ));
        let said = [
            ("x-forwarded-for", "203.0.113.99"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "bank.example"),
        ];
        let fields = said
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .concat();
        let mut client = Client::connect(behind);
        client.send(&header);
        let first = client.ask(format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n"));
        let mut client = H2::connect(behind);
        client.send(&header);
        client.greet(&[]);
        let second = client.ask(&get("/", &said));
        let peer = header.split(' ').nth(2).unwrap_or("127.0.0.1");
        let told = if is_believed {
            format!("203.0.113.99, {peer} | https | bank.example")
        } else {
            format!("203.0.113.99, {peer} | http | test")
        };
        assert_eq!(
            (first.text(), second.text()),
            (told.clone(), told),
            "{trusted} {header}"
        );
        for line in proxy.access_lines(2) {
            let line: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(line["client"], expected, "{trusted} {header}");
        }
    }
}
