//! The cost of a request's and a response's head: parse, check, rewrite. Bound: 400 ns for a request as browsers send
//! it.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use divan::Bencher;
use palantir::http::h1::{
    Asked, FieldSlots, Forwarding, HeadLimits, ReplacedFields, RequestEdits, ResponseBody,
    ResponseEdits, Rewriting, Version, encode_request, encode_response, parse_request,
    parse_response,
};
use palantir::http::names::{Identity, NO_EDITS};
use palantir::http::path;
use palantir::http::traceparent::TraceFields;

const LIMITS: HeadLimits = HeadLimits {
    head_bytes: 32_768,
    fields: 100,
    target_bytes: 8_192,
};

const BROWSER: &[u8] = b"GET /api/v1/articles?page=2&sort=new HTTP/1.1\r\n\
    Host: api.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: application/json, text/plain, */*\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.example.com/articles\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=8d7f3c1ab2e94f60; theme=dark\r\n\
    Sec-Fetch-Dest: empty\r\n\
    Sec-Fetch-Mode: cors\r\n\
    Sec-Fetch-Site: same-site\r\n\r\n";

const SMALL: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: wrk\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Server: nginx/1.26.3\r\n\
    Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
    Content-Type: application/json; charset=utf-8\r\n\
    Content-Length: 1532\r\n\
    Connection: keep-alive\r\n\
    Cache-Control: private, max-age=0, must-revalidate\r\n\
    ETag: \"5f3c-18d7a3b2c10\"\r\n\
    Vary: Accept-Encoding\r\n\r\n";

fn main() {
    divan::Divan::default()
        .sample_size(1_000)
        .config_with_args()
        .main();
}

#[divan::bench(args = [("browser", BROWSER), ("small", SMALL)].iter().map(Named))]
fn request_parse(bencher: Bencher, message: Named) {
    bencher.bench_local(|| {
        let mut slots = FieldSlots::new();
        let head = parse_request(black_box(message.0.1), &mut slots, &LIMITS).unwrap();
        black_box(head.map(|head| head.head_bytes))
    });
}

#[divan::bench(args = [("browser", BROWSER), ("small", SMALL)].iter().map(Named))]
fn request_parse_and_rewrite(bencher: Bencher, message: Named) {
    let mut out = Vec::with_capacity(16 << 10);
    let mut scratch = Vec::new();
    bencher.bench_local(|| {
        out.clear();
        let mut slots = FieldSlots::new();
        let head = parse_request(black_box(message.0.1), &mut slots, &LIMITS)
            .unwrap()
            .unwrap();
        let edits = RequestEdits {
            path: path::normalise(head.path, &mut scratch).unwrap(),
            host: Some(b"127.0.0.1:9001"),
            client: Some(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 195))),
            client_trusted: false,
            forwarding: Forwarding::NONE,
            proto: "http",
            operator: &NO_EDITS,
            via: false,
            expect: true,
            trace: TraceFields::Pass,
            identity: Identity::UNKNOWN,
            websocket_key: None,
            max_forwards: None,
            asked_host: None,
            replaced: ReplacedFields::NONE,
        };
        black_box(encode_request(&mut out, &head, &edits))
    });
}

#[divan::bench]
fn response_parse_and_rewrite(bencher: Bencher) {
    let mut out = Vec::with_capacity(16 << 10);
    bencher.bench_local(|| {
        out.clear();
        let mut slots = FieldSlots::new();
        let head = parse_response(black_box(RESPONSE), &mut slots, Asked::default(), 65_536)
            .unwrap()
            .unwrap();
        let edits = ResponseEdits {
            client_version: Version::Http11,
            body: head.body,
            close: false,
            operator: &NO_EDITS,
            computed: &[],
            via: false,
            rewriting: Rewriting::NONE,
            accept: None,
        };
        assert_ne!(head.body, ResponseBody::None);
        encode_response(&mut out, &head, &edits);
    });
}

/// A message with the name that the table of results shows.
#[derive(Clone, Copy)]
struct Named(&'static (&'static str, &'static [u8]));

impl std::fmt::Display for Named {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({} bytes)", self.0.0, self.0.1.len())
    }
}
