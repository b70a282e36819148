//! Bounds of HTTP/2, on either side. They protect a worker from peers that ask for much at little cost (streams,
//! windows, compressed heads), and a connection's other streams from one greedy stream.

/// Bytes of an HPACK table by its own count, in each direction: the size that holds before any SETTINGS (RFC 9113
/// section 6.5.2). A larger table saves bytes of heads and costs memory on every connection.
pub const H2_TABLE_BYTES: usize = 4096;
/// Number of times its limit that a field section may come to when it is decoded before the connection ends. A section
/// that exceeds its limit by less is refused on its stream alone.
pub const H2_BOMB_MULTIPLE: usize = 16;
/// Bytes of a frame's payload that we take: the size that holds before any SETTINGS (RFC 9113 section 4.2). Larger
/// frames would let one stream hold the connection for longer.
pub const H2_FRAME_BYTES: usize = 16_384;
/// Hard maximum of streams that one client connection may have open at once. Each stream costs memory for an exchange,
/// so one client can hold so many times the memory of a connection of HTTP/1.
pub const H2_STREAMS: u32 = 1024;
/// CONTINUATION frames of one field section. The bound protects a worker's time from a section in tiny pieces.
pub const H2_CONTINUATIONS: u32 = 16;
/// Number of times the limit of a decoded field section that its encoded pieces may come to.
pub const H2_SECTION_MULTIPLE: usize = 8;
/// Ended streams whose kind of end a connection remembers, counted back from the newest. Frames on older streams are
/// taken for late ones.
pub const H2_ENDED_STREAMS: u32 = 512;
/// Bytes of output at which no more DATA is taken until some is sent. A larger number costs memory on every busy
/// connection and makes urgent streams wait for longer.
pub const H2_OUTPUT_BYTES: usize = 64 << 10;
/// Bytes that a stream which shares its urgency with others sends in one turn. A smaller number is fairer and costs
/// more frame headers.
pub const H2_TURN_BYTES: usize = 16 << 10;
/// Answers to PING, SETTINGS and the like that may wait in the output. The bound protects memory from a peer that asks
/// without reading.
pub const H2_UNREAD_REPLIES: u32 = 1024;
/// Milliseconds for the acknowledgement of our SETTINGS; then the connection ends with SETTINGS_TIMEOUT.
pub const H2_SETTINGS_MILLIS: u64 = 10_000;
/// Milliseconds between announcing that a connection ends and refusing new streams, if the peer does not answer sooner.
/// The time protects requests that were under way when the end was announced (RFC 9113 section 6.8).
pub const H2_DRAIN_MILLIS: u64 = 1_000;
/// Bytes of memory for a decoded section that a connection keeps for the next one. A larger memory is given back.
pub const H2_KEPT_HEAD_BYTES: usize = 8 << 10;
/// Heads whose memory a connection keeps for the next ones. Fewer of them cost allocations on busy connections.
pub const H2_FREE_HEADS: usize = 64;
/// Connections to one backend that speaks HTTP/2, per core. The bound protects the backend's descriptors.
pub const H2_UPSTREAM_CONNECTIONS: usize = 64;
/// Streams on a connection to a backend beyond which the core opens another one: one connection is one congestion
/// window, and its streams wait for each other's lost packets.
pub const H2_UPSTREAM_STREAMS: usize = 100;
/// Bytes of a response that a backend may send on a new stream before the client has taken any. So much may lie in
/// memory for each stream of a client that does not read.
pub const H2_UPSTREAM_STREAM_WINDOW: u32 = 16 << 10;
/// Bytes to which the window of a stream grows, on either side, while its bytes are taken faster than they come. The
/// number bounds the rate of a stream over a long way: window divided by round-trip time.
pub const H2_WIDEST_STREAM_WINDOW: u32 = 256 << 10;
/// Milliseconds between two looks at what is due on a busy connection. Deadlines of a connection are as precise as
/// that.
pub const H2_CHECK_MILLIS: u64 = 1_000;
/// Milliseconds without a byte from a backend whose streams are open, after which the backend is asked for a sign of
/// life by PING.
pub const H2_SILENCE_MILLIS: u64 = 10_000;
/// Milliseconds that a backend has to send something after such a PING before its connection counts as lost.
pub const H2_PONG_MILLIS: u64 = 5_000;
/// Number of parts of the mean of all streams that one stream must have for a fair share: a stream of HTTP/2 has a fair
/// share of the bytes that its client sends if it has at least the mean of all streams divided by this number. The
/// bound protects streams whose client is slow only because other streams are fast.
pub const FAIR_SHARE_PARTS: u64 = 4;

const _: () = assert!(super::default::H2_STREAMS <= H2_STREAMS);
const _: () = assert!(H2_TURN_BYTES <= H2_FRAME_BYTES && H2_FRAME_BYTES <= H2_OUTPUT_BYTES);
const _: () = assert!(H2_UPSTREAM_STREAM_WINDOW <= H2_WIDEST_STREAM_WINDOW);
const _: () = assert!(H2_WIDEST_STREAM_WINDOW < 1 << 31); // RFC 9113 section 6.9.1.
const _: () = assert!(H2_ENDED_STREAMS.is_multiple_of(64));
const _: () = assert!(super::default::H2_CONNECTION_WINDOW >= 65_535);
