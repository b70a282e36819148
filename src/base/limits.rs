//! Every bound of the program in one place. What is configurable has its default and its hard maximum here; what is
//! not is fixed here. Nothing in palantir grows without one of these lines.

pub mod default;
pub mod h2_flood;

use std::time::Duration;

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
/// Milliseconds between two readings of a configuration file that is to be loaded: the content counts when both are
/// equal.
pub const CONFIG_PAUSE_MILLIS: u64 = 50;
/// Readings after the first one; a configuration file that still changes then is given up.
pub const CONFIG_READS: usize = 20;
/// Most mistakes listed at once by `palantir check`.
pub const CONFIG_MISTAKES: usize = 100;
/// Shortest timeout or interval that can be set.
pub const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);
/// Longest timeout or interval that can be set.
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(86_400);
/// Bytes of a pool's name.
pub const POOL_NAME_BYTES: usize = 64;
/// Bytes of a Unix socket's path: what fits into `sockaddr_un` before its NUL.
pub const UNIX_PATH_BYTES: usize = 107;
/// Bytes of a route's prefix.
pub const PREFIX_BYTES: usize = 1024;
/// Domains of cookies that one route may replace. A route may replace as many paths of cookies.
pub const COOKIE_EDITS: usize = 32;
/// Bytes of the longest text that a `ShortText` keeps in itself. A longer text has memory of its own.
pub const SHORT_TEXT_BYTES: usize = 64;
/// Fields that one route may set, and as many that it may remove, in each direction.
pub const FIELD_EDITS: usize = 64;
/// Bytes of a field value that a route sets.
pub const FIELD_EDIT_BYTES: usize = 4096;
/// Ranges of trusted proxies.
pub const TRUSTED_PROXIES: usize = 256;
/// Test servers that the program itself starts.
pub const TEST_SERVERS: usize = 16;
/// Largest `limits.connections` and `max_connections` of a backend.
pub const CONNECTIONS: u32 = 10_000_000;
/// Largest `limits.request_body_bytes`, in bytes.
pub const BODY_BYTES: u64 = 1 << 50;
/// Largest `limits.requests_per_connection`.
pub const REQUESTS_PER_CONNECTION: u32 = 1_000_000_000;
/// Failures or successes in a row that a health or outlier check may ask for.
pub const CHECKS_IN_A_ROW: u32 = 1000;
/// Ranges of statuses that a health check may expect.
pub const EXPECTED_STATUSES: usize = 16;

/// Smallest `limits.request_head_bytes`, in bytes.
pub const HEAD_BYTES_LEAST: u32 = 256;
/// Hard maximum of `limits.request_head_bytes`, in bytes.
pub const HEAD_BYTES: u32 = 256 << 10;
/// Hard maximum of `limits.request_headers`: the size of the field array that one parse fills, on the stack.
pub const HEAD_FIELDS: usize = 256;
/// Bytes of empty lines before a request line. A connection on which more of them come is closed.
pub const EMPTY_LINE_BYTES: usize = 256;
/// Bytes of a method; the longest registered one has 17. A longer one is nobody's (RFC 9112 section 3).
pub const METHOD_BYTES: usize = 64;
/// Bytes of the protocol that an extended CONNECT asks for; the registered ones have at most 15.
pub const PROTOCOL_BYTES: usize = 64;
/// Bytes of `Accept` that are looked at to find out whether our own answers are to be JSON.
pub const ACCEPT_BYTES: usize = 512;
/// Options of all `Connection` fields of a message together; each one may name a field, which is then looked for.
pub const CONNECTION_OPTIONS: usize = 64;
/// Empty lines that may stand before the head of a backend's answer. No reader takes empty lines for a part of the
/// head.
pub const EMPTY_LINES_BEFORE_ANSWER: usize = 4;
/// Protocols that one `Upgrade` may offer.
pub const UPGRADE_PROTOCOLS: usize = 16;
/// Bytes of all `Priority` fields of a head together. Longer fields are ignored.
pub const PRIORITY_BYTES: usize = 256;
/// Bytes that a backend may use for one response head.
pub const RESPONSE_HEAD_BYTES: u32 = 64 << 10;
/// Digits in a chunk size: 16 hexadecimal digits fill 64 bits, one less keeps it in 60.
pub const CHUNK_SIZE_DIGITS: u32 = 15;
/// Bytes of one chunk extension, which is read over and dropped.
pub const CHUNK_EXTENSION_BYTES: u32 = 256;
/// Bytes that all chunk extensions of one body together may always have.
pub const CHUNK_EXTENSIONS_BYTES: u64 = 16 << 10;
/// Bytes of data of a longer body for which its chunk extensions may have one more byte.
pub const CHUNK_EXTENSIONS_SHARE: u64 = 8;
/// Bytes that framing may add to a piece of a body: a chunk header, its end, and a last chunk.
pub const CHUNK_FRAMING_BYTES: usize = 64;
/// Bytes of a trailer section.
pub const TRAILER_BYTES: u32 = 8 << 10;
/// Fields of a trailer section.
pub const TRAILER_FIELDS: usize = 64;
/// Bytes of a PROXY header of version 1, its line end included: what the specification allows.
pub const PROXY_LINE_BYTES: usize = 107;
/// Bytes of a PROXY header of version 2 with all its extensions.
pub const PROXY_HEADER_BYTES: usize = 4096;
/// Bytes of the heads of interim (1xx) responses that one exchange may bring before its final one.
pub const INTERIM_BYTES: u32 = 1 << 20;
/// The least number of bytes that an interim response is counted with.
pub const INTERIM_LEAST_BYTES: u32 = 256;
/// Times `timeouts.upstream_response` that may pass from the first interim response to the final one. Each interim
/// response begins the time for the next response anew.
pub const INTERIM_WAITS: u32 = 16;

