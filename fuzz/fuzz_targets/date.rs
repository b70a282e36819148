//! Any bytes as a date, seen from any time: a date that is read is read again as it is written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palantir_fuzz::http::date::{imf_fixdate, parse, parse_at};

fuzz_target!(|input: (i64, &[u8])| {
    let (now, text) = input;
    if let Some(read) = parse_at(text, now)
        && let Ok(seconds) = u64::try_from(read)
    {
        assert_eq!(parse(&imf_fixdate(seconds)), Some(read));
    }
});
