//! Defaults of the configuration's settings. Times are in seconds.

/// Default of `https_port` of a listener that redirects.
pub const HTTPS_PORT: u16 = 443;
/// Default of `acme.directory`: Let's Encrypt.
pub const ACME_DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Default of `listen_addr`.
pub const LISTEN_ADDR: &str = "127.0.0.1:8080";
/// Default of `admin.listen_addr`, if there is an `[admin]` section.
pub const ADMIN_ADDR: &str = "127.0.0.1:8687";
/// Default of `min_rate_bytes` of a listener, in bytes a second.
pub const MIN_RATE_BYTES: u32 = 500;
/// Default of `min_rate_grace` of a listener, in seconds.
pub const MIN_RATE_GRACE: u64 = 10;
/// Default of `shutdown_timeout`, in seconds.
pub const SHUTDOWN_TIMEOUT: u64 = 10;
/// Default of `resolve_secs`, in seconds: how often the backends' names are looked up.
pub const RESOLVE_SECS: u64 = 30;
/// Default of `timeouts.client_header`, in seconds.
pub const CLIENT_HEADER: u64 = 10;
/// Default of `timeouts.client_body`, in seconds.
pub const CLIENT_BODY: u64 = 30;
/// Default of `timeouts.client_idle`, in seconds.
pub const CLIENT_IDLE: u64 = 60;
/// Default of `timeouts.client_stream_stall`, in seconds.
pub const CLIENT_STREAM_STALL: u64 = 300;
/// Default of `timeouts.connect`, in seconds.
pub const CONNECT: u64 = 2;
/// Default of `timeouts.upstream_response`, in seconds.
pub const UPSTREAM_RESPONSE: u64 = 60;
/// Default of `timeouts.upstream_idle`, in seconds.
pub const UPSTREAM_IDLE: u64 = 60;
/// Default of `timeouts.tunnel_idle`, in seconds.
pub const TUNNEL_IDLE: u64 = 3_600;
/// Default of `timeouts.upstream_keepalive`, in seconds.
pub const UPSTREAM_KEEPALIVE: u64 = 60;
/// Default of `limits.request_head_bytes`.
pub const REQUEST_HEAD_BYTES: u32 = 32 << 10;
/// Default of `limits.request_headers`.
pub const REQUEST_HEADERS: u16 = 100;
/// Default of `limits.request_target_bytes`.
pub const REQUEST_TARGET_BYTES: u32 = 8 << 10;
/// Default of `retries` of a route.
pub const RETRIES: u8 = 1;
/// Default number of streams that a client's HTTP/2 connection may have open at once.
pub const H2_STREAMS: u32 = 128;
/// Bytes of bodies that an HTTP/2 client may send ahead on all streams of its connection together. The bound is the sum
/// of the first windows of all streams, so that streams whose bytes nobody takes leave the other streams their windows.
pub const H2_CONNECTION_WINDOW: u32 = H2_STREAMS * 65_535;
/// Default of `balancing_algorithm` of a pool.
pub const ALGORITHM: &str = "round_robin";
/// Default of `health_check.interval_secs`, in seconds.
pub const PROBE_INTERVAL: u64 = 2;
/// Default of `health_check.timeout_secs`, in seconds.
pub const PROBE_TIMEOUT: u64 = 2;
/// Default of `health_check.timeout_secs` while a healthy backend has failed its last probe, in seconds.
pub const PROBE_AGAIN_TIMEOUT: u64 = 1;
/// Default of `health_check.unhealthy_after`.
pub const UNHEALTHY_AFTER: u32 = 3;
/// Default of `health_check.healthy_after`.
pub const HEALTHY_AFTER: u32 = 2;
/// Default of `outlier.consecutive_failures`.
pub const CONSECUTIVE_FAILURES: u32 = 5;
/// Default of `outlier.eject_secs`, in seconds.
pub const EJECT_SECS: u64 = 30;
/// Default of `outlier.max_ejected_percent`.
pub const MAX_EJECTED_PERCENT: u32 = 50;
/// Default of `name` of the cache.
pub const CACHE_NAME: &str = "palantir";
/// Default of `max_object` of a route's cache, in bytes.
pub const CACHE_OBJECT_BYTES: u64 = 8 << 20;
/// Default of `heuristic.percent` of a route's cache: RFC 9111 section 4.2.2 names it as typical.
pub const HEURISTIC_PERCENT: u8 = 10;
/// Default of `heuristic.max` of a route's cache, in seconds.
pub const HEURISTIC_MAX: u64 = 3_600;
/// Default of `error_ttl_max` of a route's cache, in seconds.
pub const ERROR_TTL_MAX: u64 = 10;
/// Default of `stale_if_unreachable` of a route's cache, in seconds.
pub const STALE_IF_UNREACHABLE: u64 = 86_400;
/// Default of `collapse_timeout` of a route's cache, in seconds.
pub const COLLAPSE_TIMEOUT: u64 = 5;
/// Default of `uncacheable_memory` of a route's cache, in seconds.
pub const UNCACHEABLE_MEMORY: u64 = 120;
/// Default of `max_variants` of a route's cache.
pub const CACHE_VARIANTS: u16 = 64;
