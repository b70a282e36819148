//! Malformed answers of backends. An answer with one reading is passed on in its proper form; an answer with no
//! reading, or with two, becomes a 502.

use crate::support::h2::frame;
use crate::support::origin::ok;
use crate::support::proxy::list;
use crate::support::{Answer, Origin, Proxy};

/// A backend that answers with the body of its request and ends its sending side, and a proxy to that backend with
/// further settings of the pool.
struct Parrot {
    _origin: Origin,
    proxy: Proxy,
}

impl Parrot {
    fn start(pool: &str) -> Parrot {
        let origin = Origin::start(|link| {
            if let Some(request) = link.request() {
                link.send(&request.body);
                link.finish_sending();
                link.rest();
            }
        });
        let proxy = Proxy::start(&config(&origin, &format!("idle_connections = 0\n{pool}")));
        Parrot {
            _origin: origin,
            proxy,
        }
    }

    /// The answer that a client of HTTP/1.1 gets.
    fn say(&self, answer: &str) -> Answer {
        let mut client = self.proxy.client();
        client.send(post(answer));
        client.answer()
    }
}

fn post(body: &str) -> String {
    let length = body.len();
    format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}")
}

pub(super) fn config(origin: &Origin, pool: &str) -> String {
    let backends = list(&[origin.addr]);
    format!(
        "workers = 1\n[[pools]]\nname = \"p\"\nbackends = {backends}\n{pool}\n[[routes]]\npool = \"p\"\n"
    )
}

/// Malformed heads with one reading, and the status and the body of the client's answer.
const ODD: [(&str, u16, &str); 35] = [
    ("HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok", 200, "ok"),
    (
        "HTTP/1.1 200 OK\r\nContent-Length\t :2\r\nX : y\r\n\r\nok",
        200,
        "ok",
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        200,
        "ok",
    ),
    ("HTTP/1.1 200 OK\nContent-Length: 2\n\nok", 200, "ok"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2\n\r\nok", 200, "ok"),
    ("HTTP/1.1 200 OK\nContent-Length: 2\r\n\nok", 200, "ok"),
    (
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nok\n0\n\n",
        200,
        "ok",
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2 \r\nok\r\n0 \t\r\n\r\n",
        200,
        "ok",
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2 ; a = b\r\nok\n0\r\nT: u\n\r\n",
        200,
        "ok",
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        200,
        "ok",
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
        200,
        "ok",
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 002\r\n\r\nok",
        200,
        "ok",
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 02,2\r\nContent-Length: 2\r\n\r\nok",
        200,
        "ok",
    ),
    (
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        200,
        "ok",
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked,\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        200,
        "ok",
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: a\r\n b\r\n\r\nok",
        200,
        "ok",
    ),
    (
        "HTTP/1.1 200 OK\r\nContent_Length: 5\r\nContent-Length: 2\r\n\r\nok",
        200,
        "ok",
    ),
    (
        "HTTP/1.1  200  OK\r\nContent-Length: 2\r\n\r\nok",
        200,
        "ok",
    ),
    ("HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok"),
    (
        "\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        200,
        "ok",
    ),
    (
        "\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        200,
        "ok",
    ),
    (
        "HTTP/1.1 103 Early\r\n\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        200,
        "ok",
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok",
        200,
        "ok",
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: Identity\r\n\r\nok",
        200,
        "ok",
    ),
    (
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: identity\r\n\r\n",
        204,
        "",
    ),
    ("HTTP/1.1 600 Odd\r\nContent-Length: 2\r\n\r\nok", 600, "ok"),
    ("HTTP/1.1 999\r\nContent-Length: 2\r\n\r\nok", 999, "ok"),
    (
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        204,
        "",
    ),
    (
        "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok",
        204,
        "",
    ),
    (
        "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\nTransfer-Encoding: x\r\n\r\nok",
        204,
        "",
    ),
    (
        "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        304,
        "",
    ),
    (
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        304,
        "",
    ),
    ("HTTP/1.1 205 Reset Content\r\n\r\n", 205, ""),
    (
        "HTTP/1.1 205 Reset Content\r\nContent-Length: 2\r\n\r\nok",
        205,
        "ok",
    ),
    (
        "HTTP/1.1 103 Early\r\nContent-Length: 2\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        200,
        "ok",
    ),
];

#[test]
fn what_has_one_reading_is_passed_on() {
    let parrot = Parrot::start("");
    for (bytes, status, body) in ODD {
        let answer = parrot.say(bytes);
        assert_eq!(answer.status(), status, "{bytes:?}: {}", answer.head.text);
        assert!(answer.complete, "{bytes:?}");
        assert_eq!(answer.text(), body, "{bytes:?}");
        for head in answer.interim.iter().chain([&answer.head]) {
            assert_is_proper(head.text.as_str(), bytes);
        }
        let ends_with_head = matches!(status, 204 | 304);
        assert!(
            !ends_with_head || answer.head.field("transfer-encoding").is_none(),
            "{bytes:?}"
        );
        assert!(
            status != 204 || answer.head.field("content-length").is_none(),
            "{bytes:?}"
        );
    }
    let mut client = parrot.proxy.h2();
    for (bytes, status, body) in ODD {
        let answer = client.ask_with(&frame::post("/", &[]), bytes.as_bytes());
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (status, body),
            "{bytes:?}"
        );
    }
}

