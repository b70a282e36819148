//! Any bytes as `X-Forwarded-For`: a peer that is not trusted is the client whatever it says.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use palantir_fuzz::http::forwarded::client_address;

fuzz_target!(|input: ([u8; 4], Vec<&[u8]>)| {
    let (peer, values) = input;
    let peer = IpAddr::from(peer);
    let trusted = ["10.0.0.0/8".parse().expect("a range")];
    let client = client_address(Some(peer), values.into_iter(), &trusted);
    assert!(trusted[0].contains(peer) || client == Some(peer));
});
