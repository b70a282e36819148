//! Backends that break framing: whatever they send beyond an answer, no client ever gets it as the answer to its own
//! request. Every answer carries the token of its request; a client that sees another token was given a stranger's
//! bytes.

mod strays;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::h2::H2;
use crate::support::h2::frame::{flag, headers, request, section};
use crate::support::origin::ok;
use crate::support::proxy::route;
use crate::support::{Client, Link, Origin, Proxy, get};

/// The answers that a client of a way may expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The answer, as its framing defines it, with this status.
    Answer(u16),
    /// The answer or what can be known of it: where it ends is for the proxy to say.
    Either,
    /// A failure, or an answer that is visibly cut.
    Failure,
}

use Outcome::{Answer, Either, Failure};

/// A way of breaking framing: its name, the method it is for, the outcome, the answer with `{}` for the token and
/// `{S}` for an answer that nobody asked for, and whether the backend then closes.
type Way = (&'static str, &'static str, Outcome, &'static str, bool);

/// The token has 12 bytes.
const WAYS: [Way; 30] = [
    (
        "length too short",
        "GET",
        Answer(200),
        "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{}{S}",
        false,
    ),
    (
        "length too short, within the text",
        "GET",
        Answer(200),
        "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{} and more",
        false,
    ),
    (
        "length too long",
        "GET",
        Failure,
        "HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n{}{S}",
        true,
    ),
    (
        "body of a 204",
        "GET",
        Answer(204),
        "HTTP/1.1 204 No Content\r\n\r\n{S}",
        false,
    ),
    (
        "body of a 204 with a length",
        "GET",
        Either,
        "HTTP/1.1 204 No Content\r\nContent-Length: 12\r\n\r\n{}{S}",
        false,
    ),
    (
        "chunked body of a 204",
        "GET",
        Either,
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n{}\r\n0\r\n\r\n{S}",
        false,
    ),
    (
        "body of a 304",
        "GET",
        Answer(304),
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 12\r\n\r\n{}{S}",
        false,
    ),
    (
        "body of an answer to HEAD",
        "HEAD",
        Answer(200),
        "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nX: {}\r\n\r\n{}",
        false,
    ),
    (
        "another answer behind one to HEAD",
        "HEAD",
        Answer(200),
        "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nX: {}\r\n\r\n{S}",
        false,
    ),
    (
        "chunked body of an answer to HEAD",
        "HEAD",
        Answer(200),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: {}\r\n\r\nc\r\n{}\r\n0\r\n\r\n",
        false,
    ),
    (
        "body with a length of 0",
        "GET",
        Answer(200),
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: {}\r\n\r\n{S}",
        false,
    ),
    (
        "empty lines behind the answer",
        "GET",
        Answer(200),
        "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{}\r\n\r\n",
        false,
    ),
    (
        "one line feed behind the answer",
        "POST",
        Answer(200),
        "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{}\n",
        false,
    ),
    (
        "second answer",
        "GET",
        Answer(200),
        "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{}{S}",
        false,
    ),
    (
        "second answer to POST",
        "POST",
        Answer(200),
        "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{}{S}",
        false,
    ),
    (
        "part of a second answer",
        "GET",
        Answer(200),
        "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{}HTTP/1.1 200 OK\r\nX: {}\r\nContent-Le",
        false,
    ),
    (
        "three answers",
        "GET",
        Answer(200),
        "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{}{S}{S}",
        false,
    ),
    (
        "data behind the last chunk",
        "GET",
        Answer(200),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n{}\r\n0\r\n\r\n{} more",
        false,
    ),
    (
        "answer behind the last chunk",
        "GET",
        Answer(200),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n{}\r\n0\r\n\r\n{S}",
        false,
    ),
    (
        "answer behind trailers",
        "GET",
        Answer(200),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n{}\r\n0\r\nX: y\r\n\r\n{S}",
        false,
    ),
    (
        "two last chunks",
        "GET",
        Answer(200),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n{}\r\n0\r\n\r\n0\r\n\r\n",
        false,
    ),
    (
        "interim head behind the answer",
        "GET",
        Answer(200),
        "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{}HTTP/1.1 103 Early Hints\r\nX: {}\r\n\r\n",
        false,
    ),
    (
        "HTTP/1.0 that keeps the connection and says no length",
        "GET",
        Either,
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n{}{S}",
        true,
    ),
    (
        "connection that is said to close, and more",
        "GET",
        Answer(200),
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 12\r\n\r\n{}{S}",
        true,
    ),
    (
        "connection that is said to close, and stays open",
        "GET",
        Answer(200),
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 12\r\n\r\n{}{S}",
        false,
    ),
    (
        "101 that nobody asked for",
        "GET",
        Failure,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n{S}",
        false,
    ),
    (
        "head that was split",
        "GET",
        Answer(200),
        "HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n{S}\r\nContent-Length: 12\r\n\r\n{}",
        false,
    ),
    (
        "two lengths",
        "GET",
        Failure,
        "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nContent-Length: 0\r\n\r\n{}{S}",
        false,
    ),
    (
        "length and chunked",
        "GET",
        Failure,
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n{}\r\n0\r\n\r\n{S}",
        false,
    ),
    (
        "bare CR in the head",
        "GET",
        Failure,
        "HTTP/1.1 200 OK\r\nX: a\rContent-Length: 0\r\n\r\n{S}",
        false,
    ),
];

/// A good answer in between: a backend that breaks every answer would soon be given nothing that could be mixed up.
const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{}";

/// Whether a request is answered in its way, or well.
fn is_hostile_to(token: &str) -> bool {
    let last = token.as_bytes()[token.len() - 1];
    last % 4 == 3
}

/// How the bytes of an answer are cut into sends.
const CUTS: [usize; 3] = [usize::MAX, 17, 1];

fn fill_in(answer: &str, token: &str) -> String {
    let stray = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nX-Stray: {}\r\n\r\n{}";
    answer.replace("{S}", stray).replace("{}", token)
}

/// Where the answer that the framing defines ends, with one byte before it: what comes last must come in one piece with
/// what is beyond the end, or it could come after the connection was used again.
fn safe_end(answer: &str) -> usize {
    let head_end = answer.find("\r\n\r\n").map_or(0, |end| end + 3);
    head_end.min(answer.len())
}

/// A backend that answers every request of the path `/way/token` in its way.
fn hostile() -> Origin {
    Origin::start(|link| {
        while let Some(request) = link.request() {
            let target = request.head.first_line().split(' ').nth(1).unwrap();
            let mut parts = target.split('/').skip(1);
            let way: usize = parts.next().unwrap().parse().unwrap();
            let cut: usize = parts.next().unwrap().parse().unwrap();
            let token = parts.next().unwrap();
            let (_, method, _, answer, closes) = if is_hostile_to(token) {
                WAYS[way]
            } else {
                ("good", WAYS[way].1, Answer(200), GOOD, false)
            };
            let mut answer = fill_in(answer, token);
            if method == "HEAD" && !is_hostile_to(token) {
                answer.truncate(answer.len() - token.len());
            }
            if !send_in_pieces(link, &answer, CUTS[cut]) || closes {
                return;
            }
        }
    })
}

fn send_in_pieces(link: &mut Link, answer: &str, piece: usize) -> bool {
    let (begin, rest) = answer.as_bytes().split_at(match piece {
        usize::MAX => 0,
        _ => safe_end(answer),
    });
    begin.chunks(piece.max(1)).all(|piece| link.try_send(piece)) && link.try_send(rest)
}

/// The answer that a client saw, over either version.
#[derive(Debug)]
struct Seen {
    status: u16,
    /// Head and body.
    text: String,
    body: String,
    complete: bool,
}

fn check(way: usize, token: &str, seen: &Seen) {
    let (name, method, mut outcome, mut answer, _) = WAYS[way];
    if !is_hostile_to(token) {
        (outcome, answer) = (Answer(200), GOOD);
    }
    for (at, _) in seen.text.match_indices("tok-") {
        let found = &seen.text[at..seen.text.len().min(at + 12)];
        assert!(
            token.starts_with(found),
            "{name}: {token} was given {found}: {seen:?}"
        );
    }
    let is_sound = matches!(outcome, Answer(_));
    let has_stray = seen.text.to_ascii_lowercase().contains("x-stray");
    assert!(!(is_sound && has_stray), "{name}: {seen:?}");
    let behind_head = answer.split_once("\r\n\r\n").map_or("", |(_, rest)| rest);
    let has_body = behind_head.starts_with("{}") || behind_head.starts_with("c\r\n{}");
    let is_body = match seen.status {
        204 | 304 => seen.body.is_empty(),
        _ if method == "HEAD" => seen.body.is_empty(),
        _ if has_body => seen.body == token,
        _ => seen.body.is_empty(),
    };
    let failed = seen.status == 502 || !seen.complete;
    let holds = match outcome {
        Answer(status) => seen.status == status && seen.complete && is_body,
        Either => seen.status < 500 || failed,
        Failure => failed,
    };
    assert!(holds, "{name}: {token} was given {seen:?}");
}

/// Clients of each version, all at once.
const CLIENTS: usize = 8;
const ROUNDS: usize = 8;
/// Requests that a client of HTTP/2 sends in one piece.
const TOGETHER: usize = 12;

#[test]
fn nobody_gets_what_is_beyond_an_answer() {
    let origin = hostile();
    let routes: Vec<String> = (0..WAYS.len())
        .map(|way| route(&format!("/{way}"), &[origin.addr]))
        .collect();
    let proxy = Proxy::start(&format!("workers = 2\n{}", routes.concat()));
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let proxy = &proxy;
            scope.spawn(move || each_way(client, 1, h1_client(proxy)));
            scope.spawn(move || each_way(CLIENTS + client, TOGETHER, h2_client(proxy)));
        }
    });
}

