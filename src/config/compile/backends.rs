//! The backends of a pool: one for each address.

use std::net::SocketAddr;
use std::ops::Range;

use super::{Resolved, TooManyBackends, unlimited_if_zero};
use crate::balance::{Member, hash_key};
use crate::base::addresses::BackendAddr;
use crate::base::limits;
use crate::config::address::BackendTarget;
use crate::config::pool::{BackendSettings, PoolSettings};
use crate::shared::slots::Slots;
use crate::snapshot::Backend;

pub(super) fn member(backend: &Backend) -> Member {
    Member {
        weight: backend.weight,
        identity: hash_key(backend.label.as_bytes()),
    }
}

/// Compiles a backend, without its health check.
pub(super) fn compile_backend(
    pool: &PoolSettings,
    written: &BackendSettings,
    (addr, label): (Option<BackendAddr>, String),
    addresses: &Range<u32>,
    slots: &mut Slots,
) -> Result<Backend, TooManyBackends> {
    debug_assert!(written.weight > 0, "a weight divides a load");
    let Some(slot) = slots.slot(&pool.name, &label) else {
        let (pool, backend) = (pool.name.value.clone(), label);
        return Err(TooManyBackends { pool, backend });
    };
    Ok(Backend {
        slot,
        addr,
        host: written.address.host.clone(),
        server_name: pool
            .tls
            .as_ref()
            .and_then(|tls| tls.server_name.clone())
            .unwrap_or_else(|| written.address.server_name()),
        addresses: addresses.clone(),
        label,
        weight: written.weight,
        max_connections: unlimited_if_zero(written.max_connections),
        draining: written.draining,
        health_check: None,
        remove_after: written.remove_after,
    })
}

/// Every address of a backend, each with its label.
pub(super) fn addresses(
    written: &BackendSettings,
    resolved: &Resolved,
) -> Vec<(Option<BackendAddr>, String)> {
    let (name, port) = match &written.address.target {
        BackendTarget::Ip(addr) => return vec![(Some(BackendAddr::Tcp(*addr)), addr.to_string())],
        BackendTarget::Unix(path) => {
            let label = format!("unix:{}", path.display());
            return vec![(Some(BackendAddr::Unix(path.clone())), label)];
        }
        BackendTarget::Name(name, port) => (name, *port),
    };
    // Sorted, so that the order in which a name server happens to answer changes nothing.
    let mut ips = resolved.get(name).cloned().unwrap_or_default();
    ips.sort_unstable();
    ips.dedup();
    ips.truncate(limits::ADDRESSES_PER_NAME);
    if ips.is_empty() {
        return vec![(None, format!("{name}:{port}"))];
    }
    let addrs = ips.into_iter().map(|ip| SocketAddr::new(ip, port));
    addrs
        .map(|addr| (Some(BackendAddr::Tcp(addr)), format!("{name} ({addr})")))
        .collect()
}
