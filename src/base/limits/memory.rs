//! Bounds of the process's memory. They protect the process from being killed, and clients that read from clients that
//! do not: when memory runs short, stalled exchanges end before anybody else suffers.

/// Bytes of memory that must be free when a process is ready, before it serves anybody.
pub const HEADROOM_BYTES: usize = 64 << 20;
/// Bytes by which the allocations of a worker may differ from what the process knows of them. A smaller step makes the
/// shared count exact and its cache line busy.
pub const MEMORY_STEP_BYTES: usize = 64 << 10;
/// Bytes of resident memory by which what nobody allocates may grow after the start: more of the program's own pages
/// and stacks, and what the allocator needs besides.
pub const MEMORY_RESERVE_BYTES: usize = 8 << 20;
/// Bytes that are allocated for an exchange, as a rule at most, while nobody reads its answer, or its request.
/// Estimates of how many exchanges fit stand on this number.
pub const MEMORY_STREAM_BYTES: usize = 48 << 10;
/// The part of the free memory that one connection of HTTP/2 may take up with its streams until memory is full: one in
/// so many. A smaller number lets fewer clients fill memory.
pub const MEMORY_SHARES: usize = 64;
/// Percent of `limits.memory` from which on memory is tight: windows do not grow, relays use ordinary blocks, and
/// no free block is kept.
pub const MEMORY_TIGHT_PERCENT: usize = 75;
/// Percent of `limits.memory` from which on memory is full: bodies are not read on, nobody is accepted, and
/// exchanges that are stalled end.
pub const MEMORY_FULL_PERCENT: usize = 85;
/// Percent of `limits.memory` down to which stalled exchanges end once memory was full. A smaller number ends
/// more of them at once, and less often.
pub const MEMORY_RELIEVED_PERCENT: usize = 80;
/// Milliseconds without any progress after which a send counts as stalled while memory is full: the kernel tells of
/// progress when a third of its buffer has gone out, which takes a slow client a while.
pub const STALLED_MILLIS: u64 = 2_000;
/// Milliseconds without any progress after which a send counts as stalled while memory is exhausted.
pub const STALLED_EXHAUSTED_MILLIS: u64 = 200;
/// Connections that a worker may accept in one tick however little memory is free, so that a client that cannot be
/// served is told so.
pub const MEMORY_ACCEPTS_LEAST: usize = 2;
/// Bytes of memory that a worker needs before it serves anybody, about. The number bounds the workers of a small
/// machine.
pub const WORKER_MEMORY_BYTES: u64 = 4 << 20;
/// Relays that a core lets go on at least in one tick while memory is full, so that no body stands still forever.
pub const MEMORY_RELAYS_LEAST: usize = 4;
/// Milliseconds for which a request waits to begin while memory is exhausted, before the request is refused.
pub const MEMORY_WAIT_MILLIS: u64 = 2_000;
/// Milliseconds without an exchange after which a worker returns memory to the system.
pub const PURGE_IDLE_MILLIS: u64 = 1_000;
/// Bytes that a worker must have freed since it last returned memory to the system, for another return to be worth it.
pub const PURGE_BYTES: usize = 256 << 10;
/// Bytes that a worker must have freed to return memory although it has exchanges, which wait for some milliseconds.
pub const PURGE_BUSY_BYTES: usize = 64 << 20;
/// Milliseconds between two returns of memory by one worker because memory is short.
pub const PURGE_SHORT_MILLIS: u64 = 200;
/// Milliseconds between two returns of memory by one worker although the worker has exchanges.
pub const PURGE_BUSY_MILLIS: u64 = 10_000;
/// Percent of the memory that this process may have which the process takes as its bound where the configuration says
/// nothing: the kernel needs some for sockets, and others run beside it.
pub const MEMORY_PERCENT: u64 = 75;

const _: () = assert!(MEMORY_TIGHT_PERCENT < MEMORY_RELIEVED_PERCENT);
const _: () = assert!(MEMORY_RELIEVED_PERCENT < MEMORY_FULL_PERCENT && MEMORY_FULL_PERCENT < 100);
const _: () = assert!(STALLED_EXHAUSTED_MILLIS < STALLED_MILLIS);
const _: () = assert!(PURGE_BYTES < PURGE_BUSY_BYTES && PURGE_SHORT_MILLIS < PURGE_BUSY_MILLIS);
const _: () = assert!(MEMORY_PERCENT <= 100);
const _: () = assert!(super::BLOCK_BYTES < MEMORY_STREAM_BYTES);
const _: () = assert!(super::MEMORY_BYTES_LEAST >= WORKER_MEMORY_BYTES);
