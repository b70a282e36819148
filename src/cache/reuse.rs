//! Whether an entry answers a request: as it is, while it is validated, or only after a validation.

use crate::cache::facts::{EntryFacts, Flags};
use crate::cache::freshness::{age, is_capped, lifetime, replaces, ttl};
use crate::cache::policy::{ClientDirectives, Policy, Replaces};
use crate::cache::request::Asking;
use crate::cache::storable::forbidden;
use crate::http::cache_control::Scope;

/// How an entry answers a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// The entry answers; it is fresh for `ttl` more seconds.
    Fresh {
        /// Seconds until the entry is stale.
        ttl: i64,
    },
    /// The entry answers although it is stale, and is validated meanwhile (RFC 5861 section 3).
    WhileRefreshing {
        /// Seconds until the entry was stale: 0 or less.
        ttl: i64,
    },
    /// The entry answers although it is stale: the client accepts that (`max-stale`).
    Accepted {
        /// Seconds until the entry was stale: 0 or less.
        ttl: i64,
    },
    /// The entry answers only after a validation.
    Validate(Why),
}

/// Why an entry must be validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The entry is no longer fresh.
    Stale,
    /// A purge marked the entry as stale.
    Purged,
    /// The response has `no-cache`.
    NoCache,
    /// The settings no longer permit to reuse the response: it has `private`, `no-store` or `Set-Cookie`, or a client
    /// got it by its credentials.
    Forbidden,
    /// The client sent `no-cache`.
    ClientNoCache,
    /// The entry is older than the `max-age` of the client.
    ClientMaxAge,
    /// The entry is fresh for less time than the `min-fresh` of the client.
    ClientMinFresh,
}

impl Why {
    /// The label for `Cache-Status`, metrics and `palantir explain`.
    pub const fn label(self) -> &'static str {
        match self {
            Why::Stale => "stale",
            Why::Purged => "purged",
            Why::NoCache => "no_cache",
            Why::Forbidden => "forbidden",
            Why::ClientNoCache => "client_no_cache",
            Why::ClientMaxAge => "client_max_age",
            Why::ClientMinFresh => "client_min_fresh",
        }
    }

    /// Whether the client alone asks for the validation, so that the policy `bounded` may refuse it: the caller then
    /// asks again with [`Asking::without_demands`].
    pub const fn is_from_client(self) -> bool {
        matches!(
            self,
            Why::ClientNoCache | Why::ClientMaxAge | Why::ClientMinFresh
        )
    }
}

/// The trouble that was met when a backend was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No answer can be had: no usable backend, a failed connection, a reset, a timeout.
    Unreachable,
    /// The backend answered with this status.
    Status(u16),
}

/// How an entry answers a request at the time `now` (milliseconds since 1970). The caller has found that method and
/// variant match.
pub fn reuse(
    policy: &Policy,
    facts: &EntryFacts,
    asking: &Asking,
    is_soft_purged: bool,
    now: u64,
) -> Reuse {
    if let Some(why) = barrier(policy, facts) {
        return Reuse::Validate(why);
    }
    let natural = ttl(policy, facts, now);
    let is_purged = is_soft_purged && natural > 0;
    let ttl = if is_purged { 0 } else { natural };
    // RFC 9111 section 4 (MUST NOT, e): a response answers if it is fresh, or stale within a window that
    // response, client or operator permit. Any other one is validated.
    let usable = if ttl > 0 {
        Reuse::Fresh { ttl }
    } else if staleness(ttl) < refresh_window(policy, facts) {
        Reuse::WhileRefreshing { ttl }
    } else if staleness(ttl) < accepted_window(facts, asking) {
        Reuse::Accepted { ttl }
    } else {
        return Reuse::Validate(if is_purged { Why::Purged } else { Why::Stale });
    };
    demand(facts, asking, ttl, now).map_or(usable, Reuse::Validate)
}

/// Whether a stale entry may answer at the time `now`, since asking a backend went wrong. An entry that is still fresh
/// may answer too, unless its client is owed a validation.
pub fn may_serve_stale(
    policy: &Policy,
    facts: &EntryFacts,
    asking: &Asking,
    trouble: Trouble,
    now: u64,
) -> bool {
    let is_honoured = policy.client_directives == ClientDirectives::Honour;
    if barrier(policy, facts).is_some()
        || (is_honoured && asking.directives.no_cache == Scope::Whole)
    {
        return false;
    }
    let Some(default) = default_window(policy, trouble) else {
        return false;
    };
    let ttl = ttl(policy, facts, now);
    ttl > 0 || staleness(ttl) < error_window(facts, asking, default)
}

/// Whether an entry that a soft purge has made stale may answer in trouble: that it would be fresh does not count.
pub fn may_serve_purged(
    policy: &Policy,
    facts: &EntryFacts,
    asking: &Asking,
    trouble: Trouble,
    now: u64,
) -> bool {
    let default = default_window(policy, trouble).unwrap_or(0);
    error_window(facts, asking, default) > 0 && may_serve_stale(policy, facts, asking, trouble, now)
}

