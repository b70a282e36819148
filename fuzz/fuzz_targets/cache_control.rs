//! Any bytes as `Cache-Control`: times are bounded, a second reading of the parts finds the same directives, and
//! `no-store` is overlooked in closed quotes alone.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palantir_fuzz::base::limits::CACHE_DELTA_SECONDS;
use palantir_fuzz::http::cache_control::{CacheControl, directives};
use palantir_fuzz::http::fields::list;

fuzz_target!(|line: &[u8]| {
    let read = CacheControl::of_response(std::iter::once(line));
    let times = [
        read.max_age,
        read.s_maxage,
        read.stale_while_revalidate,
        read.stale_if_error,
        read.max_stale,
        read.min_fresh,
    ];
    assert!(
        times
            .iter()
            .flatten()
            .all(|secs| *secs <= CACHE_DELTA_SECONDS)
    );
    let names =
        |name: &[u8]| directives(line).any(|directive| directive.name.eq_ignore_ascii_case(name));
    assert_eq!(read.is_no_store, names(b"no-store"));
    assert_eq!(read.max_age.is_some(), names(b"max-age"));
    let is_member = list(line).any(|member| member.eq_ignore_ascii_case(b"no-store"));
    assert!(!is_member || read.is_no_store || line.contains(&b'"'));
    CacheControl::of_request(std::iter::once(line), std::iter::once(line));
});
