//! What one HTTP/2 connection may do how often before it is an attack.

/// At once, and per minute: streams reset by the peer, streams reset by us, SETTINGS, PING, empty DATA,
/// WINDOW_UPDATE, priorities, unknown frames.
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
/// How many more of them one more request allows, in the same order.
pub const PER_HEAD: [u64; 8] = [0, 0, 4, 16, 16, 8, 8, 32];
/// The most of a kind that work can have allowed in advance: as many updates as a client sends at once that has
/// read all that its kernel holds.
pub const EARNED_MOST: u64 = 1 << 16;
/// Bytes of DATA sent for which one more WINDOW_UPDATE is allowed, besides two for each frame that no window cut
/// short.
pub const BYTES_PER_WINDOW_UPDATE: u64 = 1 << 10;
