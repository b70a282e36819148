//! Any bytes as the beginning of a connection: what a header is found to say, both versions can say again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palantir_fuzz::base::limits;
use palantir_fuzz::http::proxy_protocol::{Said, parse, write_v1, write_v2};

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some(header)) = parse(bytes) else {
        return;
    };
    assert!(header.bytes <= bytes.len() && header.bytes <= limits::PROXY_HEADER_BYTES);
    for length in 0..header.bytes {
        assert_eq!(parse(&bytes[..length]), Ok(None));
    }
    let mut again = Vec::new();
    write_v2(&header.said, &mut again);
    let read = parse(&again).unwrap().unwrap();
    assert_eq!(read.bytes, again.len());
    again.clear();
    write_v1(&read.said, &mut again);
    let line = parse(&again).unwrap().unwrap();
    assert!(line.said == read.said || read.said == Said::Local);
});
