//! What a connection makes of frames, by the sections of RFC 9113: tables of bytes in, events and frames out.

use super::raw::*;
use super::*;
use crate::http::h2::Field;
use crate::http::h2::frame::{PREFACE, flag, kind};
use crate::http::h2::hpack::HpackError;

fn new_server() -> Connection {
    server(LocalSettings::default())
}

/// What a new server says to `bytes`: the error's word, or its frames.
fn verdict(bytes: &[&[u8]]) -> String {
    let mut server = new_server();
    match receive(&mut server, &bytes.concat()) {
        Ok(_) => sent(&mut server).join(", "),
        Err(error) => {
            let last = sent(&mut server).pop().unwrap();
            assert!(
                last.starts_with("goaway") && last.ends_with(error.word()),
                "{last}"
            );
            error.word().to_owned()
        }
    }
}

fn field<'b>(name: &'b str, value: &'b str) -> Field<'b> {
    let (name, value) = (name.as_bytes(), value.as_bytes());
    Field {
        name,
        value,
        sensitive: false,
    }
}

#[test]
fn prefaces_table() {
    let rows: [(&[&[u8]], Option<ConnectionError>); 6] = [
        (&[PREFACE, &settings(&[])], None),
        (
            &[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r"],
            Some(ConnectionError::BadPreface),
        ),
        (&[b"G"], Some(ConnectionError::BadPreface)),
        (
            &[PREFACE, &settings_ack()],
            Some(ConnectionError::BadPreface),
        ),
        (
            &[PREFACE, &headers(1, GET, true)],
            Some(ConnectionError::BadPreface),
        ),
        (
            &[PREFACE, &window_update(0, 1)],
            Some(ConnectionError::BadPreface),
        ),
    ];
    for (bytes, expected) in rows {
        let mut server = Connection::new(Role::Server, LocalSettings::default(), Micros(0));
        assert_eq!(receive(&mut server, &bytes.concat()).err(), expected);
    }
    let mut client = Connection::new(Role::Client, LocalSettings::default(), Micros(0));
    assert!(client.take_output(Vec::new()).starts_with(PREFACE));
    assert_eq!(
        receive(&mut client, &window_update(0, 1)).err(),
        Some(ConnectionError::BadPreface)
    );
}

#[test]
fn requests_and_bodies_become_events() {
    let mut server = new_server();
    let padded = frame(kind::DATA, flag::PADDED, 3, &[2, b'a', b'b', 0, 0]);
    let old_priority = frame(
        kind::HEADERS,
        0x2d,
        5,
        &[&[1, 0, 0, 0, 3, 9][..], GET, &[0]].concat(),
    );
    let bytes = [
        headers(1, GET, true),
        headers(3, POST, false),
        padded,
        frame(0xfa, 0xff, 3, b"unknown"),
        data(3, b"", false),
        data(3, b"c", false),
        headers(3, &section(&[("grpc-status", "0"), ("host", "x")]), true),
        old_priority,
        headers(7, POST, false),
        data(7, b"", true),
    ];
    let events = receive(&mut server, &bytes.concat()).unwrap();
    let expected = [
        "1 GET end",
        "3 POST",
        "3 data ab",
        "3 data c",
        "3 trailers grpc-status: 0",
        "5 GET end",
        "7 POST",
        "7 data  end",
    ];
    assert_eq!(events, expected);
    assert_eq!(server.open_streams(), 4);
    for stream in [1, 3, 5] {
        server.send_head(stream, 204, [], true).unwrap();
    }
    assert_eq!(
        sent(&mut server),
        ["1 headers 5", "3 headers 5", "5 headers 5"]
    );
    assert_eq!(server.open_streams(), 1);
}

/// Sections 4.1 to 4.3, 5.1, 5.1.1, 6.1 to 6.10: what ends the connection or the stream.
#[test]
fn broken_rules_table() {
    let ping = |flags, stream, len| frame(kind::PING, flags, stream, &[0; 9][..len]);
    let open = headers(1, POST, false);
    let done = headers(1, GET, true);
    let rows: &[(&str, &[&[u8]], &str)] = &[
        (
            "a frame of 16,385 bytes",
            &[&open, &data(1, &[0; 16_385], false)],
            "frame_size",
        ),
        (
            "HEADERS of 16,385 bytes",
            &[&frame(1, 4, 1, &[0; 16_385])],
            "frame_size",
        ),
        (
            "a section that cannot be decoded",
            &[&headers(1, &[0xff], true)],
            "compression",
        ),
        ("DATA on 0", &[&data(0, b"a", false)], "bad_stream_id"),
        (
            "DATA on an idle stream",
            &[&data(1, b"a", false)],
            "bad_stream_id",
        ),
        (
            "DATA after END_STREAM",
            &[&done, &data(1, b"a", false)],
            "1 reset 5",
        ),
        (
            "HEADERS after END_STREAM",
            &[&done, &headers(1, GET, true)],
            "1 reset 5",
        ),
        (
            "DATA after RST_STREAM",
            &[&open, &reset(1), &data(1, b"a", false)],
            "closed_stream",
        ),
        (
            "HEADERS after RST_STREAM",
            &[&open, &reset(1), &headers(1, GET, true)],
            "closed_stream",
        ),
        (
            "CONTINUATION after RST_STREAM",
            &[&open, &reset(1), &frame(9, 4, 1, &[])],
            "broken_section",
        ),
        (
            "padding longer than DATA",
            &[&open, &frame(0, 8, 1, &[5, 0, 0])],
            "bad_padding",
        ),
        (
            "padding as long as DATA",
            &[&open, &frame(0, 8, 1, &[2, 0, 0])],
            "",
        ),
        (
            "padded DATA without length",
            &[&open, &frame(0, 8, 1, &[])],
            "frame_size",
        ),
        ("HEADERS on 0", &[&headers(0, GET, true)], "bad_stream_id"),
        ("HEADERS on 2", &[&headers(2, GET, true)], "bad_stream_id"),
        (
            "a lower stream",
            &[&headers(5, GET, true), &headers(3, GET, true)],
            "bad_stream_id",
        ),
        (
            "padding longer than HEADERS",
            &[&frame(1, 0xc, 1, &[9, 0x82, 0x84])],
            "bad_padding",
        ),
        (
            "HEADERS too short for a priority",
            &[&frame(1, 0x24, 1, &[0; 4])],
            "frame_size",
        ),
        (
            "a stream that depends on itself",
            &[&frame(1, 0x25, 1, &[&[0, 0, 0, 1, 9], GET].concat())],
            "1 reset 1",
        ),
        (
            "HEADERS between pieces",
            &[&frame(1, 0, 1, GET), &headers(3, GET, true)],
            "broken_section",
        ),
        (
            "an unknown frame between pieces",
            &[&frame(1, 0, 1, GET), &frame(0xfa, 0, 0, &[])],
            "broken_section",
        ),
        (
            "another stream's piece",
            &[&frame(1, 0, 1, GET), &frame(9, 4, 3, &[])],
            "broken_section",
        ),
        (
            "CONTINUATION alone",
            &[&frame(9, 4, 1, &[])],
            "broken_section",
        ),
        (
            "CONTINUATION behind the end",
            &[&done, &frame(9, 4, 1, &[])],
            "broken_section",
        ),
        (
            "CONTINUATION on 0",
            &[&frame(1, 0, 1, GET), &frame(9, 4, 0, &[])],
            "bad_stream_id",
        ),
        (
            "PRIORITY on an idle stream",
            &[&frame(2, 0, 9, &[0; 5])],
            "",
        ),
        (
            "PRIORITY on 0",
            &[&frame(2, 0, 0, &[0; 5])],
            "bad_stream_id",
        ),
        (
            "PRIORITY of 4 bytes",
            &[&open, &frame(2, 0, 1, &[0; 4])],
            "1 reset 6",
        ),
        (
            "PRIORITY of 4 bytes, idle",
            &[&frame(2, 0, 1, &[0; 4])],
            "frame_size",
        ),
        (
            "PRIORITY on itself",
            &[&open, &frame(2, 0, 1, &[0, 0, 0, 1, 0])],
            "1 reset 1",
        ),
        (
            "PRIORITY on itself, idle",
            &[&frame(2, 0, 1, &[0, 0, 0, 1, 0])],
            "bad_priority",
        ),
        ("RST_STREAM on 0", &[&reset(0)], "bad_stream_id"),
        (
            "RST_STREAM on an idle stream",
            &[&reset(1)],
            "bad_stream_id",
        ),
        (
            "RST_STREAM of 3 bytes",
            &[&open, &frame(3, 0, 1, &[0; 3])],
            "frame_size",
        ),
        (
            "RST_STREAM behind the end",
            &[&open, &reset(1), &reset(1)],
            "",
        ),
        (
            "SETTINGS acknowledged with a payload",
            &[&frame(4, 1, 0, &[0; 6])],
            "frame_size",
        ),
        ("SETTINGS on 1", &[&frame(4, 0, 1, &[])], "bad_stream_id"),
        (
            "SETTINGS of 5 bytes",
            &[&frame(4, 0, 0, &[0; 5])],
            "frame_size",
        ),
        ("a push of 2", &[&settings(&[(2, 2)])], "bad_setting"),
        (
            "a window of 2^31",
            &[&settings(&[(4, 1 << 31)])],
            "window_overflow",
        ),
        (
            "frames of 16,383 bytes",
            &[&settings(&[(5, 16_383)])],
            "bad_setting",
        ),
        (
            "unknown settings",
            &[&settings(&[(0xf0, 1), (1, 0)])],
            "settings 1",
        ),
        ("PUSH_PROMISE", &[&open, &frame(5, 4, 1, &[0; 9])], "push"),
        ("PING on 1", &[&ping(0, 1, 8)], "bad_stream_id"),
        ("PING of 7 bytes", &[&ping(0, 0, 7)], "frame_size"),
        ("PING", &[&ping(0, 0, 8)], "ping 1 \0\0\0\0\0\0\0\0"),
        (
            "PING with unknown flags",
            &[&ping(0xfe, 0, 8)],
            "ping 1 \0\0\0\0\0\0\0\0",
        ),
        ("PING acknowledged unasked", &[&ping(1, 0, 8)], ""),
        ("GOAWAY on 1", &[&frame(7, 0, 1, &[0; 8])], "bad_stream_id"),
        (
            "GOAWAY of 7 bytes",
            &[&frame(7, 0, 0, &[0; 7])],
            "frame_size",
        ),
        (
            "WINDOW_UPDATE of 0",
            &[&window_update(0, 0)],
            "empty_window_update",
        ),
        (
            "WINDOW_UPDATE of 0 on a stream",
            &[&open, &window_update(1, 0)],
            "1 reset 1",
        ),
        (
            "WINDOW_UPDATE of 3 bytes",
            &[&frame(8, 0, 0, &[0; 3])],
            "frame_size",
        ),
        (
            "WINDOW_UPDATE on an idle stream",
            &[&window_update(1, 1)],
            "bad_stream_id",
        ),
        (
            "WINDOW_UPDATE behind the end",
            &[&open, &reset(1), &window_update(1, 1)],
            "",
        ),
        (
            "too large a window",
            &[&window_update(0, 0x7fff_ffff)],
            "window_overflow",
        ),
        (
            "too large a stream's window",
            &[&open, &window_update(1, 0x7fff_ffff)],
            "1 reset 3",
        ),
        (
            "windows grown by a setting",
            &[
                &open,
                &window_update(1, 0x7fff_0000),
                &settings(&[(4, 70_000)]),
            ],
            "window_overflow",
        ),
        (
            "PRIORITY_UPDATE on 1",
            &[&frame(0x10, 0, 1, &[0; 4])],
            "bad_stream_id",
        ),
        (
            "PRIORITY_UPDATE of nothing",
            &[&frame(0x10, 0, 0, &[0; 4])],
            "bad_stream_id",
        ),
        (
            "PRIORITY_UPDATE of an idle stream",
            &[&frame(0x10, 0, 0, &[0, 0, 0, 9, b'u', b'=', b'1'])],
            "",
        ),
        (
            "trailers without an end",
            &[&open, &headers(1, &section(&[("a", "b")]), false)],
            "1 reset 1",
        ),
        (
            "trailers with a pseudo-field",
            &[&open, &headers(1, &section(&[(":path", "/")]), true)],
            "1 reset 1",
        ),
        (
            "no pseudo-fields",
            &[&headers(1, &section(&[("a", "b")]), true)],
            "1 reset 1",
        ),
    ];
    for (name, bytes, expected) in rows {
        assert_eq!(verdict(bytes), *expected, "{name}");
    }
}

/// A reserved bit that is set, and flags that mean nothing for a type, are ignored (section 4.1).
#[test]
fn what_must_be_ignored_is() {
    let mut server = new_server();
    let mut bytes = headers(1, GET, true);
    (bytes[4], bytes[5]) = (bytes[4] | 0xc2, 0x80);
    assert_eq!(receive(&mut server, &bytes).unwrap(), ["1 GET end"]);
}

#[test]
fn lengths_are_held_to_the_body() {
    let length = |value: &str| [POST, &section(&[("content-length", value)])].concat();
    let rows: &[(&[&[u8]], &str)] = &[
        (
            &[&headers(1, &length("2"), false), &data(1, b"ab", true)],
            "",
        ),
        (&[&headers(1, &length("0"), true)], ""),
        (
            &[&headers(1, &length("2"), false), &data(1, b"a", true)],
            "1 reset 1",
        ),
        (
            &[&headers(1, &length("2"), false), &data(1, b"abc", false)],
            "1 reset 1",
        ),
        (
            &[
                &headers(1, &length("2"), false),
                &data(1, b"a", false),
                &headers(1, &section(&[("a", "b")]), true),
            ],
            "1 reset 1",
        ),
        (&[&headers(1, &length("2"), true)], "1 reset 1"),
    ];
    for (bytes, expected) in rows {
        assert_eq!(verdict(bytes), *expected);
    }
}

#[test]
fn refused_requests_are_answered_or_reset() {
    let mut server = server(LocalSettings {
        streams: 2,
        ..LocalSettings::default()
    });
    let long = format!("/{}", "a".repeat(100)).repeat(90);
    let mut long_target = section(&[(":method", "GET"), (":scheme", "http"), (":authority", "h")]);
    long_target.extend([0x04, 0x7f, 0x83, 0x46]);
    long_target.extend(long.bytes());
    let bytes = [
        headers(1, &section(&[("x", "y")]), true),
        headers(3, &long_target, true),
        headers(
            5,
            &section(&[(":method", "CONNECT"), (":authority", "h:1")]),
            false,
        ),
        headers(7, GET, true),
    ];
    let events = receive(&mut server, &bytes.concat()).unwrap();
    let expected = [
        "1 refused bad_pseudo_field",
        "3 refused target_too_long answer",
        "5 refused method_not_allowed answer",
    ];
    assert_eq!(events, expected);
    assert_eq!(sent(&mut server), ["1 reset 1", "7 reset 7"]);
    server.send_head(3, 414, [], true).unwrap();
    assert_eq!(
        receive(&mut server, &headers(9, GET, true)).unwrap(),
        ["9 GET end"]
    );
    // What was under way when a stream was reset is ignored, and its bytes given back.
    server.reset(5, ErrorCode::NO_ERROR);
    assert_eq!(
        receive(&mut server, &data(5, b"abc", true)).unwrap(),
        [""; 0]
    );
    assert_eq!(
        (server.released, server.receive_window),
        (3, i64::from(server.local.connection_window) - 3)
    );
}

#[test]
fn the_tables_stay_the_same_whatever_becomes_of_a_section() {
    let mut server = server(LocalSettings {
        streams: 1,
        ..LocalSettings::default()
    });
    // A field that enters the table with a refused stream is used by the next.
    let filling = [GET, &[0x40, 1, b'a', 1, b'b']].concat();
    let bytes = [headers(1, GET, true), headers(3, &filling, true)];
    receive(&mut server, &bytes.concat()).unwrap();
    server.send_head(1, 200, [], true).unwrap();
    receive(&mut server, &headers(5, &[GET, &[0xbe]].concat(), true)).unwrap();
    assert_eq!(server.head.lines(), b"a: b\r\n\r\n");
    let error = receive(&mut server, &headers(7, &[GET, &[0xbf]].concat(), true)).err();
    assert_eq!(
        error,
        Some(ConnectionError::Compression(HpackError::BadIndex))
    );
}

/// Section 6.9: neither side exceeds a window, and released bytes are granted anew in large steps.
#[test]
fn received_bytes_are_bounded_by_windows() {
    let local = LocalSettings {
        stream_window: 65_535,
        connection_window: 100_000,
        ..LocalSettings::default()
    };
    let mut server = server(local);
    receive(
        &mut server,
        &[headers(1, POST, false), headers(3, POST, false)].concat(),
    )
    .unwrap();
    let full = [0; 16_384];
    for _ in 0..3 {
        receive(&mut server, &data(1, &full, false)).unwrap();
        receive(&mut server, &data(3, &full, false)).unwrap();
    }
    // 98,304 of 100,000 bytes are held.
    server.release(1, 32_766);
    assert!(sent(&mut server).is_empty());
    server.release(1, 1);
    assert_eq!(sent(&mut server), ["1 window 32767"]);
    server.release(3, 17_233);
    assert_eq!(sent(&mut server), ["0 window 50000"]);
    let most = data(3, &full[..16_383], false);
    assert_eq!(receive(&mut server, &most).unwrap().len(), 1);
    assert_eq!(
        receive(&mut server, &data(3, b"x", false)).unwrap(),
        ["3 reset 3 by us"]
    );
    receive(&mut server, &data(1, &full, false)).unwrap();
    receive(&mut server, &data(1, &full, false)).unwrap();
    let error = receive(&mut server, &data(1, &full, false)).err();
    assert_eq!(error, Some(ConnectionError::WindowExceeded));
}

#[test]
fn sent_bytes_are_bounded_by_windows() {
    let mut server = new_server();
    receive(
        &mut server,
        &[
            settings(&[(4, 10)]),
            headers(1, GET, true),
            headers(3, GET, true),
        ]
        .concat(),
    )
    .unwrap();
    sent(&mut server);
    server.send_head(1, 200, [], false).unwrap();
    assert_eq!(server.send_data(1, &[0; 25], true, Micros(0)), Ok(10));
    assert_eq!(sent(&mut server), ["1 headers 4", "1 data 10 0"]);
    assert_eq!(server.next_to_send(), None);
    // The window turns negative: 10 are sent, 4 were allowed.
    receive(
        &mut server,
        &[settings(&[(4, 4)]), window_update(1, 6)].concat(),
    )
    .unwrap();
    assert_eq!(server.next_to_send(), None);
    receive(&mut server, &window_update(1, 5)).unwrap();
    assert_eq!(server.next_to_send(), Some(1));
    assert_eq!(server.send_data(1, &[0; 15], true, Micros(0)), Ok(5));
    receive(&mut server, &settings(&[(4, 100_000)])).unwrap();
    assert_eq!(server.next_to_send(), Some(1));
    sent(&mut server);
    assert_eq!(server.send_data(1, &[0; 10], true, Micros(0)), Ok(10));
    assert_eq!(sent(&mut server), ["1 data 10 1"]);
    assert_eq!(server.send_data(1, b"a", true, Micros(0)), Err(Closed));
    // The connection's window: 65,535 less 25.
    server.send_head(3, 200, [], false).unwrap();
    sent(&mut server);
    assert_eq!(
        server.send_data(3, &[0; 70_000], true, Micros(0)),
        Ok(65_510)
    );
    assert_eq!(
        sent(&mut server),
        [
            "3 data 16384 0",
            "3 data 16384 0",
            "3 data 16384 0",
            "3 data 16358 0"
        ]
    );
    receive(&mut server, &window_update(0, 5_000)).unwrap();
    assert_eq!(server.next_to_send(), Some(3));
    assert_eq!(server.send_data(3, &[0; 4_490], true, Micros(0)), Ok(4_490));
    assert_eq!(server.open_streams(), 0);
}

/// RFC 9218: by urgency, then one after the other, then in turns.
#[test]
fn urgent_streams_send_first() {
    let mut server = new_server();
    let with = |priority| [GET, &section(&[("priority", priority)])].concat();
    let bytes = [
        window_update(0, 1 << 30),
        settings(&[(4, 1 << 30)]),
        headers(1, &with("i"), true),
        headers(3, &with("i"), true),
        headers(5, GET, true),
        headers(7, GET, true),
        headers(9, &with("u=5"), true),
        frame(kind::PRIORITY_UPDATE, 0, 0, b"\0\0\0\x09u=0"),
    ];
    receive(&mut server, &bytes.concat()).unwrap();
    sent(&mut server);
    let body = [0; 40_000];
    let mut left: std::collections::HashMap<StreamId, usize> =
        [1, 3, 5, 7, 9].map(|id| (id, 40_000)).into();
    for id in [1, 3, 5, 7, 9] {
        let taken = server.send_data(id, &body, true, Micros(0)).unwrap();
        *left.get_mut(&id).unwrap() -= taken;
    }
    let mut order = Vec::new();
    while left.values().any(|left| *left > 0) {
        sent(&mut server);
        while let Some(id) = server.next_to_send() {
            let rest = left.get_mut(&id).unwrap();
            *rest -= server
                .send_data(id, &body[..*rest], true, Micros(0))
                .unwrap();
            order.push(id);
        }
    }
    // Stream 1 was alone and sent at once, 3 found some room left.
    assert_eq!(order, [9, 5, 5, 7, 3, 3]);
}

#[test]
fn incremental_streams_take_turns() {
    let mut server = new_server();
    let incremental = [GET, &section(&[("priority", "i")])].concat();
    let bytes = [
        window_update(0, 1 << 30),
        settings(&[(4, 1 << 30)]),
        headers(1, &incremental, true),
        headers(3, &incremental, true),
    ];
    receive(&mut server, &bytes.concat()).unwrap();
    assert_eq!(
        server.send_data(1, &[0; 200_000], true, Micros(0)),
        Ok(65_536 - 9)
    );
    assert_eq!(server.send_data(3, &[0; 200_000], true, Micros(0)), Ok(0));
    let mut order = Vec::new();
    for _ in 0..2 {
        sent(&mut server);
        while let Some(id) = server.next_to_send() {
            assert!(
                server
                    .send_data(id, &[0; 100_000], true, Micros(0))
                    .unwrap()
                    <= 16_384
            );
            order.push(id);
        }
    }
    assert_eq!(order, [1, 3, 1, 3, 1, 3, 1, 3, 1, 3][..order.len()]);
    assert!(order.len() >= 8);
}

#[test]
fn a_long_head_is_sent_in_pieces() {
    let mut server = new_server();
    receive(&mut server, &headers(1, GET, true)).unwrap();
    let long = "x".repeat(40_000);
    server.send_head(1, 200, [field("a", &long)], true).unwrap();
    assert_eq!(
        sent(&mut server),
        ["1 headers 1", "1 continuation 0", "1 continuation 4"]
    );
}

#[test]
fn a_client_asks_and_is_answered() {
    let mut client = client();
    let request = Request {
        method: b"GET",
        scheme: b"http",
        authority: b"h",
        target: b"/",
        protocol: None,
    };
    let head_request = Request {
        method: b"HEAD",
        ..request
    };
    assert_eq!(
        client.open(&request, [field("Accept", "*/*")], true),
        Some(1)
    );
    assert_eq!(client.open(&request, [], false), Some(3));
    assert_eq!(client.open(&head_request, [], true), Some(5));
    assert_eq!(
        sent(&mut client),
        ["1 headers 5", "3 headers 4", "5 headers 5"]
    );
    let hints = section(&[(":status", "103"), ("link", "x")]);
    let lengthy = section(&[(":status", "200"), ("content-length", "5")]);
    let bytes = [
        headers(1, &hints, false),
        headers(1, &lengthy, false),
        data(1, b"hello", false),
        headers(1, &section(&[("a", "b")]), true),
        headers(3, &[0x88], true),
        headers(5, &lengthy, true),
    ];
    let events = receive(&mut client, &bytes.concat()).unwrap();
    let expected = [
        "1 103",
        "1 200",
        "1 data hello",
        "1 trailers a: b",
        "3 200 end",
        "5 200 end",
    ];
    assert_eq!(events, expected);
    assert_eq!(client.open_streams(), 1, "the request on 3 still sends");
    assert_eq!(client.send_data(3, b"x", true, Micros(0)), Ok(1));
    assert_eq!(client.open_streams(), 0);
}

#[test]
fn broken_responses_table() {
    let lengthy = section(&[(":status", "200"), ("content-length", "5")]);
    let interims: Vec<u8> = (0..17)
        .flat_map(|_| headers(1, &section(&[(":status", "102")]), false))
        .collect();
    let rows: &[(&[&[u8]], &str)] = &[
        (&[&data(1, b"x", false)], "1 reset 1 by us"),
        (
            &[&headers(1, &section(&[(":status", "100")]), true)],
            "1 refused bad_status_line",
        ),
        (
            &[&headers(1, &section(&[(":status", "101")]), false)],
            "1 refused bad_switch",
        ),
        (
            &[&headers(1, &section(&[("a", "b")]), false)],
            "1 refused bad_pseudo_field",
        ),
        (&[&headers(1, &lengthy, true)], "1 refused length_mismatch"),
        (
            &[&headers(1, &lengthy, false), &data(1, b"a", true)],
            "1 200, 1 reset 1 by us",
        ),
        (
            &[
                &headers(
                    1,
                    &section(&[(":status", "304"), ("content-length", "5")]),
                    false,
                ),
                &data(1, b"a", true),
            ],
            "1 304, 1 reset 1 by us",
        ),
        (
            &[
                &interims[interims.len() / 17 * 16..],
                &interims[interims.len() / 17..],
            ],
            "1 refused bad_status_line",
        ),
        (&[&headers(3, &[0x88], true)], "bad_stream_id"),
        (&[&headers(2, &[0x88], true)], "bad_stream_id"),
        (&[&frame(kind::PUSH_PROMISE, 4, 1, &[0, 0, 0, 2])], "push"),
        (
            &[&frame(kind::PRIORITY_UPDATE, 0, 0, &[0, 0, 0, 1])],
            "bad_stream_id",
        ),
        (&[&settings(&[(2, 1)])], "bad_setting"),
        (
            &[&headers(1, &[0x88], true), &headers(1, &[0x88], true)],
            "closed_stream",
        ),
        (&[&reset(1)], "1 reset 8"),
    ];
    for (bytes, expected) in rows {
        let mut client = client();
        let request = Request {
            method: b"GET",
            scheme: b"http",
            authority: b"h",
            target: b"/",
            protocol: None,
        };
        client.open(&request, [], true);
        let outcome = match receive(&mut client, &bytes.concat()) {
            Ok(events) => events
                .into_iter()
                .filter(|event| event != "1 102")
                .collect::<Vec<_>>()
                .join(", "),
            Err(error) => error.word().to_owned(),
        };
        assert_eq!(outcome, *expected);
    }
}

#[test]
fn a_client_opens_what_the_server_allows() {
    let mut client = client();
    let request = Request {
        method: b"GET",
        scheme: b"http",
        authority: b"h",
        target: b"/",
        protocol: None,
    };
    receive(&mut client, &settings(&[(3, 2)])).unwrap();
    assert_eq!(client.free_streams(), 2);
    assert!(!client.takes_extended_connect());
    assert_eq!(
        [(); 3].map(|()| client.open(&request, [], true)),
        [Some(1), Some(3), None]
    );
    receive(
        &mut client,
        &[settings(&[(3, 3), (8, 1)]), headers(1, &[0x88], true)].concat(),
    )
    .unwrap();
    assert_eq!(
        (client.free_streams(), client.takes_extended_connect()),
        (2, true)
    );
    assert_eq!(client.open(&request, [], true), Some(5));
    // Stream 5 was not processed: it is gone, and what may still come on it is ignored.
    let goaway = frame(kind::GOAWAY, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 0]);
    assert_eq!(receive(&mut client, &goaway).unwrap(), ["goaway 3 0"]);
    assert_eq!(
        (
            client.open_streams(),
            client.free_streams(),
            client.is_done()
        ),
        (1, 0, false)
    );
    assert_eq!(client.open(&request, [], true), None);
    let rest = [headers(5, &[0x88], true), headers(3, &[0x88], true)].concat();
    assert_eq!(receive(&mut client, &rest).unwrap(), ["3 200 end"]);
    assert!(client.is_done());
}

