//! Frames made by hand, and a connection that they are given to: for tests.

use super::*;
use crate::http::h2::frame::{FrameHeader, HEADER_BYTES, PREFACE, flag, kind};

/// A frame as bytes.
pub(super) fn frame(kind: u8, flags: u8, stream: StreamId, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    crate::http::h2::frame::write(&mut out, kind, flags, stream, payload);
    out
}

/// A section of literal fields.
pub(super) fn section(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.extend([0x00, name.len() as u8]);
        out.extend(name.bytes());
        out.push(value.len() as u8);
        out.extend(value.bytes());
    }
    out
}

/// `GET / http h`.
pub(super) const GET: &[u8] = &[0x82, 0x84, 0x86, 0x01, 0x01, b'h'];
/// `POST / http h`.
pub(super) const POST: &[u8] = &[0x83, 0x84, 0x86, 0x01, 0x01, b'h'];

/// HEADERS of a whole section.
pub(super) fn headers(stream: StreamId, section: &[u8], end: bool) -> Vec<u8> {
    let end = if end { flag::END_STREAM } else { 0 };
    frame(kind::HEADERS, flag::END_HEADERS | end, stream, section)
}

pub(super) fn body_frame(stream: StreamId, bytes: &[u8], end: bool) -> Vec<u8> {
    frame(
        kind::DATA,
        if end { flag::END_STREAM } else { 0 },
        stream,
        bytes,
    )
}

pub(super) fn window_update(stream: StreamId, bytes: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

pub(super) fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let bytes = settings
        .iter()
        .map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
    frame(kind::SETTINGS, 0, 0, &bytes.collect::<Vec<_>>().concat())
}

pub(super) fn settings_ack() -> Vec<u8> {
    frame(kind::SETTINGS, flag::ACK, 0, &[])
}

pub(super) fn reset(stream: StreamId) -> Vec<u8> {
    frame(
        kind::RST_STREAM,
        0,
        stream,
        &ErrorCode::CANCEL.0.to_be_bytes(),
    )
}

/// A server whose client has sent its preface and acknowledged our SETTINGS.
pub(super) fn server(local: LocalSettings) -> H2Connection {
    let mut server = H2Connection::new(Role::Server, local, Micros(0));
    receive(
        &mut server,
        &[PREFACE, &settings(&[])[..], &settings_ack()].concat(),
    )
    .unwrap();
    server.take_output(Vec::new());
    server
}

/// A client whose server has sent its SETTINGS and acknowledged ours.
pub(super) fn client() -> H2Connection {
    let mut client = H2Connection::new(Role::Client, LocalSettings::default(), Micros(0));
    receive(&mut client, &[settings(&[]), settings_ack()].concat()).unwrap();
    client.take_output(Vec::new());
    client
}

/// The received events as text: one word or two per event.
pub(super) fn receive(
    connection: &mut H2Connection,
    bytes: &[u8],
) -> Result<Vec<String>, ConnectionError> {
    receive_at(connection, bytes, Micros(0))
}

pub(super) fn receive_at(
    connection: &mut H2Connection,
    bytes: &[u8],
    now: Micros,
) -> Result<Vec<String>, ConnectionError> {
    let (mut events, mut used) = (Vec::new(), 0);
    loop {
        let (step, event) = connection.receive(&bytes[used..], now)?;
        used += step;
        match event {
            Some(event) => events.push(describe(&event)),
            None => break,
        }
    }
    assert_eq!(used, bytes.len());
    Ok(events)
}

pub(super) fn describe(event: &H2Event<'_>) -> String {
    let mark = |end: &bool| if *end { " end" } else { "" };
    match event {
        H2Event::Head { stream, head, end } => {
            let what = if head.status() > 0 {
                head.status().to_string()
            } else {
                text(head.method())
            };
            format!("{stream} {what}{}", mark(end))
        }
        H2Event::Refused {
            stream,
            refusal,
            answer,
        } => {
            format!(
                "{stream} refused {}{}",
                refusal.label(),
                if *answer { " answer" } else { "" }
            )
        }
        H2Event::RefusedTrailers { stream, refusal } => {
            format!("{stream} refused trailers {}", refusal.label())
        }
        H2Event::Body { stream, bytes, end } => {
            format!("{stream} data {}{}", text(bytes), mark(end))
        }
        H2Event::Trailers { stream, lines } => {
            format!("{stream} trailers {}", text(lines).trim_end())
        }
        H2Event::Reset {
            stream,
            code,
            by_us,
        } => {
            format!(
                "{stream} reset {}{}",
                code.0,
                if *by_us { " by us" } else { "" }
            )
        }
        H2Event::GoAway { last, code } => format!("goaway {last} {}", code.0),
        H2Event::Settings => "settings".to_owned(),
        H2Event::Pong => "pong".to_owned(),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The frames in a connection's output, as text: type, stream, flags, and what matters of the payload.
pub(super) fn sent(connection: &mut H2Connection) -> Vec<String> {
    let out = connection.take_output(Vec::new());
    let (mut at, mut frames) = (0, Vec::new());
    while at < out.len() {
        let header = FrameHeader::parse(out[at..].first_chunk().unwrap());
        let payload = &out[at + HEADER_BYTES..][..header.len];
        let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        let (stream, flags) = (header.stream, header.flags);
        frames.push(match header.kind {
            kind::DATA => format!("{stream} data {} {flags}", header.len),
            kind::HEADERS => format!("{stream} headers {flags}"),
            kind::CONTINUATION => format!("{stream} continuation {flags}"),
            kind::RST_STREAM => format!("{stream} reset {}", number(0)),
            kind::WINDOW_UPDATE => format!("{stream} window {}", number(0)),
            kind::GOAWAY => format!("goaway {} {} {}", number(0), number(4), text(&payload[8..])),
            kind::SETTINGS => format!("settings {flags}"),
            kind::PING => format!("ping {flags} {}", text(payload)),
            other => panic!("an unexpected frame of type {other}"),
        });
        at += HEADER_BYTES + header.len;
    }
    frames
}
