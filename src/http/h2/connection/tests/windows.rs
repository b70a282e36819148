//! Flow control in both directions, the order of sending, and windows that stay shut.

use super::raw::*;
use super::*;
use crate::http::h2::frame::kind;

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
        receive(&mut server, &body_frame(1, &full, false)).unwrap();
        receive(&mut server, &body_frame(3, &full, false)).unwrap();
    }
    // 98,304 of 100,000 bytes are held.
    server.release(1, 32_766);
    assert!(sent(&mut server).is_empty());
    server.release(1, 1);
    assert_eq!(sent(&mut server), ["1 window 32767"]);
    server.release(3, 17_233);
    assert_eq!(sent(&mut server), ["0 window 50000"]);
    let most = body_frame(3, &full[..16_383], false);
    assert_eq!(receive(&mut server, &most).unwrap().len(), 1);
    assert_eq!(
        receive(&mut server, &body_frame(3, b"x", false)).unwrap(),
        ["3 reset 3 by us"]
    );
    receive(&mut server, &body_frame(1, &full, false)).unwrap();
    receive(&mut server, &body_frame(1, &full, false)).unwrap();
    let error = receive(&mut server, &body_frame(1, &full, false)).err();
    assert_eq!(error, Some(ConnectionError::WindowExceeded));
}

/// A window grows only while it is what the peer waits for, and never beyond what is allowed.
#[test]
fn windows_grow_while_their_bytes_are_waited_for() {
    let local = LocalSettings {
        stream_window: 70_000,
        widest_stream_window: 200_000,
        ..LocalSettings::default()
    };
    let mut server = server(local);
    receive(&mut server, &headers(1, POST, false)).unwrap();
    let mut take = |count: usize, wants_more: bool| {
        for _ in 0..count {
            receive(&mut server, &body_frame(1, &[0; 10_000], false)).unwrap();
            server.release(1, 10_000);
        }
        if wants_more {
            server.want_more(1);
        }
        let updates = sent(&mut server);
        updates
            .into_iter()
            .filter(|line| line.starts_with("1 "))
            .collect::<Vec<_>>()
    };
    assert_eq!(take(1, true), [""; 0], "less than a window was taken");
    assert_eq!(take(5, true), ["1 window 40000"]);
    assert_eq!(
        take(1, true),
        ["1 window 100000"],
        "70,000 more than the 30,000 released"
    );
    assert_eq!(take(7, false), ["1 window 70000"]);
    assert_eq!(
        take(7, true),
        ["1 window 70000", "1 window 60000"],
        "and up to 200,000"
    );
    assert_eq!(take(20, true), ["1 window 100000", "1 window 100000"]);
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
    assert_eq!(server.send_body(1, &[0; 25], true, Micros(0)), Ok(10));
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
    assert_eq!(server.send_body(1, &[0; 15], true, Micros(0)), Ok(5));
    receive(&mut server, &settings(&[(4, 100_000)])).unwrap();
    assert_eq!(server.next_to_send(), Some(1));
    sent(&mut server);
    assert_eq!(server.send_body(1, &[0; 10], true, Micros(0)), Ok(10));
    assert_eq!(sent(&mut server), ["1 data 10 1"]);
    assert_eq!(server.send_body(1, b"a", true, Micros(0)), Err(Closed));
    // The connection's window: 65,535 less 25.
    server.send_head(3, 200, [], false).unwrap();
    sent(&mut server);
    assert_eq!(
        server.send_body(3, &[0; 70_000], true, Micros(0)),
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
    assert_eq!(server.send_body(3, &[0; 4_490], true, Micros(0)), Ok(4_490));
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
        headers(5, &with("u=3"), true),
        headers(7, &with("u=3"), true),
        headers(9, &with("u=5"), true),
        frame(kind::PRIORITY_UPDATE, 0, 0, b"\0\0\0\x09u=0"),
    ];
    receive(&mut server, &bytes.concat()).unwrap();
    sent(&mut server);
    let body = [0; 40_000];
    let mut left: std::collections::HashMap<StreamId, usize> =
        [1, 3, 5, 7, 9].map(|id| (id, 40_000)).into();
    for id in [1, 3, 5, 7, 9] {
        let taken = server.send_body(id, &body, true, Micros(0)).unwrap();
        *left.get_mut(&id).unwrap() -= taken;
    }
    let mut order = Vec::new();
    while left.values().any(|left| *left > 0) {
        sent(&mut server);
        while let Some(id) = server.next_to_send() {
            let rest = left.get_mut(&id).unwrap();
            *rest -= server
                .send_body(id, &body[..*rest], true, Micros(0))
                .unwrap();
            order.push(id);
        }
    }
    // Stream 1 was alone and sent at once, 3 found some room left.
    assert_eq!(order, [9, 5, 5, 7, 3, 3]);
}

/// A stream that comes by itself when an urgent one waits for its turn gets none before it.
#[test]
fn nobody_sends_before_an_urgent_stream_that_waits() {
    let mut server = new_server();
    let urgent = [GET, &section(&[("priority", "u=0")])].concat();
    let bytes = [
        window_update(0, 1 << 30),
        settings(&[(4, 1 << 30)]),
        headers(1, GET, true),
        headers(3, &urgent, true),
    ];
    receive(&mut server, &bytes.concat()).unwrap();
    assert_eq!(
        server.send_body(3, &[0; 70_000], true, Micros(0)),
        Ok(65_527)
    );
    sent(&mut server);
    assert_eq!(server.send_body(1, b"a", true, Micros(0)), Ok(0));
    assert_eq!(server.next_to_send(), Some(3));
    assert_eq!(server.send_body(3, &[0; 4_473], true, Micros(0)), Ok(4_473));
    assert_eq!(server.next_to_send(), Some(1));
    assert_eq!(server.send_body(1, b"a", true, Micros(0)), Ok(1));
}

