//! The top level of the file.

use super::acme::ACME;
use super::cache::CACHE;
use super::listener::{LISTENER, NETWORK};
use super::pool::POOL;
use super::route::ROUTE;
use super::sections::{ACCESS_LOG, ADMIN, LIMITS, TEST_SERVER, TIMEOUTS, TLS, TRACING};
use super::{ADDRESS, flag, list, optional, time, time_or_zero, whole};
use crate::base::limits::{self, default};
use crate::base::setting::{Absent, Kind, Section, Setting, Value};

/// The file as a whole.
pub static ROOT: Section = Section {
    name: "Settings",
    title: "Top level",
    doc: "Settings that stand before the first section of the file.",
    settings: || SETTINGS.iter().collect(),
};

/// The one setting of `[admin]` that a reload takes over.
const STATE_FILE: &str = "admin.state_file";

/// Whether a change of the setting counts from the next start on, and not from a reload. `way`: the way to the setting
/// in the file: `admin.token_file`.
pub fn is_for_the_next_start(way: &str) -> bool {
    let first = way.split('.').next().unwrap_or_default();
    let mut settings = SETTINGS.iter();
    let is_in_such_a_section = settings.any(|setting| setting.at_start && setting.has_key(first));
    is_in_such_a_section && way != STATE_FILE
}

/// A section that is a table.
const fn section(name: &'static str, section: &'static Section, doc: &'static str) -> Setting {
    optional(
        name,
        Kind::Table(section),
        "the settings of the section have their defaults",
        doc,
    )
}

static SETTINGS: [Setting; 20] = [
    Setting::new(
        "listen_addr",
        Kind::Any(&[
            ADDRESS,
            Kind::List {
                of: &ADDRESS,
                least: 0,
                most: limits::LISTENERS,
            },
        ]),
        Absent::Is(Value::Text(default::LISTEN_ADDR)),
        "Address to listen on, or a list of addresses: an IP address and a port, or a Unix socket `unix:/path`. The \
         default holds only if there is no `[[listeners]]` either.",
    ),
    optional(
        "listeners",
        Kind::List {
            of: &Kind::Table(&LISTENER),
            least: 0,
            most: limits::LISTENERS,
        },
        "palantir listens on the addresses of `listen_addr` alone",
        "Addresses to listen on, with settings of their own.",
    ),
    section("tls", &TLS, "Settings of TLS for all listeners.").at_start(),
    optional(
        "acme",
        Kind::Table(&ACME),
        "no certificate is ordered",
        "The authority that certificates are ordered from.",
    ),
    time_or_zero(
        "shutdown_timeout",
        default::SHUTDOWN_TIMEOUT,
        "Time for which requests under way may go on after a stop, or after an upgrade.",
    ),
    whole(
        "workers",
        (0, limits::WORKERS as u64),
        0,
        "Number of workers, each of which is a thread with a CPU of its own.",
    )
    .zero_means("there is one worker for each CPU that the process may run on")
    .at_start(),
    list(
        "trusted_proxies",
        &NETWORK,
        limits::TRUSTED_PROXIES,
        "Networks of proxies whose `X-Forwarded-For`, `-Proto` and `-Host` are believed. `\"unix:\"` stands for every \
         client on a Unix socket.",
    ),
    list(
        "pass_fields",
        &Kind::text("", "cf-connecting-ip"),
        limits::FIELD_EDITS,
        "Names of fields that proxies write and that pass from every client, not only from `trusted_proxies`.",
    ),
    flag(
        "forwarded",
        false,
        "Whether `Forwarded` (RFC 7239) is written in requests, behind the elements that one of `trusted_proxies` has \
         sent. A route may differ.",
    ),
    flag(
        "x_real_ip",
        false,
        "Whether the client's address is written as `X-Real-IP` in requests. A route may differ.",
    ),
    time(
        "resolve_interval",
        default::RESOLVE_SECS,
        "Time between two look-ups of the host names of backends.",
    )
    .also("resolve_secs"),
    section("timeouts", &TIMEOUTS, "Time-outs for all routes."),
    section(
        "limits",
        &LIMITS,
        "Bounds of requests, connections and memory.",
    ),
    optional(
        "access_log",
        Kind::Table(&ACCESS_LOG),
        "there is no access log",
        "File and format of the access log.",
    ),
    optional(
        "admin",
        Kind::Table(&ADMIN),
        "there is no management API",
        "The management API, the metrics and the live page.",
    )
    .at_start(),
    optional(
        "cache",
        Kind::Table(&CACHE),
        "nothing is cached",
        "The cache of the process, for the routes that have a `cache` of their own.",
    )
    .at_start(),
    section("tracing", &TRACING, "Treatment of trace contexts."),
    optional(
        "test_server",
        Kind::Table(&TEST_SERVER),
        "there are no test servers",
        "Test servers that palantir itself starts.",
    )
    .at_start(),
    list(
        "pools",
        &Kind::Table(&POOL),
        limits::POOLS,
        "Pools that routes may lead to.",
    ),
    list(
        "routes",
        &Kind::Table(&ROUTE),
        limits::ROUTES,
        "Routes, which say where requests go.",
    ),
];
