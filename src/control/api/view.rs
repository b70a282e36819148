//! Pools and backends as the API shows them: what is configured, and how they are at the moment.

use std::collections::HashMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::schemas::{ShownPool, ShownServer};
use super::shown;
use crate::base::addresses::BackendAddr;
use crate::base::ids::{PoolId, WorkerId};
use crate::config::{BackendAddress, BackendSettings, BackendTarget, PoolSettings};
use crate::control::change_request::InForce;
use crate::control::metrics::pool_panics;
use crate::shared::backend_table::{BackendState, BackendTables};
use crate::snapshot::{Backend, Pool as RunningPool};

/// Servers that do the same work.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Pool)]
pub struct PoolView {
    /// The name of the pool, as it is configured; a route's own pool has the name of its route.
    pub name: String,
    /// The path of the resource, such as `/pools/api`.
    pub href: String,
    /// The settings of the pool.
    #[serde(flatten)]
    pub settings: ShownPool,
    /// Whether all backends take requests at the moment because too few are healthy.
    pub panics: bool,
    /// Names of the routes that lead here.
    pub routes: Vec<String>,
    /// The servers of the pool.
    pub backends: Vec<Server>,
}

/// One server of a pool.
#[derive(Debug, Serialize, ToSchema)]
pub struct Server {
    /// The name of the pool.
    pub pool: String,
    /// The address of the server: `127.0.0.1:9001`, `[::1]:9001`, `name:80`, `unix:/path`.
    pub addr: String,
    /// The path of the resource, such as `/pools/api/servers/127.0.0.1:9001`.
    pub href: String,
    /// The settings of the server.
    #[serde(flatten)]
    pub settings: ShownServer,
    /// Whether the server takes new requests.
    pub state: ServerState,
    /// Requests under way, on all cores.
    pub in_flight: u64,
    /// The addresses to which the name has resolved; for an address, the address itself.
    pub addresses: Vec<ServerAddress>,
}

/// One address of a server.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServerAddress {
    /// The address, as logs and metrics name it.
    pub label: String,
    /// Whether the address takes new requests.
    pub state: ServerState,
    /// Requests under way at the address, on all cores.
    pub in_flight: u64,
}

/// Whether a server takes new requests; of several addresses, the best one decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = State)]
pub enum ServerState {
    /// The server takes requests.
    Healthy,
    /// Requests to the server failed, so that it takes no requests for a while.
    Ejected,
    /// The server fails its probes.
    Unhealthy,
    /// The server takes no new requests, because the configuration says so.
    Draining,
    /// The name of the server has never resolved.
    Unresolved,
}

impl From<BackendState> for ServerState {
    fn from(state: BackendState) -> ServerState {
        match state {
            BackendState::Healthy => ServerState::Healthy,
            BackendState::Unhealthy => ServerState::Unhealthy,
            BackendState::Ejected => ServerState::Ejected,
            BackendState::Draining => ServerState::Draining,
        }
    }
}

/// The configuration in force, in which pools and backends are found by name.
pub struct ConfigView<'s> {
    in_force: &'s InForce,
    tables: &'s BackendTables,
    running: HashMap<&'s str, &'s RunningPool>,
    routes: HashMap<PoolId, Vec<String>>,
}