/// Checks that the client gets well-formed lines, whatever the backend sent.
#[track_caller]
fn assert_is_proper(head: &str, name: &str) {
    for line in head.trim_end_matches("\r\n").split("\r\n").skip(1) {
        let (field, value) = line
            .split_once(": ")
            .unwrap_or_else(|| panic!("{name:?}: {line:?}"));
        assert!(
            !field.contains([' ', '\t', '\n', '_']) && value.trim() == value,
            "{name:?}: {line:?}"
        );
    }
    assert!(
        !head.replace("\r\n", "").contains(['\r', '\n']),
        "{name:?}: {head:?}"
    );
    assert!(
        head.matches("Content-Length").count() <= 1,
        "{name:?}: {head:?}"
    );
}

#[test]
fn lines_that_go_on_are_joined_and_trailers_too() {
    let parrot = Parrot::start("");
    let answer = parrot.say(
        "HTTP/1.1 200 OK\nX-A : one\n two\n\tthree\nTransfer-Encoding: chunked\n\n2\nok\n0\nX-T : four\n five\n\n",
    );
    assert_eq!(answer.field("x-a"), Some("one two three"));
    assert_eq!(
        (answer.text().as_str(), answer.trailers.as_str()),
        ("ok", "X-T: four five\r\n")
    );
}

#[test]
fn what_has_no_or_two_readings_stays_a_502() {
    let parrot = Parrot::start("");
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2,\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity, identity\r\n\r\nok",
        "\r\nnonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX: a\r\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\nX: a\0\nContent-Length: 2\n\nok",
        "HTTP/1.1 200 OK\r\n X: a\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX: a\r\n \r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX Y: a\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 1000 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "\r\n\r\n\r\n\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n 2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\rok\r\n0\r\n\r\n",
        "HTTP/1.1 103 Early\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ];
    for bytes in answers {
        let answer = parrot.say(bytes);
        assert_eq!(
            answer.status(),
            502,
            "{bytes:?} became {:?}",
            answer.head.text
        );
    }
}

#[test]
fn a_pool_may_hold_its_backends_to_the_letter() {
    let parrot = Parrot::start("strict_responses = true");
    for (bytes, _, _) in ODD {
        let may_pass = ["Content-Length: 002\r\n", "205 Reset"];
        if may_pass.iter().any(|part| bytes.contains(part))
            || bytes.starts_with("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding")
        {
            continue; // An answer like that is well-formed, or is never refused.
        }
        let answer = parrot.say(bytes);
        let is_whole = answer.complete && answer.status() != 502;
        assert!(!is_whole, "{bytes:?} became {:?}", answer.head.text);
    }
    assert_eq!(parrot.say(&ok("fine")).text(), "fine");
}

/// A backend that speaks another protocol is refused by its first bytes, although it sends no line and keeps the
/// connection open.
#[test]
fn bytes_of_another_protocol_are_not_waited_for() {
    let rows: [&[u8]; 4] = [
        b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80",
        b"\x15\x03\x01\0\x02\x02\x46",
        b"hello",
        b"\r\n\r\nSSH-2.0-OpenSSH",
    ];
    for bytes in rows {
        let origin = Origin::start(move |link| {
            if link.request().is_some() {
                link.send(bytes);
                link.rest();
            }
        });
        let times = "[timeouts]\nupstream_response = 600\n";
        let proxy = Proxy::start(&(config(&origin, "") + times));
        let mut client = proxy.client();
        client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.answer().status(), 502, "{bytes:?}");
    }
}
