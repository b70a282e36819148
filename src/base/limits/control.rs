//! Bounds of the control thread: changes, work on files, look-ups of names and the end of the process. They protect the
//! thread, which waits for nobody, from disks and name servers that do not answer.

use std::time::Duration;

/// Seconds after which the control thread looks around although nothing woke it.
pub const CONTROL_PAUSE_SECS: u64 = 1;
/// Changes of configuration that may wait to be decided, and as many that wait for the workers to follow. Further
/// changes are refused.
pub const CHANGE_REQUESTS: usize = 64;
/// Revisions of the configuration that can be gone back to, the one in force included. Each one is kept in memory.
pub const REVISIONS: usize = 32;
/// Bytes of the largest state file, with the overrides of the API, that is read.
pub const STATE_BYTES: u64 = 16 << 20;
/// Snapshots that may be in use at once: the one in force, and those of requests, tunnels and connections that began
/// earlier and are still under way. Beyond that number, requests of the oldest snapshots have `shutdown_timeout` to
/// end.
pub const GENERATIONS: usize = 128;
/// Requests that must have ended before their failures can end a trial. Fewer of them would let chance decide.
pub const TRIAL_REQUESTS: u64 = 20;
/// Milliseconds between two looks at what has a condition: a drained backend, a reload on trial.
pub const CONDITION_PAUSE_MILLIS: u64 = 100;
/// Seconds between two attempts at an operation that palantir itself wants.
pub const OWN_RETRY_SECS: u64 = 1;
/// Seconds after which the log repeats the same reason why such an operation cannot be done.
pub const OWN_TELL_SECS: u64 = 60;
/// Seconds that the workers have to start, and to begin accepting. A start that takes longer fails.
pub const WORKER_START_SECS: u64 = 20;

/// Seconds for which a piece of work on files may stand still; then the control thread gives it up and refuses the
/// change.
pub const FILE_SECS: u64 = 5;
/// Milliseconds of processor time within [`FILE_SECS`] that show that a piece of work does not stand still.
pub const FILE_WORKED_MILLIS: u64 = 100;
/// Seconds after which a piece of work on files is given up although it goes on.
pub const FILE_MOST_SECS: u64 = 60;
/// Symbolic links that are followed to the file that is to be replaced, or to the program that is to be started.
pub const LINKS: usize = 8;
/// Pieces of work that may wait for the thread that works with files: one with a caller that waits for it, and others
/// that drop values.
pub const FILE_WORK: usize = 64;

/// Addresses taken from one host name. Each address is a backend.
pub const ADDRESSES_PER_NAME: usize = 64;
/// Seconds for one look-up of a name; callers then go on without an answer.
pub const RESOLVE_SECS: u64 = 5;
/// Threads that look names up at once. A look-up that does not end keeps its thread, and may keep a descriptor.
pub const LOOKUPS: usize = 32;
/// Threads among [`LOOKUPS`] that are reserved for names that are new with a change, or whose last look-up succeeded.
pub const LOOKUPS_SPARE: usize = 8;
/// Threads among [`LOOKUPS_SPARE`] that the names of one change may use.
pub const LOOKUPS_OF_CHANGE: usize = 2;
/// Threads, beyond [`LOOKUPS`], that may replace those whose look-ups hang. Each may keep a descriptor, and
/// `RESERVED_DESCRIPTORS` counts these.
pub const LOOKUPS_REPLACED: usize = 32;
/// Threads at once for names whose last look-up failed, so that such names do not delay the others.
pub const FAILING_LOOKUPS: usize = 16;
/// Seconds after which a change goes on without the missing answers about its new names.
pub const LOOKUP_ANSWER_SECS: u64 = 15;
/// Bytes of the stack of a thread that looks a name up.
pub const LOOKUP_STACK_BYTES: usize = 512 << 10;
/// The fraction of `resolve_secs` within which a name that is due is looked up together with one that is due now: one
/// part in so many. Names that are looked up together cost one snapshot.
pub const LOOKUP_SHARE_OF_PAUSE: u32 = 8;
/// The time for which answers of look-ups are collected, so that answers that come together come into force together.
pub const LOOKUP_ANSWERS_TOGETHER: Duration = Duration::from_millis(100);
/// Milliseconds for which a start waits for names without known addresses.
pub const START_RESOLVE_MILLIS: u64 = 1_000;

/// Milliseconds for the last answers of the management API at the end of the process.
pub const LAST_ANSWERS_MILLIS: u64 = 20;
/// Milliseconds that the end of the process waits for the workers to record the requests that are cut.
pub const CUT_MILLIS: u64 = 500;
/// Milliseconds between two checks whether the workers have recorded these requests.
pub const CUT_PAUSE_MILLIS: u64 = 5;
/// Milliseconds that the end of the process waits for the files of Unix sockets to be removed.
pub const SOCKET_FILES_MILLIS: u64 = 500;
/// Seconds that running requests may take to finish, at most, after the control thread has panicked.
pub const LAST_DRAIN_SECS: u64 = 10;

const _: () = assert!(LOOKUPS_OF_CHANGE <= LOOKUPS_SPARE && LOOKUPS_SPARE < LOOKUPS);
const _: () = assert!(FAILING_LOOKUPS + LOOKUPS_SPARE <= LOOKUPS);
const _: () = assert!(RESOLVE_SECS <= LOOKUP_ANSWER_SECS);
const _: () = assert!(FILE_WORKED_MILLIS < FILE_SECS * 1_000 && FILE_SECS < FILE_MOST_SECS);
const _: () = assert!(CUT_PAUSE_MILLIS < CUT_MILLIS);
const _: () = assert!(super::ACCESS_LOG_RELOAD_MILLIS < FILE_SECS * 1_000);
