//! Bounds of TLS: records, certificates and session tickets. They protect workers from peers that send more than a
//! handshake has to say, and the secrecy of what was sent from a key that is used for too long.

/// Bytes of plaintext in one TLS record (RFC 8446 section 5.1).
pub const TLS_RECORD_BYTES: usize = 16 << 10;
/// Bytes by which sealing lengthens a record at least: a tag, and the type of its content.
pub const TLS_RECORD_OVERHEAD_LEAST: usize = 17;
/// Bytes by which sealing lengthens a record of ours at most: header, explicit nonce, type and tag are less. A block
/// that is sealed into keeps so much free.
pub const TLS_RECORD_OVERHEAD: usize = 64;
/// Bytes by which sealing may lengthen a peer's record, header included (RFC 5246 section 6.2.3). A block that receives
/// a record has room for so much.
pub const TLS_RECORD_OVERHEAD_MOST: usize = 5 + 2048;
/// Bytes of plaintext that are sealed for one send. A larger piece costs memory for its sealed copy, a smaller one
/// system calls.
pub const TLS_PIECE_BYTES: usize = 64 << 10;
/// Bytes of a record with an alert that is not encrypted (RFC 5246 section 7.2).
pub const TLS_ALERT_BYTES: usize = 7;
/// Bytes that are thrown away after a failed handshake so that the peer can read the reason.
pub const TLS_LINGER_BYTES: usize = 64 << 10;
/// Bytes of the largest file that is read for certificates, a key, an OCSP response or ticket keys.
pub const TLS_FILE_BYTES: u64 = 1 << 20;
/// Certificates of one listener. Each one has its own key in memory, and is watched for a change of its files.
pub const CERTIFICATES: usize = 256;
/// Names that the configuration may give to one certificate.
pub const CERTIFICATE_NAMES: usize = 100;
/// Certificates in one chain. Each handshake sends the chain, so a longer one makes handshakes dearer.
pub const CHAIN_CERTIFICATES: usize = 10;
/// Days before the end of a certificate from which on palantir warns of the end. Fewer days leave less time to act.
pub const EXPIRY_WARNING_DAYS: u64 = 14;
/// Seconds for which a key makes tickets, and for which its tickets are accepted afterwards. A ticket is good for at
/// least this time, and anybody who learns a key can read what was sent in twice this time by clients that resumed.
pub const TICKET_KEY_SECS: u64 = 12 * 3_600;
/// Keys whose tickets are accepted: the present one, the one before, and one of a machine whose clock differs.
pub const TICKET_KEYS: usize = 3;
/// Connections to the backends of one pool that can be resumed. Fewer of them cost full handshakes with large pools.
pub const RESUMABLE_BACKENDS: usize = 256;
/// Seconds between two looks at whether a certificate's files have changed. A longer time delays a renewed certificate.
pub const FILE_WATCH_SECS: u64 = 2;

const _: () = assert!(TLS_RECORD_OVERHEAD_LEAST < TLS_RECORD_OVERHEAD);
const _: () = assert!(TLS_RECORD_OVERHEAD < TLS_RECORD_OVERHEAD_MOST);
const _: () = assert!(TLS_RECORD_BYTES <= TLS_PIECE_BYTES);
const _: () = assert!(TICKET_KEYS >= 2);
