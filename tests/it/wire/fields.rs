//! The fate of fields on their way: passed on as they are, taken out, put in.

use crate::support::head::Head;
use crate::support::proxy::route;
use crate::support::{Origin, Proxy, get};

/// The lines of a head, without the first one and those whose names are given.
fn lines_without(head: &Head, names: &[&str]) -> Vec<String> {
    let lines = head
        .text
        .split("\r\n")
        .skip(1)
        .filter(|line| !line.is_empty());
    let named = |line: &str| {
        let name = line.split(':').next().unwrap();
        names.iter().any(|known| known.eq_ignore_ascii_case(name))
    };
    lines
        .filter(|line| !named(line))
        .map(str::to_owned)
        .collect()
}

/// Fields that palantir itself puts into a request.
const OURS: [&str; 4] = [
    "Host",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
];

#[test]
fn request_fields_keep_their_bytes_and_their_order() {
    let origin = Origin::saying("");
    let proxy = Proxy::to(&[origin.addr]);
    let fields = [
        &b"Accept: */*"[..],
        b"X-Upper-CASE: MiXeD",
        b"x-lower: a",
        b"X-Twice: 1",
        b"X-Empty: ",
        b"Cookie: a=b; c=\"d\"",
        b"X-Twice: 2",
        b"X-High: \xc3\xa4\xff\x80",
        b"X-Tab: a\tb",
        b"X-Odd!#$%&'*+-.^_`|~9: ok",
        b"X-Long: 012345678901234567890123456789012345678901234567890123456789",
        b"x-twice: 3",
        b"Authorization: Basic YTpi",
        b"X-Inner: a  b , c",
    ];
    let mut request = b"GET /x HTTP/1.1\r\nHost: test\r\n".to_vec();
    for field in fields {
        request.extend_from_slice(field);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    assert_eq!(proxy.ask(request).status(), 200);
    let latin = |bytes: &[u8]| bytes.iter().copied().map(char::from).collect::<String>();
    let expected: Vec<String> = fields.iter().map(|field| latin(field)).collect();
    let mut forwarded = lines_without(&origin.request().head, &OURS);
    // Blanks around a value are no part of it.
    forwarded.iter_mut().for_each(|line| {
        if line.ends_with("Empty:") {
            line.push(' ');
        }
    });
    assert_eq!(forwarded, expected);
}

#[test]
fn response_fields_keep_their_bytes_and_their_order() {
    let fields = "Server: backend/1\r\nset-cookie: a=1\r\nX-Upper-CASE: MiXeD\r\nSet-Cookie: b=2; Path=/\r\n\
                  Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nETag: \"x\"\r\nSET-COOKIE: c=3";
    let origin = Origin::answering(format!(
        "HTTP/1.1 207 Some Reason, really\r\n{fields}\r\nContent-Length: 0\r\n\r\n"
    ));
    let proxy = Proxy::to(&[origin.addr]);
    let answer = proxy.ask(get("/"));
    assert_eq!(answer.head.first_line(), "HTTP/1.1 207 Some Reason, really");
    let passed = lines_without(&answer.head, &["Content-Length", "Connection"]);
    assert_eq!(passed, fields.split("\r\n").collect::<Vec<_>>());
}

#[test]
fn hop_by_hop_fields_end_here() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nConnection: X-Private, keep-alive\r\nKeep-Alive: timeout=60\r\nX-Private: a\r\n\
         x-private: b\r\nProxy-Authenticate: Basic\r\nX-Public: c\r\nProxy-Connection: keep-alive\r\nContent-Length: 0\r\n\r\n",
    );
    let proxy = Proxy::to(&[origin.addr]);
    let answer = proxy.ask(
        "GET / HTTP/1.1\r\nHost: test\r\nConnection: X-Own\r\nX-Own: a\r\nConnection: x-other , keep-alive\r\n\
         X-Other: b\r\nx-own: c\r\nKeep-Alive: timeout=5\r\nTE: trailers, deflate\r\nProxy-Connection: keep-alive\r\n\
         Proxy-Authorization: Basic YTpi\r\nX-Kept: d\r\n\r\n",
    );
    let forwarded = lines_without(&origin.request().head, &OURS);
    let forwarded: Vec<_> = forwarded
        .iter()
        // Our own connection's options, and the one transfer option that we pass on for trailers.
        .filter(|line| {
            !matches!(
                line.as_str(),
                "Connection: keep-alive" | "Connection: TE" | "TE: trailers"
            )
        })
        .collect();
    assert_eq!(forwarded, ["X-Kept: d"]);
    let passed = lines_without(&answer.head, &["Content-Length"]);
    let passed: Vec<_> = passed
        .iter()
        .filter(|line| *line != "Connection: keep-alive")
        .collect();
    assert_eq!(passed, ["X-Public: c"]);
}

