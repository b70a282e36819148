//! Whether a response is stored, and without which of its fields (RFC 9111 section 3).

use crate::cache::facts::{EntryFacts, Flags, LifetimeSource};
use crate::cache::freshness::{age, lifetime, replaces};
use crate::cache::not_stored::NotStored;
use crate::cache::policy::{Authorization, Policy, Replaces, SetCookie};
use crate::cache::request::{AskedMethod, Asking};
use crate::cache::response::{Response, facts_of};
use crate::cache::statuses::{is_heuristically_cacheable, is_of_its_request, is_understood};
use crate::cache::targeted::Control;
use crate::cache::vary;
use crate::http::cache_control::CacheControl;

/// Whether a response is stored, and the facts to store it with. After a validation the caller asks with the status and
/// the fields of the head that follows from it: an error then means that the entry ends. `control`: what the fields of
/// the response say, see [`control_of`](crate::cache::targeted::control_of).
pub fn storable(
    policy: &Policy,
    asking: &Asking,
    response: &Response<'_>,
    control: &Control<'_>,
) -> Result<EntryFacts, NotStored> {
    let facts = facts_of(asking, response, control);
    let reasons = [
        by_method(asking, response, &facts),
        by_status(response, &control.directives),
        // RFC 9111 section 5.2.1.5 (MUST NOT, a; MUST NOT, b; MUST): nothing of a request with `no-store` and of its
        // response is stored, in any memory. The buffers that it passes through are used again at once.
        asking
            .directives
            .is_no_store
            .then_some(NotStored::RequestNoStore),
        forbidden(policy, &facts),
        vary::check(policy, response.fields).err(),
        by_bounds(policy, asking, response),
        by_use(policy, &facts),
    ];
    reasons.into_iter().flatten().next().map_or(Ok(facts), Err)
}

/// The reason that forbids to store a response, or to reuse one that was stored under other settings.
pub fn forbidden(policy: &Policy, facts: &EntryFacts) -> Option<NotStored> {
    let has = |flags| facts.flags.has(flags);
    // RFC 9111 sections 3 (MUST NOT, f) and 3.5 (MUST NOT): the response to a request with `Authorization` answers no
    // other one, unless it permits that. An identity that palantir adds tells the backend no less.
    let needs_permission = has(Flags::AUTHORIZED) && policy.authorization == Authorization::Rfc;
    if needs_permission && !facts.permits_sharing() {
        return Some(NotStored::Authorization);
    }
    if replaces(policy, facts.status) == Replaces::Everything {
        return None;
    }
    // RFC 9111 sections 3 (MUST NOT, d) and 5.2.2.5 (MUST NOT, a; MUST NOT, b; MUST NOT, c; MUST): no part of a
    // response with `no-store` is stored, in any memory, so that none is used again.
    if has(Flags::NO_STORE) {
        return Some(NotStored::NoStore);
    }
    // RFC 9111 sections 3 (MUST NOT, e) and 5.2.2.7 (MUST NOT, a): a shared cache stores no response with `private`.
    let is_private = has(Flags::PRIVATE);
    #[cfg(test)]
    let is_private =
        is_private && !crate::simulated::is_planted(crate::simulated::Fault::SharesPrivate);
    if is_private {
        return Some(NotStored::Private);
    }
    let is_refused = has(Flags::SET_COOKIE) && policy.set_cookie == SetCookie::Refuse;
    is_refused.then_some(NotStored::SetCookie)
}

fn by_method(asking: &Asking, response: &Response<'_>, facts: &EntryFacts) -> Option<NotStored> {
    let is_stored = match asking.method {
        AskedMethod::Get => true,
        // RFC 9110 section 9.3.3: explicit freshness and the target as Content-Location make it the response of GET.
        AskedMethod::Post => {
            response.status == 200 && response.is_at_target && facts.explicit().is_some()
        }
        // RFC 9111 section 3 (MUST NOT, a): no response to a method that the cache does not know is stored.
        AskedMethod::Head | AskedMethod::Other => false,
    };
    (!is_stored).then_some(NotStored::Method)
}

fn by_status(response: &Response<'_>, control: &CacheControl) -> Option<NotStored> {
    let status = response.status;
    // RFC 9111 section 3 (MUST NOT, b; MUST NOT, c): only final statuses are stored, and none whose meaning the cache
    // does not know where the response asks for that.
    if is_of_its_request(status) {
        return Some(NotStored::Status);
    }
    if status == 206 && !response.is_partial {
        return Some(NotStored::Partial);
    }
    let is_unknown = control.is_must_understand && !is_understood(status, response.is_partial);
    is_unknown.then_some(NotStored::NotUnderstood)
}

fn by_bounds(policy: &Policy, asking: &Asking, response: &Response<'_>) -> Option<NotStored> {
    if response
        .length
        .is_some_and(|length| length > policy.max_object)
    {
        return Some(NotStored::TooLarge);
    }
    let is_suspect = asking.is_near_bounds && (400..500).contains(&response.status);
    is_suspect.then_some(NotStored::NearBounds)
}

/// Whether a stored response could ever answer.
fn by_use(policy: &Policy, facts: &EntryFacts) -> Option<NotStored> {
    let flags = facts.flags;
    let lifetime = lifetime(policy, facts);
    let is_personal = flags.has(Flags::PERSONAL) || flags.has(Flags::SET_COOKIE);
    // RFC 9111 section 3 (MUST NOT, g): without a lifetime and `public`, only heuristically cacheable statuses are
    // stored. A personal response is not stored either: the date of its last change could validate it for somebody
    // else.
    let is_named = !matches!(
        lifetime.source,
        LifetimeSource::None | LifetimeSource::Heuristic
    ) || flags.has(Flags::PUBLIC);
    if !is_named && (is_personal || !is_heuristically_cacheable(facts.status)) {
        return Some(NotStored::NoLifetime);
    }
    let is_validated =
        flags.has(Flags::NO_CACHE) && replaces(policy, facts.status) == Replaces::Nothing;
    let is_fresh = lifetime.secs > age(facts, facts.received);
    let windows = [facts.stale_while_revalidate, facts.stale_if_error];
    let has_window =
        windows.into_iter().any(|window| window.unwrap_or(0) > 0) && !flags.has(Flags::REVALIDATE);
    let is_useful = facts.has_validator() || (!is_validated && (is_fresh || has_window));
    (!is_useful).then_some(NotStored::Useless)
}

#[cfg(test)]
mod tests;
