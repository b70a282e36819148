//! The clients: each asks one request, takes what comes of it, and goes on with another where it may.

use std::thread;

use super::cases::{CHUNK, Case, Request, Version};
use super::stage::{Purpose, token};
use crate::support::h2::frame::{self, flag, headers, section};
use crate::support::h2::{Answer as H2Answer, H2};
use crate::support::{Answer, Client, Proxy, get};

/// The answer that a client got for its request.
#[derive(Clone, Debug)]
pub struct Seen {
    pub status: u16,
    pub body: String,
    /// Whether the answer came to its end; if not, the client can tell.
    pub complete: bool,
}

/// Asks what the case wants, and then something else: on the same connection if that may go on, else on another one.
pub fn ask(proxy: &Proxy, number: usize, case: &Case, warmed: &dyn Fn()) -> Seen {
    match case.client {
        Version::H1 => ask_h1(proxy, number, case, warmed),
        Version::H2 => ask_h2(proxy, number, case, warmed),
    }
}

fn path(number: usize, purpose: Purpose) -> String {
    format!("/c{number}/{}", purpose.word())
}

/// Whether the pool still serves after the failure.
fn goes_on(case: &Case) -> bool {
    use super::cases::{Elsewhere, Failure};
    matches!(case.failure, Failure::Fails { .. }) || case.elsewhere == Elsewhere::Good
}

/// Once per backend of the pool.
const WARMINGS: usize = 2;

fn ask_h1(proxy: &Proxy, number: usize, case: &Case, warmed: &dyn Fn()) -> Seen {
    let mut client = proxy.client();
    if case.reused {
        for _ in 0..WARMINGS {
            let answer = client.ask(get(&path(number, Purpose::Warm)));
            assert_eq!(
                (answer.status(), answer.text()),
                (200, token(number, Purpose::Warm))
            );
        }
        warmed();
    }
    let request = h1_request(number, case.request);
    let sender = if case.request.is_large() {
        let stream = client.stream.try_clone().unwrap();
        Some(thread::spawn(move || {
            // The proxy may refuse to read the rest.
            Client::over(stream).try_send(&request)
        }))
    } else {
        client.send(&request);
        None
    };
    let answer = client.read_answer(case.request == Request::Head);
    let closes = answer.field("connection") == Some("close");
    if !answer.complete || closes {
        client.ends();
        client = proxy.client();
    }
    let was_sent = sender.is_none_or(|sender| sender.join().unwrap());
    if goes_on(case) {
        let may_end = case.request.is_large();
        follow_h1(proxy, client, number, may_end || !was_sent);
    }
    seen_h1(&answer)
}

/// The request after it gets its own answer. Where the answer before it could not yet say whether the connection goes
/// on, the connection may end instead.
fn follow_h1(proxy: &Proxy, mut client: Client, number: usize, may_end: bool) {
    let request = get(&path(number, Purpose::Next));
    let was_sent = client.try_send(&request);
    let has_ended = may_end && (!was_sent || has_ended(&mut client));
    if has_ended {
        client = proxy.client();
        client.send(&request);
    }
    let answer = client.answer();
    assert_eq!(
        (answer.status(), answer.text()),
        (200, token(number, Purpose::Next)),
        "the answer to the next request: {:?}",
        answer.head.text
    );
}

fn has_ended(client: &mut Client) -> bool {
    let peeked = client.stream.peek(&mut [0]);
    peeked.map_or(true, |count| count == 0)
}

fn seen_h1(answer: &Answer) -> Seen {
    Seen {
        status: answer.status(),
        body: answer.text(),
        complete: answer.complete,
    }
}

fn h1_request(number: usize, request: Request) -> Vec<u8> {
    let (method, path, body) = (request.method(), path(number, Purpose::Go), request.body());
    let framing = match request {
        Request::PostChunked => "Transfer-Encoding: chunked\r\n".to_owned(),
        _ if request.has_length() => format!("Content-Length: {}\r\n", body.len()),
        _ => String::new(),
    };
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n{framing}\r\n").into_bytes();
    if request != Request::PostChunked {
        bytes.extend(body);
        return bytes;
    }
    for chunk in body.chunks(CHUNK) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

fn ask_h2(proxy: &Proxy, number: usize, case: &Case, warmed: &dyn Fn()) -> Seen {
    let mut client = proxy.h2();
    if case.reused {
        for _ in 0..WARMINGS {
            let answer = client.ask(&frame::get(&path(number, Purpose::Warm), &[]));
            assert_eq!(
                (answer.status(), answer.text()),
                (200, token(number, Purpose::Warm))
            );
        }
        warmed();
    }
    let stream = send_h2(&mut client, number, case.request);
    let answer = client.answer(stream);
    if goes_on(case) {
        let next = client.ask(&frame::get(&path(number, Purpose::Next), &[]));
        assert_eq!(
            (next.status(), next.text()),
            (200, token(number, Purpose::Next)),
            "the answer to the next request: {next:?}"
        );
    }
    // Frames that came for the stream in the meantime have been looked at, too: a second head fails where it is read.
    seen_h2(&answer)
}

/// Sends the request, as far as anybody wants it.
fn send_h2(client: &mut H2, number: usize, request: Request) -> u32 {
    let body = request.body();
    let length = body.len().to_string();
    let path = path(number, Purpose::Go);
    let more = [("content-length", &length[..])];
    let more = if request.has_length() { &more[..] } else { &[] };
    let fields = frame::request(request.method(), &path, more);
    let stream = client.next_stream();
    let end = if body.is_empty() { flag::END_STREAM } else { 0 };
    let mut bytes = headers(flag::END_HEADERS | end, stream, section(&fields));
    if request.is_large() {
        client.send(bytes);
        send_body(client, stream, &body);
        return stream;
    }
    if !body.is_empty() {
        client.room(stream);
        client.use_window(stream, body.len());
        bytes.extend(frame::data(flag::END_STREAM, stream, body));
    }
    client.send(bytes);
    stream
}

fn send_body(client: &mut H2, stream: u32, mut body: &[u8]) {
    let has_ended = |client: &H2| {
        let answer = client.answers.get(&stream);
        answer.is_some_and(H2Answer::has_ended)
    };
    while !body.is_empty() && !has_ended(client) {
        let most = body.len().min(16_384).min(client.room(stream));
        if most == 0 {
            assert!(client.pump(), "the connection ended during an upload");
            continue;
        }
        client.use_window(stream, most);
        let (piece, rest) = body.split_at(most);
        let end = if rest.is_empty() { flag::END_STREAM } else { 0 };
        client.send(frame::data(end, stream, piece));
        body = rest;
    }
}

fn seen_h2(answer: &H2Answer) -> Seen {
    assert!(
        !answer.fields.is_empty(),
        "the stream was reset without an answer: {answer:?}"
    );
    Seen {
        status: answer.status(),
        body: answer.text(),
        complete: answer.complete,
    }
}
