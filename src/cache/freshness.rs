//! How long a stored response is fresh, and how old it is (RFC 9111 section 4.2).

use crate::base::limits::{CACHE_CLOCK_MILLIS, CACHE_DELTA_SECONDS};
use crate::cache::facts::{EntryFacts, Flags, LifetimeSource};
use crate::cache::policy::{Policy, Replaces};
use crate::cache::statuses::is_heuristically_cacheable;

/// How long a response is fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// The lifetime in seconds, counted from when the backend made the response.
    pub secs: u32,
    /// Where the lifetime comes from.
    pub source: LifetimeSource,
}

/// The freshness lifetime of a stored response under the settings that are now in force.
pub fn lifetime(policy: &Policy, facts: &EntryFacts) -> Lifetime {
    let Lifetime { secs, source } = uncapped(policy, facts);
    let secs = if is_capped(facts.status) {
        secs.min(policy.error_ttl_max)
    } else {
        secs
    };
    Lifetime { secs, source }
}

fn uncapped(policy: &Policy, facts: &EntryFacts) -> Lifetime {
    let configured = configured(policy, facts.status).map(|secs| Lifetime {
        secs: secs.min(CACHE_DELTA_SECONDS),
        source: LifetimeSource::Configured,
    });
    let explicit = facts.explicit().map(|secs| Lifetime {
        secs,
        source: facts.source,
    });
    match policy.ttl.replaces {
        Replaces::Nothing => explicit.or(configured),
        Replaces::Lifetimes | Replaces::Everything => configured.or(explicit),
    }
    // RFC 9111 section 4.2.2 (MUST NOT): no heuristics where the response names its lifetime.
    .unwrap_or_else(|| heuristic(policy, facts))
}

/// The operator's lifetime for responses of a status, in seconds.
fn configured(policy: &Policy, status: u16) -> Option<u32> {
    let mut rules = policy.ttl.by_status.iter();
    rules.find(|(of, _)| *of == status).map(|(_, secs)| *secs)
}

/// Reads what the settings replace of that which a response of this status says.
pub fn replaces(policy: &Policy, status: u16) -> Replaces {
    match configured(policy, status) {
        Some(_) => policy.ttl.replaces,
        None => Replaces::Nothing,
    }
}

/// The lifetime of a response that names none.
fn heuristic(policy: &Policy, facts: &EntryFacts) -> Lifetime {
    let flags = facts.flags;
    // RFC 9111 section 4.2.2: heuristics serve only statuses that are defined as heuristically cacheable,
    // and responses that are marked as public.
    let may_be_guessed = is_heuristically_cacheable(facts.status) || flags.has(Flags::PUBLIC);
    let is_personal = flags.has(Flags::PERSONAL) || flags.has(Flags::SET_COOKIE);
    if !may_be_guessed || is_personal || facts.unmodified == 0 {
        return Lifetime {
            secs: 0,
            source: LifetimeSource::None,
        };
    }
    let share = u64::from(facts.unmodified) * u64::from(policy.heuristic_percent) / 100;
    Lifetime {
        secs: share.min(u64::from(policy.heuristic_max)) as u32,
        source: LifetimeSource::Heuristic,
    }
}

/// Whether responses of a status are kept for a short time only: 4xx other than 404 and 410, and 5xx.
pub fn is_capped(status: u16) -> bool {
    (400..600).contains(&status) && !matches!(status, 404 | 410)
}

/// The current age of a stored response in whole seconds (RFC 9111 section 4.2.3), at most [`CACHE_DELTA_SECONDS`].
/// `now` is in milliseconds since 1970. A clock that was set back makes the response no younger than it was when it
/// arrived.
pub fn age(facts: &EntryFacts, now: u64) -> u32 {
    let resident = now.saturating_sub(facts.received);
    let secs = facts.initial_age.saturating_add(resident) / 1_000;
    secs.min(u64::from(CACHE_DELTA_SECONDS)) as u32
}

/// The seconds for which a response is still fresh; 0 or less: for how long it has been stale. A response that has come
/// later than now is not fresh: the clock was set back since, and nothing tells how old the response is.
pub fn ttl(policy: &Policy, facts: &EntryFacts, now: u64) -> i64 {
    #[cfg(test)]
    if crate::simulated::is_planted(crate::simulated::Fault::NeverStale) {
        return 1;
    }
    let secs = i64::from(lifetime(policy, facts).secs) - i64::from(age(facts, now));
    let is_of_another_clock = facts.received > now.saturating_add(CACHE_CLOCK_MILLIS);
    if is_of_another_clock {
        secs.min(0)
    } else {
        secs
    }
}