/// Asks in every way again and again; the token says who asks what.
fn each_way(client: usize, together: usize, mut ask: impl FnMut(&str, &[String]) -> Vec<Seen>) {
    for round in 0..ROUNDS {
        for (way, (_, method, ..)) in WAYS.iter().enumerate() {
            let cut = (client + round) % CUTS.len();
            let tokens = (0..together)
                .map(|n| format!("tok-{client:02}{way:02}{n:02}{:02}", (n + round) % 100));
            let tokens: Vec<String> = tokens.collect();
            let targets = tokens.iter().map(|token| format!("/{way}/{cut}/{token}"));
            let targets: Vec<String> = targets.collect();
            for (token, seen) in tokens.iter().zip(ask(method, &targets)) {
                check(way, token, &seen);
            }
        }
    }
}

fn h1_client(proxy: &Proxy) -> impl FnMut(&str, &[String]) -> Vec<Seen> {
    let mut client = proxy.client();
    let mut ask = move |method: &str, target: &str| {
        let length = match method {
            "POST" => "Content-Length: 0\r\n",
            _ => "",
        };
        let answer = client.ask(format!(
            "{method} {target} HTTP/1.1\r\nHost: test\r\n{length}\r\n"
        ));
        if !answer.complete || answer.field("connection") == Some("close") {
            client = proxy.client();
        }
        let interim = answer.interim.iter().map(|head| head.text.as_str());
        let body = answer.text();
        let rest = [answer.head.text.as_str(), &body, &answer.trailers];
        Seen {
            status: answer.status(),
            text: interim.chain(rest).collect(),
            complete: answer.complete,
            body,
        }
    };
    move |method, targets| targets.iter().map(|target| ask(method, target)).collect()
}

fn h2_client(proxy: &Proxy) -> impl FnMut(&str, &[String]) -> Vec<Seen> {
    let mut client: H2 = proxy.h2();
    move |method, targets| {
        let (mut bytes, mut streams) = (Vec::new(), Vec::new());
        for target in targets {
            let stream = client.next_stream();
            let fields = section(&request(method, target, &[]));
            bytes.extend(headers(flag::WHOLE, stream, fields));
            streams.push(stream);
        }
        client.send(bytes);
        let seen = streams.into_iter().map(|stream| {
            let answer = client.answer(stream);
            Seen {
                status: answer.status(),
                text: format!("{answer:?} {}", answer.text()),
                body: answer.text(),
                complete: answer.complete,
            }
        });
        seen.collect()
    }
}
