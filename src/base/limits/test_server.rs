//! Bounds of the test servers that the program itself starts. They protect the process, which a proxy shares with them.

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

const _: () = assert!(TEST_SERVER_HEAD_BYTES < TEST_SERVER_BODY_BYTES);
