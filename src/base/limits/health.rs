//! Bounds of the health thread and its probes. They protect backends from probes in bursts, and the thread from answers
//! without an end.

use super::POOLS;

/// Messages that may wait for the health thread; further reports are dropped and counted.
pub const HEALTH_MAILBOX: usize = 8192;
/// Probes that the health thread runs at once, if there are enough descriptors. Each pool has its share.
pub const PROBES: usize = POOLS;
/// Bytes of the name of a service that a probe asks for: so many that their number is one byte in a message of gRPC.
pub const PROBE_SERVICE_BYTES: usize = 127;
/// Bytes of the text that the body of a probe's answer must contain.
pub const PROBE_PATTERN_BYTES: usize = 256;
/// Bytes at the beginning of the body of a probe's answer that are searched for the text.
pub const PROBE_BODY_BYTES: usize = 32 << 10;
/// Bytes that a probe reads of its answer.
pub const PROBE_ANSWER_BYTES: usize = 64 << 10;
/// Milliseconds between the probes of a backend that is between two states, and the longest wait for a new backend's
/// first probe. A shorter time finds a failure sooner and costs probes.
pub const PROBE_AGAIN_MILLIS: u64 = 1_000;
/// Percent by which the time between two probes varies to either side, so that probes spread out.
pub const PROBE_JITTER_PERCENT: u64 = 10;
/// Number of times the configured time that a repeated ejection lasts at most. Also the number of times this time that
/// a backend must stay in service until its earlier ejections are forgotten.
pub const EJECT_MULTIPLE: u32 = 10;
/// Seconds between two looks for backends that have been down for too long.
pub const OUTAGE_LOOK_SECS: u64 = 1;
/// Seconds after the start during which an outage that an earlier process saw is not taken to be over.
pub const OUTAGE_KEPT_SECS: u64 = 300;
/// Milliseconds after which the health thread gives a sign of life although it has nothing to do.
pub const PULSE_MILLIS: u64 = 1_000;
/// Milliseconds without a sign of life from a worker or the health thread after which palantir reports itself unfit. A
/// shorter time takes a busy machine for a broken one.
pub const UNFIT_MILLIS: u64 = 5_000;

const _: () = assert!(PULSE_MILLIS < UNFIT_MILLIS);
const _: () =
    assert!(PROBE_PATTERN_BYTES <= PROBE_BODY_BYTES && PROBE_BODY_BYTES <= PROBE_ANSWER_BYTES);
const _: () = assert!(PROBE_JITTER_PERCENT < 100);
const _: () = assert!(super::default::PROBE_AGAIN_TIMEOUT <= super::default::PROBE_TIMEOUT);
