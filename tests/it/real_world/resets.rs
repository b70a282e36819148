//! Clients of HTTP/2 that reset streams: behind a whole answer that is their right, and many do it; before it, again
//! and again, it is an attack.

use crate::support::h2::frame::{self, code, flag, get, post};
use crate::support::proxy::route;
use crate::support::{Origin, Proxy};

/// More than may be reset in vain.
const STREAMS: usize = 1_000;

/// Answers uploads as soon as their heads are there, and never answers the others.
fn proxy() -> (Proxy, [Origin; 2]) {
    let early = Origin::start(|link| {
        if link.head().is_some() {
            link.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\n\r\nearly");
            link.rest();
        }
    });
    let silent = Origin::start(|link| {
        link.rest();
    });
    let routes = route("/", &[early.addr]) + &route("/silent", &[silent.addr]);
    let proxy = Proxy::start(&("workers = 1\n".to_owned() + &routes));
    (proxy, [early, silent])
}

#[test]
fn resets_behind_whole_answers_are_no_flood() {
    let (proxy, _origins) = proxy();
    let mut client = proxy.h2();
    let living = client.begin(&get("/silent", &[]), true);
    for _ in 0..STREAMS {
        let stream = client.begin(&post("/", &[]), false);
        client.body(stream, b"some", false);
        let answer = client.answer(stream);
        assert_eq!((answer.status(), answer.text().as_str()), (401, "early"));
        client.send(frame::reset(stream, code::CANCEL));
    }
    client.is_alive();
    assert_eq!(client.goaways, []);
    assert!(
        client
            .answers
            .get(&living)
            .is_none_or(|it| it.reset.is_none())
    );
}

/// Neither answered uploads nor a beginning of an answer excuse what wastes the work of backends.
#[test]
fn resets_before_an_answer_are_one() {
    let (proxy, _origins) = proxy();
    let mut client = proxy.h2();
    for _ in 0..20 {
        let stream = client.begin(&post("/", &[]), false);
        client.answer(stream);
        client.send(frame::reset(stream, code::NO_ERROR));
    }
    for _ in 0..STREAMS {
        let stream = client.next_stream();
        let head = frame::section(&get("/silent", &[]));
        let opened = frame::headers(flag::WHOLE, stream, head);
        if !client.try_send([opened, frame::reset(stream, code::CANCEL)].concat()) {
            break;
        }
    }
    assert_eq!(client.end(), Some(code::ENHANCE_YOUR_CALM));
}
