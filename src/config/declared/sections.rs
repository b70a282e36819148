//! The small sections of the file: `[timeouts]`, also of a route, `[limits]`, `[access_log]`, `[tracing]`, `[admin]`,
//! `[test_server]` and `[tls]`.

use std::sync::LazyLock;
use std::time::Duration;

use super::listener::socket_file;
use super::tls::SERVER_TLS;
use super::{ADDRESS, file, list, optional, required, size, whole, word};
use crate::base::limits::{self, default};
use crate::base::setting::{Absent, Kind, Plain, Section, Setting, Value, plain_settings, words};
use crate::snapshot::{AccessLogFormat, RouteTimeouts, Traceparent};

plain_settings! {
    /// The time-outs of connections, which no route has of its own.
    pub struct ConnectionTimeouts {
        /// Time from the accept of a connection to the end of the first head, over PROXY header, TLS and head; then
        /// time for each head.
        client_header: Duration = Kind::TIME, Absent::secs(default::CLIENT_HEADER);
        /// Time between two requests, and time until a client takes more of its response.
        client_idle: Duration = Kind::TIME, Absent::secs(default::CLIENT_IDLE);
        /// Time until a client takes more of one HTTP/2 stream while other streams go on.
        client_stream_stall: Duration = Kind::TIME, Absent::secs(default::CLIENT_STREAM_STALL);
        /// Time for which an idle connection to a backend is kept.
        upstream_keepalive: Duration = Kind::TIME, Absent::secs(default::UPSTREAM_KEEPALIVE);
    }
}

/// `[timeouts]`
pub static TIMEOUTS: Section = Section {
    name: "TimeoutSettings",
    title: "[timeouts]",
    doc: "Time-outs of connections and of exchanges. A route may have those of exchanges of its own.",
    settings: || {
        let settings = ConnectionTimeouts::SETTINGS.iter();
        settings.chain(RouteTimeouts::SETTINGS).collect()
    },
};

/// `timeouts` of a route.
pub static ROUTE_TIMEOUTS: Section = Section {
    name: "RouteTimeoutSettings",
    title: "routes.timeouts",
    doc: "The table `timeouts` of a route: time-outs instead of those for all routes.",
    settings: || OF_ROUTE.iter().collect(),
};

/// The time-outs that a route may have instead of those for all routes.
static OF_ROUTE: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    let settings = RouteTimeouts::SETTINGS.iter().copied();
    let of_route = settings.map(|setting| Setting {
        absent: Absent::Means("the time-out for all routes holds"),
        ..setting
    });
    of_route.collect()
});

/// `request_body_size`, for all routes; a route may have another one.
pub const REQUEST_BODY_SIZE: Setting = size(
    "request_body_size",
    (0, limits::BODY_BYTES),
    0,
    "Largest size of a request body.",
)
.zero_means("the size is unlimited")
.also("request_body_bytes");

/// `[limits]`
pub static LIMITS: Section = Section {
    name: "LimitSettings",
    title: "[limits]",
    doc: "Bounds of requests, of connections and of memory.",
    settings: || LIMIT_SETTINGS.iter().collect(),
};

static LIMIT_SETTINGS: [Setting; 7] = [
    size(
        "request_head_size",
        (limits::HEAD_BYTES_LEAST as u64, limits::HEAD_BYTES as u64),
        default::REQUEST_HEAD_BYTES as u64,
        "Largest size of the head of a request.",
    )
    .also("request_head_bytes"),
    whole(
        "request_headers",
        (1, limits::HEAD_FIELDS as u64),
        default::REQUEST_HEADERS as u64,
        "Largest number of fields in the head of a request.",
    ),
    size(
        "request_target_size",
        (1, limits::HEAD_BYTES as u64),
        default::REQUEST_TARGET_BYTES as u64,
        "Largest size of the path and query of a request.",
    )
    .also("request_target_bytes"),
    REQUEST_BODY_SIZE,
    whole(
        "connections",
        (0, limits::CONNECTIONS as u64),
        0,
        "Largest number of client connections at one listener. A listener may have a bound of its own.",
    )
    .zero_means("there are as many as the process may open files for"),
    whole(
        "requests_per_connection",
        (0, limits::REQUESTS_PER_CONNECTION as u64),
        0,
        "Largest number of requests on one client connection.",
    )
    .zero_means("the number is unlimited"),
    Setting::new(
        "memory",
        Kind::Any(&[
            Kind::size(limits::MEMORY_BYTES_LEAST, limits::MEMORY_BYTES),
            Kind::size(0, 0),
        ]),
        Absent::Is(Value::Size(0)),
        "Bytes of memory that the process may use.",
    )
    .zero_means(
        "the process may use 75 % of the memory of the machine, or of what its control group may have if that is less; \
         with a section `[cache]`, 75 % of what the cache leaves of it",
    )
    .also("memory_bytes"),
];

