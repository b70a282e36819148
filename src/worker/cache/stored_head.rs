//! The head of a response as it is stored: as the backend sent it, without what belongs to the connection, what must not
//! be stored, and what is computed anew for every client.

use crate::cache::omitted::Omitted;
use crate::cache::policy::Policy;
use crate::http::date::imf_fixdate;
use crate::http::h1::{self, ResponseBody, ResponseEdits, ResponseHead, Rewriting, Version};
use crate::http::names::NO_EDITS;
use crate::http::references::References;

/// The lines of a response that are stored. `references`: how references to the backend are rewritten, which must be
/// done while it is known which backend answered.
pub fn stored_head(
    policy: &Policy,
    head: &ResponseHead<'_, '_>,
    references: Option<References<'_>>,
    received: u64,
) -> Vec<u8> {
    let edits = ResponseEdits {
        client_version: Version::Http11,
        body: match head.body {
            ResponseBody::Chunked => ResponseBody::UntilClose,
            other => other,
        },
        close: false,
        operator: &NO_EDITS,
        computed: &[],
        via: false,
        rewriting: Rewriting {
            references,
            ..Rewriting::NONE
        },
        accept: None,
    };
    let mut whole = Vec::new();
    h1::encode_response(&mut whole, head, &edits);
    let omitted = Omitted::new(policy, head.status, head.fields);
    let is_tag = |name: &str| TAGS.iter().any(|tag| tag.eq_ignore_ascii_case(name));
    let is_targeted = |name: &str| {
        let mut targeted = policy.targeted.iter();
        targeted.any(|targeted| targeted.eq_ignore_ascii_case(name))
    };
    let is_left_out = |name: &str| {
        // RFC 9111 section 5.1: the age is computed anew for every answer.
        name.eq_ignore_ascii_case("age")
            || omitted.contains(name)
            || (!policy.forward_tags && is_tag(name))
            || (policy.strip_targeted && is_targeted(name))
    };
    let mut stored = Vec::with_capacity(whole.len() + 64);
    let mut has_date = false;
    for (at, line) in whole.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        let name = std::str::from_utf8(name).unwrap_or_default();
        if line == b"\r\n" && !has_date {
            // RFC 9110 section 6.6.1 (MUST): a response without Date gets the time at which it came.
            stored.extend_from_slice(b"Date: ");
            stored.extend_from_slice(&imf_fixdate(received / 1_000));
            stored.extend_from_slice(b"\r\n");
        }
        has_date |= name.eq_ignore_ascii_case("date");
        if at == 0 || !is_left_out(name) {
            stored.extend_from_slice(line);
        }
    }
    stored
}

/// The fields with the tags of a response.
const TAGS: [&str; 2] = ["surrogate-key", "cache-tag"];