/// The operator's seconds of staleness for which an entry answers in such trouble; `None`: no stale entry answers.
fn default_window(policy: &Policy, trouble: Trouble) -> Option<u32> {
    // RFC 9111 section 4.2.4 (MUST NOT, b): a stale response answers where no answer can be had, or where the response,
    // the client or the operator permits it.
    match trouble {
        Trouble::Unreachable => Some(policy.stale_if_unreachable),
        // RFC 5861 section 4: these statuses are errors in its sense.
        Trouble::Status(500 | 502 | 503 | 504) => Some(policy.stale_if_error),
        Trouble::Status(_) => None,
    }
}

/// The reason for which a response is never used without a validation, however fresh it is and whatever goes wrong.
fn barrier(policy: &Policy, facts: &EntryFacts) -> Option<Why> {
    // RFC 9111 sections 4 (MUST NOT, d) and 5.2.2.4 (MUST NOT): a response with `no-cache` is not used without a
    // successful validation.
    if facts.flags.has(Flags::NO_CACHE) && replaces(policy, facts.status) == Replaces::Nothing {
        return Some(Why::NoCache);
    }
    forbidden(policy, facts).map(|_| Why::Forbidden)
}

/// For how long an entry has been stale, in seconds.
fn staleness(ttl: i64) -> u64 {
    ttl.min(0).unsigned_abs()
}

/// Seconds of staleness for which an entry answers while it is validated.
fn refresh_window(policy: &Policy, facts: &EntryFacts) -> u64 {
    // The operator's default concerns what was fresh once: a lifetime of 0 says that every use is validated.
    let default = match lifetime(policy, facts).secs {
        0 => 0,
        _ => policy.stale_while_revalidate,
    };
    match permission(facts) {
        Stale::Never => 0,
        Stale::AsNamed => u64::from(facts.stale_while_revalidate.unwrap_or(0)),
        Stale::Permitted => u64::from(facts.stale_while_revalidate.unwrap_or(default)),
    }
}

/// Seconds of staleness for which an entry answers when asking a backend went wrong. `default` counts where the
/// response names no `stale-if-error`.
fn error_window(facts: &EntryFacts, asking: &Asking, default: u32) -> u64 {
    let refresh = facts.stale_while_revalidate.unwrap_or(0);
    let window = match permission(facts) {
        // RFC 9111 section 5.2.2.2 (MUST; SHOULD): the failure is the answer then: a 504 where the backend was silent,
        // and a 502 where it broke off or could not be reached.
        Stale::Never => 0,
        Stale::AsNamed => facts.stale_if_error.unwrap_or(0).max(refresh),
        Stale::Permitted => {
            // RFC 5861 section 4: what the response names is the upper limit; a client may ask for more.
            let of_response = facts.stale_if_error.unwrap_or(default).max(refresh);
            of_response.max(asking.directives.stale_if_error.unwrap_or(0))
        }
    };
    u64::from(window)
}

/// Seconds of staleness that the client accepts (RFC 9111 section 5.2.1.2).
fn accepted_window(facts: &EntryFacts, asking: &Asking) -> u64 {
    match permission(facts) {
        Stale::Permitted => u64::from(asking.directives.max_stale.unwrap_or(0)),
        Stale::AsNamed | Stale::Never => 0,
    }
}

/// Whether an entry may ever be served when it is stale.
enum Stale {
    /// Never.
    Never,
    /// Only within a window that the response itself names.
    AsNamed,
    /// Within any window.
    Permitted,
}

fn permission(facts: &EntryFacts) -> Stale {
    // RFC 9111 sections 4.2.4 (MUST NOT, a), 5.2.2.2 (MUST NOT, a; MUST NOT, b) and 5.2.2.8 (MUST NOT):
    // must-revalidate and proxy-revalidate forbid stale use. An error that outlives its cap would keep others from the
    // answer that a backend now has.
    if facts.flags.has(Flags::REVALIDATE) || is_capped(facts.status) {
        Stale::Never
    } else if facts.flags.has(Flags::S_MAXAGE) {
        // RFC 9111 section 5.2.2.10 (MUST NOT, a): s-maxage implies proxy-revalidate; RFC 5861 permits what is named
        // beside it.
        Stale::AsNamed
    } else {
        Stale::Permitted
    }
}

/// The demand of a client that the entry does not fulfil without a validation (RFC 9111 section 5.2.1).
fn demand(facts: &EntryFacts, asking: &Asking, ttl: i64, now: u64) -> Option<Why> {
    let client = &asking.directives;
    if client.no_cache == Scope::Whole {
        return Some(Why::ClientNoCache);
    }
    // RFC 8246 section 2.1 (SHOULD): a fresh immutable response is not validated, unless the client has `no-cache`.
    let is_final = facts.flags.has(Flags::IMMUTABLE) && ttl > 0;
    let is_old = |secs| age(facts, now) > secs || (ttl <= 0 && client.max_stale.is_none());
    if !is_final && client.max_age.is_some_and(is_old) {
        return Some(Why::ClientMaxAge);
    }
    let is_short = |secs| ttl < i64::from(secs);
    client
        .min_fresh
        .is_some_and(is_short)
        .then_some(Why::ClientMinFresh)
}

#[cfg(test)]
mod tests;
