//! Parts that a new snapshot shares with the snapshots in use, so that memory grows by the changed parts and not by the
//! whole configuration.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use crate::route::RouteTable;
use crate::snapshot::{Backend, ClientTls, Pool, Route, Snapshot};

/// The parts of all snapshots that are in use. The thread that compiles configurations owns this value.
#[derive(Debug, Default)]
pub struct Sharing {
    routes: Known<Route>,
    pools: Known<Pool>,
    tables: Vec<Weak<RouteTable>>,
}

impl Sharing {
    /// Replaces the parts of a new snapshot by equal parts of earlier ones.
    pub fn share(&mut self, mut snapshot: Snapshot) -> Snapshot {
        for route in &mut snapshot.routes {
            self.routes.share(&route.name.clone(), route, same_route);
        }
        for pool in &mut snapshot.pools {
            self.pools.share(&pool.name.clone(), pool, same_pool);
        }
        self.tables.retain(|table| table.strong_count() > 0);
        let mut tables = self.tables.iter().filter_map(Weak::upgrade);
        match tables.find(|table| *table == snapshot.route_table) {
            Some(known) => snapshot.route_table = known,
            None => self.tables.push(Arc::downgrade(&snapshot.route_table)),
        }
        self.routes.forget_unused();
        self.pools.forget_unused();
        snapshot
    }
}

/// Parts by name. A name has as many parts as differ among the snapshots in use.
#[derive(Debug)]
struct Known<T>(HashMap<String, Vec<Weak<T>>>);

impl<T> Default for Known<T> {
    fn default() -> Self {
        Known(HashMap::new())
    }
}

impl<T> Known<T> {
    fn share(&mut self, name: &str, part: &mut Arc<T>, is_same: fn(&T, &T) -> bool) {
        let of_name = self.0.entry(name.to_owned()).or_default();
        let mut known = of_name.iter().filter_map(Weak::upgrade);
        match known.find(|known| is_same(known, part)) {
            Some(known) => *part = known,
            None => of_name.push(Arc::downgrade(part)),
        }
    }

    fn forget_unused(&mut self) {
        self.0.retain(|_, of_name| {
            of_name.retain(|part| part.strong_count() > 0);
            !of_name.is_empty()
        });
    }
}

/// Each setting is named here, so that a new setting cannot be added without being compared.
fn same_route(one: &Route, other: &Route) -> bool {
    let Route {
        name,
        pool,
        prefix,
        host_header,
        wants_certificate,
        request_fields,
        response_fields,
        options,
        timeouts,
        request_body_bytes,
        cookies,
        forwarded,
        x_real_ip,
        cache,
        cache_counters: _, // The counts follow from the name and from whether there is a cache.
        counters,
    } = one;
    let flags = [wants_certificate, forwarded, x_real_ip];
    let other_flags = [&other.wants_certificate, &other.forwarded, &other.x_real_ip];
    *name == other.name
        && *pool == other.pool
        && *prefix == other.prefix
        && flags == other_flags
        && *host_header == other.host_header
        && *cookies == other.cookies
        && *request_fields == other.request_fields
        && *response_fields == other.response_fields
        && *options == other.options
        && *timeouts == other.timeouts
        && *request_body_bytes == other.request_body_bytes
        && *cache == other.cache
        && Arc::ptr_eq(counters, &other.counters)
}

/// Compares like [`same_route`]. TLS settings that are equal and come from the same files are compiled once, so that
/// comparing pointers is enough.
fn same_pool(one: &Pool, other: &Pool) -> bool {
    let Pool {
        name,
        algorithm,
        table: _, // The table follows from the algorithm and the backends.
        backends,
        outlier,
        options,
        tls,
        keepalive,
        counters,
    } = one;
    let config = |tls: &Option<ClientTls>| {
        let tls = tls.as_ref();
        tls.map(|ClientTls { config, http1 }| (Arc::as_ptr(config), Arc::as_ptr(http1)))
    };
    let mut pairs = backends.iter().zip(&other.backends);
    *name == other.name
        && algorithm.name() == other.algorithm.name()
        && algorithm.key == other.algorithm.key
        && backends.len() == other.backends.len()
        && pairs.all(|(one, other)| same_backend(one, other))
        && *outlier == other.outlier
        && *options == other.options
        && config(tls) == config(&other.tls)
        && *keepalive == other.keepalive
        && Arc::ptr_eq(counters, &other.counters)
}

fn same_backend(one: &Backend, other: &Backend) -> bool {
    let Backend {
        slot,
        addr,
        host,
        server_name,
        addresses,
        label,
        weight,
        max_connections,
        draining,
        health_check,
        remove_after,
    } = one;
    Arc::ptr_eq(slot, &other.slot)
        && *addr == other.addr
        && *host == other.host
        && *server_name == other.server_name
        && *addresses == other.addresses
        && *label == other.label
        && *weight == other.weight
        && *max_connections == other.max_connections
        && *draining == other.draining
        && *health_check == other.health_check
        && *remove_after == other.remove_after
}