/// Bytes of an HPACK table by its own count, in each direction: what holds before any SETTINGS.
pub const H2_TABLE_BYTES: usize = 4096;
/// How many times its limit a field section may come to before it can only be meant as an attack.
pub const H2_BOMB_MULTIPLE: usize = 16;
/// Bytes of a frame's payload that we take: what holds before any SETTINGS.
pub const H2_FRAME_BYTES: usize = 16_384;
/// Hard maximum of streams that one client connection may have open at once.
pub const H2_STREAMS: u32 = 1024;
/// CONTINUATION frames of one field section.
pub const H2_CONTINUATIONS: u32 = 16;
/// How many times the limit of a decoded field section its encoded pieces may come to.
pub const H2_SECTION_MULTIPLE: usize = 8;
/// Streams that ended, counted back from the newest, of which a connection knows how.
pub const H2_ENDED_STREAMS: u32 = 512;
/// Bytes of output at which no more DATA is taken until some is sent.
pub const H2_OUTPUT_BYTES: usize = 64 << 10;
/// Bytes that a stream which shares its urgency with others sends in one turn.
pub const H2_TURN_BYTES: usize = 16 << 10;
/// Answers to PING, SETTINGS and the like that may wait in the output.
pub const H2_UNREAD_REPLIES: u32 = 1024;
/// Milliseconds for the acknowledgement of our SETTINGS.
pub const H2_SETTINGS_MILLIS: u64 = 10_000;
/// Milliseconds between announcing that a connection ends and refusing new streams, if the peer does not answer sooner.
pub const H2_DRAIN_MILLIS: u64 = 1_000;
/// Bytes of memory for a decoded section that a connection keeps for the next one.
pub const H2_KEPT_HEAD_BYTES: usize = 8 << 10;
/// Times that a request is sent again because its stream was refused before anything of it was processed.
pub const UNPROCESSED_ATTEMPTS: u8 = 4;
/// Times that a request finds the place of a connection taken by another core that it was about to open, before it is
/// refused.
pub const LOST_RACES: u8 = 64;
/// Most rounds of attempts that a request makes in all; more of them would be a loop without an end.
pub const FORWARD_ROUNDS: u32 = UNPROCESSED_ATTEMPTS as u32
    + 1
    + RETRIES as u32
    + LEFT_BACKENDS as u32
    + LOST_RACES as u32
    + UNCONNECTED_ATTEMPTS as u32;
/// Connections to one backend that speaks HTTP/2, per core.
pub const H2_UPSTREAM_CONNECTIONS: usize = 64;
/// Streams on such a connection beyond which another one is opened.
pub const H2_UPSTREAM_STREAMS: usize = 100;
/// Bytes of a response that such a backend may send on a new stream before the client has taken any.
pub const H2_UPSTREAM_STREAM_WINDOW: u32 = 16 << 10;
/// Bytes to which the window of a stream grows, on either side, while its bytes are taken faster than they come.
pub const H2_WIDEST_STREAM_WINDOW: u32 = 256 << 10;
/// Milliseconds for which a backend's kernel may leave what was sent unacknowledged, or its window shut, before the
/// connection is given up (`TCP_USER_TIMEOUT`).
pub const UPSTREAM_UNACKNOWLEDGED_MILLIS: u32 = 120_000;
/// Heads whose memory a connection keeps for the next ones.
pub const H2_FREE_HEADS: usize = 64;
/// Milliseconds between two looks at what is due on a busy connection.
pub const H2_CHECK_MILLIS: u64 = 1_000;
/// Milliseconds without a byte from a backend whose streams are open, after which it is asked for a sign of life by
/// PING.
pub const H2_SILENCE_MILLIS: u64 = 10_000;
/// Milliseconds that it then has to send something before its connection counts as lost.
pub const H2_PONG_MILLIS: u64 = 5_000;

