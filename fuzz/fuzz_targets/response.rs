//! Any bytes as a response: what is accepted is written as a response that is accepted again, with the same body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palantir_fuzz::http::h1::{
    Asked, FieldSlots, ResponseEdits, Rewriting, Version, encode_response, parse_response,
};
use palantir_fuzz::http::names::NO_EDITS;

fuzz_target!(|input: (bool, bool, bool, &[u8])| {
    let (head, upgrade, strict, bytes) = input;
    let asked = Asked {
        head,
        upgrade,
        strict,
    };
    let mut slots = FieldSlots::new();
    let Ok(Some(head)) = parse_response(bytes, &mut slots, asked, 65_536) else {
        return;
    };
    assert!(head.head_bytes <= bytes.len());
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
    let mut out = Vec::new();
    encode_response(&mut out, &head, &edits);

    let mut slots = FieldSlots::new();
    // Statuses beyond 599 pass, although the RFC has none, unless the pool is strict (RFC 9110 section 15).
    let by_the_letter = Asked {
        strict: head.status < 600,
        ..asked
    };
    let again = parse_response(&out, &mut slots, by_the_letter, 100_000)
        .expect("what is written is well-formed")
        .expect("what is written is complete");
    assert_eq!(again.head_bytes, out.len());
    assert_eq!((again.status, again.body), (head.status, head.body));
    assert_eq!(again.upgrade, head.upgrade);
});
