//! Warnings of settings that a configuration may well contain, but that are hardly meant.

use std::collections::HashSet;

use super::acme_checks;
use super::address::BackendTarget;
use super::cache_checks;
use super::checks::reached;
use super::compile::memory_bytes;
use super::descriptors::{configured_clients, share_out};
use super::listener::ListenerSettings;
use super::machine::Machine;
use super::notes::Notes;
use super::route::RouteTarget;
use super::settings::{Settings, TrustedProxy};
use super::start_settings::workers;
use crate::base::addresses::ListenAddr;
use crate::base::limits;
use crate::http::path::MergeSlashes;
use crate::snapshot::{Descriptors, Protocol};

/// Notes every warning.
pub(super) fn warn(settings: &Settings, machine: &Machine, notes: &Notes<'_>) {
    warn_of_machine(settings, machine, notes);
    warn_of_ranges(settings, notes);
    warn_of_pools(settings, notes);
    warn_of_slashes(settings, notes);
    warn_of_backends(settings, notes);
    warn_of_bounds(settings, machine, notes);
    acme_checks::warn(settings, notes);
    cache_checks::warn(settings, machine, notes);
    if settings.routes.is_empty() {
        notes.add_at(
            0,
            "",
            "there are no [[routes]]: every request is answered with 404",
        );
    }
}

fn warn_of_machine(settings: &Settings, machine: &Machine, notes: &Notes<'_>) {
    if settings.workers.value > machine.cpus {
        let cpus = machine.cpus;
        let what = format!("more workers than the {cpus} CPUs that this process may run on");
        notes.add(&settings.workers.position, what);
    }
    let descriptors = machine.descriptors;
    let sockets = descriptors_of(settings, machine).sockets;
    let clients = configured_clients(settings).unwrap_or_default();
    if sockets <= limits::SOCKETS_LEAST {
        let what = format!(
            "the process may open only {descriptors} files (ulimit -n), which are too few for its workers and listeners"
        );
        notes.add_at(0, "", what);
    } else if clients > sockets / 2 {
        let what = format!(
            "the process may open only {descriptors} files (ulimit -n): of {clients} clients at all listeners, {} can \
             have a connection to a backend each",
            sockets / 2
        );
        match settings.limits.connections.value {
            0 => notes.add_at(0, "", what),
            _ => notes.add(&settings.limits.connections.position, what),
        }
    }
    warn_of_few_clients(settings, machine, notes);
    let memory = &settings.limits.memory_bytes;
    if memory.value > machine.memory_bytes {
        let bytes = machine.memory_bytes;
        notes.add(
            &memory.position,
            format!("the process may have only {bytes} bytes of memory"),
        );
    }
    let needed = limits::WORKER_MEMORY_BYTES * workers(settings, machine) as u64;
    let cache = settings.cache.as_ref();
    let bytes = memory_bytes(
        settings,
        machine,
        cache.map_or(0, |cache| cache.max_bytes.value),
    );
    if needed > bytes / 4 {
        let workers = workers(settings, machine);
        let what = format!(
            "{workers} workers need about {} MiB before they serve anybody, of {} MiB that the process may use \
             (limits.memory)",
            needed >> 20,
            bytes >> 20
        );
        match memory.value {
            0 => notes.add_at(0, "", what),
            _ => notes.add(&memory.position, what),
        }
    }
}

/// Warns if few clients may be connected and no setting wants that: an operator would notice the bound only when
/// clients hang.
fn warn_of_few_clients(settings: &Settings, machine: &Machine, notes: &Notes<'_>) {
    let descriptors = machine.descriptors;
    let most = descriptors_of(settings, machine).clients;
    if configured_clients(settings).is_none() && most < limits::FEW_CLIENTS {
        let what = format!(
            "the process may open only {descriptors} files, so that at most {most} clients can be connected at once, and \
             further ones wait: raise the number of files (ulimit -n, LimitNOFILE= of a systemd unit), or set \
             limits.connections"
        );
        notes.add_at(0, "", what);
    }
}