/// Length of the timer tick, in milliseconds: the precision of every timeout.
pub const TICK_MILLIS: u64 = 100;
/// Buckets of the timer wheel; a deadline further away than all of them is looked at again on the way.
pub const WHEEL_BUCKETS: usize = 1024;
/// Bytes of an ordinary block: a head, a small body.
pub const BLOCK_BYTES: usize = 16 << 10;
/// Bytes of a block that relays a large body.
pub const RELAY_BLOCK_BYTES: usize = 128 << 10;
/// Bytes of bulk transfers that a core takes in in one turn of its loop: while they are copied, nothing else runs. At
/// least a relay block.
pub const BULK_BYTES_PER_TURN: usize = 1 << 20;
/// Largest body of an answer that is copied behind its head, so that its connection is free before the client has it.
pub const WHOLE_BODY_BYTES: u64 = 4 << 10;
/// Free ordinary blocks that a worker keeps for reuse.
pub const FREE_BLOCKS: usize = 1024;
/// Free relay blocks that a worker keeps for reuse.
pub const FREE_RELAY_BLOCKS: usize = 64;
/// Bytes of plaintext in one TLS record (RFC 8446 section 5.1).
pub const TLS_RECORD_BYTES: usize = 16 << 10;
/// Bytes by which sealing lengthens a record at least: a tag, and the type of its content.
pub const TLS_RECORD_OVERHEAD_LEAST: usize = 17;
/// Bytes by which it may do so in what we send: header, explicit nonce, type and tag are less.
pub const TLS_RECORD_OVERHEAD: usize = 64;
/// Bytes by which a peer may do so, header included (RFC 5246 section 6.2.3).
pub const TLS_RECORD_OVERHEAD_MOST: usize = 5 + 2048;
/// Bytes of plaintext that are sealed for one send.
pub const TLS_PIECE_BYTES: usize = 64 << 10;
/// Bytes of a record with an alert that is not encrypted (RFC 5246 section 7.2).
pub const TLS_ALERT_BYTES: usize = 7;
/// Bytes thrown away after a failed handshake so that the peer can read why.
pub const TLS_LINGER_BYTES: usize = 64 << 10;
/// Requests of one connection served without a pause for others, when they are pipelined.
pub const PIPELINED_TURN: u32 = 16;
/// Seconds for which palantir reads and throws away a client's bytes behind an answer that came before the whole
/// request, so that the client can read the answer. A backend that has answered is sent the rest of a request for as
/// long.
pub const LINGER_MOST_SECS: u64 = 30;
/// Seconds of a client's silence after which its bytes are no longer waited for.
pub const LINGER_SILENCE_SECS: u64 = 5;
/// Milliseconds for which a client's bytes are thrown away behind a last message that is no answer, such as an alert of
/// TLS, and in a process that is to end.
pub const LINGER_MILLIS: u64 = 2_000;
/// Bytes that are thrown away of those that a client has sent before it is turned away.
pub const TURNED_AWAY_BYTES: u64 = 1 << 20;
/// Milliseconds between two looks at how much of an answer the client has received while a send waits for it.
pub const MIN_RATE_LOOK_MILLIS: u64 = 1_000;
/// The largest credit of a client that was faster than a listener's least rate, as a multiple of the grace.
pub const MIN_RATE_SAVED: i64 = 3;
/// A stream of HTTP/2 has a fair share of the bytes that its client sends on all streams if it has at least the mean of
/// all streams divided by this number.
pub const FAIR_SHARE_PARTS: u64 = 4;
/// Largest `min_rate_bytes`, in bytes a second.
pub const MIN_RATE_BYTES: u32 = 1 << 30;
/// Milliseconds without a request after which a connection gives back all but its small block.
pub const DEMOTE_MILLIS: u64 = 300;
/// Entries of an io_uring submission queue; the completion queue has four times as many.
pub const RING_ENTRIES: u32 = 4096;
/// Bytes of memory that must be free when a process is ready, before it serves anybody.
pub const HEADROOM_BYTES: usize = 64 << 20;
/// Attempts of a worker to make its ring while the kernel has no memory for the ring; then the worker ends, and the
/// process with it.
pub const RING_ATTEMPTS: usize = 50;
/// Milliseconds between two attempts of a worker to make its ring.
pub const RING_PAUSE_MILLIS: u64 = 100;
/// Length of a listening socket's queue.
pub const BACKLOG: i32 = 4096;
/// Milliseconds for which an address that is in use is waited for at the start.
pub const BIND_WAIT_MILLIS: u64 = 2_000;
/// Milliseconds for which a reload waits until its new addresses are free. Longer than `LEFTOVER_MILLIS`, for which a
/// removed listener still serves the clients in its queue; shorter than `FILE_SECS`, because the change waits
/// meanwhile.
pub const REBIND_WAIT_MILLIS: u64 = 2_500;
/// Milliseconds between two looks at it.
pub const BIND_PAUSE_MILLIS: u64 = 20;
/// Bytes by which what a worker has allocated may differ from what the process knows of it.
pub const MEMORY_STEP_BYTES: usize = 64 << 10;
/// Bytes of resident memory by which what nobody allocates may grow after the start: more of the program's own pages
/// and stacks, and what the allocator needs besides.
pub const MEMORY_RESERVE_BYTES: usize = 8 << 20;
/// Bytes that are allocated for an exchange, as a rule at most, while nobody reads its answer, or its request.
pub const MEMORY_STREAM_BYTES: usize = 48 << 10;
/// One connection of HTTP/2 may take up, with its streams, one part in so many of what is free until memory is full.
pub const MEMORY_SHARES: usize = 64;
/// Percent of `limits.memory_bytes` from which on memory is tight: windows do not grow, relays use ordinary blocks, and
/// no free block is kept.
pub const MEMORY_TIGHT_PERCENT: usize = 75;
/// Percent from which on memory is full: bodies are not read on, nobody is accepted, and what is stalled is ended.
pub const MEMORY_FULL_PERCENT: usize = 85;
/// Percent down to which stalled exchanges are then ended.
pub const MEMORY_RELIEVED_PERCENT: usize = 80;
/// Milliseconds without any progress after which a send counts as stalled while memory is full: the kernel tells of
/// progress when a third of its buffer has gone out, which takes a slow client a while.
pub const STALLED_MILLIS: u64 = 2_000;
/// Milliseconds without any progress after which a send counts as stalled while memory is exhausted.
pub const STALLED_EXHAUSTED_MILLIS: u64 = 200;
/// Connections that a worker may accept in one tick however little memory is free: who cannot be served is told so.
pub const MEMORY_ACCEPTS_LEAST: usize = 2;
/// Bytes of memory that a worker needs before it serves anybody, about.
pub const WORKER_MEMORY_BYTES: u64 = 4 << 20;
/// Relays that a core lets go on at least in one tick while memory is full.
pub const MEMORY_RELAYS_LEAST: usize = 4;
/// Milliseconds for which a request waits to begin while memory is exhausted, before it is refused.
pub const MEMORY_WAIT_MILLIS: u64 = 2_000;
/// Milliseconds without an exchange after which a worker returns memory to the system.
pub const PURGE_IDLE_MILLIS: u64 = 1_000;
/// Bytes that a worker must have freed since it last returned memory to the system.
pub const PURGE_BYTES: usize = 256 << 10;
/// Bytes that it must have freed to do so although it has exchanges: it takes some milliseconds.
pub const PURGE_BUSY_BYTES: usize = 64 << 20;
/// Milliseconds between two times that a worker does so because memory is short.
pub const PURGE_SHORT_MILLIS: u64 = 200;
/// Milliseconds between two times that it does so although it has exchanges.
pub const PURGE_BUSY_MILLIS: u64 = 10_000;
/// Smallest `limits.memory_bytes`.
pub const MEMORY_BYTES_LEAST: u64 = 64 << 20;
/// Largest `limits.memory_bytes`.
pub const MEMORY_BYTES: u64 = 1 << 50;
/// Percent of the memory that this process may have which it takes as its bound where the configuration says nothing:
/// the kernel needs some for sockets, and others run beside it.
pub const MEMORY_PERCENT: u64 = 75;
/// Milliseconds for which accepting pauses when descriptors or memory run out.
pub const ACCEPT_PAUSE_MILLIS: u64 = 100;
/// Seconds that a new process has, at an upgrade, to say that it is ready.
pub const UPGRADE_SECS: u64 = 30;
/// Seconds for which a process that ends waits for the end of a new process that it was just starting.
pub const UPGRADE_END_SECS: u64 = 10;
/// Milliseconds between two looks whether such a process has ended.
pub const UPGRADE_END_PAUSE_MILLIS: u64 = 20;
/// Seconds that the old process then has for what is still under way: longer than after a stop, because nobody waits
/// for it to end.
pub const RETIRE_SECS: u64 = 3_600;
/// Descriptors in one message of a handover; the kernel takes 253 (`SCM_MAX_FD`).
pub const HANDOVER_DESCRIPTORS: usize = 64;
/// Bytes of one message of a handover: the longest addresses of as many descriptors, or the longest reason.
pub const HANDOVER_BYTES: usize = 16 << 10;
/// Bytes of one named message to the next process. A process reads no more of a message, and ignores a longer one.
pub const HANDOVER_BLOB_BYTES: u64 = 16 << 20;
/// Named messages to the next process. A process ignores each that comes after so many.
pub const HANDOVER_BLOBS: usize = 16;
/// Messages of every form that a process takes at an upgrade; with more, the upgrade fails.
pub const HANDOVER_MESSAGES: usize = HANDOVER_SOCKETS + 4 * HANDOVER_BLOBS;
/// Milliseconds for which an upgrade waits until the health thread has said what it knows of the backends. After that
/// the new process begins as if nothing were known.
pub const HEALTH_REPORT_MILLIS: u64 = 1_000;
/// Milliseconds for which a new process waits, before it accepts, until the workers have been told what the old process
/// knew of the backends. After that it accepts all the same.
pub const HEALTH_RESUME_MILLIS: u64 = 2_000;
/// Listening sockets in one handover: every address on every worker, and the test servers and the management API.
pub const HANDOVER_SOCKETS: usize = LISTENERS * WORKERS + TEST_SERVERS + 1;
/// Milliseconds for which a new process still turns clients away on addresses that its configuration lacks: who had
/// knocked there before the old process let go of them.
pub const LEFTOVER_MILLIS: u64 = 1_000;
/// Clients that are turned away at once and listened to after that; further ones are closed as soon as they are told.
pub const TURNED_AWAY_AT_ONCE: usize = 32;
/// Milliseconds for which it goes on to turn away those who wait where no descriptor is free to tell them.
pub const LEFTOVER_EXHAUSTED_MILLIS: u64 = 30_000;
/// Listening sockets that a service manager may pass.
pub const ACTIVATED_SOCKETS: usize = 1024;
/// Descriptors kept aside for files, pipes, and what the threads besides the workers need.
pub const RESERVED_DESCRIPTORS: usize = 64;
/// Descriptors that a worker needs besides its sockets: its rings, timers and events.
pub const WORKER_DESCRIPTORS: usize = 8;
/// Sockets that the workers may have at least, however few descriptors there are.
pub const SOCKETS_LEAST: usize = 8;
/// The part of these sockets that clients leave to backends, and backends to clients: one in so many.
pub const KIND_RESERVE: usize = 4;
/// The part of all descriptors that probes, and as many that connections to the management API, may have: one in so
/// many, at least [`SMALL_SHARE_LEAST`], at most [`PROBES`] and [`ADMIN_CONNECTIONS`].
pub const SMALL_SHARE: usize = 16;
/// See [`SMALL_SHARE`].
pub const SMALL_SHARE_LEAST: usize = 8;
/// The part of all descriptors that the connections of the test servers may have: one in so many.
pub const TEST_SERVER_PART: usize = 4;
/// A client's connection may have connections to backends for its streams up to one in so many of those that could
/// still be opened, and one always.
pub const HELD_PART: usize = 4;
/// Idle client connections that a worker closes at one tick while memory is full.
pub const IDLE_CLOSED_AT_ONCE: usize = 64;
/// The number of clients that may be connected at once below which palantir warns of a bound that no setting names.
pub const FEW_CLIENTS: usize = 4096;
/// Seconds between two log lines of one worker which say that clients wait at a bound.
pub const BOUND_TELL_SECS: u32 = 10;
/// Milliseconds after which a client that waits for a place has another idle connection closed.
pub const ASK_AGAIN_MILLIS: u64 = 1_000;
/// When only one in so many connections to backends may still be opened, those that are idle are closed.
pub const FEW_LEFT: usize = 16;
/// The part of the client connections of all listeners that the listeners share out in advance: one in so many. The
/// others are for whoever comes first.
pub const LISTENER_PART: usize = 2;

