//! Any fields that select a variant: a request selects the variant that was stored for it, and a request without the
//! field never selects that of a request with it, unless the response is plain.
#![no_main]

use httparse::Header;
use libfuzzer_sys::fuzz_target;
use palantir_fuzz::cache::vary::{matches, variant_of};
use palantir_fuzz::cache::weighted::weighted;
use palantir_fuzz::sample::policy;

const NAMES: [&str; 6] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cookie",
    "x",
];

fuzz_target!(|input: (u8, &[u8], &[u8], &[u8])| {
    let (number, one, other, coding) = input;
    let name = NAMES[usize::from(number) % NAMES.len()];
    let field = |name, value| Header { name, value };
    let request = [field(name, one), field(name, other)];
    let response = [
        field("vary", name.as_bytes()),
        field("content-encoding", coding),
    ];
    if let Ok(variant) = variant_of(&policy(), &response, &request) {
        assert!(matches(&variant, &request));
        if name != "accept-encoding" {
            assert!(!matches(&variant, &[]));
        }
    }
    assert!(weighted(&request, name).all(|member| member.weight <= 1_000));
    // The bytes that a disk gives back may be any.
    matches(coding, &request);
});
