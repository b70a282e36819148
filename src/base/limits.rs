//! Every bound of the program in one place. What is configurable has its default and its hard maximum here; what is
//! not is fixed here. Nothing in palantir grows without one of these lines.

/// Most backends in one configuration, all pools together: rows of a backend table.
pub const BACKENDS: usize = 4096;
/// Most pools in one configuration.
pub const POOLS: usize = 1024;
/// Most routes in one configuration.
pub const ROUTES: usize = 16_384;
/// Bytes of a route's host: no host name is longer (RFC 1035 section 2.3.4, without the dots of the wire).
pub const HOST_BYTES: usize = 253;
/// Most workers, whatever the machine has.
pub const WORKERS: usize = 256;
/// Most addresses to listen on.
pub const LISTENERS: usize = 64;
/// Largest weight of a backend; the smallest is 1.
pub const WEIGHT: u16 = 256;
/// Largest configuration file read, in bytes.
pub const CONFIG_BYTES: u64 = 16 << 20;
/// Most mistakes listed at once by `palantir check`.
pub const CONFIG_MISTAKES: usize = 100;

/// Hard maximum of `limits.request_head_bytes`, in bytes.
pub const HEAD_BYTES: u32 = 256 << 10;
/// Hard maximum of `limits.request_headers`: the size of the field array that one parse fills, on the stack.
pub const HEAD_FIELDS: usize = 256;
/// Bytes that a backend may use for one response head.
pub const RESPONSE_HEAD_BYTES: u32 = 64 << 10;
/// Digits in a chunk size: 16 hexadecimal digits fill 64 bits, one less keeps it in 60.
pub const CHUNK_SIZE_DIGITS: u32 = 15;
/// Bytes of one chunk extension, which is read over and dropped.
pub const CHUNK_EXTENSION_BYTES: u32 = 256;
/// Bytes of all chunk extensions of one body together.
pub const CHUNK_EXTENSIONS_BYTES: u32 = 16 << 10;
/// Bytes of a trailer section.
pub const TRAILER_BYTES: u32 = 8 << 10;
/// Fields of a trailer section.
pub const TRAILER_FIELDS: usize = 64;
/// Interim (1xx) responses that one exchange may bring before its final one.
pub const INTERIM_RESPONSES: u32 = 16;

/// Length of the timer tick, in milliseconds: the precision of every timeout.
pub const TICK_MILLIS: u64 = 100;
/// Buckets of the timer wheel; a deadline further away than all of them is looked at again on the way.
pub const WHEEL_BUCKETS: usize = 1024;
/// Bytes of the block that waits on an idle client connection.
pub const IDLE_BLOCK_BYTES: usize = 1 << 10;
/// Bytes of an ordinary block: a head, a small body.
pub const BLOCK_BYTES: usize = 16 << 10;
/// Bytes of a block that relays a large body.
pub const RELAY_BLOCK_BYTES: usize = 128 << 10;
/// Free ordinary blocks that a worker keeps for reuse.
pub const FREE_BLOCKS: usize = 1024;
/// Free relay blocks that a worker keeps for reuse.
pub const FREE_RELAY_BLOCKS: usize = 64;
/// Requests of one connection served without a pause for others, when they are pipelined.
pub const PIPELINED_TURN: u32 = 16;
/// Bytes read and thrown away after an answer that came before the whole request, so that the client can read it.
pub const LINGER_BYTES: u64 = 1 << 20;
/// Milliseconds for which such bytes are awaited.
pub const LINGER_MILLIS: u64 = 2_000;
/// Milliseconds without a request after which a connection gives back all but its small block.
pub const DEMOTE_MILLIS: u64 = 300;
/// Entries of an io_uring submission queue; the completion queue has four times as many.
pub const RING_ENTRIES: u32 = 4096;
/// Length of a listening socket's queue.
pub const BACKLOG: i32 = 4096;
/// Milliseconds for which accepting pauses when descriptors or memory run out.
pub const ACCEPT_PAUSE_MILLIS: u64 = 100;
/// Descriptors kept aside when the bound on connections is derived from RLIMIT_NOFILE.
pub const RESERVED_DESCRIPTORS: u64 = 64;

/// Idle connections per core and backend: default and hard maximum of a pool's `idle_connections`.
pub const IDLE_CONNECTIONS: u32 = 128;
/// Hard maximum of a pool's `idle_connections`.
pub const IDLE_CONNECTIONS_MAX: u32 = 16_384;
/// Requests per core and pool that may wait for a backend's `max_connections`.
pub const WAITING_REQUESTS: usize = 1024;
/// Milliseconds below which the age of an idle connection at its close teaches nothing about the backend's time-out.
pub const LEARNT_IDLE_MILLIS: u64 = 900;
/// Percent of recent requests that may be retried.
pub const RETRY_PERCENT: u32 = 20;
/// Retries per second and pool that are always possible, all cores together.
pub const RETRY_FLOOR_PER_SECOND: u32 = 3;
/// Retries per core and pool that can be saved up for when a backend fails: the share of its last 500 requests.
pub const RETRY_BURST: u32 = 100;
/// Age at which counts of requests under way are read anew when a pick compares those of all backends, in microseconds.
pub const IN_FLIGHT_AGE_MICROS: u64 = 200;
/// Time after which a latency has lost all but 37 percent of its say in the average, in microseconds.
pub const LATENCY_DECAY_MICROS: u64 = 10_000_000;
/// Hard maximum of a route's `retries`.
pub const RETRIES: u8 = 10;
/// Bytes of a request (head and body) that are kept so that it can be sent again.
pub const REPLAY_BYTES: usize = 16 << 10;

/// Messages that may wait for one worker.
pub const WORKER_MAILBOX: usize = 8192;
/// Messages that may wait for the health thread; further reports are dropped and counted.
pub const HEALTH_MAILBOX: usize = 8192;
/// Access-log lines that may wait in one worker's ring; further ones are dropped and counted.
pub const ACCESS_LOG_LINES: usize = 16_384;
/// Bytes of a request target or field value that an access-log line keeps.
pub const LOGGED_TEXT_BYTES: usize = 1024;
/// Probes that the health thread has under way at once.
pub const PROBES: usize = 256;
/// Bytes that a probe reads of its answer.
pub const PROBE_ANSWER_BYTES: usize = 64 << 10;
/// Addresses taken from one host name.
pub const ADDRESSES_PER_NAME: usize = 64;
/// Seconds for one name look-up.
pub const RESOLVE_SECS: u64 = 5;
