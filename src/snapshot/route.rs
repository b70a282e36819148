//! Routes: the pool of a host and path prefix, and the conditions under which requests go there.

use std::ops::Deref;
use std::sync::Arc;

use super::route_options::{RouteOptions, RouteTimeouts};
use crate::base::ids::PoolId;
use crate::cache::policy::Policy;
use crate::http::cookies::CookieEdits;
use crate::http::names::FieldEdits;
use crate::shared::SharedCacheCounters;
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
    /// The `Host` that the backend sees.
    pub host_header: HostHeader,
    /// Whether a client without a certificate is refused.
    pub wants_certificate: bool,
    /// The operator's edits of the fields of requests.
    pub request_fields: FieldEdits,
    /// The operator's edits of the fields of responses.
    pub response_fields: FieldEdits,
    /// The settings that are used as they are written.
    pub options: RouteOptions,
    /// The timeouts of each exchange.
    pub timeouts: RouteTimeouts,
    /// Largest request body in bytes; `u64::MAX` means unlimited.
    pub request_body_bytes: u64,
    /// The operator's edits of cookies in responses.
    pub cookies: CookieEdits,
    /// Whether `Forwarded` (RFC 7239) is written in requests.
    pub forwarded: bool,
    /// Whether the client's address is written as `X-Real-IP` in requests.
    pub x_real_ip: bool,
    /// How responses of the route are cached; `None`: they are not.
    pub cache: Option<Arc<Policy>>,
    /// The counts of the route's cache; `None`: the route has no cache.
    pub cache_counters: Option<SharedCacheCounters>,
    /// The counts of the route's requests.
    pub counters: Arc<RouteCounters>,
}

/// The options of a route are read as its own: a new one needs no line here.
impl Deref for Route {
    type Target = RouteOptions;

    fn deref(&self) -> &RouteOptions {
        &self.options
    }
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
