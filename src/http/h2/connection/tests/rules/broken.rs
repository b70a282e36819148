//! Rules that a client breaks, and whether the connection or the stream ends for it.

use super::*;

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