impl<'s> ConfigView<'s> {
    /// The configuration in force, with the states that these tables hold.
    pub fn new(in_force: &'s InForce, tables: &'s BackendTables) -> ConfigView<'s> {
        let snapshot = &in_force.snapshot;
        let mut routes: HashMap<_, Vec<_>> = HashMap::new();
        for route in &snapshot.routes {
            routes
                .entry(route.pool)
                .or_default()
                .push(route.name.clone());
        }
        let pools = snapshot.pools.iter();
        ConfigView {
            in_force,
            tables,
            running: pools.map(|pool| (pool.name.as_str(), &**pool)).collect(),
            routes,
        }
    }

    /// All pools, in the order of the configuration.
    pub fn pools(&self) -> Vec<PoolView> {
        let pools = self.in_force.config.settings.all_pools();
        pools.map(|pool| self.show_pool(pool)).collect()
    }

    /// The pool of this name.
    pub fn pool(&self, name: &str) -> Option<PoolView> {
        Some(self.show_pool(self.settings(name)?))
    }

    /// The server of this pool and address.
    pub fn server(&self, pool: &str, addr: &str) -> Option<Server> {
        let target = BackendAddress::parse(addr).ok()?.target;
        let mut backends = self.settings(pool)?.backends.iter();
        let server = backends.find(|backend| backend.address.target == target)?;
        Some(self.show_server(pool, server))
    }

    fn settings(&self, name: &str) -> Option<&'s PoolSettings> {
        let mut pools = self.in_force.config.settings.all_pools();
        pools.find(|pool| pool.name.value == name)
    }

    fn show_pool(&self, pool: &PoolSettings) -> PoolView {
        let name = &pool.name.value;
        let backends = pool.backends.iter();
        PoolView {
            href: format!("/pools/{}", escaped(name)),
            settings: ShownPool(shown::pool(pool)),
            panics: self.panics(name),
            routes: self.routes_to(name),
            backends: backends
                .map(|server| self.show_server(name, server))
                .collect(),
            name: name.clone(),
        }
    }

    fn panics(&self, pool: &str) -> bool {
        let running = self.running.get(pool);
        running.is_some_and(|pool| pool_panics(pool, self.tables))
    }

    fn routes_to(&self, pool: &str) -> Vec<String> {
        let pools = &self.in_force.snapshot.pools;
        let index = pools.iter().position(|running| running.name == pool);
        let routes = index.and_then(|index| self.routes.get(&PoolId(index as u32)));
        routes.cloned().unwrap_or_default()
    }

    fn show_server(&self, pool: &str, server: &BackendSettings) -> Server {
        let addr = server.address.target.to_string();
        let backends = self
            .running
            .get(pool)
            .map_or(&[][..], |pool| &pool.backends);
        let addresses: Vec<ServerAddress> = backends
            .iter()
            .filter(|backend| is_of(backend, &server.address))
            .map(|backend| self.show_address(backend))
            .collect();
        let states = addresses.iter().map(|address| address.state);
        Server {
            href: format!("/pools/{}/servers/{}", escaped(pool), escaped(&addr)),
            pool: pool.to_owned(),
            addr,
            settings: ShownServer(shown::backend(server)),
            state: states.min().unwrap_or(ServerState::Unresolved),
            in_flight: addresses.iter().map(|address| address.in_flight).sum(),
            addresses,
        }
    }

    fn show_address(&self, backend: &Backend) -> ServerAddress {
        ServerAddress {
            label: backend.label.clone(),
            state: state_of(backend, self.tables),
            in_flight: self.tables.in_flight(backend.id()).into(),
        }
    }
}

/// The state that workers go by. They are told at the same time, so one of them speaks for all.
pub fn state_of(backend: &Backend, tables: &BackendTables) -> ServerState {
    match (&backend.addr, backend.draining) {
        (None, _) => ServerState::Unresolved,
        (Some(_), true) => ServerState::Draining,
        (Some(_), false) => tables.of(WorkerId(0)).state(backend.id()).into(),
    }
}

/// The pool that a request for `/` on any host reaches, else the first one.
pub fn default_pool(in_force: &InForce) -> Option<&str> {
    let snapshot = &in_force.snapshot;
    let root = snapshot.route_table.find(b"", b"/");
    let reached = root.map(|id| snapshot.routes[id.index()].pool.index());
    let pool = snapshot.pools.get(reached.unwrap_or(0))?;
    Some(&pool.name)
}

/// Whether a backend was compiled from this entry of the configuration.
fn is_of(backend: &Backend, address: &BackendAddress) -> bool {
    match &address.target {
        BackendTarget::Name(..) => backend.host == address.host,
        BackendTarget::Ip(addr) => {
            backend.host == address.host && backend.addr == Some(BackendAddr::Tcp(*addr))
        }
        BackendTarget::Unix(path) => backend.addr == Some(BackendAddr::Unix(path.clone())),
    }
}

/// A name as one segment of a path (RFC 3986, section 3.3).
pub fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                text.push(byte.into())
            }
            _ => text += &format!("%{byte:02X}"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_into_a_path() {
        let rows = [
            ("api", "api"),
            ("/", "%2F"),
            ("api.example.com/v1", "api.example.com%2Fv1"),
            ("[::1]:9001", "%5B::1%5D:9001"),
            ("unix:/run/a b.sock", "unix:%2Frun%2Fa%20b.sock"),
            ("é", "%C3%A9"),
        ];
        for (name, expected) in rows {
            assert_eq!(escaped(name), expected);
        }
    }
}
