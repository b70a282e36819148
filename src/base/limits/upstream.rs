//! Bounds of connections to backends and of attempts at them. They protect backends from a proxy that asks too often,
//! and clients from a backend that is of no use.

use super::RETRIES;

/// Times that a request is sent again because its stream was refused before anything of it was processed. The request
/// costs the backend nothing, so the bound only ends what would go on forever.
pub const UNPROCESSED_ATTEMPTS: u8 = 4;
/// Times that a request loses the place of a connection that it was about to open to another core, before the request
/// is refused.
pub const LOST_RACES: u8 = 64;
/// Most rounds of attempts that a request makes in all; more of them would be a loop without an end.
pub const FORWARD_ROUNDS: u32 = UNPROCESSED_ATTEMPTS as u32
    + 1
    + RETRIES as u32
    + LEFT_BACKENDS as u32
    + LOST_RACES as u32
    + UNCONNECTED_ATTEMPTS as u32;
/// Milliseconds for which a backend's kernel may leave what was sent unacknowledged, or its window shut, before the
/// connection is given up (`TCP_USER_TIMEOUT`). A shorter time would end connections to backends that are busy.
pub const UPSTREAM_UNACKNOWLEDGED_MILLIS: u32 = 120_000;
/// Idle connections that one core keeps to one backend whatever the load was and however many it keeps to others, if
/// `idle_connections` allows as many. The number protects the first requests after a pause from handshakes.
pub const IDLE_CONNECTIONS_LEAST: u32 = 8;
/// Idle connections that one core keeps to all backends together, beyond [`IDLE_CONNECTIONS_LEAST`] to each. The bound
/// protects descriptors.
pub const CORE_IDLE_CONNECTIONS: usize = 16_384;
/// Milliseconds for which a core remembers, once or twice, how many connections to a backend were in use at the same
/// time. As many are worth keeping; a shorter time costs handshakes at the next peak, a longer one idle descriptors.
pub const IDLE_PEAK_MILLIS: u64 = 30_000;
/// The part of the idle connections beyond the worthwhile number that a core closes at one tick: one in so many. A
/// smaller number would close them in a burst.
pub const IDLE_CLOSING_TICKS: usize = 32;
/// Requests per core and pool that may wait for a connection to one of its backends, or for a stream. Further requests
/// are refused at once, because their turn would come too late.
pub const WAITING_REQUESTS: usize = 1024;
/// Microseconds by which a request on another core must have waited longer to get a connection that became free on this
/// core. The connection is closed for it, and the other core opens another one, so a smaller number costs handshakes.
pub const UNFAIR_WAIT_MICROS: u64 = 20_000;
/// Milliseconds below which the age of an idle connection at its close teaches nothing about the backend's time-out:
/// backends that restart close young connections, too.
pub const IDLE_ESTIMATE_MIN_MILLIS: u64 = 900;
/// Milliseconds after which an estimated idle timeout is forgotten, so that a change of the backend is noticed.
pub const IDLE_ESTIMATE_KEPT_MILLIS: u64 = 600_000;
/// Milliseconds after which an idle time-out is forgotten that one close alone has taught, unless twice that time-out
/// is longer.
pub const IDLE_ESTIMATE_ONCE_MILLIS: u64 = 10_000;
/// Milliseconds that must lie between two closes for the second to confirm what the first taught: a backend that is
/// restarted closes all that is idle at once.
pub const IDLE_ESTIMATE_APART_MILLIS: u64 = 1_000;
/// Milliseconds for which a core sends no requests to a backend that could not be connected to, the first time. The
/// rest protects clients from waiting for a backend that is gone.
pub const REST_MILLIS: u64 = 1_000;
/// The most milliseconds for which a core sends no requests to such a backend: each further rest is twice as long.
pub const REST_MILLIS_MOST: u64 = 60_000;
/// Milliseconds that a backend must have been of use, and at least twice its latest rest, for its next rest to be a
/// first one again.
pub const REST_MEMORY_MILLIS: u64 = 10_000;
/// Milliseconds that a connection may take which is to show whether a backend may end its rest. No request waits for
/// the connection, so the time may be long.
pub const TRIAL_MILLIS: u64 = 10_000;
/// Milliseconds that a backend has behind a TLS handshake to refuse this process before the connection counts as made:
/// in TLS 1.3 a refused certificate is only told after the handshake.
pub const TRIAL_VERDICT_MILLIS: u64 = 1_000;
/// Milliseconds until a backend that comes back gets its whole share of the requests: as many as it rested, and at most
/// so many. The time protects backends whose caches are empty.
pub const SLOW_START_MILLIS_MOST: u64 = 10_000;
/// The whole share of a backend, in the steps in which the share grows after a rest.
pub const WHOLE_SHARE: u8 = 16;
/// Backends without a connection that a request tries before it fails. More of them make a client wait for longer.
pub const UNCONNECTED_ATTEMPTS: u8 = 8;
/// Backends among them that may let the time for a connection pass. Each of them costs the client `timeouts.connect`.
pub const CONNECT_TIMEOUTS: u8 = 3;
/// Milliseconds for which a name's address is connected to before the next one is, too (RFC 8305 section 5).
pub const NEXT_ADDRESS_MILLIS: u64 = 250;
/// Connections that a client's connection must still be allowed before a name's other addresses are connected to. The
/// number protects the descriptors of other clients.
pub const NEXT_ADDRESS_SPARE: usize = 8;
/// Percent of recent requests that may be retried. The bound protects backends in trouble from twice the load.
pub const RETRY_PERCENT: u32 = 20;
/// Retries per second and pool that are always possible, all cores together, so that a pool with few requests has
/// retries at all.
pub const RETRY_FLOOR_PER_SECOND: u32 = 3;
/// Retries per core and pool that can be saved up for the moment when a backend fails: the share of its last 500
/// requests.
pub const RETRY_BURST: u32 = 100;
/// Backends that one request may leave for another one because they have become unhealthy.
pub const LEFT_BACKENDS: u8 = 3;
/// Milliseconds for which a request waits for its answer before its backend is to be probed soon, unless the backend
/// begins another answer meanwhile. A smaller number finds hung backends sooner and costs probes of slow ones.
pub const SUSPECT_MILLIS: u64 = 1_000;
/// Milliseconds between two searches for backends in which requests wait for long.
pub const SUSPECT_LOOK_MILLIS: u64 = 500;
/// Counts of requests under way that are read anew for every pick that compares them. Each count lies in a cache line
/// of another core, so more of them make a pick dearer.
pub const IN_FLIGHT_COUNTERS: usize = 64;
/// Microseconds after which counts of requests under way are read anew when a pick compares those of all backends. A
/// longer time makes picks cheaper and less exact.
pub const IN_FLIGHT_AGE_MICROS: u64 = 200;
/// Microseconds after which a latency has lost all but 37 percent of its weight in the average. A shorter time follows
/// a backend faster and is misled by single requests.
pub const LATENCY_DECAY_MICROS: u64 = 10_000_000;

const _: () = assert!(CONNECT_TIMEOUTS <= UNCONNECTED_ATTEMPTS);
const _: () = assert!(REST_MILLIS < REST_MILLIS_MOST);
const _: () = assert!(IDLE_ESTIMATE_ONCE_MILLIS < IDLE_ESTIMATE_KEPT_MILLIS);
const _: () = assert!(IDLE_ESTIMATE_APART_MILLIS < IDLE_ESTIMATE_ONCE_MILLIS);
const _: () = assert!(SUSPECT_LOOK_MILLIS <= SUSPECT_MILLIS);
const _: () = assert!(IDLE_CONNECTIONS_LEAST <= super::IDLE_CONNECTIONS);
const _: () = assert!(RETRY_PERCENT <= 100 && WHOLE_SHARE > 0);
const _: () = assert!(WHOLE_SHARE as u32 * super::WEIGHT as u32 <= u16::MAX as u32);
