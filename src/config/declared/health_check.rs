//! `health_check` of a pool, and of a backend.

use super::tls::CLIENT_TLS;
use super::{optional, time, whole};
use crate::base::limits::{self, default};
use crate::base::setting::{Absent, Kind, Section, Setting, Value};

/// `health_check`
pub static HEALTH_CHECK: Section = Section {
    name: "HealthCheckSettings",
    title: "health_check",
    doc: "The table `health_check` of a pool or a backend: how the backends are probed. One of `path`, `tcp` and \
          `grpc` says what a probe is. Without the table, no backend is probed, and every backend counts as healthy.",
    settings: || SETTINGS.iter().collect(),
};

const IN_A_ROW: (u64, u64) = (1, limits::CHECKS_IN_A_ROW as u64);
/// Statuses: `2xx, 204, 200-399`.
const STATUSES: Kind = Kind::text(
    "^[1-5](xx|[0-9]{2}(-[1-5][0-9]{2})?)(, ?[1-5](xx|[0-9]{2}(-[1-5][0-9]{2})?)){0,15}$",
    "2xx",
);

static SETTINGS: [Setting; 14] = [
    optional(
        "path",
        Kind::text("^/[!-~]*$", "/health"),
        "the probe is not one by HTTP",
        "Target of a probe by HTTP, which is healthy if the status of the answer is one of `expect`.",
    ),
    Setting::new(
        "tcp",
        Kind::Flag,
        Absent::Is(Value::Flag(false)),
        "Whether a probe only connects. Then no setting for a request may be set.",
    ),
    optional(
        "grpc",
        Kind::Any(&[
            Kind::True,
            Kind::text("^[!-~]{1,127}$", "routeguide.RouteGuide"),
        ]),
        "the probe is not one by gRPC",
        "Whether a probe asks `grpc.health.v1`: `true` asks about the server as a whole, a text asks about the service \
         of this name.",
    ),
    Setting::new(
        "expect",
        STATUSES,
        Absent::Is(Value::Text("2xx")),
        "Statuses of success of a probe by HTTP, such as `\"204\"`, `\"200-399\"`, or several of these separated by \
         commas.",
    ),
    Setting::new(
        "method",
        Kind::text("^[A-Z-]{1,64}$", "GET"),
        Absent::Is(Value::Text("GET")),
        "Method of a probe by HTTP, in capitals. POST, PUT and PATCH are sent with `Content-Length: 0`.",
    ),
    optional(
        "body_contains",
        Kind::text("^[\\s\\S]{1,256}$", "ready"),
        "every body will do",
        "Text of at most 256 bytes that the first 32 KiB of the body of the answer must contain.",
    ),
    optional(
        "host",
        Kind::text("", "app.example.com"),
        "`Host` is the first text that a route of the pool has as `host_header`, else the address of the backend",
        "`Host` of a probe by HTTP or gRPC, with or without a port.",
    ),
    optional(
        "headers",
        Kind::Map {
            most: limits::FIELD_EDITS,
            example: "authorization = \"Bearer …\"",
        },
        "there are no further fields",
        "Further fields of a probe by HTTP or gRPC. Credentials are masked as `***` where the check is shown; a `***` \
         that the management API gets back stands for the value in force.",
    ),
    optional(
        "port",
        Kind::whole(1, u16::MAX as u64),
        "the port of the backend is probed",
        "Port that is probed instead of the backend's own, at the same address. A Unix socket has no port.",
    ),
    optional(
        "tls",
        Kind::Any(&[Kind::Flag, Kind::Table(&CLIENT_TLS)]),
        "probes speak TLS if requests of the pool do",
        "TLS of a probe: whether it is spoken, or a table as in a pool. A probe with `tcp = true` makes a handshake \
         only if this is set, and then waits up to 1 s for a refusal behind the handshake.",
    ),
    time(
        "interval",
        default::PROBE_INTERVAL,
        "Time between the starts of two probes.",
    )
    .also("interval_secs"),
    optional(
        "timeout",
        Kind::TIME,
        "a probe has 2 s, and a healthy backend whose last probe has failed has 1 s",
        "Time for one probe.",
    )
    .also("timeout_secs"),
    whole(
        "unhealthy_after",
        IN_A_ROW,
        default::UNHEALTHY_AFTER as u64,
        "Failures in a row that make a backend unhealthy.",
    ),
    whole(
        "healthy_after",
        IN_A_ROW,
        default::HEALTHY_AFTER as u64,
        "Successes in a row that make a backend healthy again.",
    ),
];
