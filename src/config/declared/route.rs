//! `[[routes]]`

use super::cache::ROUTE_CACHE;
use super::pool::{BACKEND_KIND, POOL_NAME, work};
use super::sections::{REQUEST_BODY_SIZE, ROUTE_TIMEOUTS};
use super::{Demand, TEXT, list, optional};
use crate::base::limits;
use crate::base::setting::{Absent, Kind, Plain, Section, Setting, Value, words};
use crate::snapshot::RouteOptions;

/// `[[routes]]`
pub static ROUTE: Section = Section {
    name: "RouteSettings",
    title: "[[routes]]",
    doc: "A route: where requests of a host and a path prefix go. A request takes the route with the most specific \
          host, and of those the one with the longest prefix. A route leads to one of `[[pools]]`, or has a pool of \
          its own; then it may have the settings of `[[pools]]` too.",
    settings: || {
        let settings = SETTINGS.iter().chain(RouteOptions::SETTINGS);
        settings.chain(work()).collect()
    },
};

/// `limits` of a route.
static ROUTE_LIMITS: Section = Section {
    name: "RouteLimitSettings",
    title: "routes.limits",
    doc: "The table `limits` of a route: bounds instead of those for all routes.",
    settings: || LIMITS.iter().collect(),
};

/// `request_headers` and `response_headers` of a route.
static FIELDS: Section = Section {
    name: "FieldSettings",
    title: "routes.request_headers, routes.response_headers",
    doc: "The tables `request_headers` and `response_headers` of a route: fields that are set or removed. Fields that \
          belong to the connection cannot be changed.",
    settings: || FIELD_SETTINGS.iter().collect(),
};

/// The name of a field.
const FIELD: Kind = Kind::text("", "x-debug");

static LIMITS: [Setting; 1] = [Setting {
    absent: Absent::Means("`request_body_size` of `[limits]` holds"),
    ..REQUEST_BODY_SIZE
}];

static FIELD_SETTINGS: [Setting; 2] = [
    optional(
        "set",
        Kind::Map {
            most: limits::FIELD_EDITS,
            example: "x-team = \"a\"",
        },
        "no field is set",
        "Fields that replace all fields of their names.",
    ),
    list(
        "remove",
        &FIELD,
        limits::FIELD_EDITS,
        "Names of fields that are removed.",
    ),
];

static SETTINGS: [Setting; 15] = [
    optional(
        "host",
        TEXT,
        "the route takes requests for every host",
        "Host of the requests: `\"api.example.com\"`, or `\"*.example.com\"` for every name below.",
    ),
    Setting::new(
        "prefix",
        Kind::text("^/", "/api"),
        Absent::Is(Value::Text("/")),
        "Prefix of the path of the requests: `\"/api\"` takes `/api` and `/api/x`, but not `/apix`.",
    ),
    optional(
        "pool",
        POOL_NAME,
        "the route has a pool of its own",
        "Name of one of `[[pools]]` to which the requests go. The setting is needed unless `backend_addrs` is set.",
    ),
    optional(
        "backend_addrs",
        Kind::List {
            of: &BACKEND_KIND,
            least: 1,
            most: limits::BACKENDS,
        },
        "the route leads to the pool that `pool` names",
        "Backends of a pool of the route's own, written as `backends` of `[[pools]]`. The setting is needed unless \
         `pool` is set.",
    ),
    Setting::new(
        "host_header",
        TEXT,
        Absent::Is(Value::Text("backend")),
        "`Host` that the backend gets: `\"backend\"` is the backend's own address, `\"preserve\"` is what the client \
         sent; every other text is sent itself.",
    ),
    Setting::new(
        "client_cert",
        Kind::Word(words::<Demand>),
        Absent::Is(Value::Word("optional")),
        "Whether a client without a certificate is refused (403), whichever listener it came by.",
    ),
    optional(
        "request_headers",
        Kind::Table(&FIELDS),
        "no field is changed",
        "Fields of requests that are set or removed.",
    ),
    optional(
        "response_headers",
        Kind::Table(&FIELDS),
        "no field is changed",
        "Fields of responses that are set or removed.",
    ),
    optional(
        "timeouts",
        Kind::Table(&ROUTE_TIMEOUTS),
        "the time-outs for all routes hold",
        "Time-outs instead of those for all routes.",
    ),
    optional(
        "limits",
        Kind::Table(&ROUTE_LIMITS),
        "the bounds for all routes hold",
        "Bounds instead of those for all routes.",
    ),
    optional(
        "cache",
        Kind::Table(&ROUTE_CACHE),
        "no response of the route is cached",
        "Caching of the route's responses. `cache = {}` caches with all defaults. The setting needs the section \
         `[cache]`.",
    ),
    optional(
        "cookie_domain",
        Kind::Map {
            most: limits::COOKIE_EDITS,
            example: "\"app.internal\" = \"www.example\"",
        },
        "no `Domain` is changed",
        "Values of `Domain` in cookies that are replaced by others. An empty text takes the attribute out.",
    ),
    optional(
        "cookie_path",
        Kind::Map {
            most: limits::COOKIE_EDITS,
            example: "\"/app\" = \"/\"",
        },
        "no `Path` is changed",
        "Beginnings of `Path` in cookies that are replaced by others. The first entry that fits is used.",
    ),
    optional(
        "forwarded",
        Kind::Flag,
        "`forwarded` of the top level counts",
        "Whether `Forwarded` is written in requests.",
    ),
    optional(
        "x_real_ip",
        Kind::Flag,
        "`x_real_ip` of the top level counts",
        "Whether the client's address is written as `X-Real-IP` in requests.",
    ),
];
