//! Bounds of messages of HTTP/1, and of heads in general. They protect a worker's memory and time from clients and
//! backends that send more than an honest peer has to say.

/// Bytes of the smallest `limits.request_head_bytes`: with fewer, no ordinary request would fit.
pub const HEAD_BYTES_LEAST: u32 = 256;
/// Bytes of the largest `limits.request_head_bytes`. A worker may hold so much for each client whose head is
/// incomplete.
pub const HEAD_BYTES: u32 = 256 << 10;
/// Hard maximum of `limits.request_headers`: the size of the array of fields that one parse fills, on the stack. A
/// larger array costs stack in every worker.
pub const HEAD_FIELDS: usize = 256;
/// Bytes of empty lines before a request line. A connection on which more of them come is closed, because they would
/// keep a worker busy without a request.
pub const EMPTY_LINE_BYTES: usize = 256;
/// Bytes of a method; the longest registered one has 17. A longer method is one that nobody implements, and
/// is refused (RFC 9112 section 3).
pub const METHOD_BYTES: usize = 64;
/// Bytes of the protocol that an extended CONNECT asks for; the registered ones have at most 15. A longer name is
/// refused.
pub const PROTOCOL_BYTES: usize = 64;
/// Bytes of `Accept` that are looked at to find out whether our own answers are to be JSON. The bound keeps the cost of
/// an error small.
pub const ACCEPT_BYTES: usize = 512;
/// Options of all `Connection` fields of a message together. Each option may name a field, which is then looked for, so
/// the cost is the product of options and fields.
pub const CONNECTION_OPTIONS: usize = 64;
/// Empty lines that may stand before the head of a backend's answer. No reader takes empty lines for a part of the
/// head, and a few old servers send one.
pub const EMPTY_LINES_BEFORE_ANSWER: usize = 4;
/// Protocols that one `Upgrade` may offer. A request with more of them is refused.
pub const UPGRADE_PROTOCOLS: usize = 16;
/// Bytes of all `Priority` fields of a head together. Longer fields are ignored, so that they cost no time.
pub const PRIORITY_BYTES: usize = 256;
/// Bytes that a backend may use for one response head. A worker may hold so much for each exchange whose answer is
/// beginning.
pub const RESPONSE_HEAD_BYTES: u32 = 64 << 10;
/// Digits in the size of a chunk. With 16 hexadecimal digits a size fills 64 bits; 15 digits keep it in 60, so that
/// sums of sizes do not overflow.
pub const CHUNK_SIZE_DIGITS: u32 = 15;
/// Bytes of one chunk extension, which is read over and dropped.
pub const CHUNK_EXTENSION_BYTES: u32 = 256;
/// Bytes that all chunk extensions of one body together may always have. Beyond that, a body earns extensions by its
/// data ([`CHUNK_EXTENSIONS_SHARE`]), so that nobody keeps a worker busy with extensions alone.
pub const CHUNK_EXTENSIONS_BYTES: u64 = 16 << 10;
/// Bytes of data of a longer body for which its chunk extensions may have one more byte.
pub const CHUNK_EXTENSIONS_SHARE: u64 = 8;
/// Bytes that framing may add to a piece of a body: a chunk header, its end, and a last chunk. A block of a relay keeps
/// so much free.
pub const CHUNK_FRAMING_BYTES: usize = 64;
/// Bytes of a trailer section. A worker holds the section until it is complete.
pub const TRAILER_BYTES: u32 = 8 << 10;
/// Fields of a trailer section: the part of the array of fields that a parse of trailers fills.
pub const TRAILER_FIELDS: usize = 64;
/// Bytes of a PROXY header of version 1, its line end included: as many as the specification allows.
pub const PROXY_LINE_BYTES: usize = 107;
/// Bytes of a PROXY header of version 2 with all its extensions. A longer header is refused before it is received.
pub const PROXY_HEADER_BYTES: usize = 4096;
/// Bytes of the heads of interim (1xx) responses that one exchange may bring before its final one. The bound protects a
/// client from a backend that never answers in earnest.
pub const INTERIM_BYTES: u32 = 1 << 20;
/// Bytes that an interim response counts as at least, so that small ones are bounded in number, too.
pub const INTERIM_LEAST_BYTES: u32 = 256;
/// Number of times that `timeouts.upstream_response` may pass from the first interim response to the final one. Each
/// interim response begins the time for the next response anew, so a bound on their sum is needed.
pub const INTERIM_WAITS: u32 = 16;
/// Bytes of a field that tells a backend who the client is. A certificate with a longer name is not told, which
/// protects backends from heads that are too long.
pub const IDENTITY_BYTES: usize = 8 << 10;
/// Replies that a core keeps rendered. A core that has sent more different ones begins anew: each costs some hundred
/// bytes, and rendering one takes about a microsecond.
pub const RENDERED_REPLIES: usize = 64;

const _: () = assert!(HEAD_BYTES_LEAST < HEAD_BYTES);
const _: () = assert!(TRAILER_FIELDS <= HEAD_FIELDS);
const _: () = assert!(CHUNK_SIZE_DIGITS * 4 < u64::BITS);
const _: () = assert!(INTERIM_LEAST_BYTES < INTERIM_BYTES);
const _: () = assert!(METHOD_BYTES < HEAD_BYTES_LEAST as usize);
