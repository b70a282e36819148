//! Heads that must not reach a backend, because of what they would become there: as strict as for HTTP/1.1.

use crate::support::h2::H2;
use crate::support::h2::frame::{code, data, flag, get, headers, post, request, section};
use crate::support::place::free_addr;
use crate::support::proxy::route;
use crate::support::{Origin, Proxy, eventually, metrics};

use Verdict::{Answered, Reset, Served};

/// The verdict on a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Served,
    /// Malformed by the RFC: the stream is reset with PROTOCOL_ERROR.
    Reset,
    /// Refused by us with this status.
    Answered(u16),
}

/// A name for the fault or merit of a head, the head, and the verdict on it.
type Row<'a> = (&'a str, Vec<(&'a str, &'a str)>, Verdict);

/// The verdict on this head, with the connection going on.
#[track_caller]
fn verdict(client: &mut H2, fields: &[(&str, &str)]) -> Verdict {
    let answer = client.ask(fields);
    let verdict = match (answer.reset, answer.complete) {
        (Some(code::PROTOCOL_ERROR), _) if answer.fields.is_empty() => Reset,
        (None, true) if answer.status() == 200 => Served,
        (None, true) => Answered(answer.status()),
        _ => panic!("{fields:?}: {answer:?}"),
    };
    client.is_alive();
    verdict
}

