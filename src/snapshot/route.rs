//! Routes: the pool of a host and path prefix, and the conditions under which requests go there.

use std::sync::Arc;
use std::time::Duration;

use crate::base::ids::PoolId;
use crate::http::cookies::CookieEdits;
use crate::http::names::FieldEdits;
use crate::shared::route_counters::RouteCounters;

/// Where requests of one host and path prefix go, and under which conditions.
#[derive(Debug)]
pub struct Route {
    /// Host and prefix as written (`api.example.com/api`, `/`), for logs and metrics.
    pub name: String,
    /// The pool that answers the requests.
    pub pool: PoolId,
    /// The prefix that matched, without a slash at its end (`""` for `/`).
    pub prefix: String,
    /// Whether the prefix is left out of what is forwarded.
    pub strip_prefix: bool,
    /// The `Host` that the backend sees.
    pub host_header: HostHeader,
    /// Whether a client without a certificate is refused.
    pub wants_certificate: bool,
    /// The operator's edits of the fields of requests.
    pub request_fields: FieldEdits,
    /// The operator's edits of the fields of responses.
    pub response_fields: FieldEdits,
    /// Attempts after the first one.
    pub retries: u8,
    /// Bound on the whole exchange.
    pub timeout: Option<Duration>,
    /// The timeouts of each exchange.
    pub timeouts: RouteTimeouts,
    /// Largest request body in bytes; `u64::MAX` means unlimited.
    pub request_body_bytes: u64,
    /// Whether `Via` is added in both directions.
    pub via: bool,
    /// Whether references to the backend are rewritten in answers.
    pub rewrite_location: bool,
    /// The operator's edits of cookies in responses.
    pub cookies: CookieEdits,
    /// Whether `Forwarded` (RFC 7239) is written in requests.
    pub forwarded: bool,
    /// Whether the client's address is written as `X-Real-IP` in requests.
    pub x_real_ip: bool,
    /// Whether palantir itself answers `Expect: 100-continue` (else the backend does).
    pub answer_continue: bool,
    /// The counts of the route's requests.
    pub counters: Arc<RouteCounters>,
}

/// Timeouts of one exchange.
#[derive(Clone, Debug)]
pub struct RouteTimeouts {
    /// Between two reads of a request body.
    pub client_body: Duration,
    /// The time for connecting to a backend.
    pub connect: Duration,
    /// From the end of the request until the response head is complete.
    pub upstream_response: Duration,
    /// The longest time without a byte in either direction, once the final head of the response is there.
    pub upstream_idle: Duration,
    /// The longest time without a byte in either direction of a tunnel.
    pub tunnel_idle: Duration,
}

/// The `Host` that the backend sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostHeader {
    /// The backend's own address as written in the configuration.
    Backend,
    /// The host that the client sent.
    Preserve,
    /// A fixed text.
    Literal(String),
}
