//! Tests of deeds that are an attack in numbers, and of deeds that honest peers may do.

use super::raw::*;
use super::*;
use crate::http::h2::frame::kind;

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
        ("settings_flood", repeated(settings(&[])), 127),
        ("settings_flood", repeated(settings_ack()), 127),
        (
            "ping_flood",
            repeated(frame(kind::PING, 0, 0, &[0; 8])),
            512,
        ),
        (
            "empty_data_flood",
            opened(repeated(body_frame(1, b"", false))),
            273,
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
            1024,
        ),
        ("continuation_flood", pieces, 17),
        ("continuation_flood", large_pieces.concat(), 16),
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
            (error.label(), *at, error.code()),
            (word, passed, ErrorCode::ENHANCE_YOUR_CALM)
        );
        let goaway = sent(&mut server).pop().unwrap();
        assert!(goaway.ends_with(&format!(" 11 {word}")), "{goaway}");
    }
}

/// Numbers that honest peers reach end no connection: one request in three is given up, every body brings a PING, every
/// answer two updates.
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
            body_frame(id, b"x", false),
            ping,
            body_frame(id, b"", true),
        ]
        .concat();
        receive(&mut server, &request).unwrap();
        server.release(id, 1);
        server.send_head(id, 200, [], false).unwrap();
        server.send_body(id, b"body", true, Micros(0)).unwrap();
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

/// A client that stops its upload after the whole answer wastes no work; a client that stops it earlier does.
#[test]
fn resets_behind_whole_answers_are_no_flood() {
    let mut server = new_server();
    for index in 0..2_000 {
        let id = 2 * index + 1;
        receive(&mut server, &headers(id, POST, false)).unwrap();
        server.send_head(id, 401, [], true).unwrap();
        receive(&mut server, &reset(id)).unwrap();
        server.take_output(Vec::new());
    }
    let unanswered = (2_000..4_000).find(|index| {
        let id = 2 * index + 1;
        receive(&mut server, &[headers(id, GET, true), reset(id)].concat()).is_err()
    });
    assert_eq!(unanswered, Some(2_200));
}

/// Each byte that goes out is asked for by an update of its own: the bytes allow no more of them.
#[test]
fn windows_opened_byte_by_byte_end_it() {
    let mut server = new_server();
    receive(&mut server, &settings(&[(4, 0)])).unwrap();
    receive(&mut server, &headers(1, GET, true)).unwrap();
    server.send_head(1, 200, [], false).unwrap();
    let mut sent = 0;
    let error = loop {
        if let Err(error) = receive(&mut server, &window_update(1, 1)) {
            break error;
        }
        sent += server.send_body(1, &[0; 100], false, Micros(0)).unwrap();
        server.take_output(Vec::new());
    };
    assert_eq!(error.label(), "window_update_flood");
    assert!((512..600).contains(&sent), "{sent}");
}

#[test]
fn unread_replies_end_it() {
    let mut server = new_server();
    let mut asked = 0;
    let error = loop {
        // Honest work earns the right to ask, but replies must be read.
        let bytes = [
            headers(2 * asked + 1, POST, false),
            body_frame(2 * asked + 1, b"x", true),
            frame(kind::PING, 0, 0, &[0; 8]),
        ];
        if let Err(error) = receive(&mut server, &bytes.concat()) {
            break error;
        }
        server.send_head(2 * asked + 1, 200, [], true).unwrap();
        asked += 1;
    };
    assert_eq!(
        (error.label(), asked),
        ("unread_replies", limits::H2_UNREAD_REPLIES)
    );
}