#[test]
fn incremental_streams_take_turns() {
    take_turns(&[GET, &section(&[("priority", "i")])].concat());
}

/// Streams whose client named no priority may be calls that know nothing of each other.
#[test]
fn streams_without_a_priority_take_turns() {
    take_turns(GET);
}

/// Two such requests on one connection are answered in turns.
fn take_turns(request: &[u8]) {
    let mut server = new_server();
    let bytes = [
        window_update(0, 1 << 30),
        settings(&[(4, 1 << 30)]),
        headers(1, request, true),
        headers(3, request, true),
    ];
    receive(&mut server, &bytes.concat()).unwrap();
    assert_eq!(
        server.send_body(1, &[0; 200_000], true, Micros(0)),
        Ok(65_536 - 9)
    );
    assert_eq!(server.send_body(3, &[0; 200_000], true, Micros(0)), Ok(0));
    let mut order = Vec::new();
    for _ in 0..2 {
        sent(&mut server);
        while let Some(id) = server.next_to_send() {
            assert!(
                server
                    .send_body(id, &[0; 100_000], true, Micros(0))
                    .unwrap()
                    <= 16_384
            );
            order.push(id);
        }
    }
    assert_eq!(order, [1, 3, 1, 3, 1, 3, 1, 3, 1, 3][..order.len()]);
    assert!(order.len() >= 8);
}

/// However many small ones begin meanwhile: a large one has every second turn.
#[test]
fn streams_that_begin_all_the_time_keep_no_other_from_its_turn() {
    let mut server = new_server();
    let bytes = [window_update(0, 1 << 30), settings(&[(4, 1 << 30)])];
    receive(&mut server, &bytes.concat()).unwrap();
    receive(&mut server, &headers(1, GET, true)).unwrap();
    let body = [0; 1_000_000];
    let mut left = body.len() - server.send_body(1, &body, true, Micros(0)).unwrap();
    let mut small = 0;
    let mut begun = 1;
    while left > 0 {
        assert!(
            small < 200,
            "{left} bytes are left after {small} small ones"
        );
        sent(&mut server);
        // Two more are there whenever there is room.
        for _ in 0..2 {
            begun += 2;
            receive(&mut server, &headers(begun, GET, true)).unwrap();
            if server.send_body(begun, &[0; 16_000], true, Micros(0)) == Ok(16_000) {
                small += 1;
            }
        }
        while let Some(id) = server.next_to_send() {
            let size = if id == 1 { left } else { 16_000 };
            let taken = server
                .send_body(id, &body[..size], true, Micros(0))
                .unwrap();
            match id {
                1 => left -= taken,
                _ => small += usize::from(taken == 16_000),
            }
        }
    }
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

/// A stream whose window is shut holds no other stream up. If nothing at all moves, the connection is idle and ends.
#[test]
fn windows_kept_shut_end_what_is_idle_and_nothing_else() {
    let mut server = new_server();
    let bytes = [
        settings(&[(4, 0)]),
        headers(1, GET, true),
        headers(3, GET, true),
    ];
    receive(&mut server, &bytes.concat()).unwrap();
    assert_eq!(server.send_body(1, b"body", true, Micros(7)), Ok(0));
    let far = Micros(1_000_000_000);
    // The other stream waits for its answer.
    assert_eq!(server.expire(far, PATIENCE), Ok(()));
    assert_eq!(server.send_body(3, b"body", true, far), Ok(0));
    assert!(!server.is_held_back(3));
    receive_at(&mut server, &window_update(1, 1), far).unwrap();
    assert!(server.is_held_back(1));
    assert_eq!(server.next_to_send(), Some(1));
    assert_eq!(server.send_body(1, b"body", true, far), Ok(1));
    let deadline = far.after(IDLE);
    assert_eq!(server.expire(Micros(deadline.0 - 1), PATIENCE), Ok(()));
    let error = ConnectionError::Abuse(Abuse::WindowStall);
    assert_eq!(server.expire(deadline, PATIENCE), Err(error));
    assert_eq!(sent(&mut server).pop().unwrap(), "goaway 3 11 window_stall");
}

/// A backend that takes no body may be answering meanwhile, and other clients' streams are on the same connection.
#[test]
fn windows_that_a_backend_keeps_shut_end_nothing() {
    let mut client = client();
    receive(&mut client, &settings(&[(4, 0)])).unwrap();
    let request = StreamRequest {
        method: b"POST",
        scheme: b"http",
        authority: b"test",
        target: b"/",
        protocol: None,
    };
    let stream = client.open(&request, [], false).unwrap();
    assert_eq!(client.send_body(stream, b"body", true, Micros(0)), Ok(0));
    assert_eq!(client.deadline(), None);
    assert_eq!(client.expire(Micros(1_000_000_000), PATIENCE), Ok(()));
    assert!(client.is_open(stream));
}
