//! A response as a backend sent it, and the facts that follow from it.

use httparse::Header;

use crate::base::limits::CACHE_DELTA_SECONDS;
use crate::cache::facts::{EntryFacts, Flags, LifetimeSource};
use crate::cache::request::Asking;
use crate::cache::statuses::is_understood;
use crate::cache::targeted::Control;
use crate::http::cache_control::{CacheControl, Scope, delta_seconds};
use crate::http::date::parse_at;
use crate::http::fields::{find, list, values};

/// A response as a backend sent it.
#[derive(Clone, Copy, Debug)]
pub struct Response<'f> {
    /// The status code.
    pub status: u16,
    /// The fields.
    pub fields: &'f [Header<'f>],
    /// The length of the body, if the head tells it.
    pub length: Option<u64>,
    /// Whether the caller stores a 206 as the part that it is, and combines parts (RFC 9111 section 3.3).
    pub is_partial: bool,
    /// Whether `Content-Location` names the target of the request; see
    /// [`names_target`](crate::cache::content_location::names_target).
    pub is_at_target: bool,
    /// When the request was sent, in milliseconds since 1970.
    pub requested: u64,
    /// When the head arrived, in milliseconds since 1970.
    pub received: u64,
}

/// The facts of a response. `control` is what its fields say to this cache.
pub fn facts_of(asking: &Asking, response: &Response<'_>, control: &Control<'_>) -> EntryFacts {
    let fields = response.fields;
    let arrival = (response.received / 1_000) as i64;
    let date_of = |name| find(fields, name).and_then(|value| parse_at(value, arrival));
    let date = date_of("date").unwrap_or(arrival);
    let last_modified = date_of("last-modified");
    let (explicit, source) = explicit(response, control, date);
    let directives = &control.directives;
    EntryFacts {
        received: response.received,
        initial_age: initial_age(response, date),
        date,
        explicit,
        source,
        unmodified: last_modified.map_or(0, |changed| delta(date.saturating_sub(changed))),
        stale_while_revalidate: directives.stale_while_revalidate,
        stale_if_error: directives.stale_if_error,
        status: response.status,
        flags: flags(asking, response, control, last_modified.is_some()),
    }
}

/// The lifetime that a response names, in seconds, and where (RFC 9111 section 4.2.1).
fn explicit(response: &Response<'_>, control: &Control<'_>, date: i64) -> (u32, LifetimeSource) {
    let CacheControl {
        s_maxage,
        max_age,
        has_open_quotes,
        ..
    } = control.directives;
    if has_open_quotes {
        return (0, LifetimeSource::MaxAge);
    }
    let is_targeted = control.targeted.is_some();
    let of = |own| {
        if is_targeted {
            LifetimeSource::Targeted
        } else {
            own
        }
    };
    // RFC 9111 section 5.3 (MUST, b; MUST, c): max-age and s-maxage put Expires out of force.
    if let Some(secs) = s_maxage {
        return (secs, of(LifetimeSource::SMaxage));
    }
    if let Some(secs) = max_age {
        return (secs, of(LifetimeSource::MaxAge));
    }
    match find(response.fields, "expires") {
        // RFC 9213 section 2.2 (MUST): a targeted field puts Cache-Control and Expires out of force.
        Some(value) if !is_targeted => {
            let arrival = (response.received / 1_000) as i64;
            // RFC 9111 section 5.3 (MUST, a): an invalid date, "0" above all, lies in the past.
            let secs =
                parse_at(value, arrival).map_or(0, |expires| delta(expires.saturating_sub(date)));
            (secs, LifetimeSource::Expires)
        }
        _ => (0, LifetimeSource::None),
    }
}

/// The age of a response at its arrival, in milliseconds (RFC 9111 section 4.2.3).
fn initial_age(response: &Response<'_>, date: i64) -> u64 {
    let arrival = (response.received / 1_000) as i64;
    // A clock of the backend that is fast makes the response no younger than new.
    let apparent = delta(arrival.saturating_sub(date));
    // RFC 9111 section 5.1 (SHOULD, a; SHOULD, b): the first member of a list is used, and ignored if it is no number.
    let mut members = values(response.fields, "age").flat_map(list);
    let told = members.next().and_then(delta_seconds).unwrap_or(0);
    // RFC 9111 section 4.2.3 (MUST): the age that the backend tells is one at the time when the request was sent.
    let delay = response.received.saturating_sub(response.requested);
    let corrected = u64::from(told) * 1_000 + delay;
    corrected.max(u64::from(apparent) * 1_000)
}

fn flags(asking: &Asking, response: &Response<'_>, control: &Control<'_>, is_dated: bool) -> Flags {
    let directives = &control.directives;
    let fields = response.fields;
    let is_understood = is_understood(response.status, response.is_partial);
    // RFC 9111 section 5.2.2.3 (SHOULD, b): a cache that understands the status ignores `no-store` beside
    // `must-understand`.
    let is_no_store = directives.is_no_store && !(directives.is_must_understand && is_understood);
    let has_cookie =
        find(fields, "set-cookie").is_some() && !control.names_field(fields, b"set-cookie");
    let is_strict = directives.is_must_revalidate || directives.is_proxy_revalidate;
    let has_tag = find(fields, "etag").is_some_and(|tag| tag.len() > 1 && tag.ends_with(b"\""));
    // RFC 9111 section 5.2.2 (MUST): the directives of responses are obeyed, each where it decides something.
    let flags = [
        (Flags::NO_CACHE, directives.no_cache == Scope::Whole),
        (Flags::REVALIDATE, is_strict),
        (Flags::MUST_REVALIDATE, directives.is_must_revalidate),
        (Flags::S_MAXAGE, directives.s_maxage.is_some()),
        (Flags::PUBLIC, directives.is_public),
        (Flags::IMMUTABLE, directives.is_immutable),
        (Flags::PRIVATE, directives.private == Scope::Whole),
        (Flags::NO_STORE, is_no_store),
        (Flags::SET_COOKIE, has_cookie),
        (Flags::VALIDATOR, has_tag || is_dated),
        (Flags::PERSONAL, asking.is_personal),
        (Flags::AUTHORIZED, asking.is_authorized),
    ];
    let mut all = Flags::default();
    for (flag, is_so) in flags {
        all |= flag.when(is_so);
    }
    all
}

/// A difference of times as a number of seconds: none is negative, and none is larger than the largest.
fn delta(secs: i64) -> u32 {
    secs.clamp(0, i64::from(CACHE_DELTA_SECONDS)) as u32
}

#[cfg(test)]
mod tests;
