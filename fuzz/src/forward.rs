//! The bytes of a client's connection as palantir forwards them: each request is parsed, its path is brought into its
//! normal form, and head and body are written anew.

use crate::http::h1::{
    CHUNK_END, ChunkedDecoder, ChunkedPiece, FieldSlots, HeadLimits, RequestBody, RequestHead,
    encode_request, parse_request, write_chunk_header, write_last_chunk,
};
use crate::http::path;

use crate::{Message, edits, sorted};

/// The outcome for the requests of one connection.
#[derive(Debug, Default)]
pub struct Forwarded {
    /// The bytes that a backend is sent.
    pub bytes: Vec<u8>,
    /// The requests as palantir read them, with the path in its normal form and the fields as they came.
    pub requests: Vec<Message>,
    /// How many bytes of the client belong to these requests.
    pub used: usize,
}

/// Forwards the complete requests at the start of `bytes`. Ends at the first request that palantir refuses, and behind
/// one that ends the use of the connection for requests.
pub fn forward(bytes: &[u8], limits: &HeadLimits) -> Forwarded {
    let mut forwarded = Forwarded::default();
    while forward_one(&bytes[forwarded.used..], limits, &mut forwarded) {}
    forwarded
}

/// Forwards one request; returns whether another one may follow.
fn forward_one(bytes: &[u8], limits: &HeadLimits, forwarded: &mut Forwarded) -> bool {
    let mut slots = FieldSlots::new();
    let Ok(Some(head)) = parse_request(bytes, &mut slots, limits) else {
        return false;
    };
    assert!(head.head_bytes <= bytes.len());
    let mut scratch = Vec::new();
    let Ok(path) = path::normalise(head.path, &mut scratch) else {
        return false;
    };
    let Some(body) = read_body(&bytes[head.head_bytes..], head.body) else {
        return false;
    };
    let mut edits = edits(path);
    if head.host.is_empty() {
        // A request of HTTP/1.0 may name no host, and is then forwarded with an empty one (RFC 9112 section 3.2), which
        // palantir takes from no client.
        edits.host = Some(b"backend.example");
    }
    encode_request(&mut forwarded.bytes, &head, &edits);
    write_body(&mut forwarded.bytes, head.body, &body);
    forwarded.used += head.head_bytes + body.taken;
    let goes_on = head.keep_alive && !head.upgrade;
    forwarded.requests.push(message(&head, path, body));
    goes_on
}

/// A complete body.
struct Body {
    data: Vec<u8>,
    /// Lines with their CRLF.
    trailers: Vec<u8>,
    /// Bytes of the connection that it took.
    taken: usize,
}

/// The body at the start of `bytes`; `None`: it is malformed, or not complete.
fn read_body(bytes: &[u8], body: RequestBody) -> Option<Body> {
    let length = match body {
        RequestBody::None => 0,
        RequestBody::Length(length) => usize::try_from(length).ok()?,
        RequestBody::Chunked => return read_chunks(bytes),
    };
    Some(Body {
        data: bytes.get(..length)?.to_vec(),
        trailers: Vec::new(),
        taken: length,
    })
}

fn read_chunks(bytes: &[u8]) -> Option<Body> {
    let mut decoder = ChunkedDecoder::new();
    let (mut data, mut taken) = (Vec::new(), 0);
    loop {
        let input = &bytes[taken..];
        let (consumed, piece) = decoder.decode(input).ok()?;
        taken += consumed;
        match piece {
            ChunkedPiece::NeedMore => return None,
            ChunkedPiece::Data(range) => data.extend_from_slice(&input[range]),
            ChunkedPiece::End => {
                let trailers = decoder.trailers().to_vec();
                return Some(Body {
                    data,
                    trailers,
                    taken,
                });
            }
        }
    }
}

fn write_body(out: &mut Vec<u8>, framing: RequestBody, body: &Body) {
    if framing != RequestBody::Chunked {
        out.extend_from_slice(&body.data);
        return;
    }
    if !body.data.is_empty() {
        write_chunk_header(out, body.data.len());
        out.extend_from_slice(&body.data);
        out.extend_from_slice(CHUNK_END);
    }
    write_last_chunk(out, &body.trailers);
}

fn message(head: &RequestHead<'_, '_>, path: &[u8], body: Body) -> Message {
    let target = match head.query {
        Some(query) => [path, b"?", query].concat(),
        None => path.to_vec(),
    };
    let fields = head.fields.iter();
    Message {
        method: head.method.as_bytes().to_vec(),
        target,
        fields: sorted(fields.map(|field| (field.name.as_bytes(), field.value))),
        body: body.data,
        trailers: sorted(trailer_lines(&body.trailers)),
    }
}

/// The fields of lines that are each written as `name: value CRLF`.
fn trailer_lines(lines: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines.split_inclusive(|&byte| byte == b'\n').map(|line| {
        let line = line.strip_suffix(b"\r\n").expect("a line ends in CRLF");
        let colon = line.iter().position(|&byte| byte == b':');
        let (name, value) = line.split_at(colon.expect("a line has a colon"));
        (name, value[1..].trim_ascii())
    })
}
