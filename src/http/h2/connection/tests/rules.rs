//! Tests of a server that receives frames, by the sections of RFC 9113: tables of bytes in, events and frames out.

use super::raw::*;
use super::*;
use crate::http::h2::frame::{PREFACE, flag, kind};
use crate::http::h2::hpack::HpackError;

/// The verdict of a new server on `bytes`: the error's word, or the server's frames.
fn verdict(bytes: &[&[u8]]) -> String {
    let mut server = new_server();
    match receive(&mut server, &bytes.concat()) {
        Ok(_) => sent(&mut server).join(", "),
        Err(error) => {
            let last = sent(&mut server).pop().unwrap();
            assert!(
                last.starts_with("goaway") && last.ends_with(error.label()),
                "{last}"
            );
            error.label().to_owned()
        }
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
        let mut server = H2Connection::new(Role::Server, LocalSettings::default(), Micros(0));
        assert_eq!(receive(&mut server, &bytes.concat()).err(), expected);
    }
    let mut client = H2Connection::new(Role::Client, LocalSettings::default(), Micros(0));
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
        body_frame(3, b"", false),
        body_frame(3, b"c", false),
        headers(3, &section(&[("grpc-status", "0"), ("host", "x")]), true),
        old_priority,
        headers(7, POST, false),
        body_frame(7, b"", true),
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
            &[&open, &body_frame(1, &[0; 16_385], false)],
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
        ("DATA on 0", &[&body_frame(0, b"a", false)], "bad_stream_id"),
        (
            "DATA on an idle stream",
            &[&body_frame(1, b"a", false)],
            "bad_stream_id",
        ),
        (
            "DATA after END_STREAM",
            &[&done, &body_frame(1, b"a", false)],
            "1 reset 5",
        ),
        (
            "HEADERS after END_STREAM",
            &[&done, &headers(1, GET, true)],
            "1 reset 5",
        ),
        (
            "DATA after RST_STREAM",
            &[&open, &reset(1), &body_frame(1, b"a", false)],
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

/// Between two pieces of a frame, with a stream open and a table filled, nothing is lost.
#[test]
fn what_is_needed_is_not_shed() {
    let mut server = new_server();
    let filling = [POST, &[0x40, 1, b'a', 1, b'b']].concat();
    let second = headers(3, &[GET, &[0xbe]].concat(), true);
    receive(
        &mut server,
        &[headers(1, &filling, false), second[..12].to_vec()].concat(),
    )
    .unwrap();
    server.ping();
    server.shed();
    assert_eq!(receive(&mut server, &second[12..]).unwrap(), ["3 GET end"]);
    assert_eq!(server.head.lines(), b"a: b\r\n\r\n");
    assert_eq!(sent(&mut server), ["ping 0 palantir"]);
    assert_eq!(server.open_streams(), 2);
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
            &[
                &headers(1, &length("2"), false),
                &body_frame(1, b"ab", true),
            ],
            "",
        ),
        (&[&headers(1, &length("0"), true)], ""),
        (
            &[&headers(1, &length("2"), false), &body_frame(1, b"a", true)],
            "1 reset 1",
        ),
        (
            &[
                &headers(1, &length("2"), false),
                &body_frame(1, b"abc", false),
            ],
            "1 reset 1",
        ),
        (
            &[
                &headers(1, &length("2"), false),
                &body_frame(1, b"a", false),
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
    // Neither what follows on a refused stream nor its trailers are of any use, or an error.
    let rest = [
        body_frame(7, b"abc", false),
        headers(7, &section(&[("a", "b")]), true),
    ]
    .concat();
    assert_eq!(receive(&mut server, &rest), Ok(Vec::new()));
    server.send_head(3, 414, [], true).unwrap();
    assert_eq!(
        receive(&mut server, &headers(9, GET, true)).unwrap(),
        ["9 GET end"]
    );
    // Bytes that were under way when their stream was reset are ignored, and given back to the window.
    server.reset(5, ErrorCode::NO_ERROR);
    assert_eq!(
        receive(&mut server, &body_frame(5, b"abc", true)).unwrap(),
        [""; 0]
    );
    assert_eq!(
        (server.released, server.receive_window),
        (6, i64::from(server.local.connection_window) - 6)
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

/// Nothing is held against a client whose streams are refused because we are short of something.
#[test]
fn streams_beyond_what_we_can_take_are_refused() {
    let mut server = server(LocalSettings::default());
    server.bound_streams(2);
    for id in (0..700).map(|index| 2 * index + 1) {
        receive(&mut server, &headers(id, GET, true)).unwrap();
        let out = server.take_output(Vec::new());
        let is_refused = out.ends_with(&[0, 0, 0, ErrorCode::REFUSED_STREAM.0 as u8]);
        assert_eq!(is_refused, id > 3, "{id}");
    }
    assert_eq!((server.open_streams(), server.take_refused()), (2, 698));
    server.bound_streams(3);
    receive(&mut server, &headers(1401, GET, true)).unwrap();
    assert_eq!((server.open_streams(), server.take_refused()), (3, 0));
}