/// Default of a pool's `idle_connections`: the most that one core keeps to one backend. How many it keeps follows the
/// load.
pub const IDLE_CONNECTIONS: u32 = 1024;
/// Hard maximum of a pool's `idle_connections`.
pub const IDLE_CONNECTIONS_MAX: u32 = 16_384;
/// Idle connections that one core keeps to one backend whatever the load was and however many it keeps to others, if
/// `idle_connections` allows as many.
pub const IDLE_CONNECTIONS_LEAST: u32 = 8;
/// Idle connections that one core keeps to all backends together, beyond [`IDLE_CONNECTIONS_LEAST`] to each.
pub const CORE_IDLE_CONNECTIONS: usize = 16_384;
/// Milliseconds for which it is remembered, once or twice, how many connections to a backend were in use at the same
/// time: as many are worth keeping.
pub const IDLE_PEAK_MILLIS: u64 = 30_000;
/// The part of the idle connections beyond that which is closed at one tick is one in so many.
pub const IDLE_CLOSING_TICKS: usize = 32;
/// Requests per core and pool that may wait for a connection to one of its backends, or for a stream.
pub const WAITING_REQUESTS: usize = 1024;
/// Microseconds by which a request on another core must have waited longer to get a connection that became free on this
/// one: that connection is closed for it, and it opens another one.
pub const UNFAIR_WAIT_MICROS: u64 = 20_000;
/// Milliseconds below which the age of an idle connection at its close teaches nothing about the backend's time-out.
pub const IDLE_ESTIMATE_MIN_MILLIS: u64 = 900;
/// Milliseconds after which an estimated idle timeout is forgotten.
pub const IDLE_ESTIMATE_KEPT_MILLIS: u64 = 600_000;
/// Milliseconds after which an idle time-out is forgotten that one close alone has taught, unless twice that time-out
/// is longer.
pub const IDLE_ESTIMATE_ONCE_MILLIS: u64 = 10_000;
/// Milliseconds that must lie between two closes for the second to confirm what the first taught: a backend that is
/// restarted closes all that is idle at once.
pub const IDLE_ESTIMATE_APART_MILLIS: u64 = 1_000;
/// Milliseconds for which a core sends no requests to a backend that could not be connected to, the first time.
pub const REST_MILLIS: u64 = 1_000;
/// The most milliseconds for which a core sends no requests to such a backend: each further rest is twice as long.
pub const REST_MILLIS_MOST: u64 = 60_000;
/// Milliseconds that a backend must have been of use, and at least twice its latest rest, for its next rest to be a
/// first.
pub const REST_MEMORY_MILLIS: u64 = 10_000;
/// Milliseconds that a connection may take which is to show whether a backend may end its rest. No request waits for
/// it.
pub const TRIAL_MILLIS: u64 = 10_000;
/// Milliseconds that a backend has behind a TLS handshake to refuse this process, before such a connection counts as
/// made.
pub const TRIAL_VERDICT_MILLIS: u64 = 1_000;
/// Milliseconds at most, else as many as it rested, until a backend that comes back gets its whole share of the
/// requests.
pub const SLOW_START_MILLIS_MOST: u64 = 10_000;
/// The whole share of a backend, in the steps in which it grows.
pub const WHOLE_SHARE: u8 = 16;
/// Backends that a request goes to which cannot be connected to, before it fails.
pub const UNCONNECTED_ATTEMPTS: u8 = 8;
/// How many of these may let the time for a connection pass.
pub const CONNECT_TIMEOUTS: u8 = 3;
/// Milliseconds for which a name's address is connected to before the next one is, too (RFC 8305 section 5).
pub const NEXT_ADDRESS_MILLIS: u64 = 250;
/// A name's other addresses are connected to only while a client's connection could have so many connections to
/// backends.
pub const NEXT_ADDRESS_SPARE: usize = 8;
/// Percent of recent requests that may be retried.
pub const RETRY_PERCENT: u32 = 20;
/// Retries per second and pool that are always possible, all cores together.
pub const RETRY_FLOOR_PER_SECOND: u32 = 3;
/// Retries per core and pool that can be saved up for when a backend fails: the share of its last 500 requests.
pub const RETRY_BURST: u32 = 100;
/// How many backends a request may leave for another one because they have become unhealthy.
pub const LEFT_BACKENDS: u8 = 3;
/// Milliseconds for which a request waits for its answer before its backend is to be probed soon, unless the backend
/// begins another answer meanwhile.
pub const SUSPECT_MILLIS: u64 = 1_000;
/// Milliseconds between two searches for backends in which requests wait for long.
pub const SUSPECT_LOOK_MILLIS: u64 = 500;
/// Counts of requests under way that are read anew for every pick that compares them.
pub const IN_FLIGHT_COUNTERS: usize = 64;
/// Age at which counts of requests under way are read anew when a pick compares those of all backends, in microseconds.
pub const IN_FLIGHT_AGE_MICROS: u64 = 200;
/// Time after which a latency has lost all but 37 percent of its say in the average, in microseconds.
pub const LATENCY_DECAY_MICROS: u64 = 10_000_000;
/// Hard maximum of a route's `retries`.
pub const RETRIES: u8 = 10;
/// Bytes of a request (head and body) that are kept so that it can be sent again.
pub const REPLAY_BYTES: usize = 16 << 10;

