//! Malformed answers of backends. An answer with one reading is passed on in its proper form; an answer with no
//! reading, or with two, becomes a 502. An answer whose status allows no body has none, even if the backend sends bytes
//! behind it.

use std::sync::mpsc;

use crate::support::h2::backend::Backend;
use crate::support::h2::frame::{self, flag, get as h2_get};
use crate::support::origin::ok;
use crate::support::proxy::list;
use crate::support::{Answer, Client, Origin, Proxy, get};

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

fn config(origin: &Origin, pool: &str) -> String {
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
            continue; // Such an answer is well-formed, or is never refused.
        }
        let answer = parrot.say(bytes);
        let is_whole = answer.complete && answer.status() != 502;
        assert!(!is_whole, "{bytes:?} became {:?}", answer.head.text);
    }
    assert_eq!(parrot.say(&ok("fine")).text(), "fine");
}

/// Bytes behind an answer without a body, whether they come at once or later, do not become the answer of the next
/// client.
#[test]
fn what_follows_an_answer_without_a_body_is_no_answer() {
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let heads = [
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        format!(
            "HTTP/1.1 204 No Content\r\nContent-Length: {}\r\n\r\n",
            poison.len()
        ),
        "HTTP/1.1 205 Reset Content\r\n\r\n".to_owned(),
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            .to_owned(),
        "HTTP/1.1 103 x\r\nContent-Length: 9\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
            .to_owned(),
    ];
    for (head, behind) in heads.iter().flat_map(|head| [(head, ""), (head, poison)]) {
        let name = format!("{head}{behind}");
        let bytes = name.clone();
        let origin = Origin::start(move |link| {
            while let Some(request) = link.request() {
                if request.head.first_line().starts_with("GET /clean") {
                    link.send(ok("clean"));
                    continue;
                }
                link.send(&bytes);
                link.rest(); // Until the proxy has closed the connection.
                return;
            }
        });
        let proxy = Proxy::start(&config(&origin, ""));
        let mut client = proxy.client();
        assert_eq!(client.ask(get("/odd")).text(), "", "{name:?}");
        origin.wait_for_ended(1);
        for _ in 0..3 {
            assert_eq!(client.ask(get("/clean")).text(), "clean", "{name:?}");
        }
        assert_eq!(origin.accepted(), 2, "{name:?}");
    }
}

/// An answer to HEAD keeps the length that the answer to a GET would have, and loses a length that is not certain.
#[test]
fn answers_to_head_keep_a_good_length_alone() {
    let origin = Origin::start(|link| {
        while let Some(request) = link.request() {
            let fields = match request.head.first_line() {
                "HEAD /good HTTP/1.1" => "Content-Length: 5\r\n",
                "HEAD /twice HTTP/1.1" => "Content-Length: 5\r\nContent-Length: 05\r\n",
                "HEAD /both HTTP/1.1" => "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                _ => "Content-Length: five\r\n",
            };
            link.send(format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
        }
    });
    let proxy = Proxy::start(&config(&origin, ""));
    let mut client = proxy.client();
    let rows = [
        ("/good", Some("5")),
        ("/twice", Some("5")),
        ("/both", None),
        ("/bad", None),
    ];
    for (path, length) in rows {
        let answer = client.ask(format!("HEAD {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
        assert_eq!(
            (answer.status(), answer.field("content-length")),
            (200, length),
            "{path}"
        );
        assert_eq!(answer.field("transfer-encoding"), None, "{path}");
    }
}

#[test]
fn many_interim_answers_pass_and_endless_ones_do_not() {
    let interim = "HTTP/1.1 102 Processing\r\n\r\n";
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            if request.head.first_line() == "GET /many HTTP/1.1" {
                link.send(interim.repeat(500) + &ok("done"));
                continue;
            }
            while link.try_send(interim.repeat(100)) {}
        }
    });
    let proxy = Proxy::start(&config(&origin, ""));
    let answer = proxy.ask(get("/many"));
    assert_eq!(
        (answer.interim.len(), answer.text().as_str()),
        (500, "done")
    );
    let answer = proxy.h2().ask(&h2_get("/many", &[]));
    assert_eq!(answer.text(), "done");
    assert_eq!(proxy.ask(get("/endless")).status(), 502);
    proxy.wait_for_log(&["too_many_interim"]);
}