fn warn_of_ranges(settings: &Settings, notes: &Notes<'_>) {
    let listeners = settings.listeners.iter();
    let senders = listeners.flat_map(|listener| &listener.proxy_protocol_from);
    let senders = senders.map(|range| (&range.position, range.value));
    let trusted = settings
        .trusted_proxies
        .iter()
        .filter_map(|proxy| match proxy.value {
            TrustedProxy::Network(range) => Some((&proxy.position, range)),
            TrustedProxy::Unix => None,
        });
    for (position, range) in trusted.chain(senders) {
        if let Some(meant) = range.corrected() {
            notes.add(position, format!("stands for all of {meant}"));
        }
    }
}

fn warn_of_pools(settings: &Settings, notes: &Notes<'_>) {
    let used: HashSet<&str> = settings
        .routes
        .iter()
        .filter_map(|route| match &route.target {
            RouteTarget::Pool(name) => Some(name.as_str()),
            RouteTarget::Own(_) => None,
        })
        .collect();
    for pool in settings
        .pools
        .iter()
        .filter(|pool| !used.contains(pool.name.as_str()))
    {
        notes.add(&pool.name.position, "no route leads to this pool");
    }
}

/// Warns of a prefix with several slashes in a row, which no request reaches where slashes are merged.
fn warn_of_slashes(settings: &Settings, notes: &Notes<'_>) {
    let merges = |listener: &ListenerSettings| listener.options.merge_slashes != MergeSlashes::Off;
    if !settings.listeners.iter().any(merges) {
        return;
    }
    let routes = settings.routes.iter();
    for route in routes.filter(|route| route.prefix.contains("//")) {
        notes.add(
            &route.position,
            "the prefix has slashes in a row, and a listener merges them (merge_slashes): no request that comes there \
             is for this route",
        );
    }
}

/// A connection of HTTP/2 belongs to one worker and stays there as long as it is used.
fn warn_of_bounds(settings: &Settings, machine: &Machine, notes: &Notes<'_>) {
    let workers = workers(settings, machine);
    let shared = settings
        .all_pools()
        .filter(|pool| pool.options.protocol == Protocol::Http2);
    for backend in shared.flat_map(|pool| &pool.backends) {
        let most = backend.max_connections as usize;
        if most > 0 && most < workers {
            let what = format!(
                "max_connections is less than the {workers} workers, and each of them has connections of its own over \
                 HTTP/2: requests on the others wait"
            );
            notes.add(&backend.position, what);
        }
        if most == 1 {
            notes.add(
                &backend.position,
                "max_connections = 1: if the backend does not offer WebSockets over HTTP/2 (RFC 8441), the first \
                 WebSocket to it takes its only connection, and all other requests wait until that WebSocket has ended",
            );
        }
    }
}

fn warn_of_backends(settings: &Settings, notes: &Notes<'_>) {
    for pool in settings.all_pools() {
        let mut seen = HashSet::new();
        for backend in &pool.backends {
            let position = &backend.address.target;
            if !seen.insert(position) {
                notes.add(
                    &backend.position,
                    "is in this pool already; the first one counts",
                );
            }
            let mut listeners = settings.listeners.iter();
            if listeners.any(|listener| may_be(&listener.addr, position)) {
                let what = "is palantir's own listener, if the address is one of this machine: requests would go \
                            round in circles";
                notes.add(&backend.position, what);
            }
        }
    }
}

/// Whether a listener on every address may receive what is sent to the backend, if the backend is on this machine. A
/// backend that is certain to be the listener itself is a mistake and not a warning.
fn may_be(listened: &ListenAddr, backend: &BackendTarget) -> bool {
    match (listened, backend) {
        (ListenAddr::Tcp(listened), BackendTarget::Ip(backend)) => {
            let reached = reached(*backend);
            listened.ip().is_unspecified()
                && listened.port() == reached.port()
                && listened.is_ipv4() == reached.is_ipv4()
                && !reached.ip().is_loopback()
        }
        // Every machine resolves this name to its loopback addresses (RFC 6761, section 6.3).
        (ListenAddr::Tcp(listened), BackendTarget::Name(name, port)) => {
            let is_here = listened.ip().is_unspecified() || listened.ip().is_loopback();
            name == "localhost" && is_here && listened.port() == *port
        }
        _ => false,
    }
}

/// The shares of a process that starts with this configuration.
fn descriptors_of(settings: &Settings, machine: &Machine) -> Descriptors {
    let has_test_servers = !settings.test_servers.is_empty();
    share_out(
        settings,
        machine,
        workers(settings, machine),
        has_test_servers,
    )
}
