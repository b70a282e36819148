//! `[[pools]]`, also as the pool of its own that a route has, and backends.

use super::health_check::HEALTH_CHECK;
use super::tls::CLIENT_TLS;
use super::{ADDRESS, flag, optional, required, time_or_zero, whole};
use crate::balance::ALGORITHMS;
use crate::base::limits::{self, default};
use crate::base::setting::{Absent, Kind, Plain, Section, Setting, Value};
use crate::snapshot::{OUTLIER, PoolOptions};

/// `[[pools]]`
pub static POOL: Section = Section {
    name: "PoolSettings",
    title: "[[pools]]",
    doc: "A pool: backends that do the same work, to which routes lead. A route may have these settings too, except \
          `name` and `backends`: then the pool is the route's own.",
    settings: || NAME.iter().chain(work()).collect(),
};

/// An entry of `backends` or `backend_addrs`.
pub static BACKEND: Section = Section {
    name: "BackendEntry",
    title: "backends",
    doc: "A backend in the list `backends` of a pool, or `backend_addrs` of a route: an address, or a table with an \
          address and the backend's own settings.",
    settings: || BACKEND_SETTINGS.iter().collect(),
};

/// The name of a pool.
pub const POOL_NAME: Kind = Kind::text("^[A-Za-z0-9._-]{1,64}$", "api");
/// The kind of an entry of `backends`.
pub const BACKEND_KIND: Kind = Kind::Any(&[ADDRESS, Kind::Table(&BACKEND)]);

static NAME: [Setting; 2] = [
    required(
        "name",
        POOL_NAME,
        "Name of the pool, by which routes, metrics, the log and the management API know it.",
    )
    .not_by_api(),
    required(
        "backends",
        Kind::List {
            of: &BACKEND_KIND,
            least: 1,
            most: limits::BACKENDS,
        },
        "The backends: addresses, names with a port, Unix sockets, or tables with `addr` and further settings. A \
         change by the management API names all backends that there are to be.",
    ),
];

/// The settings of a pool's work, which a route with a pool of its own has too.
pub fn work() -> impl Iterator<Item = &'static Setting> {
    let algorithm = ALGORITHM.iter().chain(parameters());
    algorithm.chain(&CHECKS).chain(PoolOptions::SETTINGS)
}

/// The parameters of all algorithms, each once.
fn parameters() -> Vec<&'static Setting> {
    let mut found: Vec<&'static Setting> = Vec::new();
    for parameter in ALGORITHMS.iter().flat_map(|entry| entry.parameters) {
        if !found.iter().any(|known| known.name == parameter.name) {
            found.push(parameter);
        }
    }
    found
}

/// The keys of the settings of a pool's work, as documented.
pub fn work_keys() -> Vec<&'static str> {
    work().map(|setting| setting.name).collect()
}

/// Whether a key describes how a pool works. A route has such keys only if the pool is its own.
pub fn is_work_key(key: &str) -> bool {
    work().any(|setting| setting.has_key(key))
}

/// The other key for the same setting of a backend.
pub fn other_key_of_backend(key: &str) -> Option<&'static str> {
    let setting = BACKEND_SETTINGS
        .iter()
        .find(|setting| setting.has_key(key))?;
    [Some(setting.name), setting.alias]
        .into_iter()
        .flatten()
        .find(|other| *other != key)
}

fn algorithms() -> Vec<&'static str> {
    ALGORITHMS.iter().map(|entry| entry.name).collect()
}

static ALGORITHM: [Setting; 1] = [Setting::new(
    "balancing_algorithm",
    Kind::Word(algorithms),
    Absent::Is(Value::Word(default::ALGORITHM)),
    "Algorithm that picks the backend of a request. `docs/backends.md` says what each algorithm does.",
)];

static CHECKS: [Setting; 3] = [
    optional(
        "health_check",
        Kind::Table(&HEALTH_CHECK),
        "backends without a `health_check` of their own are not probed",
        "Probes of those backends that have no `health_check` of their own.",
    ),
    optional(
        "outlier",
        Kind::Table(&OUTLIER),
        "no backend is ejected",
        "Conditions under which a backend is ejected because of its answers to clients.",
    ),
    optional(
        "tls",
        Kind::Any(&[Kind::Flag, Kind::Table(&CLIENT_TLS)]),
        "backends are spoken to in cleartext",
        "TLS with the backends: `true`, by which backends are verified as the machine's authorities say, or a table of \
         settings.",
    ),
];

static BACKEND_SETTINGS: [Setting; 6] = [
    required(
        "addr",
        ADDRESS,
        "Address of the backend: `127.0.0.1:9001`, `[::1]:9001`, `name:80`, or a Unix socket `unix:/path`. A name \
         stands for all addresses that it resolves to.",
    ),
    whole(
        "weight",
        (1, limits::WEIGHT as u64),
        1,
        "Share of the requests that the backend gets, compared with the weights of the other backends of the pool.",
    ),
    whole(
        "max_connections",
        (0, limits::CONNECTIONS as u64),
        0,
        "Largest number of open connections of all cores together.",
    )
    .zero_means("the number is unlimited"),
    flag(
        "drain",
        false,
        "Whether the backend takes no new requests. Requests under way finish.",
    ),
    time_or_zero(
        "remove_after",
        0,
        "Time after which a backend that is down is taken out of the configuration.",
    )
    .zero_means("the backend stays")
    .also("remove_after_secs"),
    optional(
        "health_check",
        Kind::Table(&HEALTH_CHECK),
        "the backend is probed as the pool says",
        "Probes of the backend, instead of the pool's `health_check`.",
    ),
];
