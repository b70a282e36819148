//! The header that palantir sends to backends.

use super::*;

/// The header at the front of a connection: its version, family, client and destination, as text.
fn read_header(stream: &mut TcpStream) -> Option<String> {
    let mut exactly = |count: usize| {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).ok().map(|()| bytes)
    };
    let first = exactly(1)?;
    if first == b"P" {
        let mut line = first;
        while !line.ends_with(b"\n") {
            line.extend(exactly(1)?);
        }
        let line = String::from_utf8(line).unwrap();
        let words: Vec<&str> = line.strip_suffix("\r\n").unwrap().split(' ').collect();
        return Some(match words[..] {
            ["PROXY", "UNKNOWN"] => "1 unknown".to_owned(),
            ["PROXY", family, client, server, from, to] => {
                format!("1 {family} {client} {from} > {server} {to}")
            }
            _ => panic!("{line:?}"),
        });
    }
    let fixed = exactly(15)?;
    assert_eq!(&fixed[..11], b"\n\r\n\0\r\nQUIT\n");
    let rest = exactly(u16::from_be_bytes([fixed[13], fixed[14]]).into())?;
    let port = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
    Some(match (fixed[11], fixed[12]) {
        (0x20, 0) => "2 local".to_owned(),
        (0x21, 0) => "2 unknown".to_owned(),
        (0x21, 0x11) => {
            let ip = |at: usize| std::net::Ipv4Addr::from([0, 1, 2, 3].map(|byte| rest[at + byte]));
            format!("2 TCP4 {} {} > {} {}", ip(0), port(8), ip(4), port(10))
        }
        (0x21, 0x21) => {
            let ip = |at: usize| {
                let octets: [u8; 16] = rest[at..at + 16].try_into().unwrap();
                std::net::Ipv6Addr::from(octets)
            };
            format!("2 TCP6 {} {} > {} {}", ip(0), port(32), ip(16), port(34))
        }
        other => panic!("{other:x?}"),
    })
}

/// A backend that wants a header and says what it read, with the paths of requests on the same connection.
fn introduced() -> Origin {
    Origin::start(|link: &mut Link| {
        let Some(header) = read_header(&mut link.stream) else {
            return;
        };
        while link.request().is_some() && link.try_send(ok(&header)) {}
    })
}

fn told(client: &TcpStream, server: SocketAddr, version: u8) -> String {
    let from = client.local_addr().unwrap();
    let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
    let (ip, port) = (from.ip(), from.port());
    format!(
        "{version} {family} {ip} {port} > {} {}",
        server.ip(),
        server.port()
    )
}

#[test]
fn backends_are_told_who_came_and_where() {
    let origin = introduced();
    let behind = free_addr();
    let wildcard = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, free_addr().port()));
    let reached = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, wildcard.port()));
    for version in [1, 2] {
        let proxy = Proxy::start(&format!(
            "workers = 1\n[[listeners]]\naddr = \"{behind}\"\nproxy_protocol = true\n\
             [[listeners]]\naddr = \"{wildcard}\"\n{}proxy_protocol = \"v{version}\"\n",
            route("/", &[origin.addr])
        ));
        // Every request has a connection of its own, whatever its client's has carried before.
        let accepted = origin.accepted();
        let mut client = proxy.client();
        for _ in 0..2 {
            let expected = told(&client.stream, proxy.addr, version);
            assert_eq!(client.ask(GET).text(), expected);
            let post = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nab";
            assert_eq!(client.ask(post).text(), expected);
        }
        let mut client = proxy.h2();
        let expected = told(&client.stream, proxy.addr, version);
        let streams = [0; 2].map(|_| client.begin(&get("/", &[]), true));
        for stream in streams {
            assert_eq!(client.answer(stream).text(), expected);
        }
        assert_eq!(origin.accepted() - accepted, 6);
        // The address that was connected to, not the one that is listened on.
        let mut client = Client::connect(reached);
        let expected = told(&client.stream, reached, version);
        assert_eq!(client.ask(GET).text(), expected);
        // Addresses that another proxy says are passed on.
        let rows = [
            (
                LINE,
                format!("{version} TCP4 192.0.2.7 4000 > 192.0.2.1 443"),
            ),
            (
                "PROXY TCP6 2001:db8::7 ::1 1 2\r\n",
                format!("{version} TCP6 2001:db8::7 1 > ::1 2"),
            ),
        ];
        for (header, expected) in rows {
            let mut client = Client::connect(behind);
            client.send(header);
            assert_eq!(client.ask(GET).text(), expected);
        }
    }
}