/// `[access_log]`
pub static ACCESS_LOG: Section = Section {
    name: "AccessLogSettings",
    title: "[access_log]",
    doc: "The access log. Without the section there is none.",
    settings: || ACCESS_LOG_SETTINGS.iter().collect(),
};

static ACCESS_LOG_SETTINGS: [Setting; 2] = [
    required(
        "path",
        Kind::FILE,
        "File that the access log is written to, or a pipe (FIFO). A new file has the mode 0640.",
    ),
    word(
        "format",
        words::<AccessLogFormat>,
        "json",
        "Format of a line: JSON, or the combined format of Apache and nginx.",
    ),
];

/// `[tracing]`
pub static TRACING: Section = Section {
    name: "TracingSettings",
    title: "[tracing]",
    doc: "Treatment of `traceparent` and `tracestate` in requests (W3C Trace Context).",
    settings: || Traceparent::SETTINGS.iter().collect(),
};

/// `[test_server]`
pub static TEST_SERVER: Section = Section {
    name: "TestServerSettings",
    title: "[test_server]",
    doc: "Test servers that palantir itself starts: backends to try the proxy with.",
    settings: || TEST_SERVER_SETTINGS.iter().collect(),
};

static TEST_SERVER_SETTINGS: [Setting; 1] = [list(
    "listen_addrs",
    &ADDRESS,
    limits::TEST_SERVERS,
    "Addresses of the test servers.",
)];

/// `[tls]`
pub static TLS: Section = Section {
    name: "TicketSettings",
    title: "[tls]",
    doc: "Settings of TLS for all listeners.",
    settings: || TLS_SETTINGS.iter().collect(),
};

static TLS_SETTINGS: [Setting; 1] = [file(
    "ticket_key_file",
    "the keys end with the process",
    "File in which the keys of session tickets are kept, so that clients may resume TLS after a restart or an upgrade.",
)];

/// `[admin]`
pub static ADMIN: Section = Section {
    name: "AdminSettings",
    title: "[admin]",
    doc: "The management API, the metrics and the live page. Without the section there are none.",
    settings: || ADMIN_SETTINGS.iter().chain(&ADMIN_SOCKET_FILE).collect(),
};

/// The access rights of the management API's Unix socket, where no token is needed unless one is configured.
static ADMIN_SOCKET_FILE: [Setting; 3] = socket_file("0600");

static ADMIN_SETTINGS: [Setting; 5] = [
    optional(
        "tls",
        Kind::Table(&SERVER_TLS),
        "the API speaks cleartext",
        "TLS of the management API, as of a listener but without HTTP/2. Changed files count at once, changed settings \
         from the next start on.",
    ),
    Setting::new(
        "listen_addr",
        ADDRESS,
        Absent::Is(Value::Text(default::ADMIN_ADDR)),
        "Address of the management API, or a Unix socket `unix:/path`. An address that others can reach needs a \
         `token_file`, or `tls` with a `client_ca`.",
    ),
    file(
        "token_file",
        "no token is asked for",
        "File with the token without which nothing may be changed or read: `Authorization: Bearer …`.",
    ),
    file(
        "read_token_file",
        "reading takes the token of `token_file`, if there is one",
        "File with another token, which suffices for reading. The setting needs `token_file`.",
    ),
    file(
        "state_file",
        "changes by the management API end with the process",
        "File in which the changes by the management API are kept for the next start. A reload takes a change of the \
         setting over, too.",
    ),
];