#[test]
fn forwarded_fields_tell_who_asked_for_what() {
    let origin = Origin::saying("");
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    let ip = client.stream.local_addr().unwrap().ip();
    client.ask("GET / HTTP/1.1\r\nHost: Test.example:81\r\n\r\n");
    let head = origin.requests().pop().unwrap().head;
    assert_eq!(head.field("x-forwarded-for"), Some(ip.to_string().as_str()));
    assert_eq!(head.field("x-forwarded-proto"), Some("http"));
    assert_eq!(head.field("x-forwarded-host"), Some("Test.example:81"));
    assert_eq!(head.field("via"), None);

    client.ask(
        "GET / HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 192.0.2.1\r\nx-forwarded-for: 192.0.2.2, 192.0.2.3\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n\r\n",
    );
    let head = origin.requests().pop().unwrap().head;
    let addresses = head.all("x-forwarded-for").join(", ");
    assert_eq!(addresses, format!("192.0.2.1, 192.0.2.2, 192.0.2.3, {ip}"));
    assert_eq!(head.field("x-forwarded-proto"), Some("http"));
    assert_eq!(head.field("x-forwarded-host"), Some("test"));

    // Naming our fields in Connection takes away what the client sent of them, not what we say.
    client.ask(
        "GET / HTTP/1.1\r\nHost: test\r\nConnection: X-Forwarded-For, X-Forwarded-Proto\r\n\
         X-Forwarded-For: 192.0.2.1\r\n\r\n",
    );
    let head = origin.requests().pop().unwrap().head;
    assert!(
        head.all("x-forwarded-for")
            .join(", ")
            .ends_with(&ip.to_string())
    );
    assert_eq!(head.field("x-forwarded-proto"), Some("http"));
}

#[test]
fn host_is_rewritten_as_set() {
    let origin = Origin::saying("");
    let backend = origin.addr.to_string();
    for (setting, expected) in [
        ("", backend.as_str()),
        ("host_header = \"backend\"\n", &backend),
        ("host_header = \"preserve\"\n", "Client.example:99"),
        ("host_header = \"literal.example\"\n", "literal.example"),
    ] {
        let proxy = Proxy::start(&(route("/", &[origin.addr]) + setting));
        for request in [
            "GET / HTTP/1.1\r\nHost: Client.example:99\r\n\r\n",
            "GET / HTTP/1.1\r\nX: y\r\nhost:Client.example:99\r\n\r\n",
            "GET http://Client.example:99/ HTTP/1.1\r\nHost: client.example:99\r\n\r\n",
        ] {
            assert_eq!(proxy.ask(request).status(), 200);
            let head = origin.requests().pop().unwrap().head;
            assert_eq!(
                head.field("host"),
                Some(expected),
                "{setting:?} {request:?}"
            );
        }
    }
}