#[test]
fn a_server_drains_in_two_steps() {
    let mut server = new_server();
    receive(&mut server, &headers(1, GET, true)).unwrap();
    server.drain(Micros(0));
    server.drain(Micros(0));
    assert_eq!(
        sent(&mut server),
        ["goaway 2147483647 0 ", "ping 0 palantir"]
    );
    // Sent before the client heard of it.
    assert_eq!(
        receive(&mut server, &headers(3, GET, true)).unwrap(),
        ["3 GET end"]
    );
    assert_eq!(
        receive(&mut server, &frame(kind::PING, flag::ACK, 0, b"palantir")).unwrap(),
        ["pong"]
    );
    assert_eq!(sent(&mut server), ["goaway 3 0 "]);
    assert_eq!(
        receive(&mut server, &headers(5, GET, true)).unwrap(),
        [""; 0]
    );
    assert!(!server.is_done());
    for stream in [1, 3] {
        server.send_head(stream, 200, [], true).unwrap();
    }
    assert!(server.is_done());
}

#[test]
fn a_silent_client_is_drained_after_a_while() {
    let mut server = new_server();
    server.drain(Micros(5));
    let deadline = Micros(5 + limits::H2_DRAIN_MILLIS * 1_000);
    assert_eq!(server.deadline(), Some(deadline));
    assert_eq!(server.expire(Micros(deadline.0 - 1)), Ok(None));
    assert!(!server.is_done());
    assert_eq!(server.expire(deadline), Ok(None));
    assert!(server.is_done());
}

