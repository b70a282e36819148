//! The cost of HTTP/2 per request besides the work that HTTP/1 has too: a head decoded and checked, a response's head
//! and body framed. Bound: 1 µs for a whole exchange of a browser whose fields were seen before, the HTTP/1 request
//! included.

use std::hint::black_box;

use divan::Bencher;
use httparse::Header;
use palantir::base::time::Micros;
use palantir::http::h1::{FieldSlots, Forwarding, ReplacedFields, RequestEdits, encode_request};
use palantir::http::h2::hpack::{Decoder, Encoder, FieldList, ListLimits};
use palantir::http::h2::{Field, H2Connection, H2Event, LocalSettings, Role};
use palantir::http::names::{Identity, NO_EDITS};
use palantir::http::traceparent::TraceFields;

const LIMITS: ListLimits = ListLimits {
    bytes: 32_768,
    fields: 100,
};

const BROWSER: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", "api.example.com"),
    (":path", "/api/v1/articles?page=2&sort=new"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    ),
    ("accept", "application/json, text/plain, */*"),
    ("accept-language", "en-US,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("referer", "https://www.example.com/articles"),
    ("sec-fetch-dest", "empty"),
    ("sec-fetch-mode", "cors"),
    ("sec-fetch-site", "same-site"),
];

const SMALL: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "127.0.0.1:8080"),
    (":path", "/"),
    ("user-agent", "h2load nghttp2/1.64.0"),
];

const RESPONSE: [Header<'static>; 7] = [
    Header {
        name: "Server",
        value: b"nginx/1.26.3",
    },
    Header {
        name: "Date",
        value: b"Sun, 06 Nov 1994 08:49:37 GMT",
    },
    Header {
        name: "Content-Type",
        value: b"application/json; charset=utf-8",
    },
    Header {
        name: "Content-Length",
        value: b"1532",
    },
    Header {
        name: "Cache-Control",
        value: b"private, max-age=0, must-revalidate",
    },
    Header {
        name: "ETag",
        value: b"\"5f3c-18d7a3b2c10\"",
    },
    Header {
        name: "Vary",
        value: b"Accept-Encoding",
    },
];

fn main() {
    divan::Divan::default()
        .sample_size(1_000)
        .config_with_args()
        .main();
}

/// A section as it is when all of its fields were sent before.
fn indexed(fields: &[(&str, &str)], decoder: &mut Decoder) -> Vec<u8> {
    let mut encoder = Encoder::new();
    let mut section = Vec::new();
    for _ in 0..3 {
        section.clear();
        for (name, value) in fields {
            encoder.field(&mut section, name.as_bytes(), value.as_bytes(), false);
        }
        decoder.decode(&section, &mut FieldList::default()).unwrap();
    }
    section
}

#[divan::bench(args = [("browser", BROWSER), ("small", SMALL)].iter().map(Named))]
fn decode_indexed_fields(bencher: Bencher, request: Named) {
    let mut decoder = Decoder::new(LIMITS);
    let section = indexed(request.0.1, &mut decoder);
    let mut list = FieldList::default();
    bencher.bench_local(|| {
        list.clear();
        decoder.decode(black_box(&section), &mut list).unwrap();
        black_box(list.iter().count())
    });
}

/// `/api/v1/articles?page=2&sort=new` as browsers send it: literal, Huffman-coded.
#[divan::bench]
fn decode_huffman_path(bencher: Bencher) {
    const PATH: &[u8] = &[
        0x04, 0x97, 0x60, 0x75, 0x99, 0x8e, 0xe1, 0x60, 0x76, 0x24, 0xc4, 0xa0, 0xa8, 0xff, 0x2b,
        0x1c, 0xc5, 0x80, 0x5f, 0x08, 0x3d, 0x89, 0x82, 0xa2, 0xf8,
    ];
    let mut decoder = Decoder::new(LIMITS);
    let mut list = FieldList::default();
    bencher.bench_local(|| {
        list.clear();
        decoder.decode(black_box(PATH), &mut list).unwrap();
        black_box(list.iter().count())
    });
}

#[divan::bench]
fn encode_response_head(bencher: Bencher) {
    let mut encoder = Encoder::new();
    let mut out = Vec::with_capacity(1 << 10);
    bencher.bench_local(|| {
        out.clear();
        encoder.begin(&mut out);
        encoder.status(&mut out, 200);
        for field in black_box(&RESPONSE) {
            encoder.field(&mut out, field.name.as_bytes(), field.value, false);
        }
        black_box(out.len())
    });
}

/// HEADERS received, checked, and written as an HTTP/1 request; a response's head and 1 KiB of body framed.
#[divan::bench(args = [("browser", BROWSER), ("small", SMALL)].iter().map(Named))]
fn whole_exchange(bencher: Bencher, request: Named) {
    let mut server = H2Connection::new(Role::Server, LocalSettings::default(), Micros(0));
    let begin = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[0, 0, 0, 4, 0, 0, 0, 0, 0][..],
    ]
    .concat();
    let window = [0, 0, 4, 8, 0, 0, 0, 0, 0, 0x00, 0, 4, 0];
    assert_eq!(server.receive(&begin, Micros(0)).unwrap().0, begin.len());
    let mut encoder = Encoder::new();
    let (mut frame, mut out, mut upstream) = (Vec::new(), Vec::new(), Vec::new());
    let mut stream: u32 = 1;
    bencher.bench_local(|| {
        frame.clear();
        frame.extend([0, 0, 0, 1, 5]);
        frame.extend(stream.to_be_bytes());
        for (name, value) in request.0.1 {
            encoder.field(&mut frame, name.as_bytes(), value.as_bytes(), false);
        }
        frame[2] = (frame.len() - 9) as u8;
        frame[1] = ((frame.len() - 9) >> 8) as u8;
        frame.extend(window);
        let (used, event) = server.receive(black_box(&frame), Micros(0)).unwrap();
        let Some(H2Event::Head {
            stream: asked,
            head,
            end,
        }) = event
        else {
            panic!("a head was sent");
        };
        upstream.clear();
        forward(
            head.as_request(end, &mut FieldSlots::new()).unwrap(),
            &mut upstream,
        );
        server.receive(&frame[used..], Micros(0)).unwrap();
        server
            .send_head(asked, 200, RESPONSE.iter().map(Field::from), false)
            .unwrap();
        server
            .send_body(asked, &[0; 1024], true, Micros(0))
            .unwrap();
        out = server.take_output(std::mem::take(&mut out));
        out.clear();
        stream += 2;
    });
}

fn forward(head: palantir::http::h1::RequestHead<'_, '_>, out: &mut Vec<u8>) {
    let edits = RequestEdits {
        path: head.path,
        host: None,
        client: Some([203, 0, 113, 195].into()),
        client_trusted: false,
        forwarding: Forwarding::NONE,
        proto: "https",
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
    black_box(encode_request(out, &head, &edits));
}

/// A request with the name that the table of results shows.
#[derive(Clone, Copy)]
struct Named(&'static (&'static str, &'static [(&'static str, &'static str)]));

impl std::fmt::Display for Named {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.0.0)
    }
}