/// Not the proxy that stands between, which is who connected.
#[test]
fn backends_are_told_the_client_that_trusted_proxies_name() {
    let (origin, behind) = (introduced(), free_addr());
    for version in [1, 2] {
        let proxy = Proxy::start(&format!(
            "workers = 1\ntrusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\n\
             [[listeners]]\naddr = \"{behind}\"\nproxy_protocol = true\n{}proxy_protocol = \"v{version}\"\n",
            route("/", &[origin.addr])
        ));
        let asked = |forwarded_for: &str| {
            let field = [("x-forwarded-for", forwarded_for)];
            let text =
                format!("GET / HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: {forwarded_for}\r\n\r\n");
            let direct = [
                proxy.ask(&text).text(),
                proxy.h2().ask(&get("/", &field)).text(),
            ];
            let mut client = Client::connect(behind);
            client.send("PROXY TCP4 10.1.2.3 192.0.2.1 4000 443\r\n");
            [&direct[..], &[client.ask(&text).text()]].concat()
        };
        let (ip, port) = (proxy.addr.ip(), proxy.addr.port());
        let told = |family: &str, client: &str, mapped: &str, behind: &str| {
            let direct = format!("{version} {family} {client} 0 > {mapped}{ip} {port}");
            let behind = format!("{version} {family} {client} {behind} 443");
            [direct.clone(), direct, behind]
        };
        assert_eq!(
            asked("198.51.100.1, 203.0.113.99"),
            told("TCP4", "203.0.113.99", "", "0 > 192.0.2.1")
        );
        assert_eq!(
            asked("2001:db8::7"),
            told("TCP6", "2001:db8::7", "::ffff:", "0 > ::ffff:192.0.2.1")
        );
        // A text that is no address names nobody.
        let [_, _, named] = &asked("unknown")[..] else {
            unreachable!()
        };
        assert_eq!(
            *named,
            format!("{version} TCP4 10.1.2.3 4000 > 192.0.2.1 443")
        );
    }
}

#[test]
fn who_comes_by_a_unix_socket_is_unknown() {
    let (origin, directory) = (introduced(), Directory::new());
    let path = directory.path().join("socket");
    let _proxy = Proxy::start(&format!(
        "[[listeners]]\naddr = \"unix:{}\"\n{}proxy_protocol = \"v2\"\n",
        path.display(),
        route("/", &[origin.addr])
    ));
    let mut client = Client::over(std::os::unix::net::UnixStream::connect(path).unwrap());
    assert_eq!(client.ask(GET).text(), "2 unknown");
}

/// Before TLS, on every attempt, and to probes too, or a backend that insists on a header would never be healthy.
#[test]
fn headers_come_first_whatever_follows() {
    let (directory, authority) = (Directory::new(), Authority::new());
    let ca = directory.write("ca.crt", &authority.pem());
    let server = Server::new(&authority.issue(&["backend.example"]));
    let origin = Origin::start(move |link: &mut Link| {
        let Some(header) = read_header(&mut link.stream) else {
            return;
        };
        let Some(mut link) = server.accept(link) else {
            return;
        };
        while link.request().is_some() && link.try_send(ok(&header)) {}
    });
    let down = free_addr();
    let proxy = Proxy::start(&format!(
        "workers = 1\ntimeouts = {{ connect = 60 }}\n{}proxy_protocol = \"v2\"\n\
         health_check = {{ path = \"/health\", interval_secs = 1 }}\n\
         tls = {{ ca = {ca:?}, server_name = \"backend.example\" }}\n",
        route("/", &[down, origin.addr])
    ));
    // One of them is the second attempt; the pool's budget allows no more.
    for _ in 0..2 {
        let mut client = proxy.client();
        let expected = told(&client.stream, proxy.addr, 2);
        assert_eq!(client.ask(GET).text(), expected);
    }
    proxy.wait_for_log(&[&down.to_string(), "unhealthy"]);
    let probed = || {
        origin
            .requests()
            .iter()
            .any(|request| request.head.first_line().contains("/health"))
    };
    eventually("it was probed", probed);
    assert_eq!(proxy.ask(GET).status(), 200);
    let paths: BTreeSet<String> = origin
        .requests()
        .iter()
        .map(|request| request.head.first_line().to_owned())
        .collect();
    assert_eq!(paths.len(), 2, "{paths:?}");
}
