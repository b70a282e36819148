//! The thread that reads and writes files for the orders of certificates. A disk that hangs blocks this thread and no
//! other. An order waits for the thread within a bound, and then fails with the reason.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::error;

use super::outcome::{OrderFailure, OrderOutcome};
use crate::base::file_at_work::FileAtWork;
use crate::base::limits;
use crate::base::quantity::show_time;

type Work = Box<dyn FnOnce() + Send>;

/// The thread, as orders of certificates see it.
#[derive(Debug)]
pub struct Disk {
    work: Sender<Work>,
    file: FileAtWork,
    /// How long a caller waits for an answer.
    patience: Duration,
}

impl Disk {
    /// Starts the thread. If no thread can be started, nothing is read or written, and every order fails for that
    /// reason.
    pub fn start() -> Disk {
        Disk::with_patience(Duration::from_secs(limits::ACME_DISK_SECS))
    }

    fn with_patience(patience: Duration) -> Disk {
        let (work, pieces) = bounded::<Work>(limits::ACME_DISK_WORK);
        let file = FileAtWork::default();
        let followed = file.clone();
        let thread = thread::Builder::new().name("acme-files".to_owned());
        let started = thread.spawn(move || {
            followed.follow_this_thread();
            for piece in pieces {
                // The caller is told by the dropped channel, and the panic hook has logged the panic.
                let _ = catch_unwind(AssertUnwindSafe(piece));
            }
        });
        if let Err(why) = started {
            error!(
                "no certificate can be read or stored, because the thread for that cannot be started: {why}"
            );
        }
        Disk {
            work,
            file,
            patience,
        }
    }

    /// Runs `work` on the thread and returns its result. The thread also does work whose caller has stopped waiting.
    /// Errors: there is no answer in time.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, OrderFailure> {
        let (sender, done) = oneshot::channel();
        let piece = move || drop(sender.send(work()));
        if self.work.try_send(Box::new(piece)).is_err() {
            return Err(self.silence("is too much to be queued"));
        }
        let most = self.patience;
        match timeout(most, done).await {
            Ok(Ok(brought)) => Ok(brought),
            Ok(Err(_)) => Err(self.silence("has ended without a result")),
            Err(_) => Err(self.silence(&format!("has not ended within {}", show_time(most)))),
        }
    }

    fn silence(&self, why: &str) -> OrderFailure {
        let path = self.file.path();
        let path = path.map_or("a file".to_owned(), |path| path.display().to_string());
        let why = format!("the disk does not answer: the work on {path} {why}");
        OrderFailure::new(OrderOutcome::NotKept, why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_for_a_disk_that_hangs_goes_on_after_a_while() {
        let patient = Disk::start();
        assert_eq!(patient.run(|| 7).await, Ok(7));
        let failed = patient.run(|| panic!("a defect")).await;
        let failed: Result<(), OrderFailure> = failed;
        assert!(failed.unwrap_err().why.contains("ended without a result"));
        assert_eq!(patient.run(|| 7).await, Ok(7));
        let disk = Disk::with_patience(Duration::from_millis(10));
        let (go_on, goes_on) = bounded::<()>(0);
        let hangs = disk.run(move || goes_on.recv().is_err()).await;
        assert!(hangs.unwrap_err().why.contains("has not ended within"));
        for _ in 0..limits::ACME_DISK_WORK {
            assert!(disk.run(|| ()).await.is_err(), "it waits behind what hangs");
        }
        let full = disk.run(|| ()).await;
        assert!(full.unwrap_err().why.contains("too much to be queued"));
        drop(go_on);
        while disk.run(|| 8).await != Ok(8) {}
    }
}
