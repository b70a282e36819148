//! Any bytes as the beginning of a connection: both versions can write what a header says about the client again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palantir_fuzz::base::limits;
use palantir_fuzz::http::proxy_protocol::{ProxiedAddrs, parse, write_v1, write_v2};

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some(header)) = parse(bytes) else {
        return;
    };
    assert!(header.bytes <= bytes.len() && header.bytes <= limits::PROXY_HEADER_BYTES);
    for length in 0..header.bytes {
        assert_eq!(parse(&bytes[..length]), Ok(None));
    }
    let mut again = Vec::new();
    write_v2(&header.addrs, &mut again);
    let read = parse(&again).unwrap().unwrap();
    assert_eq!(read.bytes, again.len());
    again.clear();
    write_v1(&read.addrs, &mut again);
    let line = parse(&again).unwrap().unwrap();
    assert!(line.addrs == read.addrs || read.addrs == ProxiedAddrs::Local);
});
