//! A worker's connections to the other threads. All are one-way and none ever makes a request wait.

use crossbeam_channel::Sender;

use crate::base::ids::WorkerId;
use crate::messages::{RefusedHead, ToControl, ToHealth};
use crate::shared::access::AccessLine;
use crate::shared::mailbox::Mailbox;
use crate::shared::worker_counters::{AllWorkerCounters, WorkerCounters};

/// A worker's connections to the health thread, the control thread and the access log.
pub struct Links {
    /// The counters of all workers.
    pub counters: AllWorkerCounters,
    /// The mailbox of the health thread.
    pub health: Mailbox<ToHealth>,
    /// The mailbox of the control thread.
    pub control: Mailbox<ToControl>,
    /// The ring of access-log lines, which the access-log thread empties.
    pub access_lines: Sender<AccessLine>,
}

impl Links {
    /// The worker's own counters.
    pub fn counters(&self, worker: WorkerId) -> &WorkerCounters {
        &self.counters[worker.index()]
    }

    /// Tells the health thread something, unless its mailbox is full.
    pub fn tell_health(&self, message: ToHealth) {
        let _ = self.health.post(message);
    }

    /// Tells the control thread which snapshot requests begin with now; false if its mailbox is full.
    pub fn say_adopted(&self, worker: WorkerId, generation: u64) -> bool {
        let adopted = ToControl::Adopted(worker, generation);
        self.control.post(adopted).is_ok()
    }

    /// Tells the control thread that the worker cannot accept on a socket that it was given.
    pub fn say_not_listening(&self, worker: WorkerId, reason: String) {
        let _ = self.control.post(ToControl::NotListening(worker, reason));
    }

    /// Tells the control thread that nothing is left to drain.
    pub fn say_drained(&self, worker: WorkerId) {
        let _ = self.control.post(ToControl::Drained(worker));
    }

    /// Tells the control thread that a task has panicked without which the worker cannot work.
    pub fn say_failed(&self, worker: WorkerId, task: &'static str) {
        let _ = self.control.post(ToControl::WorkerFailed(worker, task));
    }

    /// Tells the control thread of a refused request, unless its mailbox is full.
    pub fn tell_refused(&self, refused: RefusedHead) {
        let _ = self.control.post(ToControl::Refused(Box::new(refused)));
    }

    /// Hands a line to the access log, or counts it as lost if the ring is full.
    pub fn log(&self, worker: WorkerId, line: AccessLine) {
        if self.access_lines.try_send(line).is_err() {
            self.counters(worker).lose_line();
        }
    }
}
