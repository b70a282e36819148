//! Checks of `[cache]` and of the caches of routes: against each other, and against the machine.

use super::cache::RouteCacheSettings;
use super::compile::memory_bytes;
use super::declared::ALL;
use super::machine::Machine;
use super::notes::Notes;
use super::settings::Settings;
use crate::base::limits;
use crate::cache::policy::{Authorization, ClientDirectives, Replaces, SetCookie};

/// Notes caches of routes that cannot be, whatever the machine.
pub(super) fn check(settings: &Settings, notes: &Notes<'_>) {
    for cache in caches(settings) {
        if settings.cache.is_none() {
            let what = "needs a section [cache] with max_size, the size of the cache of all routes";
            notes.add_absence(&cache.position, what);
        }
        if let Some(slice) = &cache.slice
            && slice.value > cache.max_object.value
        {
            let most = cache.max_object.value;
            let what =
                format!("is larger than max_object ({most} bytes): no slice would be stored");
            notes.add(&slice.position, what);
        }
    }
}

/// Notes a cache that is too large for a machine with so much memory.
pub(super) fn check_machine(settings: &Settings, machine_bytes: u64, notes: &Notes<'_>) {
    let most = machine_bytes / 100 * limits::CACHE_MEMORY_PERCENT;
    if let Some(cache) = &settings.cache
        && cache.max_bytes.value > most
    {
        let percent = limits::CACHE_MEMORY_PERCENT;
        let what = format!(
            "is more than {percent} % of the {machine_bytes} bytes of memory that the process may have: at most {most} \
             are possible"
        );
        notes.add(&cache.max_bytes.position, what);
    }
}

/// Notes what of the caches is hardly meant, or gives one client what is another's unless backends are made for it.
pub(super) fn warn(settings: &Settings, machine: &Machine, notes: &Notes<'_>) {
    warn_of_memory(settings, machine, notes);
    let most = settings.cache.as_ref().map(|cache| cache.max_bytes.value);
    for cache in caches(settings) {
        warn_of_sharing(cache, notes);
        let object = &cache.max_object;
        if most.is_some_and(|most| object.value > most) && !object.position.key.is_empty() {
            let what = "is more than the whole cache has (max_size of [cache])";
            notes.add(&object.position, what);
        }
        for network in &cache.purge_method {
            if let Some(meant) = network.value.corrected() {
                notes.add(&network.position, format!("stands for all of {meant}"));
            }
        }
    }
}

fn warn_of_memory(settings: &Settings, machine: &Machine, notes: &Notes<'_>) {
    let Some(cache) = &settings.cache else {
        return;
    };
    let (own, bytes) = (cache.max_bytes.value, machine.memory_bytes);
    let others = memory_bytes(settings, machine, own);
    if own.saturating_add(others) > bytes {
        let what = format!(
            "with the {others} bytes that the process may use besides (limits.memory) this is more than the {bytes} \
             bytes of memory that it may have"
        );
        notes.add(&cache.max_bytes.position, what);
    }
    if caches(settings).next().is_none() {
        let what = "nothing is cached: no route has a cache of its own (cache = {})";
        notes.add(&cache.position, what);
    }
}

fn warn_of_sharing(cache: &RouteCacheSettings, notes: &Notes<'_>) {
    if cache.ttl.value.replaces == Replaces::Everything {
        let what = format!(
            "override = {ALL:?} stores responses that are for one client alone (private, no-store, Set-Cookie), and \
             gives them to every client"
        );
        notes.add(&cache.ttl.position, what);
    }
    if cache.set_cookie.value == SetCookie::Store {
        let what = "every client gets the cookies that the backend has set for the first one";
        notes.add(&cache.set_cookie.position, what);
    }
    if cache.authorization.value == Authorization::CheckedHere {
        let what = "every client that palantir lets in gets the response to the first one, whoever that was";
        notes.add(&cache.authorization.position, what);
    }
    if cache.client_directives.value == ClientDirectives::Ignore {
        let what = "no client can ask for a response that is newer than the stored one";
        notes.add(&cache.client_directives.position, what);
    }
}

fn caches(settings: &Settings) -> impl Iterator<Item = &RouteCacheSettings> {
    let routes = settings.routes.iter();
    routes.filter_map(|route| route.cache.as_deref())
}