/// Failed exchanges that one worker logs in a second; further ones are counted in one line.
pub const FAILURE_LINES_PER_SECOND: u32 = 20;
/// Refusals of clients by their certificates that one worker logs in a second. Further refusals are counted in one
/// line.
pub const CLIENT_LINES_PER_SECOND: u32 = 5;

/// Bytes of the program's log that may wait to be written to standard error; further lines are lost and counted.
pub const LOG_QUEUE_BYTES: usize = 1 << 20;
/// Bytes that are kept of one line of the program's log.
pub const LOG_LINE_BYTES: usize = 16 << 10;
/// Milliseconds that the end of the process, and a panic, wait until the program's log is written.
pub const LOG_FLUSH_MILLIS: u64 = 1_000;
/// Milliseconds between two lines that report lost lines of the program's log.
pub const LOG_LOSS_PAUSE_MILLIS: u64 = 1_000;
/// Milliseconds between two attempts to write if standard error is full and does not block.
pub const LOG_RETRY_MILLIS: u64 = 10;
/// Milliseconds of one write after which a log counts as standing still.
pub const LOG_STALL_MILLIS: u64 = 5_000;

/// Refused requests that one worker tells the control thread of in a second.
pub const REFUSED_PER_SECOND: u32 = 10;
/// Bytes of a refused request's head that are kept.
pub const REFUSED_HEAD_BYTES: usize = 512;
/// Replies that a core keeps rendered. A core that has sent more different ones begins anew: each costs some hundred
/// bytes, and rendering one takes about a microsecond.
pub const RENDERED_REPLIES: usize = 64;
/// Refused requests that are remembered.
pub const BAD_REQUESTS: usize = 100;

