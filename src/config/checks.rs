//! Mistakes that no single value can tell.

use std::collections::{BTreeSet, HashSet};
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::acme_checks;
use super::address::BackendTarget;
use super::cache_checks;
use super::document::instead_of;
use super::listener::ListenerSettings;
use super::notes::{Notes, Position};
use super::pool::PoolSettings;
use super::route::{RouteSettings, RouteTarget};
use super::settings::Settings;
use crate::base::addresses::ListenAddr;
use crate::base::limits;
use crate::route::prefix_as_read;
use crate::snapshot::ClientCertificate;

/// The mistake of a backend to which palantir itself listens.
pub(super) const OWN_LISTENER: &str =
    "is palantir's own listener: requests would go round in circles";

/// Notes every mistake. What is empty was noted when it was read.
pub(super) fn check(settings: &Settings, notes: &Notes<'_>) {
    check_addresses(settings, notes);
    check_pools(settings, notes);
    check_backends(settings, notes);
    check_routes(settings, notes);
    check_wanted_certificates(settings, notes);
    acme_checks::check(settings, notes);
    cache_checks::check(settings, notes);
}

fn check_addresses(settings: &Settings, notes: &Notes<'_>) {
    let listened = settings
        .listeners
        .iter()
        .map(|listener| (&listener.addr.position, listener.addr.value.clone()));
    let tested = settings
        .test_servers
        .iter()
        .map(|addr| (&addr.position, ListenAddr::Tcp(addr.value)));
    let admin = settings.admin.iter();
    let admin = admin.map(|admin| (&admin.position, admin.listen_addr.clone()));
    let all: Vec<(&Position, ListenAddr)> = listened.chain(tested).chain(admin).collect();
    for (position, _) in repeated(all.iter().cloned()) {
        notes.add(position, "is listened on already");
    }
    let wide = all.iter().filter(|(_, addr)| is_wildcard(addr));
    let wide: Vec<&ListenAddr> = wide.map(|(_, addr)| addr).collect();
    for (position, addr) in &all {
        if let Some(other) = wide.iter().find(|other| is_wider(other, addr)) {
            let what = "listens on all addresses of this port already, this one among them";
            notes.add(position, format!("{other} {what}"));
        }
    }
    if settings.listeners.len() > limits::LISTENERS {
        let most = limits::LISTENERS;
        let position = &settings.listeners[most].addr.position;
        notes.add(
            position,
            format!("with this there are more than {most} listeners"),
        );
    }
}

/// Whether `wide`, which listens on every address of its port, also covers the address of `narrow`. IPv6 sockets take
/// no IPv4 clients here.
fn is_wider(wide: &ListenAddr, narrow: &ListenAddr) -> bool {
    let (ListenAddr::Tcp(wide), ListenAddr::Tcp(narrow)) = (wide, narrow) else {
        return false;
    };
    wide.port() == narrow.port()
        && wide.is_ipv4() == narrow.is_ipv4()
        && !narrow.ip().is_unspecified()
}

fn is_wildcard(addr: &ListenAddr) -> bool {
    matches!(addr, ListenAddr::Tcp(addr) if addr.ip().is_unspecified())
}

fn check_pools(settings: &Settings, notes: &Notes<'_>) {
    let named = settings
        .pools
        .iter()
        .map(|pool| &pool.name)
        .filter(|name| !name.is_empty());
    for (position, name) in repeated(named.map(|name| (&name.position, &name.value))) {
        notes.add(position, format!("there is a pool {name:?} already"));
    }
    check_total(
        settings.all_pools().map(|pool| (&pool.name.position, 1)),
        limits::POOLS,
        "pools",
        notes,
    );
    let backends = settings
        .all_pools()
        .map(|pool| (&pool.name.position, pool.backends.len()));
    check_total(backends, limits::BACKENDS, "backends", notes);
}

fn check_backends(settings: &Settings, notes: &Notes<'_>) {
    for backend in settings.all_pools().flat_map(|pool| &pool.backends) {
        let mut listeners = settings.listeners.iter();
        if listeners.any(|listener| is_own(&listener.addr, &backend.address.target)) {
            notes.add(&backend.position, OWN_LISTENER);
        }
    }
    for pool in settings.all_pools() {
        check_probed_ports(pool, notes);
    }
}

