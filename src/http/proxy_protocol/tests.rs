//! Headers of the PROXY protocol, read and written.

use proptest::prelude::*;

use super::*;

fn ends(client: &str, server: &str) -> ProxiedAddrs {
    ProxiedAddrs::Tcp {
        client: client.parse().unwrap(),
        server: server.parse().unwrap(),
    }
}

/// A header of version 2.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = (rest.len() as u16).to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

#[test]
fn lines_table() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
    let rows: [(&str, ProxiedAddrs); 7] = [
        (
            "PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\r\n",
            ends("192.0.2.1:50000", "192.0.2.2:443"),
        ),
        (
            "PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n",
            ends("255.255.255.255:65535", "0.0.0.0:0"),
        ),
        (
            "PROXY TCP6 2001:db8::1 ::1 1 2\r\n",
            ends("[2001:db8::1]:1", "[::1]:2"),
        ),
        ("PROXY UNKNOWN\r\n", ProxiedAddrs::Unknown),
        ("PROXY UNKNOWN \r\n", ProxiedAddrs::Unknown),
        (
            "PROXY UNKNOWN ffff::1 ffff::2 x y z\r\n",
            ProxiedAddrs::Unknown,
        ),
        (&long, ProxiedAddrs::Unknown),
    ];
    assert_eq!(long.len(), limits::PROXY_LINE_BYTES);
    for (text, addrs) in rows {
        let bytes = text.len();
        let expected = Ok(Some(Header { bytes, addrs }));
        assert_eq!(parse(text.as_bytes()), expected, "{text:?}");
        let more = format!("{text}GET / HTTP/1.1\r\n");
        assert_eq!(parse(more.as_bytes()), expected, "{more:?}");
        for length in 0..bytes {
            let part = &text.as_bytes()[..length];
            assert_eq!(parse(part), Ok(None), "{length} of {text:?}");
        }
    }
}

#[test]
fn lines_that_are_refused() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
    let endless = "PROXY UNKNOWN ".to_owned() + &"x".repeat(93);
    let rows = [
        "POST / HTTP/1.1\r\n",
        "PROXX",
        "PROXY\r\n",
        "PROXY \r\n",
        "PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
        "PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2  2\r\n",
        "PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP6 [::1] ::1 1 2\r\n",
        "PROXY TCP6 ::1%1 ::1 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n",
        "PROXY UNKNOWN a\rb\r\n",
        &long,
        &endless,
    ];
    for text in rows {
        assert_eq!(parse(text.as_bytes()), Err(Malformed), "{text:?}");
    }
    assert_eq!(parse(b"PROXY UNKNOWN \xff\r\n"), Err(Malformed));
}

#[test]
fn binary_headers_table() {
    let v4 = [192, 0, 2, 1, 192, 0, 2, 2, 0xc3, 0x50, 1, 0xbb];
    let v6: Vec<u8> = [
        "2001:db8::1"
            .parse::<Ipv6Addr>()
            .unwrap()
            .octets()
            .as_slice(),
        Ipv6Addr::LOCALHOST.octets().as_slice(),
        &[0, 1, 0, 2],
    ]
    .concat();
    let extended = [&v4[..], &[0x04, 0, 3, 1, 2, 3, 0xee, 0, 0]].concat();
    let tcp4 = ends("192.0.2.1:50000", "192.0.2.2:443");
    let longest = [&v4[..], &[4, 0x0f, 0xe1], &[0; 0x0fe1]].concat();
    let rows = [
        (binary(PROXY, TCP4, &v4), tcp4),
        (binary(PROXY, TCP4, &extended), tcp4),
        (binary(PROXY, TCP4, &longest), tcp4),
        (binary(PROXY, TCP6, &v6), ends("[2001:db8::1]:1", "[::1]:2")),
        (binary(PROXY, UNIX_STREAM, &[0; 216]), ProxiedAddrs::Unknown),
        (binary(PROXY, UNSPECIFIED, &[]), ProxiedAddrs::Unknown),
        (binary(PROXY, UNSPECIFIED, &[1, 2]), ProxiedAddrs::Unknown),
        (binary(LOCAL, UNSPECIFIED, &[]), ProxiedAddrs::Local),
        (binary(LOCAL, 0xff, &[1, 2, 3]), ProxiedAddrs::Local),
    ];
    for (header, addrs) in rows {
        let bytes = header.len();
        let expected = Ok(Some(Header { bytes, addrs }));
        assert_eq!(parse(&header), expected, "{header:?}");
        assert_eq!(parse(&[&header[..], b"GET"].concat()), expected);
        for length in 0..bytes {
            assert_eq!(parse(&header[..length]), Ok(None), "{length}");
        }
    }
    assert_eq!(
        binary(PROXY, TCP4, &longest).len(),
        limits::PROXY_HEADER_BYTES
    );
}

