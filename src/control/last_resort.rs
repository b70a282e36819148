//! The end of the process after a panic of the control thread's loop. No other thread can change, stop or end the
//! process, so the process ends in good order, with an exit code that makes the service manager start it anew.

use std::thread;
use std::time::{Duration, Instant};

use tracing::error;

use crate::base::limits;
use crate::control::Control;
use crate::control::change_request::Standing;
use crate::messages::ToWorker;
use crate::shared::mailbox::Mailbox;
use crate::shared::worker_counters::{self, AllWorkerCounters};

/// The exit code of a process that ends because something failed.
const FAILED: u8 = 1;

/// The means to end the process in good order.
pub struct LastResort {
    workers: Vec<Mailbox<ToWorker>>,
    counters: AllWorkerCounters,
    standing: Standing,
}

impl LastResort {
    /// The means for this control thread.
    pub fn of(control: &Control) -> LastResort {
        LastResort {
            workers: control.threads.mailboxes(),
            counters: control.monitoring.counters.clone(),
            standing: control.config.standing(),
        }
    }

    /// Has the workers drain and waits for running requests, for a shorter time than a stop does, since no signal can
    /// hasten this end. Returns the exit code.
    pub fn stop(self) -> u8 {
        error!("the control thread has panicked; stopping");
        let patience = self.standing.borrow().snapshot.shutdown_timeout;
        let patience = patience.min(Duration::from_secs(limits::LAST_DRAIN_SECS));
        let deadline = Instant::now() + patience;
        for worker in &self.workers {
            // A worker whose mailbox is full is not waited for any longer than the others.
            let _ = worker.post(ToWorker::Drain);
        }
        let pause = Duration::from_millis(limits::POST_AGAIN_MILLIS);
        // Workers need this time to count connections that they have just accepted as requests.
        thread::sleep(pause);
        while worker_counters::exchanges(&self.counters) > 0 && Instant::now() < deadline {
            thread::sleep(pause);
        }
        FAILED
    }
}
