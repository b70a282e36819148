//! Bounds of the turns and blocks of a core, and of its clients' connections. They protect clients of one core from
//! each other: one turn is short, and one client takes little.

/// Milliseconds of a tick of the timers: the precision of every timeout. A shorter tick wakes idle cores more often.
pub const TICK_MILLIS: u64 = 100;
/// Buckets of the timer wheel. A deadline further away than all of them is looked at again on the way, so fewer buckets
/// cost time and more of them memory.
pub const WHEEL_BUCKETS: usize = 1024;
/// Bytes of an ordinary block: a head, a small body. Every busy connection has one, so the size decides about memory
/// per connection.
pub const BLOCK_BYTES: usize = 16 << 10;
/// Bytes of a block that relays a large body. A larger block costs fewer system calls and more memory and cache.
pub const RELAY_BLOCK_BYTES: usize = 128 << 10;
/// Bytes of bulk transfers that a core takes in in one turn of its loop: while they are copied, nothing else runs. At
/// least a relay block. The bound protects the latency of small requests.
pub const BULK_BYTES_PER_TURN: usize = 1 << 20;
/// Bytes of the largest body of an answer that is copied behind its head, so that its connection is free before the
/// client has the answer.
pub const WHOLE_BODY_BYTES: u64 = 4 << 10;
/// Free ordinary blocks that a worker keeps for reuse. Fewer of them cost allocations, more of them idle memory.
pub const FREE_BLOCKS: usize = 1024;
/// Free relay blocks that a worker keeps for reuse. Fewer of them cost allocations, more of them idle memory.
pub const FREE_RELAY_BLOCKS: usize = 64;
/// Requests of one connection that are served without a pause for others, when they are pipelined. A larger number is
/// unfair to the other clients of the core.
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
/// Bytes that are thrown away of those that a client has sent before it is turned away. Without a bound a client could
/// keep a worker reading.
pub const TURNED_AWAY_BYTES: u64 = 1 << 20;
/// Clients that are turned away at once and listened to after that; further ones are closed as soon as they are told.
/// The bound protects descriptors when they are scarce.
pub const TURNED_AWAY_AT_ONCE: usize = 32;
/// Milliseconds between two looks at how much of an answer the client has received while a send waits for it.
pub const MIN_RATE_LOOK_MILLIS: u64 = 1_000;
/// The largest credit of a client that was faster than a listener's least rate, as a multiple of the grace. A larger
/// credit lets a client that was fast be slow for longer.
pub const MIN_RATE_SAVED: i64 = 3;
/// Milliseconds without a request after which a connection gives back all but its small block. A longer time costs
/// memory per idle connection, a shorter one allocations of clients that pause.
pub const DEMOTE_MILLIS: u64 = 300;
/// Entries of an io_uring submission queue; the completion queue has four times as many. Each entry costs locked memory
/// of the kernel.
pub const RING_ENTRIES: u32 = 4096;
/// Attempts of a worker to make its ring while the kernel has no memory for the ring; then the worker ends, and the
/// process with it.
pub const RING_ATTEMPTS: usize = 50;
/// Milliseconds between two attempts of a worker to make its ring.
pub const RING_PAUSE_MILLIS: u64 = 100;
/// Milliseconds for which accepting pauses when descriptors or memory run out. Without a pause a worker would spin.
pub const ACCEPT_PAUSE_MILLIS: u64 = 100;
/// Idle client connections that a worker closes at one tick while memory is full. The bound keeps the turn short.
pub const IDLE_CLOSED_AT_ONCE: usize = 64;
/// Seconds between two log lines of one worker which say that clients wait at a bound.
pub const BOUND_TELL_SECS: u32 = 10;
/// Milliseconds after which a client that waits for a place has another idle connection closed.
pub const ASK_AGAIN_MILLIS: u64 = 1_000;
/// Messages that may wait for one worker. A sender that finds the mailbox full posts again later.
pub const WORKER_MAILBOX: usize = 8192;
/// Milliseconds after which a message that found a full mailbox is posted again.
pub const POST_AGAIN_MILLIS: u64 = 50;

const _: () = assert!(BULK_BYTES_PER_TURN >= RELAY_BLOCK_BYTES);
const _: () = assert!(BLOCK_BYTES < RELAY_BLOCK_BYTES);
const _: () = assert!(WHOLE_BODY_BYTES < BLOCK_BYTES as u64);
const _: () = assert!(super::CHUNK_FRAMING_BYTES < BLOCK_BYTES);
const _: () = assert!(super::IDENTITY_BYTES < BLOCK_BYTES);
const _: () = assert!(LINGER_SILENCE_SECS <= LINGER_MOST_SECS);
const _: () = assert!(LINGER_MILLIS <= LINGER_MOST_SECS * 1_000);
const _: () = assert!(RING_ENTRIES.is_power_of_two());
const _: () = assert!(DEMOTE_MILLIS >= TICK_MILLIS && ACCEPT_PAUSE_MILLIS >= TICK_MILLIS);
const _: () = assert!(super::default::MIN_RATE_BYTES <= super::MIN_RATE_BYTES);
