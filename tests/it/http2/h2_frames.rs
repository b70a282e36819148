//! The rules of RFC 9113 for frames, over a real connection: one row per way of keeping or breaking one, named by its
//! section. Together with `h2_sections` and `h2_strict` they cover what the public conformance suites ask a server.

mod connection_errors;

use crate::support::h2::frame::{
    PREFACE, code, continuation, data, flag, frame, get, goaway, headers, kind, ping, post,
    priority, request, reset, section, setting, settings, window_update,
};
use crate::support::h2::{H2, word};
use crate::support::origin::ok;
use crate::support::{Origin, Proxy};

use Outcome::{Answers, Ends, Resets, Serves};

/// The outcome that the sent frames must have.
#[derive(Clone, Copy, Debug)]
pub enum Outcome {
    /// The connection goes on: a further request is answered.
    Serves,
    /// Stream 1 is answered, and the connection goes on.
    Answers,
    /// Stream 1 is reset with this code, and the connection goes on.
    Resets(u32),
    /// The connection ends, and the last GOAWAY has this code.
    Ends(u32),
}

/// The rule, what is sent, and what must come of it.
pub type Row = (&'static str, fn(&mut H2), Outcome);

/// A backend that never answers `/hold`, sends 100 bytes for `/long`, and else the request's body.
fn origin() -> Origin {
    Origin::start(|link| {
        while let Some(request) = link.request() {
            match request.head.first_line() {
                line if line.contains(" /hold ") => {
                    link.rest();
                }
                line if line.starts_with("HEAD ") => {
                    link.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
                }
                line if line.contains(" /long ") => link.send(ok(&"x".repeat(100))),
                _ => link.send(ok(&String::from_utf8_lossy(&request.body))),
            }
        }
    })
}

/// Runs every row on a connection of its own and reports all that came out otherwise.
#[track_caller]
pub fn run(rows: &[Row]) {
    let origin = origin();
    let proxy = Proxy::to(&[origin.addr]);
    let mut wrong = String::new();
    for (name, send, expected) in rows {
        let run = std::panic::catch_unwind(|| {
            let mut client = proxy.h2();
            send(&mut client);
            check(&mut client, *expected)
        });
        match run {
            Ok(None) => {}
            Ok(Some(what)) => wrong += &format!("\n{name}: {what} instead of {expected:?}"),
            Err(_) => wrong += &format!("\n{name}: failed instead of {expected:?}"),
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The events that happened, if they were not to be expected.
fn check(client: &mut H2, expected: Outcome) -> Option<String> {
    if let Ends(code) = expected {
        let end = client.end();
        return (end != Some(code)).then(|| format!("ended with {}", word(end)));
    }
    let on = 2001;
    client.try_send(headers(flag::WHOLE, on, section(&get("/", &[]))));
    let awaited = |client: &H2, stream| {
        let answer = client.answers.get(&stream);
        answer.is_some_and(|answer| answer.has_ended())
    };
    let needs_first = !matches!(expected, Serves);
    while !(awaited(client, on) && (!needs_first || awaited(client, 1))) {
        if !client.pump() {
            let end = client.goaways.last().map(|(_, code)| *code);
            return Some(format!("ended with {}", word(end)));
        }
    }
    let status = client.answers[&on].field(":status").map(str::to_owned);
    if status.as_deref() != Some("200") {
        return Some(format!("then answered {:?}", client.answers[&on]));
    }
    let first = client.answers.get(&1).cloned().unwrap_or_default();
    match expected {
        Answers if first.complete && first.status() == 200 => None,
        Resets(code) if first.reset == Some(code) => None,
        Serves => None,
        _ => Some(format!(
            "answered {:?}, reset with {}",
            first.field(":status"),
            word(first.reset)
        )),
    }
}

fn open(client: &mut H2) {
    client.send(headers(flag::END_HEADERS, 1, section(&post("/hold", &[]))));
}

/// A request whose answer never comes.
fn hold(client: &mut H2) {
    client.send(headers(flag::WHOLE, 1, section(&get("/hold", &[]))));
}

/// A request that is answered to its end.
fn done(client: &mut H2) {
    client.send(headers(flag::WHOLE, 1, section(&get("/", &[]))));
    client.answer(1);
}

/// A request that we have reset.
fn cancelled(client: &mut H2) {
    open(client);
    client.send(reset(1, code::CANCEL));
}

fn whole(fields: &[(&str, &str)]) -> Vec<u8> {
    headers(flag::WHOLE, 1, section(fields))
}

#[test]
fn what_the_frames_may_do() {
    #[rustfmt::skip] // As a table.
    let rows: &[Row] = &[
        ("4.1 an unknown type", |c| c.send(frame(kind::UNKNOWN, 0, 0, b"what")), Serves),
        ("4.1 an unknown type on a stream", |c| {
            open(c);
            c.send(frame(kind::UNKNOWN, 0xff, 1, b"what"));
        }, Serves),
        ("4.1 unknown flags", |c| c.send(frame(kind::PING, 0xfe, 0, b"flagged!")), Serves),
        ("4.1 the reserved bit", |c| c.send(frame(kind::PING, 0, 1 << 31, b"reserved")), Serves),
        ("4.2 DATA of 16,384 bytes", |c| {
            c.send(headers(flag::END_HEADERS, 1, section(&post("/", &[]))));
            c.send(data(flag::END_STREAM, 1, [b'x'; 16_384]));
        }, Answers),
        ("5.1 idle: PRIORITY", |c| c.send(priority(1, 0, 15)), Serves),
        ("5.1 half-closed (remote): WINDOW_UPDATE", |c| {
            hold(c);
            c.send(window_update(1, 100));
        }, Serves),
        ("5.1 half-closed (remote): PRIORITY", |c| {
            hold(c);
            c.send(priority(1, 0, 0));
        }, Serves),
        ("5.1 half-closed (remote): RST_STREAM", |c| {
            hold(c);
            c.send(reset(1, code::CANCEL));
        }, Serves),
        ("5.1 closed: PRIORITY", |c| {
            done(c);
            c.send(priority(1, 0, 255));
        }, Serves),
        ("5.1 closed: WINDOW_UPDATE", |c| {
            done(c);
            c.send(window_update(1, 100));
        }, Serves),
        ("5.1 closed: RST_STREAM", |c| {
            done(c);
            c.send(reset(1, code::STREAM_CLOSED));
        }, Serves),
        ("5.3 PRIORITY, exclusive", |c| c.send(priority(1, 1 << 31 | 3, 1)), Serves),
        ("5.3 PRIORITY of a higher stream, then a lower one's HEADERS", |c| {
            c.send(priority(99, 0, 255));
            c.send(whole(&get("/", &[])));
        }, Answers),
        ("6.1 DATA, several", |c| {
            c.send(headers(flag::END_HEADERS, 1, section(&post("/", &[]))));
            c.send(data(0, 1, b"one"));
            c.send(data(0, 1, b""));
            c.send(data(flag::END_STREAM, 1, b"two"));
        }, Answers),
        ("6.1 DATA, padded", |c| {
            c.send(headers(flag::END_HEADERS, 1, section(&post("/", &[]))));
            c.send(data(flag::END_STREAM | flag::PADDED, 1, b"\x05hello\0\0\0\0\0"));
        }, Answers),
        ("6.1 DATA, nothing but padding", |c| {
            c.send(headers(flag::END_HEADERS, 1, section(&post("/", &[]))));
            c.send(data(flag::END_STREAM | flag::PADDED, 1, b"\x02\0\0"));
        }, Answers),
        ("6.2 HEADERS, padded", |c| {
            let padded = [&b"\x03"[..], &section(&get("/", &[])), b"\0\0\0"].concat();
            c.send(headers(flag::WHOLE | flag::PADDED, 1, padded));
        }, Answers),
        ("6.2 HEADERS with a priority", |c| {
            let first = [&b"\0\0\0\0\xff"[..], &section(&get("/", &[]))].concat();
            c.send(headers(flag::WHOLE | flag::PRIORITY, 1, first));
        }, Answers),
        ("6.2 HEADERS, padded and with a priority", |c| {
            let both = [&b"\x02\0\0\0\x07\x10"[..], &section(&get("/", &[])), b"\0\0"].concat();
            c.send(headers(flag::WHOLE | flag::PADDED | flag::PRIORITY, 1, both));
        }, Answers),
        ("6.5 SETTINGS, empty", |c| {
            c.announce(&[]);
            c.pump_until("it is acknowledged", |c| c.acknowledged == 2);
        }, Serves),
        ("6.5.2 an unknown setting", |c| {
            c.announce(&[(setting::UNKNOWN, 7)]);
            c.pump_until("it is acknowledged", |c| c.acknowledged == 2);
        }, Serves),
        ("6.5.2 a table of no size", |c| {
            c.announce(&[(setting::HEADER_TABLE_SIZE, 0)]);
            c.send(whole(&get("/", &[])));
        }, Answers),
        ("6.7 PING", |c| {
            c.send(ping(b"12345678"));
            c.pump_until("it comes back", |c| c.pongs == [b"12345678"]);
        }, Serves),
        ("6.7 PING, acknowledged", |c| {
            c.send(frame(kind::PING, flag::ACK, 0, b"nobody's"));
            c.is_alive();
            assert_eq!(c.pongs.len(), 1, "an acknowledgement was answered");
        }, Serves),
        ("6.9 WINDOW_UPDATE on both", |c| {
            open(c);
            c.send(window_update(0, 1000));
            c.send(window_update(1, 1000));
        }, Serves),
        ("6.10 CONTINUATION", |c| {
            let section = section(&get("/", &[]));
            let (first, rest) = section.split_at(20);
            c.send(headers(flag::END_STREAM, 1, first));
            c.send(continuation(flag::END_HEADERS, 1, rest));
        }, Answers),
        ("6.10 CONTINUATIONs, one of them empty", |c| {
            let section = section(&get("/", &[]));
            c.send(headers(flag::END_STREAM, 1, b""));
            c.send(continuation(0, 1, &section[..5]));
            c.send(continuation(0, 1, b""));
            c.send(continuation(0, 1, &section[5..30]));
            c.send(continuation(flag::END_HEADERS, 1, &section[30..]));
        }, Answers),
        ("7 RST_STREAM with an unknown code", |c| {
            open(c);
            c.send(reset(1, 0xfff));
        }, Serves),
        ("8.1 HEAD", |c| c.send(whole(&request("HEAD", "/", &[]))), Answers),
        ("8.1 POST with trailers", |c| {
            c.send(headers(flag::END_HEADERS, 1, section(&post("/", &[]))));
            c.send(data(0, 1, b"body"));
            c.send(whole(&[("x-sum", "1")]));
        }, Answers),
    ];
    run(rows);
}

#[test]
fn what_ends_a_stream() {
    const PROTOCOL: Outcome = Resets(code::PROTOCOL_ERROR);
    const CLOSED: Outcome = Resets(code::STREAM_CLOSED);
    #[rustfmt::skip] // As a table.
    let rows: &[Row] = &[
        ("5.1 half-closed (remote): DATA", |c| {
            hold(c);
            c.send(data(flag::END_STREAM, 1, b"x"));
        }, CLOSED),
        ("5.1 half-closed (remote): HEADERS", |c| {
            hold(c);
            c.send(whole(&[("x", "y")]));
        }, CLOSED),
        ("5.3.1 HEADERS that depend on themselves", |c| {
            let itself = [&b"\0\0\0\x01\xff"[..], &section(&get("/", &[]))].concat();
            c.send(headers(flag::WHOLE | flag::PRIORITY, 1, itself));
        }, PROTOCOL),
        ("5.3.1 PRIORITY that depends on itself", |c| {
            hold(c);
            c.send(priority(1, 1, 1));
        }, PROTOCOL),
        ("6.3 PRIORITY of 4 bytes", |c| {
            hold(c);
            c.send(frame(kind::PRIORITY, 0, 1, [0; 4]));
        }, Resets(code::FRAME_SIZE_ERROR)),
        ("6.9 WINDOW_UPDATE of nothing", |c| {
            hold(c);
            c.send(window_update(1, 0));
        }, PROTOCOL),
        ("6.9.1 a stream's window beyond 2^31 - 1", |c| {
            hold(c);
            c.send(window_update(1, 0x7fff_ffff));
            c.send(window_update(1, 0x7fff_ffff));
        }, Resets(code::FLOW_CONTROL_ERROR)),
        ("8.1 HEADERS again, without an end", |c| {
            open(c);
            c.send(headers(flag::END_HEADERS, 1, section(&[("x", "y")])));
        }, PROTOCOL),
        ("8.1 trailers with a pseudo-field", |c| {
            open(c);
            c.send(whole(&[(":method", "GET")]));
        }, PROTOCOL),
        ("8.1 trailers with an upper-case name", |c| {
            open(c);
            c.send(whole(&[("X-Sum", "1")]));
        }, PROTOCOL),
        ("8.1 trailers with a connection field", |c| {
            open(c);
            c.send(whole(&[("connection", "close")]));
        }, PROTOCOL),
    ];
    run(rows);
}

#[test]
fn prefaces() {
    let origin = origin();
    let proxy = Proxy::to(&[origin.addr]);
    // Frames that stand where the first SETTINGS is due.
    for (name, first) in [
        ("HEADERS", headers(flag::WHOLE, 1, section(&get("/", &[])))),
        ("PING", ping(b"too soon")),
        (
            "an acknowledgement",
            frame(kind::SETTINGS, flag::ACK, 0, b""),
        ),
        ("WINDOW_UPDATE", window_update(0, 1)),
        ("DATA", data(0, 1, b"x")),
    ] {
        let mut client = H2::connect(proxy.addr);
        client.send(PREFACE);
        client.send(first);
        assert_eq!(client.end(), Some(code::PROTOCOL_ERROR), "{name}");
    }
    // A preface with a wrong end may not be taken for a request either.
    let mut client = proxy.client();
    client.try_send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r");
    let rest = client.rest();
    assert!(!rest.starts_with(b"HTTP/1.1 2"), "{rest:?}");
    // SETTINGS come first from the proxy, also when a request was sent along; `pump` checks it.
    let mut client = H2::connect(proxy.addr);
    let first = [
        PREFACE.to_vec(),
        settings(&[]),
        headers(flag::WHOLE, 1, section(&get("/", &[]))),
    ];
    client.send(first.concat());
    assert_eq!(client.answer(1).status(), 200);
    assert_eq!(origin.count(), 1);
}

/// A GOAWAY of the client's, whatever its code, ends the connection when its streams have ended.
#[test]
fn a_farewell_of_the_client() {
    let origin = origin();
    let proxy = Proxy::to(&[origin.addr]);
    for code in [code::NO_ERROR, code::PROTOCOL_ERROR, 0xfff] {
        let mut client = proxy.h2();
        let stream = client.begin(&post("/", &[]), false);
        client.send(goaway(0, code));
        client.is_alive();
        client.body(stream, b"rest", true);
        assert_eq!(client.answer(stream).text(), "rest");
        client.end();
    }
}