#[test]
fn unacknowledged_settings_end_it() {
    let mut server = Connection::new(Role::Server, LocalSettings::default(), Micros(0));
    let deadline = server.deadline().unwrap();
    assert_eq!(server.expire(Micros(deadline.0 - 1)), Ok(None));
    assert_eq!(
        server.expire(deadline),
        Err(ConnectionError::SettingsTimeout)
    );
    assert_eq!(
        sent(&mut server).pop().unwrap(),
        "goaway 0 4 settings_timeout"
    );
}

#[test]
fn a_window_kept_shut_ends_it() {
    let mut server = new_server();
    let bytes = [
        settings(&[(4, 0)]),
        headers(1, GET, true),
        headers(3, GET, true),
    ];
    receive(&mut server, &bytes.concat()).unwrap();
    assert_eq!(server.send_data(1, b"body", true, Micros(7)), Ok(0));
    let deadline = Micros(7 + limits::H2_STALL_MILLIS * 1_000);
    assert_eq!(server.deadline(), Some(deadline));
    // A trickle is no progress.
    receive(&mut server, &window_update(1, 1)).unwrap();
    assert_eq!(server.next_to_send(), Some(1));
    assert_eq!(server.send_data(1, b"body", true, Micros(9)), Ok(1));
    assert_eq!(server.deadline(), Some(deadline));
    assert_eq!(server.expire(Micros(deadline.0 - 1)), Ok(None));
    // The other stream goes on, so this one alone is reset.
    assert_eq!(server.expire(deadline), Ok(Some(1)));
    assert_eq!(server.expire(deadline), Ok(None));
    assert_eq!(server.send_data(3, b"body", true, deadline), Ok(0));
    let later = Micros(deadline.0 + limits::H2_STALL_MILLIS * 1_000);
    let error = ConnectionError::Abuse(Abuse::WindowStall);
    assert_eq!(server.expire(later), Err(error));
    assert_eq!(sent(&mut server).pop().unwrap(), "goaway 3 11 window_stall");
}

