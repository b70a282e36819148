//! Shares out the descriptors that the process may open. Each kind of use that takes many descriptors has a share of
//! its own, so that a flood of one kind leaves the others their descriptors.

use super::machine::Machine;
use super::settings::Settings;
use crate::base::limits;
use crate::snapshot::Descriptors;

/// The shares of a process on this machine, with this configuration, as many workers, and test servers or none. A
/// process keeps the workers and the test servers that it has started, whatever a later configuration says.
pub fn share_out(
    settings: &Settings,
    machine: &Machine,
    workers: usize,
    has_test_servers: bool,
) -> Descriptors {
    let all = usize::try_from(machine.descriptors).unwrap_or(usize::MAX);
    let listeners = settings.listeners.len();
    // Of each worker's own, its listening sockets, and the client that waits at each of these for another to leave.
    let of_workers = workers * (limits::WORKER_DESCRIPTORS + 2 * listeners);
    let management = share(all, limits::ADMIN_CONNECTIONS);
    let probes = share(all, limits::PROBES);
    let test_servers = if has_test_servers {
        of_test_servers(machine)
    } else {
        0
    };
    let others = limits::RESERVED_DESCRIPTORS + of_workers + management + probes + test_servers;
    let sockets = all.saturating_sub(others).max(limits::SOCKETS_LEAST);
    let most_of_one_kind = sockets - sockets / limits::KIND_RESERVE;
    Descriptors {
        sockets,
        clients: clients(settings, sockets).min(most_of_one_kind),
        backends: most_of_one_kind,
        probes,
        management,
        test_servers,
    }
}

/// Connections that the test servers may have.
pub fn of_test_servers(machine: &Machine) -> usize {
    let all = usize::try_from(machine.descriptors).unwrap_or(usize::MAX);
    (all / limits::TEST_SERVER_PART).min(limits::TEST_SERVER_CONNECTIONS)
}

/// Client connections of all listeners together: as many as the listeners may have, else half of all sockets, because
/// a client's request takes a second descriptor, for the connection to the backend.
fn clients(settings: &Settings, sockets: usize) -> usize {
    configured_clients(settings).unwrap_or(sockets / 2).max(1)
}

/// The client connections that all listeners together may have by the configuration; `None`: as many as possible.
pub fn configured_clients(settings: &Settings) -> Option<usize> {
    let bounds = settings.listeners.iter().map(|listener| {
        match (listener.connections, settings.limits.connections.value) {
            (0, 0) => None,
            (0, most) | (most, _) => Some(most as usize),
        }
    });
    bounds.sum()
}

fn share(all: usize, most: usize) -> usize {
    (all / limits::SMALL_SHARE).clamp(limits::SMALL_SHARE_LEAST, most)
}
