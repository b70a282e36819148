//! What the loop does at an upgrade: when it begins, and when the new process is ready or has failed.

use std::process;

use tracing::{error, info};

use crate::base::time::Micros;
use crate::control::upgrade::{Outcome, Successor};
use crate::control::{Control, Order};
use crate::shared::messages::ToWorker;

impl Control {
    /// Stops listening on addresses that were taken over and that the configuration lacks, once whoever knocked there
    /// before the old process let go of them has been let in.
    pub(super) fn drop_leftover(&mut self, now: Micros) {
        if self.leftover_until.is_none_or(|until| now < until) {
            return;
        }
        self.leftover_until = None;
        for addr in self.listeners.keep_only(&self.snapshot.listeners) {
            info!("no longer listening on {addr}");
        }
        for worker in &mut self.workers {
            worker.put(Order::Snapshot, ToWorker::Snapshot(self.snapshot.clone()));
        }
    }

    /// Starts the next process; `origin` wants it. Errors: why it cannot be done now.
    pub(super) fn begin_upgrade(&mut self, origin: &str) -> Result<(), String> {
        if self.shutdown.has_begun() {
            return Err("this process is stopping".to_owned());
        }
        let listeners = self.listeners.duplicates();
        let listeners = listeners.map_err(|error| error.to_string())?;
        info!(origin, "an upgrade begins");
        self.upgrades.begin(listeners)
    }

    /// Lets the new process take over if it is ready and this one is not stopping. Errors: why it does not; everything
    /// is as before.
    pub(super) fn take_outcome(&mut self, outcome: Outcome, now: Micros) -> Result<(), String> {
        let taken_over = outcome.and_then(|successor| self.let_go(successor, now));
        if let Err(reason) = &taken_over {
            error!(reason, "the upgrade failed; this process goes on");
        }
        taken_over
    }

    fn let_go(&mut self, successor: Successor, now: Micros) -> Result<(), String> {
        if self.shutdown.has_begun() {
            return Err("this process is stopping".to_owned());
        }
        let pid = successor.pid();
        // Before the new process says anything: the service manager listens to nobody else.
        self.notifier.main_pid(pid);
        if let Err(reason) = self.upgrades.let_go(successor) {
            self.notifier.main_pid(process::id());
            return Err(reason);
        }
        info!(
            pid,
            "another process has taken over; running requests may finish here"
        );
        self.retire(now);
        Ok(())
    }

    /// Stops accepting. The sockets kept here are closed too: as long as any process has one, the kernel lets clients
    /// connect to it.
    fn retire(&mut self, now: Micros) {
        self.shutdown.retire(now);
        self.listeners.keep_only(&[]);
        for worker in &mut self.workers {
            worker.put(Order::Retire, ToWorker::Retire);
        }
    }
}