/// Refuses `port` in the health check of a backend on a Unix socket, which has no port.
fn check_probed_ports(pool: &PoolSettings, notes: &Notes<'_>) {
    for backend in &pool.backends {
        let check = backend.health_check.as_ref().or(pool.health_check.as_ref());
        if let Some(position) = check.and_then(|check| check.port_position.as_ref())
            && let BackendTarget::Unix(path) = &backend.address.target
        {
            let path = path.display();
            notes.add(
                position,
                format!("backend unix:{path} is a Unix socket, which has no port"),
            );
        }
    }
}

/// Whether requests to the backend are certain to reach this listener: it listens at the backend's address, or on every
/// address of the machine, of which the backend's is one.
fn is_own(listened: &ListenAddr, backend: &BackendTarget) -> bool {
    match (listened, backend) {
        (ListenAddr::Tcp(listened), BackendTarget::Ip(backend)) => {
            let reached = reached(*backend);
            let on_all = listened.ip().is_unspecified() && listened.is_ipv4() == reached.is_ipv4();
            let is_reached = *listened == reached || (on_all && reached.ip().is_loopback());
            is_reached && listened.port() == reached.port()
        }
        (ListenAddr::Unix(listened), BackendTarget::Unix(backend)) => listened == backend,
        _ => false,
    }
}

/// The address that a connection to this one reaches: an IPv4 address in the form of IPv6 is that IPv4 address, and
/// Linux connects to the loopback address where a connection is made to the unspecified one.
pub(super) fn reached(addr: SocketAddr) -> SocketAddr {
    let ip: IpAddr = match addr.ip().to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

/// Notes where the sum first exceeds `most`.
fn check_total<'s>(
    counts: impl Iterator<Item = (&'s Position, usize)>,
    most: usize,
    what: &str,
    notes: &Notes<'_>,
) {
    let mut total = 0;
    for (position, count) in counts {
        if total <= most && total + count > most {
            notes.add(
                position,
                format!("with this there are more than {most} {what}"),
            );
        }
        total += count;
    }
}

fn check_routes(settings: &Settings, notes: &Notes<'_>) {
    let whole = settings.routes.iter().filter(|route| route.is_whole());
    let matches =
        |route: &RouteSettings| (route.host.clone(), prefix_as_read(route.prefix.as_bytes()));
    for (position, _) in repeated(whole.map(|route| (&route.position, matches(route)))) {
        notes.add(
            position,
            "there is a route with this host and prefix already",
        );
    }
    let names: BTreeSet<&str> = settings
        .pools
        .iter()
        .map(|pool| pool.name.as_str())
        .collect();
    let known: Vec<&str> = names.into_iter().filter(|name| !name.is_empty()).collect();
    for route in &settings.routes {
        if let RouteTarget::Pool(name) = &route.target
            && !name.is_empty()
            && known.binary_search(&name.as_str()).is_err()
        {
            notes.add(
                &name.position,
                format!("unknown pool; {}", instead_of(name, &known)),
            );
        }
    }
}

/// A route cannot want what no listener asks for.
fn check_wanted_certificates(settings: &Settings, notes: &Notes<'_>) {
    let asks = |listener: &ListenerSettings| {
        let tls = listener.tls.as_ref();
        tls.is_some_and(|tls| tls.client_certificate() != ClientCertificate::NotAsked)
    };
    if settings.listeners.iter().any(asks) {
        return;
    }
    for wanted in settings
        .routes
        .iter()
        .flat_map(|route| &route.wants_certificate)
    {
        notes.add(
            &wanted.position,
            "no listener asks clients for a certificate, so every request would be refused: a listener needs tls with a client_ca",
        );
    }
}

/// The values that an earlier one equals.
fn repeated<'s, K: Clone + Eq + Hash>(
    values: impl Iterator<Item = (&'s Position, K)>,
) -> Vec<(&'s Position, K)> {
    let mut seen = HashSet::new();
    values
        .filter(|(_, key)| !seen.insert(key.clone()))
        .collect()
}
