//! Bounds of the management API, the live page and the commands that speak to them. They protect the control thread
//! from clients that are slow, many or large, and the command line from an answer that never comes.

/// Connections to the management API that are open at once; further ones wait to be accepted.
pub const ADMIN_CONNECTIONS: usize = 128;
/// Connections among [`ADMIN_CONNECTIONS`] that may follow events at once, so that the others stay free for requests.
pub const ADMIN_STREAMS: usize = 32;
/// Seconds for the head of a request to the management API, and between two requests on one connection.
pub const ADMIN_HEADER_SECS: u64 = 10;
/// Seconds for the body of a request to the management API.
pub const ADMIN_BODY_SECS: u64 = 10;
/// Bytes of the head of a request to the management API.
pub const ADMIN_HEAD_BYTES: usize = 16 << 10;
/// Bytes of the body of a request to the management API.
pub const ADMIN_BODY_BYTES: usize = 1 << 20;
/// Bytes that are read and thrown away of a body that was refused, so that its sender gets to read the answer.
pub const ADMIN_LINGER_BYTES: u64 = 8 << 20;
/// Seconds after which the management API no longer waits for a change to be in force on every core.
pub const ADMIN_CHANGE_SECS: u64 = 75;
/// Seconds within which a client of the management API must take some of what is sent to it.
pub const ADMIN_WRITE_SECS: u64 = 10;
/// Seconds between two lines of the log that say that the management API cannot accept connections.
pub const ADMIN_ACCEPT_TELL_SECS: u64 = 10;
/// Seconds that a request for a check of a configuration waits for an earlier check to end, and again for its own
/// check.
pub const CHECK_SECS: u64 = 10;
/// Milliseconds for which all clients that ask for the metrics in one format get the same text. A shorter time costs
/// the control thread more work when many ask.
pub const METRICS_AGE_MILLIS: u64 = 1_000;
/// Texts of the metrics that are kept for slow clients. A newer text replaces one that no client is reading any more.
pub const METRICS_TEXTS: usize = 3;
/// Seconds without a read after which a client no longer keeps its text of the metrics.
pub const METRICS_PAUSE_SECS: u64 = 5;
/// Seconds for which a text of the metrics is kept for the clients that read it.
pub const METRICS_READ_SECS: u64 = 60;
/// Bytes of a text of the metrics that are copied for one client at a time.
pub const METRICS_BLOCK_BYTES: usize = 16 << 10;
/// Bytes of a token, at least. A shorter token could be guessed.
pub const TOKEN_BYTES_LEAST: usize = 12;
/// Bytes of a token, at most.
pub const TOKEN_BYTES: usize = 512;
/// Bytes of a file that holds a token, at most.
pub const TOKEN_FILE_BYTES: u64 = 4_096;

/// Changes of backends' states that the live page shows.
pub const TRANSITIONS: usize = 50;
/// Seconds of the past that the live page's charts show. Each second is kept in memory for every pool.
pub const HISTORY_SECS: usize = 300;

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

const _: () = assert!(ADMIN_STREAMS < ADMIN_CONNECTIONS);
const _: () = assert!(ADMIN_CHANGE_SECS < ADMIN_ANSWER_SECS);
const _: () = assert!(super::FILE_MOST_SECS < ADMIN_CHANGE_SECS);
const _: () = assert!(TOKEN_BYTES_LEAST < TOKEN_BYTES && TOKEN_BYTES as u64 <= TOKEN_FILE_BYTES);
const _: () = assert!(super::TOKEN_BYTES < ADMIN_HEAD_BYTES);
const _: () = assert!(METRICS_PAUSE_SECS < METRICS_READ_SECS);
const _: () = assert!(super::UPGRADE_SECS * 2 < ADMIN_ANSWER_SECS);
