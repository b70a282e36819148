//! Bounds of the orders of certificates (RFC 8555). They protect an authority from a palantir that asks too often, and
//! palantir from an authority that answers without an end.

/// Bytes of a name whose certificate is ordered. The name is also the name of a file, which has at most 255.
pub const AUTOMATIC_NAME_BYTES: usize = 240;
/// Addresses that an authority may write to.
pub const ACME_CONTACTS: usize = 8;
/// Certificates that are ordered at once; further ones wait. More of them would meet the limits of authorities.
pub const ACME_ORDERS: usize = 4;
/// Seconds for one order, from the first request to the certificate.
pub const ACME_ORDER_SECS: u64 = 300;
/// Seconds for one request to an authority.
pub const ACME_REQUEST_SECS: u64 = 30;
/// Bytes of an authority's answer that are read.
pub const ACME_ANSWER_BYTES: usize = 256 << 10;
/// Bytes of a challenge's token, which an authority chooses.
pub const ACME_TOKEN_BYTES: usize = 256;
/// Bytes that must be free on the disk before a certificate is ordered: an order that cannot be kept is wasted.
pub const ACME_ROOM_BYTES: usize = 16 << 10;
/// Seconds that an order waits for the disk with the folder of `[acme]` before the order fails.
pub const ACME_DISK_SECS: u64 = 10;
/// Pieces of work that may wait for the disk with the folder of `[acme]`.
pub const ACME_DISK_WORK: usize = 16;
/// Bytes of a failed order's reason that are logged. The reason is an authority's text of any length.
pub const ACME_REASON_BYTES: usize = 512;
/// Seconds after which the certificates on order are looked at although nothing is known to be due: clocks are set.
pub const ACME_PAUSE_SECS: u64 = 60;
/// Seconds by which the validity of a new certificate may begin in the future by this machine's clock.
pub const ACME_CLOCK_SLACK_SECS: i64 = 3_600;
/// Seconds for which no stored certificate is renewed after a new one whose dates contradict this machine's clock: by a
/// wrong clock all certificates seem to be due at once.
pub const ACME_DOUBT_SECS: u64 = 600;
/// Percent of a certificate's lifetime by which a renewal may come before two thirds of that lifetime, so that renewals
/// are spread out.
pub const RENEWAL_JITTER_PERCENT: u64 = 5;
/// Percent by which the pause after a failed order may be shorter, so that machines do not ask in step.
pub const ORDER_JITTER_PERCENT: u64 = 20;
/// Seconds until an authority that cannot be reached is tried again, the factor by which the pause grows, and the
/// longest pause in seconds.
pub const UNREACHABLE_PAUSE_SECS: (u64, u64, u64) = (5, 2, 600);
/// Seconds until an order that was refused is tried again, the factor by which the pause grows, and the longest pause
/// in seconds: at most five orders in the first hour, as many as authorities put up with.
pub const REFUSED_PAUSE_SECS: (u64, u64, u64) = (10, 6, 6 * 3_600);

const _: () = assert!(AUTOMATIC_NAME_BYTES < 255 && AUTOMATIC_NAME_BYTES <= super::HOST_BYTES);
const _: () = assert!(ACME_REQUEST_SECS < ACME_ORDER_SECS);
const _: () = assert!(ACME_DISK_SECS < ACME_ORDER_SECS);
const _: () = assert!(ACME_ANSWER_BYTES as u64 <= super::TLS_FILE_BYTES);
const _: () = assert!(RENEWAL_JITTER_PERCENT < 33 && ORDER_JITTER_PERCENT < 100);
const _: () = assert!(UNREACHABLE_PAUSE_SECS.0 < UNREACHABLE_PAUSE_SECS.2);
const _: () = assert!(REFUSED_PAUSE_SECS.0 < REFUSED_PAUSE_SECS.2);
