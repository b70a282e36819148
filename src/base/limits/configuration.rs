//! Bounds of a configuration: how much of everything one file may hold, and the ranges of its settings. They protect
//! the control thread, which compiles each configuration in bounded time, and the memory of every worker.

use std::time::Duration;

/// Most backends in one configuration, all pools together: rows of a backend table. Each row costs every worker some
/// cache lines, and each backend costs probes.
pub const BACKENDS: usize = 4096;
/// Most pools in one configuration. The number bounds the probes that run at once, because each pool has its share of
/// them.
pub const POOLS: usize = 1024;
/// Most routes in one configuration. More routes make the compilation of a snapshot longer, and hardly a look-up.
pub const ROUTES: usize = 16_384;
/// Bytes of a route's host: no host name is longer (RFC 1035 section 2.3.4, without the dots of the wire).
pub const HOST_BYTES: usize = 253;
/// Most workers, whatever the machine has. Counters, tables and sockets have a part for each worker, so the bound
/// protects memory and descriptors on large machines.
pub const WORKERS: usize = 256;
/// Most addresses to listen on. Each address costs a socket on every worker, and a place in a handover.
pub const LISTENERS: usize = 64;
/// Largest weight of a backend; the smallest is 1. The bound keeps sums of weights, and weights times shares, within
/// their types.
pub const WEIGHT: u16 = 256;
/// Bytes of the largest configuration file that is read. The bound protects the memory of a process that is given a
/// wrong file.
pub const CONFIG_BYTES: u64 = 16 << 20;
/// Milliseconds between two readings of a configuration file that is to be loaded. The content counts when both are
/// equal, so the pause protects a reload from a file that an editor is still writing.
pub const CONFIG_PAUSE_MILLIS: u64 = 50;
/// Readings after the first one; a configuration file that still changes then is given up. With
/// [`CONFIG_PAUSE_MILLIS`] the number bounds the time that a reload waits for an editor.
pub const CONFIG_READS: usize = 20;
/// Most mistakes that `palantir check` lists at once. The bound protects the reader of the list.
pub const CONFIG_MISTAKES: usize = 100;
/// Shortest timeout or interval that can be set. A shorter one is none at all, and a mistake.
pub const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);
/// Longest timeout or interval that can be set. The bound protects arithmetic with times, and operators from a wrong
/// unit.
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(86_400);
/// Bytes of a pool's name. Names stand in metrics, logs and URLs, which longer names make hard to read.
pub const POOL_NAME_BYTES: usize = 64;
/// Bytes of a Unix socket's path: as many as fit into `sockaddr_un` before its NUL.
pub const UNIX_PATH_BYTES: usize = 107;
/// Bytes of a route's prefix. The bound keeps a look-up short, whose time grows with their length.
pub const PREFIX_BYTES: usize = 1024;
/// Domains of cookies that one route may replace. A route may replace as many paths of cookies. Each cookie of an
/// answer is compared with all of them, so more of them make an answer dearer.
pub const COOKIE_EDITS: usize = 32;
/// Bytes of the longest text that a `ShortText` keeps in itself. A longer text has memory of its own, so a smaller
/// number costs allocations, and a larger one costs bytes in every value.
pub const SHORT_TEXT_BYTES: usize = 64;
/// Fields that one route may set, and as many that it may remove, in each direction. Each field of a message is
/// compared with them, so more of them make a message dearer.
pub const FIELD_EDITS: usize = 64;
/// Bytes of a field value that a route sets. The bound protects backends and clients, whose own bounds on heads are of
/// this order.
pub const FIELD_EDIT_BYTES: usize = 4096;
/// Ranges of trusted proxies. Each address of a forwarding field is compared with all ranges.
pub const TRUSTED_PROXIES: usize = 256;
/// Test servers that the program itself starts. Each costs a socket, which a handover passes on.
pub const TEST_SERVERS: usize = 16;
/// Largest `limits.connections` and `max_connections` of a backend. A larger number is beyond what descriptors allow
/// and is a mistake of the operator.
pub const CONNECTIONS: u32 = 10_000_000;
/// Bytes of the largest `limits.request_body_bytes`. The bound protects arithmetic with lengths of bodies.
pub const BODY_BYTES: u64 = 1 << 50;
/// Largest `limits.requests_per_connection`. The bound keeps the count of a connection's requests within its type.
pub const REQUESTS_PER_CONNECTION: u32 = 1_000_000_000;
/// Failures or successes in a row that a health or outlier check may ask for. With more of them a backend would not
/// change its state in a useful time.
pub const CHECKS_IN_A_ROW: u32 = 1000;
/// Ranges of statuses that a health check may expect. Each answer of a probe is compared with all ranges.
pub const EXPECTED_STATUSES: usize = 16;
/// Largest `min_rate_bytes`, in bytes a second. With a larger rate a listener would end clients that are not slow.
pub const MIN_RATE_BYTES: u32 = 1 << 30;
/// Bytes of the smallest `limits.memory`: with fewer, no worker could serve anybody.
pub const MEMORY_BYTES_LEAST: u64 = 64 << 20;
/// Bytes of the largest `limits.memory`. The bound protects arithmetic with percents of it.
pub const MEMORY_BYTES: u64 = 1 << 50;
/// Hard maximum of a route's `retries`. Each retry may burden another backend, so the bound protects backends that are
/// in trouble.
pub const RETRIES: u8 = 10;
/// Default of a pool's `idle_connections`: the most that one core keeps to one backend. The load decides how many the
/// core keeps within this number.
pub const IDLE_CONNECTIONS: u32 = 1024;
/// Hard maximum of a pool's `idle_connections`. The bound protects the descriptors of the process and of the backends.
pub const IDLE_CONNECTIONS_MAX: u32 = 16_384;

const _: () = assert!(IDLE_CONNECTIONS <= IDLE_CONNECTIONS_MAX);
const _: () = assert!(WEIGHT > 0 && CHECKS_IN_A_ROW > 0);
const _: () = assert!(SHORTEST_TIMEOUT.as_millis() < LONGEST_TIMEOUT.as_millis());
const _: () = assert!(MEMORY_BYTES_LEAST < MEMORY_BYTES && MEMORY_BYTES < u64::MAX / 100);