/// Messages that may wait for one worker.
pub const WORKER_MAILBOX: usize = 8192;
/// Messages that may wait for the health thread; further reports are dropped and counted.
pub const HEALTH_MAILBOX: usize = 8192;
/// Access-log lines that may wait in one worker's ring; further ones are dropped and counted.
pub const ACCESS_LOG_LINES: usize = 16_384;
/// Bytes of a request target or field value that an access-log line keeps.
pub const LOGGED_TEXT_BYTES: usize = 1024;
/// Probes that the health thread runs at once, if there are enough descriptors. Each pool has its share.
pub const PROBES: usize = POOLS;
/// Bytes of the name of a service that a probe asks for: so many that their number is one byte in a message.
pub const PROBE_SERVICE_BYTES: usize = 127;
/// Bytes of the text that the body of a probe's answer must contain.
pub const PROBE_PATTERN_BYTES: usize = 256;
/// Bytes at the beginning of the body of a probe's answer that are searched for the text.
pub const PROBE_BODY_BYTES: usize = 32 << 10;
/// Bytes that a probe reads of its answer.
pub const PROBE_ANSWER_BYTES: usize = 64 << 10;
/// Milliseconds between the probes of a backend that is between two states, and the longest wait for a new backend's
/// first one.
pub const PROBE_AGAIN_MILLIS: u64 = 1_000;
/// Percent by which the time between two probes varies to either side, so that probes spread out.
pub const PROBE_JITTER_PERCENT: u64 = 10;
/// How many times the configured time a repeated ejection lasts at most; also how many times it a backend must stay in
/// service until its earlier ejections are forgotten.
pub const EJECT_MULTIPLE: u32 = 10;
/// Milliseconds after which a message that found a full mailbox is posted again.
pub const POST_AGAIN_MILLIS: u64 = 50;
/// Seconds after which the control thread looks around although nothing woke it.
pub const CONTROL_PAUSE_SECS: u64 = 1;
/// Changes of configuration that may wait to be decided, and as many that wait for the workers to follow.
pub const CHANGE_REQUESTS: usize = 64;
/// Seconds for which a piece of work on files may stand still; then the control thread gives it up and refuses the
/// change.
pub const FILE_SECS: u64 = 5;
/// Milliseconds of processor time within `FILE_SECS` that show that a piece of work does not stand still.
pub const FILE_WORKED_MILLIS: u64 = 100;
/// Seconds after which a piece of work on files is given up although it goes on.
pub const FILE_MOST_SECS: u64 = 60;
/// Seconds that the workers have to start, and to begin accepting.
pub const WORKER_START_SECS: u64 = 20;
/// Seconds between two attempts at an operation that palantir itself wants.
pub const OWN_RETRY_SECS: u64 = 1;
/// Seconds after which the log repeats the same reason why such an operation cannot be done.
pub const OWN_TELL_SECS: u64 = 60;
/// Seconds between two looks for backends that have been down for too long.
pub const OUTAGE_LOOK_SECS: u64 = 1;
/// Seconds after the start during which an outage that an earlier process saw is not taken to be over.
pub const OUTAGE_KEPT_SECS: u64 = 300;
/// Milliseconds for the last answers of the management API at the end of the process.
pub const LAST_ANSWERS_MILLIS: u64 = 20;
/// Milliseconds that the end of the process waits for the workers to record the requests that are cut.
pub const CUT_MILLIS: u64 = 500;
/// Milliseconds between two checks whether the workers have done so.
pub const CUT_PAUSE_MILLIS: u64 = 5;
/// Milliseconds that the end of the process waits for the files of Unix sockets to be removed.
pub const SOCKET_FILES_MILLIS: u64 = 500;
/// Symbolic links that are followed to the file that is to be replaced, or to the program that is to be started.
pub const LINKS: usize = 8;
/// Pieces of work that may wait for the thread that works with files: one with a caller that waits for it, and others
/// that drop values.
pub const FILE_WORK: usize = 64;
/// Requests that must have ended before their failures can end a trial.
pub const TRIAL_REQUESTS: u64 = 20;
/// Milliseconds between two looks at what has a condition: a drained backend, a reload on trial.
pub const CONDITION_PAUSE_MILLIS: u64 = 100;
/// Milliseconds between two rounds of writing the access log.
pub const ACCESS_LOG_ROUND_MILLIS: u64 = 25;
/// Milliseconds that the access-log thread sleeps when there is no access log.
pub const ACCESS_LOG_REST_MILLIS: u64 = 1_000;
/// Milliseconds that the access-log thread waits for the reader of a full pipe. After that, lines are lost until the
/// reader reads again.
pub const ACCESS_LOG_WAIT_MILLIS: u64 = 1_000;
/// Milliseconds between two lines of the program's log about lost lines of the access log, and between two checks
/// whether its path names another file.
pub const ACCESS_LOG_TELL_MILLIS: u64 = 1_000;
/// Seconds between two lines of the program's log about an access log that cannot be opened anew for the same reason.
pub const ACCESS_LOG_REFUSAL_SECS: u64 = 60;
/// Milliseconds within which the file of the access log must be open at a start.
pub const ACCESS_LOG_OPEN_MILLIS: u64 = 10_000;
/// Milliseconds within which the file of the access log must be open at a reload. The control thread waits for so long.
pub const ACCESS_LOG_RELOAD_MILLIS: u64 = 800;
/// Threads that may be opening files of access logs at once: a disk that hangs blocks each of them.
pub const ACCESS_LOG_OPENINGS: usize = 4;
/// Milliseconds that the end of the process waits until the access log is written.
pub const ACCESS_LOG_FLUSH_MILLIS: u64 = 3_000;
/// Bytes of access-log lines that are gathered for one write.
pub const ACCESS_LOG_WRITE_BYTES: usize = 64 << 10;
/// Snapshots that no request uses any more, and whose names the access log still keeps: their last lines may be on the
/// way.
pub const LOGGED_SNAPSHOTS: usize = 16;
/// Snapshots that may be in use at once: the one in force, and those of requests, tunnels and connections that began
/// earlier and are still under way. Beyond that number, requests of the oldest snapshots have `shutdown_timeout` to
/// end.
pub const GENERATIONS: usize = 128;
/// Addresses taken from one host name.
pub const ADDRESSES_PER_NAME: usize = 64;
/// Seconds for one look-up of a name; callers then go on without an answer.
pub const RESOLVE_SECS: u64 = 5;
/// Threads that look names up at once. A look-up that does not end keeps its thread, and may keep a descriptor.
pub const LOOKUPS: usize = 32;
/// Threads among `LOOKUPS` that are reserved for names that are new with a change, or whose last look-up succeeded.
pub const LOOKUPS_SPARE: usize = 8;
/// Threads among `LOOKUPS_SPARE` that the names of one change may use.
pub const LOOKUPS_OF_CHANGE: usize = 2;
/// Threads, beyond `LOOKUPS`, that may replace those whose look-ups hang. Each may keep a descriptor, and
/// `RESERVED_DESCRIPTORS` counts these.
pub const LOOKUPS_REPLACED: usize = 32;
/// Threads at once for names whose last look-up failed.
pub const FAILING_LOOKUPS: usize = 16;
/// Seconds after which a change goes on without the missing answers about its new names.
pub const LOOKUP_ANSWER_SECS: u64 = 15;
/// Bytes of the stack of a thread that looks a name up.
pub const LOOKUP_STACK_BYTES: usize = 512 << 10;
/// A name that is due within this fraction (one part in so many) of `resolve_secs` is looked up together with one that
/// is due now.
pub const LOOKUP_SHARE_OF_PAUSE: u32 = 8;
/// The time for which answers of look-ups are collected, so that answers that come together come into force together.
pub const LOOKUP_ANSWERS_TOGETHER: Duration = Duration::from_millis(100);
/// Milliseconds for which a start waits for names without known addresses.
pub const START_RESOLVE_MILLIS: u64 = 1_000;
/// Revisions of the configuration that can be gone back to, the one in force included.
pub const REVISIONS: usize = 32;
/// Largest file read of what the API has said, in bytes.
pub const STATE_BYTES: u64 = 16 << 20;

