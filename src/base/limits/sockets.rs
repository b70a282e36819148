//! Bounds of listening sockets, of descriptors, and of the hand-over of sockets to the next process. They protect the
//! process from running out of descriptors, and clients from being lost between two processes.

use super::{LISTENERS, WORKERS};

/// Length of a listening socket's queue. A longer queue survives longer bursts; the kernel cuts it to `somaxconn`.
pub const BACKLOG: i32 = 4096;
/// Milliseconds for which an address that is in use is waited for at the start: an earlier process may just be ending.
pub const BIND_WAIT_MILLIS: u64 = 2_000;
/// Milliseconds for which a reload waits until its new addresses are free. Longer than [`LEFTOVER_MILLIS`], for which a
/// removed listener still serves the clients in its queue; shorter than `FILE_SECS`, because the change waits
/// meanwhile.
pub const REBIND_WAIT_MILLIS: u64 = 2_500;
/// Milliseconds between two attempts to bind an address that is in use.
pub const BIND_PAUSE_MILLIS: u64 = 20;
/// Milliseconds for which a new process still turns clients away on addresses that its configuration lacks: clients
/// that connected there before the old process let go of the addresses.
pub const LEFTOVER_MILLIS: u64 = 1_000;
/// Milliseconds for which a process goes on to turn such clients away where no descriptor is free to tell them.
pub const LEFTOVER_EXHAUSTED_MILLIS: u64 = 30_000;
/// Listening sockets that a service manager may pass.
pub const ACTIVATED_SOCKETS: usize = 1024;

/// Descriptors kept aside for files, pipes, and what the threads besides the workers need. Fewer of them would let
/// clients keep a reload from opening its files.
pub const RESERVED_DESCRIPTORS: usize = 64;
/// Descriptors that a worker needs besides its sockets: its rings, timers and events.
pub const WORKER_DESCRIPTORS: usize = 8;
/// Sockets that the workers may have at least, however few descriptors there are.
pub const SOCKETS_LEAST: usize = 8;
/// The part of the workers' sockets that clients leave to backends, and backends to clients: one in so many. Without
/// it one side could take all descriptors and make the other, and so itself, wait.
pub const KIND_RESERVE: usize = 4;
/// The part of all descriptors that probes, and as many that connections to the management API, may have: one in so
/// many, at least [`SMALL_SHARE_LEAST`], at most `PROBES` and `ADMIN_CONNECTIONS`.
pub const SMALL_SHARE: usize = 16;
/// The least number of descriptors that probes, and as many that connections to the management API, may have.
pub const SMALL_SHARE_LEAST: usize = 8;
/// The part of all descriptors that the connections of the test servers may have: one in so many.
pub const TEST_SERVER_PART: usize = 4;
/// The part of the connections to backends that could still be opened which one client's connection may have for its
/// streams: one in so many, and one always. The bound protects clients from one that opens many streams.
pub const HELD_PART: usize = 4;
/// The part of all connections to backends below which those that may still be opened are few: one in so many. A core
/// then closes idle connections.
pub const FEW_LEFT: usize = 16;
/// The part of the client connections of all listeners that the listeners share out in advance: one in so many. The
/// others are for the clients that come first.
pub const LISTENER_PART: usize = 2;
/// The number of clients that may be connected at once below which palantir warns of a bound that no setting names.
pub const FEW_CLIENTS: usize = 4096;

/// Seconds that a new process has, at an upgrade, to say that it is ready. After that the old process goes on alone.
pub const UPGRADE_SECS: u64 = 30;
/// Seconds for which a process that ends waits for the end of a new process that it was just starting.
pub const UPGRADE_END_SECS: u64 = 10;
/// Milliseconds between two checks whether that new process has ended.
pub const UPGRADE_END_PAUSE_MILLIS: u64 = 20;
/// Seconds that the old process has after an upgrade for requests that are still under way: longer than after a stop,
/// because nobody waits for the old process to end.
pub const RETIRE_SECS: u64 = 3_600;
/// Descriptors in one message of a hand-over; the kernel takes 253 (`SCM_MAX_FD`).
pub const HANDOVER_DESCRIPTORS: usize = 64;
/// Bytes of one message of a hand-over: the longest addresses of as many descriptors, or the longest reason.
pub const HANDOVER_BYTES: usize = 16 << 10;
/// Bytes of one named message to the next process. A process reads no more of a message, and ignores a longer one.
pub const HANDOVER_BLOB_BYTES: u64 = 16 << 20;
/// Named messages to the next process. A process ignores each that comes after so many.
pub const HANDOVER_BLOBS: usize = 16;
/// Bytes of all named messages to the next process together. A process ignores each message that would exceed them, so
/// that an old process cannot fill the memory of a new one.
pub const HANDOVER_ALL_BLOBS_BYTES: u64 = 4 * HANDOVER_BLOB_BYTES;
/// Messages of every form that a process takes at an upgrade; with more, the upgrade fails.
pub const HANDOVER_MESSAGES: usize = HANDOVER_SOCKETS + 4 * HANDOVER_BLOBS;
/// Listening sockets in one hand-over: every address on every worker, and the test servers and the management API.
pub const HANDOVER_SOCKETS: usize = LISTENERS * WORKERS + super::TEST_SERVERS + 1;
/// Milliseconds for which an upgrade waits until the health thread has said what it knows of the backends. After that
/// the new process begins as if nothing were known.
pub const HEALTH_REPORT_MILLIS: u64 = 1_000;
/// Milliseconds for which a new process waits, before it accepts, until the workers have been told what the old process
/// knew of the backends. After that it accepts all the same.
pub const HEALTH_RESUME_MILLIS: u64 = 2_000;

const _: () = assert!(LEFTOVER_MILLIS < REBIND_WAIT_MILLIS);
const _: () = assert!(REBIND_WAIT_MILLIS < super::FILE_SECS * 1_000);
const _: () = assert!(BIND_PAUSE_MILLIS < BIND_WAIT_MILLIS);
const _: () = assert!(LEFTOVER_MILLIS < LEFTOVER_EXHAUSTED_MILLIS);
const _: () = assert!(HANDOVER_DESCRIPTORS <= 253);
const _: () = assert!(HANDOVER_BLOB_BYTES < HANDOVER_ALL_BLOBS_BYTES);
const _: () = assert!(HANDOVER_DESCRIPTORS * (super::UNIX_PATH_BYTES + 20) <= HANDOVER_BYTES);
const _: () = assert!(super::LOOKUPS_REPLACED + super::DISK_DESCRIPTORS < RESERVED_DESCRIPTORS);
const _: () = assert!(HEALTH_REPORT_MILLIS + HEALTH_RESUME_MILLIS < UPGRADE_SECS * 1_000);
