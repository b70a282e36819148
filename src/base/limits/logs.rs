//! Bounds of the logs. A file or a pipe that takes nothing costs lines, which are counted, and never a request.

/// Failed exchanges that one worker logs in a second; further ones are counted in one line. The bound protects the log
/// when a backend fails all its requests.
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
/// Refused requests that the management API remembers.
pub const BAD_REQUESTS: usize = 100;

/// Access-log lines that may wait in one worker's ring; further ones are dropped and counted. A longer ring survives
/// longer pauses of the disk and costs memory per worker.
pub const ACCESS_LOG_LINES: usize = 16_384;
/// Bytes of a request target or field value that an access-log line keeps.
pub const LOGGED_TEXT_BYTES: usize = 1024;
/// Milliseconds between two rounds of writing the access log. A longer time makes fewer, larger writes.
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
/// Snapshots that no request uses any more, and whose names the access log still keeps, because their last lines may be
/// on the way.
pub const LOGGED_SNAPSHOTS: usize = 16;

const _: () = assert!(LOG_LINE_BYTES < LOG_QUEUE_BYTES);
const _: () = assert!(LOG_RETRY_MILLIS < LOG_FLUSH_MILLIS);
const _: () = assert!(ACCESS_LOG_RELOAD_MILLIS < ACCESS_LOG_OPEN_MILLIS);
const _: () = assert!(ACCESS_LOG_ROUND_MILLIS < ACCESS_LOG_FLUSH_MILLIS);
const _: () = assert!(REFUSED_HEAD_BYTES <= super::HEAD_BYTES as usize);
