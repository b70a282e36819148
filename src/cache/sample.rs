//! Settings, requests and responses for tests of the cache.

use std::time::Duration;

use httparse::Header;

use crate::cache::policy::{
    Authorization, Bypass, ClientDirectives, Policy, SetCookie, StatusField, TtlRules,
};
use crate::cache::request::{Asking, Circumstances};
use crate::cache::response::Response;

/// The time at which sample responses arrive, in milliseconds: Thu, 01 Jan 2026 00:00:00 GMT.
pub const NOW: u64 = 1_767_225_600_000;

/// The settings of a route whose operator wrote `cache = {}`.
pub fn policy() -> Policy {
    Policy {
        name: "palantir".into(),
        zone: "api".into(),
        max_percent: 100,
        max_object: 8 << 20,
        ttl: TtlRules::default(),
        heuristic_percent: 10,
        heuristic_max: 3_600,
        error_ttl_max: 10,
        stale_if_unreachable: 86_400,
        stale_if_error: 0,
        stale_after: None,
        stale_while_revalidate: 0,
        collapse_timeout: Duration::from_secs(5),
        uncacheable_memory: 120,
        set_cookie: SetCookie::Refuse,
        min_uses: None,
        ignore_query: Vec::new(),
        sort_query: false,
        key_headers: Vec::new(),
        vary_ignore: Vec::new(),
        vary_uncacheable: Vec::new(),
        max_variants: 64,
        bypass: Bypass::default(),
        strip_cookies: Vec::new(),
        client_directives: ClientDirectives::Bounded,
        targeted: vec!["palantir-cache-control".into(), "cdn-cache-control".into()],
        strip_targeted: false,
        status: StatusField::Brief,
        authorization: Authorization::Rfc,
        forward_tags: false,
        purge_method: Vec::new(),
        slice: None,
    }
}

/// The fields in lines of text, such as `Age: 5`.
pub fn fields<'l>(lines: &[&'l str]) -> Vec<Header<'l>> {
    lines
        .iter()
        .map(|line| {
            let (name, value) = line.split_once(':').expect("a colon in a field");
            Header {
                name,
                value: value.trim().as_bytes(),
            }
        })
        .collect()
}

/// A request with these fields.
pub fn asking(policy: &Policy, method: &str, lines: &[&str]) -> Asking {
    Asking::new(policy, method, &fields(lines), Circumstances::default())
}

/// A response with these fields that was fetched in no time at [`NOW`].
pub fn response<'f>(status: u16, fields: &'f [Header<'f>]) -> Response<'f> {
    Response {
        status,
        fields,
        length: Some(10),
        is_partial: false,
        is_at_target: false,
        requested: NOW,
        received: NOW,
    }
}
