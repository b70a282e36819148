//! Any bytes as an authority: its parts are the whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palantir::http::host::split;

fuzz_target!(|bytes: &[u8]| {
    let Some((host, port)) = split(bytes) else {
        return;
    };
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    assert_eq!([host, port.as_bytes()].concat(), bytes);
});
