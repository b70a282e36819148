//! Frames that end the whole connection.

use super::*;

#[test]
fn what_ends_the_connection() {
    const PROTOCOL: Outcome = Ends(code::PROTOCOL_ERROR);
    const SIZE: Outcome = Ends(code::FRAME_SIZE_ERROR);
    const FLOW: Outcome = Ends(code::FLOW_CONTROL_ERROR);
    const CLOSED: Outcome = Ends(code::STREAM_CLOSED);
    #[rustfmt::skip] // As a table.
    let rows: &[Row] = &[
        ("4.2 DATA of 16,385 bytes", |c| {
            open(c);
            c.try_send(data(0, 1, [0; 16_385]));
        }, SIZE),
        ("4.2 HEADERS of 16,385 bytes", |c| {
            c.try_send(headers(flag::WHOLE, 1, [0; 16_385]));
        }, SIZE),
        ("4.2 an unknown frame of 16,385 bytes", |c| {
            c.try_send(frame(kind::UNKNOWN, 0, 0, [0; 16_385]));
        }, SIZE),
        ("4.3 PRIORITY within a section", |c| {
            c.send(headers(0, 1, section(&get("/", &[]))));
            c.send(priority(1, 0, 1));
        }, PROTOCOL),
        ("4.3 another stream's HEADERS within a section", |c| {
            c.send(headers(0, 1, section(&get("/", &[]))));
            c.send(headers(flag::WHOLE, 3, section(&get("/", &[]))));
        }, PROTOCOL),
        ("5.5 an unknown frame within a section", |c| {
            c.send(headers(0, 1, section(&get("/", &[]))));
            c.send(frame(kind::UNKNOWN, 0, 0, b""));
        }, PROTOCOL),
        ("5.1 idle: DATA", |c| c.send(data(0, 1, b"x")), PROTOCOL),
        ("5.1 idle: RST_STREAM", |c| c.send(reset(1, code::CANCEL)), PROTOCOL),
        ("5.1 idle: WINDOW_UPDATE", |c| c.send(window_update(1, 1)), PROTOCOL),
        ("5.1 idle: CONTINUATION", |c| c.send(continuation(flag::END_HEADERS, 1, b"")), PROTOCOL),
        ("5.1 half-closed (remote): CONTINUATION", |c| {
            hold(c);
            c.send(continuation(flag::END_HEADERS, 1, b""));
        }, PROTOCOL),
        ("5.1 reset: DATA", |c| {
            cancelled(c);
            c.send(data(0, 1, b"x"));
        }, CLOSED),
        ("5.1 reset: HEADERS", |c| {
            cancelled(c);
            c.send(whole(&get("/", &[])));
        }, CLOSED),
        ("5.1 reset: CONTINUATION", |c| {
            cancelled(c);
            c.send(continuation(flag::END_HEADERS, 1, b""));
        }, PROTOCOL),
        ("5.1 closed: DATA", |c| {
            done(c);
            c.send(data(0, 1, b"x"));
        }, CLOSED),
        ("5.1 closed: HEADERS", |c| {
            done(c);
            c.send(whole(&get("/", &[])));
        }, CLOSED),
        ("5.1 closed: CONTINUATION", |c| {
            done(c);
            c.send(continuation(flag::END_HEADERS, 1, b""));
        }, PROTOCOL),
        ("5.1.1 an even stream", |c| {
            c.send(headers(flag::WHOLE, 2, section(&get("/", &[]))));
        }, PROTOCOL),
        ("5.1.1 a lower stream", |c| {
            c.send(headers(flag::WHOLE, 5, section(&get("/hold", &[]))));
            c.send(headers(flag::WHOLE, 3, section(&get("/", &[]))));
        }, PROTOCOL),
        ("5.3.1 an idle stream that depends on itself", |c| c.send(priority(1, 1, 1)), PROTOCOL),
        ("6.1 DATA on 0", |c| c.send(data(0, 0, b"x")), PROTOCOL),
        ("6.1 DATA with more padding than there is", |c| {
            open(c);
            c.send(data(flag::PADDED, 1, b"\x05xy"));
        }, PROTOCOL),
        ("6.1 DATA padded without a length", |c| {
            open(c);
            c.send(data(flag::PADDED, 1, b""));
        }, SIZE),
        ("6.2 HEADERS on 0", |c| {
            c.send(headers(flag::WHOLE, 0, section(&get("/", &[]))));
        }, PROTOCOL),
        ("6.2 HEADERS with more padding than there is", |c| {
            c.send(headers(flag::WHOLE | flag::PADDED, 1, b"\x09\x82\x84"));
        }, PROTOCOL),
        ("6.2 HEADERS too short for a priority", |c| {
            c.send(headers(flag::WHOLE | flag::PRIORITY, 1, b"\0\0"));
        }, SIZE),
        ("6.3 PRIORITY on 0", |c| c.send(priority(0, 0, 1)), PROTOCOL),
        ("6.3 PRIORITY of 4 bytes on an idle stream", |c| {
            c.send(frame(kind::PRIORITY, 0, 1, [0; 4]));
        }, SIZE),
        ("6.4 RST_STREAM on 0", |c| c.send(reset(0, code::CANCEL)), PROTOCOL),
        ("6.4 RST_STREAM of 3 bytes", |c| {
            open(c);
            c.send(frame(kind::RST_STREAM, 0, 1, [0; 3]));
        }, SIZE),
        ("6.5 SETTINGS acknowledged with a payload", |c| {
            c.send(frame(kind::SETTINGS, flag::ACK, 0, [0; 6]));
        }, SIZE),
        ("6.5 SETTINGS on 1", |c| c.send(frame(kind::SETTINGS, 0, 1, [0; 6])), PROTOCOL),
        ("6.5 SETTINGS of 5 bytes", |c| c.send(frame(kind::SETTINGS, 0, 0, [0; 5])), SIZE),
        ("6.5.2 ENABLE_PUSH of 2", |c| {
            c.send(settings(&[(setting::ENABLE_PUSH, 2)]));
        }, PROTOCOL),
        ("6.5.2 INITIAL_WINDOW_SIZE of 2^31", |c| {
            c.send(settings(&[(setting::INITIAL_WINDOW_SIZE, 1 << 31)]));
        }, FLOW),
        ("6.5.2 MAX_FRAME_SIZE of 16,383", |c| {
            c.send(settings(&[(setting::MAX_FRAME_SIZE, 16_383)]));
        }, PROTOCOL),
        ("6.5.2 MAX_FRAME_SIZE of 2^24", |c| {
            c.send(settings(&[(setting::MAX_FRAME_SIZE, 1 << 24)]));
        }, PROTOCOL),
        ("8441-3 ENABLE_CONNECT_PROTOCOL of 2", |c| {
            c.send(settings(&[(setting::ENABLE_CONNECT_PROTOCOL, 2)]));
        }, PROTOCOL),
        ("6.6 PUSH_PROMISE", |c| {
            open(c);
            c.send(frame(kind::PUSH_PROMISE, flag::END_HEADERS, 1, b"\0\0\0\x02\x82\x84"));
        }, PROTOCOL),
        ("6.7 PING on 1", |c| c.send(frame(kind::PING, 0, 1, [0; 8])), PROTOCOL),
        ("6.7 PING of 7 bytes", |c| c.send(frame(kind::PING, 0, 0, [0; 7])), SIZE),
        ("6.8 GOAWAY on 1", |c| c.send(frame(kind::GOAWAY, 0, 1, [0; 8])), PROTOCOL),
        ("6.8 GOAWAY of 7 bytes", |c| c.send(frame(kind::GOAWAY, 0, 0, [0; 7])), SIZE),
        ("6.9 WINDOW_UPDATE of nothing", |c| c.send(window_update(0, 0)), PROTOCOL),
        ("6.9 WINDOW_UPDATE of 3 bytes", |c| {
            c.send(frame(kind::WINDOW_UPDATE, 0, 0, [0; 3]));
        }, SIZE),
        ("6.9.1 a window beyond 2^31 - 1", |c| {
            c.send(window_update(0, 0x7fff_ffff));
        }, FLOW),
        ("6.9.2 a stream's window beyond it by a setting", |c| {
            hold(c);
            c.send(window_update(1, 0x7fff_0000));
            c.send(settings(&[(setting::INITIAL_WINDOW_SIZE, 70_000)]));
        }, FLOW),
        ("6.10 CONTINUATION on 0", |c| {
            c.send(headers(0, 1, section(&get("/", &[]))));
            c.send(continuation(flag::END_HEADERS, 0, b""));
        }, PROTOCOL),
        ("6.10 CONTINUATION behind a whole section", |c| {
            hold(c);
            c.send(continuation(flag::END_HEADERS, 1, section(&[("a", "b")])));
        }, PROTOCOL),
        ("6.10 CONTINUATION behind the last", |c| {
            c.send(headers(flag::END_STREAM, 1, section(&get("/hold", &[]))));
            c.send(continuation(flag::END_HEADERS, 1, b""));
            c.send(continuation(flag::END_HEADERS, 1, b""));
        }, PROTOCOL),
        ("6.10 DATA behind CONTINUATION", |c| {
            c.send(headers(0, 1, section(&post("/", &[]))));
            c.send(continuation(0, 1, b""));
            c.send(data(flag::END_STREAM, 1, b"x"));
        }, PROTOCOL),
        ("6.10 CONTINUATION behind DATA", |c| {
            open(c);
            c.send(data(0, 1, b"x"));
            c.send(continuation(flag::END_HEADERS, 1, b""));
        }, PROTOCOL),
        ("9218-7.1 PRIORITY_UPDATE on 1", |c| {
            c.send(frame(kind::PRIORITY_UPDATE, 0, 1, b"\0\0\0\x01u=1"));
        }, PROTOCOL),
        ("9218-7.1 PRIORITY_UPDATE of 3 bytes", |c| {
            c.send(frame(kind::PRIORITY_UPDATE, 0, 0, b"\0\0\0"));
        }, SIZE),
    ];
    run(rows);
}
