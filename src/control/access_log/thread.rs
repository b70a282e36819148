//! The thread that takes the lines out of every worker's ring, adds names and the time of day, and writes them. No
//! other thread touches the file, so that a file that hangs blocks no other thread.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, Sender};
use tracing::{error, info, warn};

use super::file::LogFile;
use super::format::{Record, write_line};
use super::names::LogNames;
use super::progress::LogProgress;
use crate::base::limits;
use crate::base::panic_on_demand::panic_on_demand;
use crate::base::time::Micros;
use crate::shared::access::AccessLine;
use crate::shared::worker_counters::{self, AllWorkerCounters};

const BETWEEN_COMPLAINTS: Duration = Duration::from_millis(limits::ACCESS_LOG_TELL_MILLIS);

/// The least time between two lines of the program's log about a path that cannot be opened anew.
const BETWEEN_REFUSALS: Duration = Duration::from_secs(limits::ACCESS_LOG_REFUSAL_SECS);

/// The orders that wait for the thread: only the latest of each kind, so that orders do not pile up while the thread
/// hangs.
#[derive(Debug, Default)]
pub struct LogOrders {
    /// The names of snapshots that workers are about to use.
    pub names: LogNames,
    /// Generations of snapshots that no request uses any more, the latest last.
    pub unused: Vec<u64>,
    /// The file to use from now on; `Some(None)`: no file.
    pub file: Option<Option<LogFile>>,
    /// The reason to open the path anew, if that is wanted.
    pub reopen: Option<&'static str>,
    /// Whether the thread watches the path itself, because no signal tells this process any more that the file was
    /// moved away.
    pub follow_path: bool,
    /// The order to write all waiting lines, to report that, and to end.
    pub finish: Option<Sender<()>>,
}

/// The orders, shared by the control thread and the access-log thread. The lock is only held to move values in memory.
pub type SharedLogOrders = Arc<Mutex<LogOrders>>;

/// Hands an order over.
pub fn put(orders: &SharedLogOrders, put: impl FnOnce(&mut LogOrders)) {
    put(&mut orders.lock().unwrap_or_else(PoisonError::into_inner));
}

/// A failed attempt to open the path anew.
#[derive(Debug)]
struct Refused {
    reason: &'static str,
    /// The last error that the program's log names, and when it was logged.
    told: (String, Micros),
}

/// The state of the thread. Without a file, lines of requests that began when there was one are dropped.
#[derive(Debug)]
pub struct LogThread {
    /// The orders of the control thread.
    pub orders: SharedLogOrders,
    /// The progress, for threads that only report it.
    pub progress: Arc<LogProgress>,
    counters: AllWorkerCounters,
    rings: Vec<Receiver<AccessLine>>,
    file: Option<LogFile>,
    names: LogNames,
    follows_path: bool,
    /// When the path was last checked.
    looked: Option<Micros>,
    /// Set while the path is to be opened anew and could not be opened yet.
    refused: Option<Refused>,
    /// The lost lines that the program's log has already reported.
    told_lost: u64,
    /// When the program's log last reported lost lines.
    told: Option<Micros>,
}

impl LogThread {
    /// The state of a thread that does not run yet.
    pub fn new(
        file: Option<LogFile>,
        rings: Vec<Receiver<AccessLine>>,
        counters: AllWorkerCounters,
    ) -> LogThread {
        LogThread {
            orders: SharedLogOrders::default(),
            progress: Arc::new(LogProgress::new(Micros::now())),
            counters,
            rings,
            file,
            names: LogNames::default(),
            follows_path: false,
            looked: None,
            refused: None,
            told_lost: 0,
            told: None,
        }
    }

    /// Works until it is told to end.
    pub fn run(mut self) {
        loop {
            panic_on_demand("access log");
            let mut orders = LogOrders::default();
            put(&self.orders, |waiting| std::mem::swap(waiting, &mut orders));
            self.names.append(orders.names);
            self.follows_path |= orders.follow_path;
            if let Some(file) = orders.file {
                self.file = file;
                self.refused = None;
            }
            self.round(Micros::now());
            for generation in orders.unused {
                self.names.note_unused(generation);
            }
            if let Some(reason) = orders.reopen {
                self.refused = None;
                self.reopen(reason, Micros::now());
            }
            if let Some(done) = orders.finish {
                self.told = None;
                self.tell(Micros::now());
                let _ = done.send(());
                return;
            }
            self.look_at_path(Micros::now());
            self.progress.note_moved(Micros::now());
            thread::park_timeout(Duration::from_millis(match self.file {
                Some(_) => limits::ACCESS_LOG_ROUND_MILLIS,
                None => limits::ACCESS_LOG_REST_MILLIS,
            }));
        }
    }

