//! The access log, as the control thread knows it. A thread of its own does all the work ([`thread`]) and receives its
//! orders here. A file that cannot be written to, or that hangs, costs lines, never a request, and blocks no other
//! thread.

mod file;
mod format;
mod names;
mod open;
mod progress;
mod thread;
mod timestamp;

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::Receiver;
use tracing::{error, info, warn};

pub use file::{LogFile, open_in_time};
pub(super) use open::{in_time, look, open};
pub use progress::LogProgress;

use crate::base::limits;
use crate::base::time::Micros;
use crate::control::access_log::names::SnapshotNames;
use crate::control::access_log::thread::{LogOrders, LogThread, SharedLogOrders, put};
use crate::shared::access::AccessLine;
use crate::shared::worker_counters::AllWorkerCounters;
use crate::snapshot::Snapshot;

/// The running access log. The thread ends when this value is dropped.
#[derive(Debug)]
pub struct RunningAccessLog {
    orders: SharedLogOrders,
    progress: Arc<LogProgress>,
    thread: JoinHandle<()>,
    /// Whether the program's log already says that the access log stands still.
    is_stalled: bool,
}

impl RunningAccessLog {
    /// Starts the thread, which takes lines from `rings` (one per worker) and writes them to the file, if there is one.
    /// Errors: no thread can be started.
    pub fn start(
        file: Option<LogFile>,
        rings: Vec<Receiver<AccessLine>>,
        counters: AllWorkerCounters,
    ) -> io::Result<RunningAccessLog> {
        let thread = LogThread::new(file, rings, counters);
        let (orders, progress) = (thread.orders.clone(), thread.progress.clone());
        let name = "access-log".to_owned();
        let thread = Builder::new().name(name).spawn(|| thread.run())?;
        Ok(RunningAccessLog {
            orders,
            progress,
            thread,
            is_stalled: false,
        })
    }

    /// The progress of the thread, for threads that only report it.
    pub fn progress(&self) -> Arc<LogProgress> {
        self.progress.clone()
    }

    /// Whether the thread has ended. The thread must not end before [`RunningAccessLog::finish`].
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Remembers the names of a snapshot that workers are about to use.
    pub fn learn(&self, snapshot: &Snapshot) {
        let names = SnapshotNames::of(snapshot);
        self.order(|orders| orders.names.learn(names));
    }

    /// Notes that no request uses this snapshot any more: the names may be forgotten.
    pub fn forget(&self, snapshot: &Snapshot) {
        self.order(|orders| {
            orders.unused.push(snapshot.generation);
            // A thread that hangs takes no names. Those of old snapshots are dropped, so that they do not pile up.
            let old = orders.unused.iter().rev().nth(limits::LOGGED_SNAPSHOTS);
            if let Some(old) = old {
                orders.names.forget(*old);
            }
        });
    }

    /// Has lines written to this file from now on, or dropped for `None`.
    pub fn set_file(&self, file: Option<LogFile>) {
        self.order(|orders| orders.file = Some(file));
    }

    /// Has the path opened anew after a program such as logrotate has moved the file away. `reason` is the name of the
    /// signal that asks for it.
    pub fn reopen(&self, reason: &'static str) {
        self.order(|orders| orders.reopen = Some(reason));
    }

    /// Has the path opened anew whenever it names another file, because no signal tells this process any more.
    pub fn follow_path(&self) {
        self.order(|orders| orders.follow_path = true);
    }

    /// Has all waiting lines written and waits for that, within a bound. For the end of the process: every line must be
    /// in its ring.
    pub fn finish(&self) {
        let (done, finished) = crossbeam_channel::bounded(1);
        self.order(|orders| orders.finish = Some(done));
        let patience = Duration::from_millis(limits::ACCESS_LOG_FLUSH_MILLIS);
        if finished.recv_timeout(patience).is_err() {
            warn!("the access log could not be written to its end in time: lines were lost");
        }
    }

    /// Says in the program's log when the access log begins and when it ceases to stand still.
    pub fn watch(&mut self, now: Micros) {
        let is_stalled = self.progress.is_stalled(now);
        match (self.is_stalled, is_stalled) {
            (false, true) => error!("the access log stands still: its file does not answer"),
            (true, false) => info!("the access log goes on"),
            _ => {}
        }
        self.is_stalled = is_stalled;
    }

    fn order(&self, order: impl FnOnce(&mut LogOrders)) {
        put(&self.orders, order);
        self.thread.thread().unpark();
    }
}

impl Drop for RunningAccessLog {
    fn drop(&mut self) {
        let (done, _) = crossbeam_channel::bounded(1);
        self.order(|orders| orders.finish = Some(done));
    }
}
