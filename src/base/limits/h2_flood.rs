//! How often one HTTP/2 connection may use each kind of frame before the use counts as an attack.

/// For each kind, the number that is allowed at once and the number per minute: streams reset by the peer, streams
/// reset by palantir, SETTINGS, PING, empty DATA, WINDOW_UPDATE, priorities, unknown frames.
pub const BURST_AND_PER_MINUTE: [(u32, u32); 8] = [
    (200, 1200),
    (100, 600),
    (128, 300),
    (512, 3000),
    (256, 1200),
    (512, 6000),
    (256, 1200),
    (1024, 6000),
];
/// How many more frames of each kind one more request allows, in the same order.
pub const PER_HEAD: [u64; 8] = [0, 0, 4, 16, 16, 8, 8, 32];
/// The most frames of a kind that earlier work can have allowed in advance. A client that reads everything that its
/// kernel holds sends about as many updates at once.
pub const EARNED_MOST: u64 = 1 << 16;
/// Bytes of DATA sent for which one more WINDOW_UPDATE is allowed. Two more are allowed for each frame that no window
/// cut short.
pub const BYTES_PER_WINDOW_UPDATE: u64 = 1 << 10;
