//! Any bytes as a request: what is accepted is written as a request that is accepted again, with the same body and
//! target, for a backend that is told another host and the client's address.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palantir_fuzz::http::h1::{FieldSlots, encode_request, parse_request};
use palantir_fuzz::http::path;
use palantir_fuzz::{LIMITS, WIDE, edits};

fuzz_target!(|bytes: &[u8]| {
    let mut slots = FieldSlots::new();
    let Ok(Some(head)) = parse_request(bytes, &mut slots, &LIMITS) else {
        return;
    };
    assert!(head.head_bytes <= bytes.len());
    let mut scratch = Vec::new();
    let Ok(path) = path::normalise(head.path, &mut scratch) else {
        return;
    };
    let mut edits = edits(path);
    edits.host = Some(b"backend:80");
    edits.client = Some([192, 0, 2, 1].into());
    edits.via = true;
    let mut out = Vec::new();
    let encoded = encode_request(&mut out, &head, &edits);
    assert_eq!(&out[encoded.host_value], b"backend:80");

    let mut slots = FieldSlots::new();
    let again = parse_request(&out, &mut slots, &WIDE)
        .expect("what is written is well-formed")
        .expect("what is written is complete");
    assert_eq!(again.head_bytes, out.len());
    assert_eq!(again.body, head.body);
    assert_eq!((again.path, again.query), (path, head.query));
});