/// Interim answers give a backend more time, but not without a bound.
#[test]
fn interim_answers_are_bounded_in_time() {
    let (sent, come) = mpsc::channel();
    let sent = std::sync::Mutex::new(sent);
    let origin = Origin::start(move |link| {
        while link.request().is_some() {
            let mut count = 0;
            while link.try_send("HTTP/1.1 102 Processing\r\n\r\n") {
                count += 1;
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            let _ = sent.lock().unwrap().send(count);
        }
    });
    let config = "[timeouts]\nupstream_response = 0.2\n".to_owned() + &config(&origin, "");
    let proxy = Proxy::start(&config.replace("workers = 1\n", ""));
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.status(), 504);
    assert!(come.recv_timeout(crate::support::PATIENCE).unwrap() > 1);
}

/// Malformed answers of backends of HTTP/2 are treated as over HTTP/1.1.
#[test]
fn backends_of_http2_are_read_alike() {
    let origin = Origin::start(|link| {
        let Some(mut backend) = Backend::greet(link, &[]) else {
            return;
        };
        let mut count = 0;
        while let Some(stream) = backend.request() {
            let (fields, end): (&[(&str, &str)], bool) = match count {
                0 => (&[(":status", "204"), ("content-length", "5")], true),
                1 => (&[(":status", "204"), ("content-length", "5")], false),
                2 => (&[(":status", "700"), ("content-length", "0")], true),
                3 => (
                    &[
                        (":status", "200"),
                        ("content-length", "2"),
                        ("content-length", "02, 2"),
                    ],
                    false,
                ),
                4 => (&[(":status", "304"), ("content-length", "5")], true),
                5 => (
                    &[
                        (":status", "200"),
                        ("content-length", "2"),
                        ("content-length", "3"),
                    ],
                    false,
                ),
                _ => (&[(":status", "200"), ("x_forwarded_for", "a")], false),
            };
            if count == 4 {
                for _ in 0..100 {
                    let section = frame::section(&[(":status", "103"), ("content-length", "5")]);
                    backend.send(frame::headers(flag::END_HEADERS, stream, section));
                }
            }
            let last = if end { flag::END_STREAM } else { 0 };
            backend.send(frame::headers(
                flag::END_HEADERS | last,
                stream,
                frame::section(fields),
            ));
            if !end {
                backend.send(frame::data(flag::END_STREAM, stream, "ok"));
            }
            count += 1;
        }
    });
    let proxy = Proxy::start(&config(&origin, "protocol = \"h2\""));
    let mut client = proxy.client();
    let rows = [
        (204, None, ""),
        (204, None, ""),
        (700, Some("0"), ""),
        (200, Some("2"), "ok"),
        (304, Some("5"), ""),
        (502, Some("any"), "any"),
        (200, None, "ok"),
    ];
    for (status, length, body) in rows {
        client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
        let answer = client.answer();
        assert_eq!(answer.status(), status, "{}", answer.head.text);
        if status != 502 {
            assert_eq!(
                (answer.field("content-length"), answer.text().as_str()),
                (length, body)
            );
        }
    }
}

/// An answer with an unknown status counts as a failure of its backend.
#[test]
fn unknown_statuses_count_as_failures() {
    let origin = Origin::answering("HTTP/1.1 799 Odd\r\nContent-Length: 0\r\n\r\n");
    let admin = crate::support::place::free_addr();
    let config = format!(
        "[admin]\nlisten_addr = \"{admin}\"\n{}",
        config(&origin, "")
    )
    .replace("workers = 1\n", "");
    let proxy = Proxy::start(&format!("workers = 1\n{config}"));
    let mut client: Client = proxy.client();
    assert_eq!(client.ask(get("/")).status(), 799);
    crate::support::eventually("the answer is counted as a 5xx", || {
        let metrics = crate::support::metrics(admin);
        metrics.contains("palantir_requests_total{worker=\"0\",code=\"5xx\"} 1\n")
    });
}
