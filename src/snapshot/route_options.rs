//! The settings of a route that workers go by as they are written, and the time-outs of its exchanges.

use std::time::Duration;

use crate::base::limits::{self, default};
use crate::base::setting::{Absent, Kind, Value, plain_settings};

plain_settings! {
    /// The settings of a route that depend on nothing else and that are used as they are written.
    pub struct RouteOptions {
        /// Whether the prefix is taken off: `/api/x` is forwarded as `/x`.
        strip_prefix: bool = Kind::Flag, Absent::Is(Value::Flag(false));
        /// Largest number of further attempts on other backends, where repeating a request is safe.
        retries: u8 = Kind::whole(0, limits::RETRIES as u64), Absent::Is(Value::Whole(default::RETRIES as u64));
        /// Time for the whole exchange.
        timeout: Option<Duration> = Kind::TIME, Absent::Means("an exchange as a whole may take any time");
        /// Whether `Via` is added to requests and responses.
        via: bool = Kind::Flag, Absent::Is(Value::Flag(false));
        /// Whether `Location`, `Content-Location` and `Refresh` of a response that name the backend get the scheme and
        /// host that the client asked for. The backend is named by its address, or by the `Host` that it was sent,
        /// with the port of that `Host` or the backend's own. The setting concerns routes whose `host_header` gives
        /// the backend another `Host`. From one of `trusted_proxies`, the first members of `X-Forwarded-Proto` and
        /// `-Host`, else of `Forwarded`, say what the client asked for, and `X-Forwarded-Port` where that host has no
        /// port. A prefix that `strip_prefix` took off is put back, even into a mere path and behind the client's own
        /// host.
        rewrite_location: bool = Kind::Flag, Absent::Is(Value::Flag(true));
        /// Whether palantir answers `Expect: 100-continue` instead of the backend.
        answer_continue: bool = Kind::Flag, Absent::Is(Value::Flag(false));
    }
}

plain_settings! {
    /// The time-outs of an exchange: those for all routes, or those that a route has instead.
    pub struct RouteTimeouts {
        /// Time between two reads of a request body, until the final response head is there.
        client_body: Duration = Kind::TIME, Absent::secs(default::CLIENT_BODY);
        /// Time for a connection to a backend, with its TLS handshake, and time for which a request waits for one of
        /// the backend's connections.
        connect: Duration = Kind::TIME, Absent::secs(default::CONNECT);
        /// Time until the response head of a backend is complete.
        upstream_response: Duration = Kind::TIME, Absent::secs(default::UPSTREAM_RESPONSE);
        /// Time without a byte in either direction, once the final response head is there.
        upstream_idle: Duration = Kind::TIME, Absent::secs(default::UPSTREAM_IDLE);
        /// Time without a byte in either direction of a WebSocket or another tunnel.
        tunnel_idle: Duration = Kind::TIME, Absent::secs(default::TUNNEL_IDLE);
    }
}