/// Connections to the management API open at once; further ones wait to be accepted.
pub const ADMIN_CONNECTIONS: usize = 128;
/// Of those, the ones that may follow events at once.
pub const ADMIN_STREAMS: usize = 32;
/// Seconds for the head of a request to the management API, and between two of them on one connection.
pub const ADMIN_HEADER_SECS: u64 = 10;
/// Seconds for the body of such a request.
pub const ADMIN_BODY_SECS: u64 = 10;
/// Bytes of the head of such a request.
pub const ADMIN_HEAD_BYTES: usize = 16 << 10;
/// Bytes of its body.
pub const ADMIN_BODY_BYTES: usize = 1 << 20;
/// Bytes that are read and thrown away of a body that was refused, so that its sender gets to read the answer.
pub const ADMIN_LINGER_BYTES: u64 = 8 << 20;
/// Seconds after which the management API no longer waits for a change to be in force on every core.
pub const ADMIN_CHANGE_SECS: u64 = 75;
/// Seconds that a request for a check of a configuration waits for an earlier check to end, and again for its own
/// check.
pub const CHECK_SECS: u64 = 10;
/// Milliseconds without a sign of life from a worker or the health thread after which palantir reports itself unfit.
pub const UNFIT_MILLIS: u64 = 5_000;
/// Milliseconds after which the health thread gives a sign of life although it has nothing to do.
pub const PULSE_MILLIS: u64 = 1_000;
/// Seconds that running requests may take to finish, at most, after the control thread has panicked.
pub const LAST_DRAIN_SECS: u64 = 10;
/// Seconds within which a client of the management API must take some of what is sent to it.
pub const ADMIN_WRITE_SECS: u64 = 10;
/// Seconds between two lines of the log that say that the management API cannot accept connections.
pub const ADMIN_ACCEPT_TELL_SECS: u64 = 10;
/// Milliseconds for which all clients that ask for the metrics in one format get the same text.
pub const METRICS_AGE_MILLIS: u64 = 1_000;
/// Texts of the metrics that are kept for slow clients. A newer text replaces one that no client is reading any more.
pub const METRICS_TEXTS: usize = 3;
/// Seconds without a read after which a client no longer keeps its text of the metrics.
pub const METRICS_PAUSE_SECS: u64 = 5;
/// Seconds for which a text of the metrics is kept for the clients that read it.
pub const METRICS_READ_SECS: u64 = 60;
/// Bytes of a text of the metrics that are copied for one client at a time.
pub const METRICS_BLOCK_BYTES: usize = 16 << 10;
/// Bytes of a token, at least.
pub const TOKEN_BYTES_LEAST: usize = 12;
/// Bytes of a token, at most.
pub const TOKEN_BYTES: usize = 512;
/// Bytes of a file that holds a token, at most.
pub const TOKEN_FILE_BYTES: u64 = 4_096;

