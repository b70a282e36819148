//! Tests of a server that receives frames, by the sections of RFC 9113: tables of bytes in, events and frames out.

mod broken;

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