#[test]
fn an_http_1_0_request_without_host_gets_one() {
    let origin = Origin::saying("");
    let proxy = Proxy::to(&[origin.addr]);
    assert_eq!(proxy.ask("GET / HTTP/1.0\r\n\r\n").status(), 200);
    let head = origin.request().head;
    assert_eq!(head.field("host"), Some(origin.addr.to_string().as_str()));
    assert_eq!(head.first_line(), "GET / HTTP/1.1");
}

#[test]
fn fields_are_edited_as_set() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nServer: secret\r\nX-Debug: 1\r\nX-Kept: 2\r\nX-Frame: old\r\nx-frame: older\r\nContent-Length: 0\r\n\r\n",
    );
    let settings = "request_headers = { set = { \"x-team\" = \"a b\", \"X-New\" = \"1\" }, remove = [\"X-Debug\"] }\n\
                    response_headers = { set = { \"X-Frame\" = \"deny\" }, remove = [\"server\", \"x-debug\"] }\n";
    let proxy = Proxy::start(&(route("/", &[origin.addr]) + settings));
    let answer = proxy.ask(
        "GET / HTTP/1.1\r\nHost: test\r\nX-Team: theirs\r\nX-DEBUG: yes\r\nX-Other: 3\r\nx-team: again\r\nx-debug: 1\r\n\r\n",
    );
    let head = origin.request().head;
    assert_eq!(head.field("x-team"), Some("a b"));
    assert_eq!(head.field("x-new"), Some("1"));
    assert_eq!(head.field("x-debug"), None);
    assert_eq!(head.field("x-other"), Some("3"));
    assert_eq!(answer.field("server"), None);
    assert_eq!(answer.field("x-debug"), None);
    assert_eq!(answer.field("x-kept"), Some("2"));
    assert_eq!(answer.field("x-frame"), Some("deny"));
}

#[test]
fn strip_prefix_leaves_the_rest() {
    let origin = Origin::saying("");
    let proxy = Proxy::start(&(route("/api/v1", &[origin.addr]) + "strip_prefix = true\n"));
    let table = [
        ("/api/v1", "/"),
        ("/api/v1/", "/"),
        ("/api/v1/x/y", "/x/y"),
        ("/api/v1?q=1", "/?q=1"),
        ("/api/v1/?q=1", "/?q=1"),
        ("/x/../api/v1/./z", "/z"),
        ("/api/v1//z", "/z"),
    ];
    let mut client = proxy.client();
    for (target, expected) in table {
        assert_eq!(client.ask(get(target)).status(), 200, "{target}");
        let line = origin
            .requests()
            .pop()
            .unwrap()
            .head
            .first_line()
            .to_owned();
        assert_eq!(line, format!("GET {expected} HTTP/1.1"), "{target}");
    }
}

#[test]
fn via_is_added_where_asked_for() {
    let origin =
        Origin::answering("HTTP/1.1 200 OK\r\nVia: 1.1 inner\r\nContent-Length: 0\r\n\r\n");
    let proxy = Proxy::start(&(route("/", &[origin.addr]) + "via = true\n"));
    let answer = proxy.ask("GET / HTTP/1.1\r\nHost: test\r\nVia: 1.0 outer\r\n\r\n");
    let request_via = origin.request().head.all("via").join(", ");
    assert!(request_via.starts_with("1.0 outer, 1.1 "), "{request_via}");
    let answer_via = answer.head.all("via").join(", ");
    assert!(answer_via.starts_with("1.1 inner, 1.1 "), "{answer_via}");
}

#[test]
fn disguised_framing_fields_are_refused() {
    let origin = Origin::saying("");
    let proxy = Proxy::to(&[origin.addr]);
    for field in ["Content_Length: 5", "Transfer_Encoding: chunked"] {
        let answer = proxy.ask(format!("GET / HTTP/1.1\r\nHost: test\r\n{field}\r\n\r\n"));
        assert_eq!(answer.status(), 400, "{field}");
    }
    assert_eq!(origin.count(), 0);
}