#[test]
fn binary_headers_that_are_refused() {
    let v4 = [0; 12];
    let rows = [
        b"GET / HTTP/1.1\r\n".to_vec(),
        b"\r\n\r\n\0\r\nQUIX".to_vec(),
        b"\r\n\r\n\0\r\nQUIT\n\x11".to_vec(),
        binary(0x22, TCP4, &v4),
        binary(0x11, TCP4, &v4),
        binary(PROXY, TCP4, &v4[..11]),
        binary(PROXY, TCP6, &[0; 35]),
        binary(PROXY, UNIX_STREAM, &[0; 215]),
        // Datagrams, and what there is not.
        binary(PROXY, 0x12, &v4),
        binary(PROXY, 0x22, &[0; 36]),
        binary(PROXY, 0x32, &[0; 216]),
        binary(PROXY, 0x10, &v4),
        binary(PROXY, 0x41, &v4),
        // Extensions that do not come out even.
        binary(PROXY, TCP4, &[0; 13]),
        binary(PROXY, TCP4, &[0; 14]),
        [&binary(PROXY, TCP4, &[0; 16])[..28], &[4, 0, 2, 0]].concat(),
        // Too long, though the rest has not come yet.
        [SIGNATURE, &[LOCAL, 0, 0x0f, 0xf1]].concat(),
    ];
    for header in rows {
        assert_eq!(parse(&header), Err(Malformed), "{header:?}");
    }
}

#[test]
fn written_table() {
    let rows = [
        (ProxiedAddrs::Local, "PROXY UNKNOWN\r\n"),
        (ProxiedAddrs::Unknown, "PROXY UNKNOWN\r\n"),
        (
            ends("192.0.2.1:1", "192.0.2.2:2"),
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        ),
        (
            ends("[::ffff:192.0.2.1]:1", "192.0.2.2:2"),
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        ),
        (
            ends("[::1]:1", "192.0.2.2:2"),
            "PROXY TCP6 ::1 ::ffff:192.0.2.2 1 2\r\n",
        ),
    ];
    for (addrs, expected) in rows {
        let mut line = Vec::new();
        write_v1(&addrs, &mut line);
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }
    let mut bytes = Vec::new();
    write_v2(&ends("192.0.2.1:50000", "192.0.2.2:443"), &mut bytes);
    let expected =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\xc3\x50\x01\xbb";
    assert_eq!(bytes, expected);
}

fn addrs() -> impl Strategy<Value = ProxiedAddrs> {
    let tcp = any::<(SocketAddr, SocketAddr)>()
        .prop_map(|(client, server)| ProxiedAddrs::Tcp { client, server });
    prop_oneof![Just(ProxiedAddrs::Local), Just(ProxiedAddrs::Unknown), tcp]
}

/// As a header can say it: two addresses of one kind, without scope and flow.
fn plain(addrs: ProxiedAddrs) -> ProxiedAddrs {
    let ProxiedAddrs::Tcp { client, server } = addrs else {
        return addrs;
    };
    let (client_ip, server_ip): (IpAddr, IpAddr) = match Pair::of(client.ip(), server.ip()) {
        Pair::V4(client, server) => (client.into(), server.into()),
        Pair::V6(client, server) => (client.into(), server.into()),
    };
    ProxiedAddrs::Tcp {
        client: SocketAddr::new(client_ip, client.port()),
        server: SocketAddr::new(server_ip, server.port()),
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(addrs in addrs()) {
        let (mut line, mut binary) = (Vec::new(), Vec::new());
        write_v1(&addrs, &mut line);
        write_v2(&addrs, &mut binary);
        let bytes = binary.len();
        prop_assert_eq!(parse(&binary), Ok(Some(Header { bytes, addrs: plain(addrs) })));
        prop_assert!(line.len() <= limits::PROXY_LINE_BYTES);
        let told = if addrs == ProxiedAddrs::Local { ProxiedAddrs::Unknown } else { plain(addrs) };
        let bytes = line.len();
        prop_assert_eq!(parse(&line), Ok(Some(Header { bytes, addrs: told })));
    }

    #[test]
    fn nothing_panics_and_every_answer_stands(
        begin in prop_oneof![Just(&b""[..]), Just(LINE_BEGIN), Just(SIGNATURE)],
        rest in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = [begin, &rest].concat();
        let mut answer = Ok(None);
        for length in 0..=bytes.len() {
            let next = parse(&bytes[..length]);
            // An error or a header that was found at the beginning stays found, whatever bytes follow.
            prop_assert!(answer == Ok(None) || answer == next);
            answer = next;
        }
        if let Ok(Some(header)) = answer {
            prop_assert!(header.bytes <= bytes.len());
        }
    }
}
