//! Properties of every sequence of frames, good or bad, checked over generated ones.

use proptest::prelude::*;

use super::raw::*;
use super::*;
use crate::http::h2::frame::{PREFACE, kind};

/// Frames as peers send them, and as they should not.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let stream = || prop::sample::select(vec![0u32, 1, 1, 3, 3, 5, 2, 0x8000_0001]);
    let section = prop::sample::select(vec![
        GET.to_vec(),
        POST.to_vec(),
        [POST, &section(&[("content-length", "3")])].concat(),
        [
            GET,
            &section(&[("cookie", "a=b"), ("x", "y"), ("cookie", "c=d")]),
        ]
        .concat(),
        [GET, &[0x40, 1, b'a', 1, b'b', 0xbe]].concat(),
        section(&[("x-end", "yes")]),
        section(&[("X", "y")]),
        vec![0x88],
    ]);
    let piece = prop::sample::select(vec![
        &b""[..],
        b"a",
        b"abc",
        &[0, b'a', b'b'],
        &[2, b'a', 0, 0],
        &[9, 0],
    ]);
    let kinds = prop::sample::select(vec![
        kind::PRIORITY,
        kind::RST_STREAM,
        kind::SETTINGS,
        kind::PUSH_PROMISE,
        kind::PING,
        kind::GOAWAY,
        kind::WINDOW_UPDATE,
        kind::CONTINUATION,
        kind::PRIORITY_UPDATE,
        0xfa,
    ]);
    let any_payload = proptest::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..10);
    let frame = prop_oneof![
        4 => (stream(), section, prop::sample::select(vec![0u8, 4, 4, 4, 5, 5, 0x2d])).prop_map(|(stream, section, flags)| {
            frame(kind::HEADERS, flags, stream, &section)
        }),
        3 => (stream(), piece, prop::sample::select(vec![0u8, 0, 1, 8, 9])).prop_map(|(stream, piece, flags)| {
            frame(kind::DATA, flags, stream, piece)
        }),
        1 => (kinds, any::<u8>(), stream(), any_payload).prop_map(|(kind, flags, stream, payload)| frame(kind,
        flags, stream, &payload)),
        1 => (stream(), 0u32..0x7fff_ffff).prop_map(|(stream, bytes)| window_update(stream, bytes)),
        1 => Just(frame(kind::PING, 0, 0, &[7; 8])),
        1 => Just(frame(kind::CONTINUATION, 4, 1, &[])),
    ];
    proptest::collection::vec(frame, 0..12).prop_map(|frames| frames.concat())
}

/// All that happened to a connection that got these pieces: events with the pieces of a body put together, the error,
/// and the frames in its output.
fn outcome<'b>(
    role: Role,
    pieces: impl Iterator<Item = &'b [u8]>,
) -> (Vec<String>, Option<ConnectionError>, Vec<u8>) {
    let mut connection = H2Connection::new(role, LocalSettings::default(), Micros(0));
    if role == Role::Client {
        let request = StreamRequest {
            method: b"GET",
            scheme: b"http",
            authority: b"h",
            target: b"/",
            protocol: None,
        };
        connection.open(&request, [], true);
        connection.open(&request, [], false);
    }
    let mut events: Vec<String> = Vec::new();
    let mut error = None;
    for piece in pieces {
        let mut used = 0;
        loop {
            let (step, event) = match connection.receive(&piece[used..], Micros(0)) {
                Ok(received) => received,
                Err(found) => {
                    assert!(error.is_none_or(|earlier| earlier == found));
                    error = Some(found);
                    break;
                }
            };
            used += step;
            let Some(event) = event else {
                assert_eq!(used, piece.len());
                break;
            };
            note(&mut events, &event);
        }
    }
    (events, error, connection.take_output(Vec::new()))
}

fn note(events: &mut Vec<String>, event: &H2Event<'_>) {
    let text = match event {
        H2Event::Head { head, .. } => format!(
            "{} {:?}",
            describe(event),
            String::from_utf8_lossy(head.lines())
        ),
        _ => describe(event),
    };
    if let H2Event::Body { stream, .. } = event {
        let start = format!("{stream} data ");
        if let Some(last) = events
            .last_mut()
            .filter(|last| last.starts_with(&start) && !last.ends_with(" end"))
        {
            return last.push_str(&text[start.len()..]);
        }
    }
    events.push(text);
}

proptest! {
    #[test]
    fn frames_are_read_alike_however_they_are_cut(
        frames in frames(), size in 1usize..40, to_server in any::<bool>(), begun in proptest::bool::weighted(0.9),
    ) {
        let start = if begun { settings(&[(4, 1000)]) } else { Vec::new() };
        let (role, preface) = if to_server { (Role::Server, &PREFACE[..]) } else { (Role::Client, &[][..]) };
        let bytes = [preface, &start, &frames].concat();
        let whole = outcome(role, std::iter::once(&bytes[..]));
        prop_assert_eq!(&outcome(role, bytes.chunks(size)), &whole);
        prop_assert_eq!(&outcome(role, bytes.chunks(1)), &whole);
    }

    #[test]
    fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        outcome(Role::Client, std::iter::once(&bytes[..]));
        let begun = [&PREFACE[..], &settings(&[]), &bytes].concat();
        outcome(Role::Server, std::iter::once(&begun[..]));
    }
}
