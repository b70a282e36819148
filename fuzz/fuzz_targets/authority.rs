//! Any bytes as an authority: the host comes first, and behind it stands nothing, or a colon with the digits of the
//! port.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palantir_fuzz::http::host::split;

fuzz_target!(|bytes: &[u8]| {
    let Some((host, port)) = split(bytes) else {
        return;
    };
    let rest = bytes.strip_prefix(host).expect("the host comes first");
    let Some(digits) = rest.strip_prefix(b":") else {
        assert!(rest.is_empty() && port.is_none());
        return;
    };
    assert!(digits.iter().all(u8::is_ascii_digit));
    let value = digits.iter().fold(0, |value: u64, digit| {
        value
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    });
    // A port may be left empty (RFC 3986 section 3.2.3).
    let expected = (!digits.is_empty()).then_some(value);
    assert_eq!(port.map(u64::from), expected);
});