/// Runs the rows; only what is served may reach the backend.
#[track_caller]
fn run(rows: &[Row<'_>]) {
    let origin = Origin::saying("");
    let proxy = Proxy::to(&[origin.addr]);
    let mut wrong = String::new();
    let mut served = 0;
    for (name, fields, expected) in rows {
        // One connection each: so many malformed ones on one would be an attack.
        let found = verdict(&mut proxy.h2(), fields);
        served += usize::from(found == Served);
        if found != *expected {
            wrong += &format!("\n{name}: {found:?} instead of {expected:?}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert_eq!(origin.count(), served, "requests that reached the backend");
    for received in origin.requests() {
        assert!(received.raw_body.is_empty(), "{received:?}");
    }
}

#[test]
fn fields() {
    let with = |name, value| get("/", &[(name, value)]);
    #[rustfmt::skip] // One row per line.
    let rows = [
        ("connection", with("connection", "close"), Reset),
        ("connection, keep-alive", with("connection", "keep-alive"), Reset),
        ("keep-alive", with("keep-alive", "timeout=5"), Reset),
        ("proxy-connection", with("proxy-connection", "close"), Reset),
        ("transfer-encoding", with("transfer-encoding", "chunked"), Reset),
        ("transfer-encoding, other", with("transfer-encoding", "identity"), Reset),
        ("upgrade", with("upgrade", "websocket"), Reset),
        ("te", with("te", "gzip"), Reset),
        ("te with more than trailers", with("te", "trailers, deflate"), Reset),
        ("te: trailers", with("te", "trailers"), Served),
        ("an upper-case name", with("X-Upper", "1"), Reset),
        ("one upper-case letter", with("x-uppeR", "1"), Reset),
        ("an empty name", with("", "1"), Reset),
        ("a blank in a name", with("x y", "1"), Reset),
        ("a blank behind a name", with("x ", "1"), Reset),
        ("a colon in a name", with("x:y", "1"), Reset),
        ("CR in a name", with("x\r", "1"), Reset),
        ("LF in a name", with("x\nhost", "1"), Reset),
        ("NUL in a name", with("x\0", "1"), Reset),
        ("a byte above ASCII in a name", with("x\u{e9}", "1"), Reset),
        ("a slash in a name", with("x/y", "1"), Reset),
        ("brackets in a name", with("x(y)", "1"), Reset),
        ("CR in a value", with("x", "a\rb"), Reset),
        ("LF in a value", with("x", "a\nb"), Reset),
        ("CRLF and a field in a value", with("x", "a\r\nhost: other"), Reset),
        ("CRLF and a request in a value", with("x", "a\r\n\r\nGET /other HTTP/1.1\r\n"), Reset),
        ("NUL in a value", with("x", "a\0b"), Reset),
        ("a blank before a value", with("x", " a"), Reset),
        ("a blank behind a value", with("x", "a "), Reset),
        ("a tab before a value", with("x", "\ta"), Reset),
        ("a tab within a value", with("x", "a\tb"), Served),
        ("bytes above ASCII in a value", with("x", "caf\u{e9}"), Served),
        ("an empty value", with("x", ""), Served),
        ("a name of every kind of byte", with("x!#$%&'*+-.^_`|~09", "1"), Served),
        ("host twice", get("/", &[("host", "test"), ("host", "test")]), Answered(400)),
        ("an unknown expectation", with("expect", "more"), Answered(417)),
    ];
    run(&rows);
}

#[test]
fn pseudo_fields() {
    const METHOD: (&str, &str) = (":method", "GET");
    const SCHEME: (&str, &str) = (":scheme", "http");
    const HOST: (&str, &str) = (":authority", "test");
    const PATH: (&str, &str) = (":path", "/");
    #[rustfmt::skip] // One row per line.
    let rows = [
        ("all four", vec![METHOD, SCHEME, HOST, PATH], Served),
        ("in another order", vec![PATH, HOST, SCHEME, METHOD], Served),
        ("no method", vec![SCHEME, HOST, PATH], Reset),
        ("no scheme", vec![METHOD, HOST, PATH], Reset),
        ("no path", vec![METHOD, SCHEME, HOST], Reset),
        ("neither authority nor host", vec![METHOD, SCHEME, PATH], Answered(400)),
        ("method twice", vec![METHOD, METHOD, SCHEME, HOST, PATH], Reset),
        ("scheme twice", vec![METHOD, SCHEME, SCHEME, HOST, PATH], Reset),
        ("authority twice", vec![METHOD, SCHEME, HOST, HOST, PATH], Reset),
        ("path twice", vec![METHOD, SCHEME, HOST, PATH, PATH], Reset),
        ("behind a field", vec![METHOD, SCHEME, HOST, ("x", "y"), PATH], Reset),
        ("one of a response", vec![METHOD, SCHEME, HOST, PATH, (":status", "200")], Reset),
        ("an unknown one", vec![METHOD, SCHEME, HOST, PATH, (":test", "x")], Reset),
        ("one without a name", vec![METHOD, SCHEME, HOST, PATH, (":", "x")], Reset),
        ("in upper case", vec![(":Method", "GET"), SCHEME, HOST, PATH], Reset),
        ("a protocol without CONNECT", vec![METHOD, SCHEME, HOST, PATH, (":protocol", "x")], Reset),
        ("an empty path", vec![METHOD, SCHEME, HOST, (":path", "")], Reset),
        ("an empty method", vec![(":method", ""), SCHEME, HOST, PATH], Reset),
        ("an empty scheme", vec![METHOD, (":scheme", ""), HOST, PATH], Reset),
        ("an empty authority", vec![METHOD, SCHEME, (":authority", ""), PATH], Answered(400)),
        ("a blank in the method", vec![(":method", "GET /"), SCHEME, HOST, PATH], Reset),
        ("CRLF in the method", vec![(":method", "GET / HTTP/1.1\r\nx: y"), SCHEME, HOST, PATH], Reset),
        ("CRLF in the path", vec![METHOD, SCHEME, HOST, (":path", "/ HTTP/1.1\r\nx: y")], Reset),
        ("NUL in the path", vec![METHOD, SCHEME, HOST, (":path", "/\0")], Reset),
        ("CRLF in the authority", vec![METHOD, SCHEME, (":authority", "a\r\nx: y"), PATH], Reset),
        ("CONNECT with a path", request("CONNECT", "/", &[]), Reset),
        ("CONNECT", vec![(":method", "CONNECT"), (":authority", "a:1")], Answered(405)),
        ("TRACE", request("TRACE", "/", &[]), Answered(405)),
        ("OPTIONS of all", request("OPTIONS", "*", &[]), Served),
    ];
    run(&rows);
}

#[test]
fn targets_and_authorities() {
    let path = |path| get(path, &[]);
    let authority = |authority| {
        vec![
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", authority),
            (":path", "/"),
        ]
    };
    let host = |value| get("/", &[("host", value)]);
    #[rustfmt::skip] // One row per line.
    let rows = [
        ("a blank in the path", path("/a b"), Answered(400)),
        ("a tab in the path", path("/a\tb"), Answered(400)),
        ("a fragment", path("/a#b"), Answered(400)),
        ("a byte above ASCII in the path", path("/caf\u{e9}"), Answered(400)),
        ("DEL in the path", path("/\u{7f}"), Reset),
        ("no slash", path("a"), Answered(400)),
        ("a whole URL", path("http://test/"), Answered(400)),
        ("an asterisk", path("*"), Answered(400)),
        ("another scheme", vec![
            (":method", "GET"),
            (":scheme", "ftp"),
            (":authority", "test"),
            (":path", "/"),
        ], Answered(400)),
        ("user info", authority("user@test"), Answered(400)),
        ("a blank", authority("te st"), Answered(400)),
        ("two hosts", authority("a, b"), Answered(400)),
        ("a path behind", authority("test/x"), Answered(400)),
        ("a port that is none", authority("test:x"), Answered(400)),
        ("a port too large", authority("test:65536"), Answered(400)),
        ("an open bracket", authority("[::1"), Answered(400)),
        ("IPv6", authority("[::1]:80"), Served),
        ("host agrees", host("test"), Served),
        ("host agrees in other letters, with the port", host("TEST:80"), Served),
        ("host differs", host("other"), Answered(400)),
        ("host differs by its port", host("test:81"), Answered(400)),
        ("host is empty", host(""), Served),
    ];
    run(&rows);
}

/// Content-Length and the body (RFC 9113 section 8.1.1).
#[test]
fn lengths() {
    let origin = Origin::saying("");
    let proxy = Proxy::to(&[origin.addr]);
    let length = |value| section(&post("/", &[("content-length", value)]));
    let twice = section(&post(
        "/",
        &[("content-length", "1"), ("content-length", "1")],
    ));
    type Row = (&'static str, Vec<u8>, &'static [&'static [u8]], bool);
    #[rustfmt::skip] // One row per line.
    let rows: [Row; 14] = [
        ("as long as it says", length("3"), &[b"abc"], true),
        ("in pieces", length("3"), &[b"a", b"", b"bc"], true),
        ("nothing, as it says", length("0"), &[b""], true),
        ("shorter", length("4"), &[b"abc"], false),
        ("shorter, in pieces", length("4"), &[b"a", b"bc"], false),
        ("longer", length("2"), &[b"abc"], false),
        ("longer, in pieces", length("2"), &[b"ab", b"c"], false),
        ("longer than nothing", length("0"), &[b"a"], false),
        ("none, but a length", length("1"), &[], false),
        ("not a number", length("x"), &[b"a"], false),
        ("signed", length("+1"), &[b"a"], false),
        ("a list", length("1, 1"), &[b"a"], false),
        ("too large", length("99999999999999999999"), &[b"a"], false),
        ("twice", twice, &[b"a"], false),
    ];
    for (name, section, pieces, is_served) in rows {
        let mut client = proxy.h2();
        let head_flags = if pieces.is_empty() {
            flag::WHOLE
        } else {
            flag::END_HEADERS
        };
        let mut request = headers(head_flags, 1, section);
        for (index, piece) in pieces.iter().enumerate() {
            let is_last = index + 1 == pieces.len();
            request.extend(data(u8::from(is_last), 1, piece));
        }
        // All at once: an answer that is complete before the fault is seen would be as right.
        client.send(request);
        let answer = client.answer(1);
        if is_served {
            assert_eq!((answer.complete, answer.status()), (true, 200), "{name}")
        } else {
            assert_eq!(
                answer.reset,
                Some(code::PROTOCOL_ERROR),
                "{name}: {answer:?}"
            )
        }
        client.is_alive();
    }
    // A request whose forwarding began before the mistake was found never came to its end, or is as long as it says.
    for received in origin.requests() {
        let length = received.head.field("content-length").expect("a length");
        assert_eq!(length, received.body.len().to_string(), "{received:?}");
    }
}

/// Fields that a table holds for later requests are held to the same rules.
#[test]
fn fields_of_the_table_are_checked_each_time() {
    let origin = Origin::saying("");
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.h2();
    let start = section(&get("/", &[]));
    // `connection: close` enters the table with a request that is refused, and is referred to by another.
    let entering = [&start[..], b"\x40\x0aconnection\x05close"].concat();
    client.send(headers(flag::WHOLE, 1, entering));
    client.send(headers(flag::WHOLE, 3, [&start[..], b"\xbe"].concat()));
    client.send(headers(flag::WHOLE, 5, &start));
    assert_eq!(client.answer(1).reset, Some(code::PROTOCOL_ERROR));
    assert_eq!(client.answer(3).reset, Some(code::PROTOCOL_ERROR));
    assert_eq!(client.answer(5).status(), 200);
    assert_eq!(origin.count(), 1);
}

#[test]
fn what_was_reset_is_counted() {
    let origin = Origin::saying("");
    let admin = free_addr();
    let config = format!(
        "[admin]\nlisten_addr = \"{admin}\"\n{}",
        route("/", &[origin.addr])
    );
    let proxy = Proxy::start(&config);
    proxy.h2().ask(&get("/", &[("X-Upper", "1")]));
    proxy.h2().ask(&get("/", &[("connection", "close")]));
    for reason in ["bad_field_name", "connection_field"] {
        eventually(&format!("{reason} is counted"), || {
            let text = metrics(admin);
            let mut lines = text.lines();
            lines.any(|line| {
                line.starts_with("palantir_failures_total")
                    && line.contains(&format!("reason=\"{reason}\""))
                    && line.ends_with(" 1")
            })
        });
    }
}
