//! The messages to the service manager: everything runs, a reload begins or ends, everything is alive.

pub mod systemd;

use std::time::Duration;

use crate::base::limits;
use crate::base::time::Micros;
use crate::control::Control;
use crate::control::config_store::Problem;
use crate::control::service_manager::systemd::{Notifier, Watchdog};

/// The state of the messages to the service manager.
pub(super) struct ServiceManager {
    /// Speaks to the service manager, if there is one.
    pub notifier: Notifier,
    watchdog: Option<Watchdog>,
    /// The service manager knows of a reload and not of its end.
    reloading: bool,
    /// The first reason why the last reload was refused, if it was refused.
    refused: Option<String>,
    /// The service manager knows that everything runs.
    ready: bool,
}

impl ServiceManager {
    /// At the start.
    pub fn from_environment(now: Micros) -> ServiceManager {
        ServiceManager {
            notifier: Notifier::from_environment(),
            watchdog: Watchdog::from_environment(now),
            reloading: false,
            refused: None,
            ready: false,
        }
    }

    /// When at the latest something is to be done.
    pub fn next(&self) -> Option<Micros> {
        self.watchdog.as_ref().map(Watchdog::next)
    }

    /// A reload begins, whoever wants it.
    pub fn begin_reload(&mut self) {
        self.notifier.reloading();
        self.reloading = true;
        self.refused = None;
    }

    /// Notes a refusal. The service manager gets the reason if the reload under way is refused.
    pub fn note_refusal(&mut self, problem: &Problem) {
        if self.reloading {
            let first = problem.mistakes.first();
            self.refused = first.map(|(_, text)| text.clone());
        }
    }

    /// Notes that the reload under way, if there is one, ends without a change.
    pub fn end_reload(&mut self, revision: u64) {
        if std::mem::take(&mut self.reloading) {
            self.notifier.ready(revision, self.refused.as_deref());
        }
    }

    /// Another process is the service from now on; it alone has something to say.
    pub fn fall_silent(&mut self) {
        self.notifier = Notifier::default();
        self.watchdog = None;
    }
}

impl Control {
    /// Tells the service manager that everything runs, that a reload is over, and that everything is alive.
    pub(super) fn tell_service_manager(&mut self, now: Micros) {
        let is_alone = self.upgrade_run.is_alone;
        let settled = self.threads.adopted_by_all() >= self.config.snapshot.generation
            && !self.changes.has_recipient()
            && is_alone
            && !self.shutdown.has_begun();
        let service_manager = &mut self.service_manager;
        if settled && (service_manager.reloading || !service_manager.ready) {
            service_manager.reloading = false;
            service_manager.ready = true;
            let refused = service_manager.refused.as_deref();
            service_manager
                .notifier
                .ready(self.config.config_store.revision(), refused);
        }
        let silence = self.monitoring.live_stats.sources().health.silence(now);
        let is_health_alive = silence < Duration::from_millis(limits::UNFIT_MILLIS);
        let moved = self
            .monitoring
            .counters
            .iter()
            .map(|worker| worker.loop_lag().count());
        if is_alone
            && let Some(watchdog) = &mut service_manager.watchdog
            && watchdog.is_due(moved, now)
            && is_health_alive
        {
            service_manager.notifier.alive();
        }
    }
}