    /// Writes the lines that wait, at most one full ring of each worker.
    pub fn round(&mut self, now: Micros) {
        for ring in 0..self.rings.len() {
            for _ in 0..limits::ACCESS_LOG_LINES {
                let Ok(line) = self.rings[ring].try_recv() else {
                    break;
                };
                self.write(&line);
            }
        }
        if let Some(file) = &mut self.file {
            file.flush(&self.progress);
        }
        self.tell(now);
    }

    fn write(&mut self, line: &AccessLine) {
        let Some(file) = &mut self.file else {
            return;
        };
        if self.names.are_older_than(line) {
            // The names were handed over before any worker heard of the snapshot.
            put(&self.orders, |orders| {
                self.names.append(std::mem::take(&mut orders.names))
            });
        }
        let ago = Duration::from_micros(Micros::now().since(line.began));
        let wall = SystemTime::now();
        let record = Record {
            line,
            names: self.names.of(line),
            at: wall.checked_sub(ago).unwrap_or(wall),
        };
        file.write(&self.progress, |format, out| {
            write_line(format, &record, out)
        });
    }

    /// Opens the path anew after a program such as logrotate has moved the file away. A failed attempt is repeated
    /// until one succeeds.
    fn reopen(&mut self, reason: &'static str, now: Micros) {
        let Some(file) = &mut self.file else {
            return;
        };
        let reopened = file.reopen();
        let path = file.path().display();
        let Err(error) = reopened else {
            info!(%path, "{reason}: the access log is opened anew");
            self.refused = None;
            return;
        };
        let text = error.to_string();
        let told = match self.refused.take() {
            Some(Refused { told, .. })
                if told.0 == text && now < told.1.after(BETWEEN_REFUSALS) =>
            {
                told
            }
            _ => {
                error!(%path, %error, "{reason}: the access log cannot be opened anew, which is tried again every \
                    second; the old file stays in use");
                (text, now)
            }
        };
        self.refused = Some(Refused { reason, told });
    }

    /// Opens the path anew if an earlier attempt failed, or if the path names another file and no signal tells this
    /// process so.
    fn look_at_path(&mut self, now: Micros) {
        let recently = self
            .looked
            .is_some_and(|looked| now < looked.after(BETWEEN_COMPLAINTS));
        if recently || !(self.follows_path || self.refused.is_some()) {
            return;
        }
        self.looked = Some(now);
        if let Some(refused) = &self.refused {
            self.reopen(refused.reason, now);
        } else if self.file.as_ref().is_some_and(LogFile::is_replaced) {
            self.reopen("the path names another file", now);
        }
        if let Some(file) = &mut self.file {
            file.look_whether_deleted();
        }
    }

    /// Reports errors and lost lines in the program's log, at most once a second.
    pub fn tell(&mut self, now: Micros) {
        let Some(file) = &mut self.file else {
            return;
        };
        let lost = worker_counters::lost_lines(&self.counters);
        let recently = self
            .told
            .is_some_and(|told| now < told.after(BETWEEN_COMPLAINTS));
        if recently || (lost == self.told_lost && !file.has_failed()) {
            return;
        }
        self.told = Some(now);
        if lost > self.told_lost {
            let lines = lost - self.told_lost;
            self.told_lost = lost;
            warn!(lines, "the access log is too slow: lines were lost");
        }
        if let Some((error, lines)) = file.take_failure() {
            error!(path = %file.path().display(), %error, lines, "the access log cannot be written: lines were lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::snapshot::{self, AccessLogFormat};

    #[test]
    fn losses_are_told_once_a_second_at_most() {
        let settings = snapshot::AccessLog {
            path: PathBuf::from("/dev/null"),
            format: AccessLogFormat::Combined,
        };
        let counters = worker_counters::counters(1);
        let file = LogFile::open(&settings).unwrap();
        let mut log = LogThread::new(Some(file), Vec::new(), counters.clone());
        let rows = [
            (0, false, 0),
            (100, true, 1),
            (200, true, 1),
            (1_099, true, 1),
            (1_100, false, 4),
            (2_500, false, 4),
        ];
        for (millis, loses, told) in rows {
            if loses {
                counters[0].lose_line();
            }
            if millis == 1_099 {
                counters[0].lose_line();
            }
            log.round(Micros(millis * 1_000));
            assert_eq!(log.told_lost, told, "after {millis} ms");
        }
    }
}
