//! Any bytes from a client of HTTP/2: read alike however they are cut, every head is one that HTTP/1 could have had,
//! and nobody sends more than a window.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palantir_fuzz::base::time::Micros;
use palantir_fuzz::http::h1::{FieldSlots, encode_request, parse_request};
use palantir_fuzz::http::h2::{H2Connection, H2Event, Head, LocalSettings, Role};
use palantir_fuzz::http::path;
use palantir_fuzz::{WIDE, edits};

const BEGIN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fuzz_target!(|bytes: &[u8]| {
    let cut = bytes.first().map_or(1, |byte| usize::from(*byte) + 1);
    let whole = [BEGIN, bytes].concat();
    let at_once = run(std::iter::once(&whole[..]));
    assert_eq!(run(whole.chunks(cut)), at_once);
});

/// How many heads and bytes of bodies came, and all that was sent.
fn run<'b>(pieces: impl Iterator<Item = &'b [u8]>) -> (usize, usize, Vec<u8>) {
    let mut server = H2Connection::new(Role::Server, LocalSettings::default(), Micros(0));
    let (mut heads, mut bodies) = (0, 0);
    for piece in pieces {
        let mut used = 0;
        while let Ok((step, Some(event))) = server.receive(&piece[used..], Micros(0)) {
            used += step;
            match event {
                H2Event::Head { head, end, .. } => {
                    heads += 1;
                    check(head, end);
                }
                H2Event::Body { bytes, .. } => bodies += bytes.len(),
                _ => {}
            }
        }
    }
    assert!(bodies <= LocalSettings::default().connection_window as usize);
    (heads, bodies, server.take_output(Vec::new()))
}

/// A head that is forwarded as HTTP/1 is accepted as HTTP/1.
fn check(head: &Head, end: bool) {
    let mut slots = FieldSlots::new();
    let request = head
        .as_request(end, &mut slots)
        .expect("a checked head has a form in HTTP/1");
    let mut scratch = Vec::new();
    let Ok(path) = path::normalise(request.path, &mut scratch) else {
        return;
    };
    if head.protocol().is_some() {
        return;
    }
    let mut edits = edits(path);
    edits.client = Some([192, 0, 2, 1].into());
    edits.proto = "https";
    edits.via = true;
    let mut out = Vec::new();
    encode_request(&mut out, &request, &edits);
    let mut slots = FieldSlots::new();
    let again = parse_request(&out, &mut slots, &WIDE)
        .expect("what is written is well-formed")
        .expect("what is written is complete");
    assert_eq!(again.head_bytes, out.len());
    assert_eq!((again.path, again.query), (path, request.query));
    assert_eq!(again.body, request.body);
}
