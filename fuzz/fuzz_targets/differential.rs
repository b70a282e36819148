//! Any bytes from a client: whatever palantir forwards of them, two other parsers read as palantir means it, in count,
//! boundaries, method, target, fields, body and trailers. A difference would let a client smuggle a request past
//! palantir.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palantir_fuzz::forward::forward;
use palantir_fuzz::{LIMITS, Message, hyper_reader, strict_reader};

fuzz_target!(|input: (u8, &[u8])| {
    let (most, bytes) = input;
    let forwarded = forward(bytes, &LIMITS);
    let strictly = strict_reader::read(&forwarded.bytes).expect("httparse reads it");
    assert_eq!(strictly.len(), forwarded.requests.len());
    for (read, meant) in strictly.iter().zip(&forwarded.requests) {
        compare(read, meant);
    }
    // A target with a sign that no URI has is passed on, as by other proxies. hyper refuses the whole request.
    if strictly.iter().all(|message| is_uri(&message.target)) {
        let by_hyper = hyper_reader::read(&forwarded.bytes, usize::from(most) + 1);
        assert_eq!(by_hyper.expect("hyper reads it"), strictly);
    }
});

/// Whether all bytes are of those that a URI may have (RFC 3986 section 2).
fn is_uri(target: &[u8]) -> bool {
    let is_sign = |byte| b"-._~:/?#[]@!$&'()*+,;=%".contains(byte);
    target
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || is_sign(byte))
}

/// All but the fields, some of which palantir leaves out or writes anew, is as palantir has read it.
fn compare(read: &Message, meant: &Message) {
    assert_eq!(read.method, meant.method);
    assert_eq!(read.target, meant.target);
    assert_eq!(read.body, meant.body);
    assert_eq!(read.trailers, meant.trailers);
}
