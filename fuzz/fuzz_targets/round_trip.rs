//! Any bytes from a client: what palantir forwards, palantir itself reads as the same requests, and then forwards
//! without a further change.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palantir_fuzz::forward::forward;
use palantir_fuzz::{LIMITS, Message, WIDE};

fuzz_target!(|bytes: &[u8]| {
    let first = forward(bytes, &LIMITS);
    let second = forward(&first.bytes, &WIDE);
    assert_eq!(second.used, first.bytes.len(), "all of it is read");
    assert_eq!(second.requests.len(), first.requests.len());
    for (again, before) in second.requests.iter().zip(&first.requests) {
        assert_eq!(again.method, before.method);
        assert_eq!(again.target, before.target);
        assert_eq!(again.body, before.body);
        assert_eq!(again.trailers, before.trailers);
        check_fields(again, before);
    }
    // The second time adds what depends on the host that the first time has written; then nothing changes any more.
    let third = forward(&second.bytes, &WIDE);
    let fourth = forward(&third.bytes, &WIDE);
    assert_eq!(fourth.requests, third.requests);
});

/// Names of fields that palantir writes itself.
const WRITTEN: [&[u8]; 11] = [
    b"connection",
    b"content-length",
    b"expect",
    b"host",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
];

/// Every field is one that the client sent, or one that palantir writes itself.
fn check_fields(forwarded: &Message, received: &Message) {
    let mut left = received.fields.iter();
    for field in &forwarded.fields {
        let is_written = WRITTEN.contains(&&field.0[..]);
        assert!(is_written || left.any(|sent| sent == field), "{field:?}");
    }
}