/// Every flood ends with ENHANCE_YOUR_CALM and its own word; half of what ends it is let through.
#[test]
fn floods_table() {
    let ids = |count: u32| (0..count).map(|index| 2 * index + 1);
    let repeated = |bytes: Vec<u8>| (0..5_000).map(|_| bytes.clone()).collect::<Vec<_>>();
    let opened = |bytes: Vec<Vec<u8>>| [vec![headers(1, POST, false)], bytes].concat();
    let reset_each = ids(1_000)
        .map(|id| [headers(id, GET, true), reset(id)].concat())
        .collect();
    let provoked = ids(1_000)
        .map(|id| [headers(id, POST, false), window_update(id, 0)].concat())
        .collect();
    let too_many = ids(1_000).map(|id| headers(id, POST, false)).collect();
    let malformed = ids(1_000).map(|id| headers(id, &[0x82], true)).collect();
    let pieces = [
        vec![frame(kind::HEADERS, 0, 1, GET)],
        repeated(frame(kind::CONTINUATION, 0, 1, b"")),
    ]
    .concat();
    let large_pieces = [
        vec![frame(kind::HEADERS, 0, 1, GET)],
        repeated(frame(kind::CONTINUATION, 0, 1, &[0; 16_384])),
    ];
    let entry = [
        &[0x40, 1, b'a', 0x7f, 0xa1, 0x1e][..],
        &[b'x'; 4000],
        &[0xbe; 10_000],
    ]
    .concat();
    let rows: [(&str, Vec<Vec<u8>>, usize); 15] = [
        ("rapid_reset", reset_each, 200),
        ("rapid_reset", too_many, 328),
        ("provoked_reset", provoked, 100),
        ("provoked_reset", malformed, 100),
        ("settings_flood", repeated(settings(&[])), 15),
        ("settings_flood", repeated(settings_ack()), 15),
        ("ping_flood", repeated(frame(kind::PING, 0, 0, &[0; 8])), 64),
        (
            "empty_data_flood",
            opened(repeated(data(1, b"", false))),
            65,
        ),
        ("window_update_flood", repeated(window_update(0, 1)), 512),
        (
            "priority_churn",
            repeated(frame(kind::PRIORITY, 0, 1, &[0; 5])),
            256,
        ),
        (
            "priority_churn",
            repeated(frame(kind::PRIORITY_UPDATE, 0, 0, &[0, 0, 0, 1])),
            256,
        ),
        (
            "unknown_frame_flood",
            repeated(frame(0xfa, 0, 0, b"x")),
            128,
        ),
        ("continuation_flood", pieces, 17),
        ("continuation_flood", large_pieces.concat(), 4),
        ("header_bomb", vec![headers(1, &entry, true)], 0),
    ];
    for (word, frames, passed) in rows {
        let mut server = new_server();
        let outcomes = frames.iter().map(|frame| receive(&mut server, frame));
        let errors: Vec<_> = outcomes
            .enumerate()
            .filter_map(|(at, outcome)| Some((at, outcome.err()?)))
            .collect();
        let (at, error) = errors
            .first()
            .unwrap_or_else(|| panic!("{word} was let through"));
        assert_eq!(
            (error.word(), *at, error.code()),
            (word, passed, ErrorCode::ENHANCE_YOUR_CALM)
        );
        let goaway = sent(&mut server).pop().unwrap();
        assert!(goaway.ends_with(&format!(" 11 {word}")), "{goaway}");
    }
}

