//! Defaults of the configuration's settings. Times are in seconds.

/// Permissions of a listener's Unix socket. As with a TCP address everybody may connect; the folder of the socket
/// limits who can reach it.
pub const LISTENER_MODE: u32 = 0o666;
/// `https_port` of a listener that redirects.
pub const HTTPS_PORT: u16 = 443;
/// Permissions of the management API's Unix socket, where no token is needed unless one is configured.
pub const ADMIN_MODE: u32 = 0o600;
/// `acme.directory`: Let's Encrypt.
pub const ACME_DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// `listen_addr`.
pub const LISTEN_ADDR: &str = "127.0.0.1:8080";
/// `admin.listen_addr`, if there is an `[admin]` section.
pub const ADMIN_ADDR: &str = "127.0.0.1:8687";
/// `min_rate_bytes` of a listener, in bytes a second.
pub const MIN_RATE_BYTES: u32 = 500;
/// `min_rate_grace` of a listener.
pub const MIN_RATE_GRACE: u64 = 10;
/// `shutdown_timeout`.
pub const SHUTDOWN_TIMEOUT: u64 = 10;
/// `resolve_secs`: how often the backends' names are looked up.
pub const RESOLVE_SECS: u64 = 30;
/// `timeouts.client_header`.
pub const CLIENT_HEADER: u64 = 10;
/// `timeouts.client_body`.
pub const CLIENT_BODY: u64 = 30;
/// `timeouts.client_idle`.
pub const CLIENT_IDLE: u64 = 60;
/// `timeouts.client_stream_stall`.
pub const CLIENT_STREAM_STALL: u64 = 300;
/// `timeouts.connect`.
pub const CONNECT: u64 = 2;
/// `timeouts.upstream_response`.
pub const UPSTREAM_RESPONSE: u64 = 60;
/// `timeouts.upstream_idle`.
pub const UPSTREAM_IDLE: u64 = 60;
/// `timeouts.tunnel_idle`.
pub const TUNNEL_IDLE: u64 = 3_600;
/// `timeouts.upstream_keepalive`.
pub const UPSTREAM_KEEPALIVE: u64 = 60;
/// `limits.request_head_bytes`.
pub const REQUEST_HEAD_BYTES: u32 = 32 << 10;
/// `limits.request_headers`.
pub const REQUEST_HEADERS: u16 = 100;
/// `limits.request_target_bytes`.
pub const REQUEST_TARGET_BYTES: u32 = 8 << 10;
/// `retries` of a route.
pub const RETRIES: u8 = 1;
/// Streams that a client's HTTP/2 connection may have open at once.
pub const H2_STREAMS: u32 = 128;
/// Bytes of bodies that an HTTP/2 client may send ahead on all streams of its connection together. The bound is the sum
/// of the first windows of all streams, so that streams whose bytes nobody takes leave the other streams their windows.
pub const H2_CONNECTION_WINDOW: u32 = H2_STREAMS * 65_535;
/// `balancing_algorithm` of a pool.
pub const ALGORITHM: &str = "round_robin";
/// `health_check.interval_secs`.
pub const PROBE_INTERVAL: u64 = 2;
/// `health_check.timeout_secs`.
pub const PROBE_TIMEOUT: u64 = 2;
/// `health_check.timeout_secs` while a healthy backend has failed its last probe.
pub const PROBE_AGAIN_TIMEOUT: u64 = 1;
/// `health_check.unhealthy_after`.
pub const UNHEALTHY_AFTER: u32 = 3;
/// `health_check.healthy_after`.
pub const HEALTHY_AFTER: u32 = 2;
/// `outlier.consecutive_failures`.
pub const CONSECUTIVE_FAILURES: u32 = 5;
/// `outlier.eject_secs`.
pub const EJECT_SECS: u64 = 30;
/// `outlier.max_ejected_percent`.
pub const MAX_EJECTED_PERCENT: u32 = 50;
