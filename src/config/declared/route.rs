//! `[[routes]]`

use super::pool::{BACKEND_KIND, work};
use super::sections::ROUTE_TIMEOUTS;
use super::{Demand, TEXT, flag, list, optional, whole};
use crate::base::limits::{self, default};
use crate::base::setting::{Absent, Kind, Section, Setting, Value, words};

/// `[[routes]]`
pub static ROUTE: Section = Section {
    name: "RouteSettings",
    title: "[[routes]]",
    doc: "A route: where requests of a host and a path prefix go. A request takes the route with the most specific host, \
          and of those the one with the longest prefix. A route leads to one of `[[pools]]`, or has a pool of its own; \
          then it may have the settings of `[[pools]]` too.",
    settings: || SETTINGS.iter().chain(work()).collect(),
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

static LIMITS: [Setting; 1] = [optional(
    "request_body_size",
    Kind::size(0, limits::BODY_BYTES),
    "as for all routes",
    "Largest size of a request body; 0: unlimited.",
)
.also("request_body_bytes")];

static FIELD_SETTINGS: [Setting; 2] = [
    optional(
        "set",
        Kind::Map {
            most: limits::FIELD_EDITS,
            example: "x-team = \"a\"",
        },
        "none",
        "Fields that replace all fields of their names.",
    ),
    list(
        "remove",
        &FIELD,
        limits::FIELD_EDITS,
        "Names of fields that are removed.",
    ),
];

static SETTINGS: [Setting; 20] = [
    optional(
        "host",
        TEXT,
        "every host",
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
        Kind::text("^[A-Za-z0-9._-]{1,64}$", "api"),
        "a pool of the route's own",
        "Name of one of `[[pools]]` to which the requests go. Needed unless `backend_addrs` is set.",
    ),
    optional(
        "backend_addrs",
        Kind::List {
            of: &BACKEND_KIND,
            least: 1,
            most: limits::BACKENDS,
        },
        "none",
        "Backends of a pool of the route's own, written as `backends` of `[[pools]]`. Needed unless `pool` is set.",
    ),
    flag(
        "strip_prefix",
        false,
        "Whether the prefix is taken off: `/api/x` is forwarded as `/x`.",
    ),
    Setting::new(
        "host_header",
        TEXT,
        Absent::Is(Value::Text("backend")),
        "`Host` that the backend gets: `\"backend\"` is the backend's own address, `\"preserve\"` is what the client sent; \
         every other text is sent itself.",
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
        "no change",
        "Fields of requests that are set or removed.",
    ),
    optional(
        "response_headers",
        Kind::Table(&FIELDS),
        "no change",
        "Fields of responses that are set or removed.",
    ),
    whole(
        "retries",
        (0, limits::RETRIES as u64),
        default::RETRIES as u64,
        "Largest number of further attempts on other backends, where repeating a request is safe.",
    ),
    optional(
        "timeout",
        Kind::TIME,
        "no limit",
        "Time for the whole exchange.",
    ),
    optional(
        "timeouts",
        Kind::Table(&ROUTE_TIMEOUTS),
        "as for all routes",
        "Time-outs instead of those for all routes.",
    ),
    optional(
        "limits",
        Kind::Table(&ROUTE_LIMITS),
        "as for all routes",
        "Bounds instead of those for all routes.",
    ),
    flag(
        "via",
        false,
        "Whether `Via` is added to requests and responses.",
    ),
    flag(
        "rewrite_location",
        true,
        "Whether `Location`, `Content-Location` and `Refresh` of a response that name the backend get the scheme and host \
         that the client asked for. The backend is named by its address, or by the `Host` that it was sent, with the \
         port of that `Host` or the backend's own. This concerns routes whose `host_header` gives the backend another \
         `Host`. From one of `trusted_proxies`, the first members of `X-Forwarded-Proto` and `-Host`, else of \
         `Forwarded`, say what the client asked for, and `X-Forwarded-Port` where that host has no port. A prefix that \
         `strip_prefix` took off is put back, even into a mere path and behind the client's own host.",
    ),
    optional(
        "cookie_domain",
        Kind::Map {
            most: limits::COOKIE_EDITS,
            example: "\"app.internal\" = \"www.example\"",
        },
        "no change",
        "Values of `Domain` in cookies that are replaced by others. An empty text takes the attribute out.",
    ),
    optional(
        "cookie_path",
        Kind::Map {
            most: limits::COOKIE_EDITS,
            example: "\"/app\" = \"/\"",
        },
        "no change",
        "Beginnings of `Path` in cookies that are replaced by others. The first entry that fits is used.",
    ),
    optional(
        "forwarded",
        Kind::Flag,
        "as `forwarded` of the file",
        "Whether `Forwarded` is written in requests.",
    ),
    optional(
        "x_real_ip",
        Kind::Flag,
        "as `x_real_ip` of the file",
        "Whether the client's address is written as `X-Real-IP` in requests.",
    ),
    flag(
        "answer_continue",
        false,
        "Whether palantir answers `Expect: 100-continue` instead of the backend.",
    ),
];