/// The same in numbers that honest peers reach: one request in three is given up, every body brings a PING, every answer
/// two updates.
#[test]
fn honest_peers_are_not_cut_off() {
    let mut server = new_server();
    for index in 0..5_000 {
        let id = 2 * index + 1;
        if index % 3 == 0 {
            let given_up = [headers(id, GET, true), reset(id)].concat();
            receive(&mut server, &given_up).unwrap();
            continue;
        }
        let ping = frame(kind::PING, 0, 0, &[0; 8]);
        let request = [
            headers(id, POST, false),
            data(id, b"x", false),
            ping,
            data(id, b"", true),
        ]
        .concat();
        receive(&mut server, &request).unwrap();
        server.release(id, 1);
        server.send_head(id, 200, [], false).unwrap();
        server.send_data(id, b"body", true, Micros(0)).unwrap();
        let priority = frame(kind::PRIORITY_UPDATE, 0, 0, &[0, 0, 0, 1]);
        receive(
            &mut server,
            &[window_update(0, 4), window_update(id, 4), priority].concat(),
        )
        .unwrap();
        server.take_output(Vec::new());
    }
    assert_eq!(server.open_streams(), 0);
}

#[test]
fn unread_replies_end_it() {
    let mut server = new_server();
    let mut asked = 0;
    let error = loop {
        // Honest work earns the right to ask, but replies must be read.
        let bytes = [
            headers(2 * asked + 1, POST, false),
            data(2 * asked + 1, b"x", true),
            frame(kind::PING, 0, 0, &[0; 8]),
        ];
        if let Err(error) = receive(&mut server, &bytes.concat()) {
            break error;
        }
        server.send_head(2 * asked + 1, 200, [], true).unwrap();
        asked += 1;
    };
    assert_eq!(
        (error.word(), asked),
        ("unread_replies", limits::H2_UNREAD_REPLIES)
    );
}