/// Changes of backends' states that the live page shows.
pub const TRANSITIONS: usize = 50;
/// Seconds of the past that the live page's charts show.
pub const HISTORY_SECS: usize = 300;

/// Connections that all test servers together serve at once; further ones wait to be accepted.
pub const TEST_SERVER_CONNECTIONS: usize = 4096;
/// Bytes of a request head that a test server reads.
pub const TEST_SERVER_HEAD_BYTES: usize = 64 << 10;
/// Fields of a request head that a test server reads.
pub const TEST_SERVER_FIELDS: usize = 128;
/// Bytes of a request body that a test server reads.
pub const TEST_SERVER_BODY_BYTES: usize = 8 << 20;
/// Seconds that a test server waits for a client's next bytes.
pub const TEST_SERVER_IDLE_SECS: u64 = 75;
/// Longest answer time that `/slow?ms=` takes, in milliseconds.
pub const TEST_SERVER_SLOW_MILLIS: u64 = 60_000;

/// Bytes of a field that tells a backend who the client is.
pub const IDENTITY_BYTES: usize = 8 << 10;
/// Largest file read that holds certificates, a key, an OCSP response or ticket keys, in bytes.
pub const TLS_FILE_BYTES: u64 = 1 << 20;
/// Certificates of one listener.
pub const CERTIFICATES: usize = 256;
/// Names that a certificate is said to be for.
pub const CERTIFICATE_NAMES: usize = 100;
/// Certificates in one chain.
pub const CHAIN_CERTIFICATES: usize = 10;
/// Days before the end of a certificate from which on palantir warns of it.
pub const EXPIRY_WARNING_DAYS: u64 = 14;
/// Seconds for which a key makes tickets, and for which its tickets are accepted afterwards. A ticket is good for at
/// least this time, and whoever learns a key can read what was sent in twice this time by clients that resumed.
pub const TICKET_KEY_SECS: u64 = 12 * 3_600;
/// Keys whose tickets are accepted: the present one, the one before, and one of a machine whose clock differs.
pub const TICKET_KEYS: usize = 3;
/// Connections to the backends of one pool that can be resumed.
pub const RESUMABLE_BACKENDS: usize = 256;
/// Bytes of a name whose certificate is ordered: it is a file's name too.
pub const AUTOMATIC_NAME_BYTES: usize = 240;
/// Addresses that an authority may write to.
pub const ACME_CONTACTS: usize = 8;
/// Certificates that are being ordered at once; further ones wait.
pub const ACME_ORDERS: usize = 4;
/// Seconds for one order, from the first request to the certificate.
pub const ACME_ORDER_SECS: u64 = 300;
/// Seconds for one request to an authority.
pub const ACME_REQUEST_SECS: u64 = 30;
/// Bytes of an authority's answer that are read.
pub const ACME_ANSWER_BYTES: usize = 256 << 10;
/// Bytes of a challenge's token, which an authority chooses.
pub const ACME_TOKEN_BYTES: usize = 256;
/// Bytes that must be free for a certificate before it is ordered.
pub const ACME_ROOM_BYTES: usize = 16 << 10;
/// Seconds that an order waits for the disk with the folder of `[acme]` before it fails.
pub const ACME_DISK_SECS: u64 = 10;
/// Pieces of work that may wait for the disk with the folder of `[acme]`.
pub const ACME_DISK_WORK: usize = 16;
/// Bytes of a failed order's reason that are logged.
pub const ACME_REASON_BYTES: usize = 512;
/// Seconds after which the certificates on order are looked at although nothing is known to be due: clocks are set.
pub const ACME_PAUSE_SECS: u64 = 60;
/// Seconds by which the validity of a new certificate may begin in the future by this machine's clock.
pub const ACME_CLOCK_SLACK_SECS: i64 = 3_600;
/// Seconds for which no stored certificate is renewed after a new one whose dates contradict this machine's clock: by a
/// wrong clock all certificates seem to be due at once.
pub const ACME_DOUBT_SECS: u64 = 600;
/// Percent of a certificate's lifetime by which a renewal may come before two thirds of that lifetime, so that renewals
/// are spread out.
pub const RENEWAL_JITTER_PERCENT: u64 = 5;
/// Percent by which the pause after a failed order may be shorter.
pub const ORDER_JITTER_PERCENT: u64 = 20;
/// Seconds until an authority that cannot be reached is tried again, the factor by which the pause grows, and the
/// longest pause.
pub const UNREACHABLE_PAUSE_SECS: (u64, u64, u64) = (5, 2, 600);
/// The same for an order that was refused: at most five in the first hour, as many as authorities put up with.
pub const REFUSED_PAUSE_SECS: (u64, u64, u64) = (10, 6, 6 * 3_600);
/// Seconds between two looks at whether a certificate's files have changed.
pub const FILE_WATCH_SECS: u64 = 2;

/// Milliseconds for which the command line waits for a connection to a running palantir.
pub const ADMIN_CONNECT_MILLIS: u64 = 2_000;
/// Seconds for which the command line waits for an answer: an upgrade answers when the new process is ready.
pub const ADMIN_ANSWER_SECS: u64 = 90;
/// Bytes of an answer that the command line reads.
pub const ADMIN_ANSWER_BYTES: usize = 32 << 20;
/// Events of the terminal that may wait in `palantir top`; beyond that their reader waits.
pub const TOP_EVENTS: usize = 16;
/// Seconds that the charts of `palantir top` reach back, one point each.
pub const TOP_HISTORY_SECS: usize = 300;
