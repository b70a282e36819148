//! Any bytes as a request: what is accepted is written as a request that is accepted again, with the same body and
//! target.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palantir::http::h1::{
    FieldSlots, Forwarding, HeadLimits, RequestEdits, encode_request, parse_request,
};
use palantir::http::names::{Identity, NO_EDITS};
use palantir::http::path;
use palantir::http::traceparent::TraceFields;

const LIMITS: HeadLimits = HeadLimits {
    head_bytes: 32_768,
    fields: 100,
    target_bytes: 8_192,
};

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
    let edits = RequestEdits {
        path,
        host: Some(b"backend:80"),
        client: Some([192, 0, 2, 1].into()),
        client_trusted: true,
        forwarding: Forwarding::NONE,
        proto: "http",
        operator: &NO_EDITS,
        via: true,
        expect: true,
        trace: TraceFields::Pass,
        identity: Identity::UNKNOWN,
        websocket_key: None,
        max_forwards: None,
    };
    let mut out = Vec::new();
    let encoded = encode_request(&mut out, &head, &edits);
    assert_eq!(&out[encoded.host_value], b"backend:80");

    let limits = HeadLimits {
        head_bytes: 100_000,
        fields: 200,
        target_bytes: 100_000,
    };
    let mut slots = FieldSlots::new();
    let again = parse_request(&out, &mut slots, &limits)
        .expect("what is written is well-formed")
        .expect("what is written is complete");
    assert_eq!(again.head_bytes, out.len());
    assert_eq!(again.body, head.body);
    assert_eq!((again.path, again.query), (path, head.query));
});
