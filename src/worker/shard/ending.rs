//! The end of a worker: it drains, retires or is cut, and tells the control thread when it has no connection left.

use crate::worker::shard::Shard;

/// The phase of a worker's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ending {
    #[default]
    Serving,
    /// Another process accepts. Connections end after one more answer, or when their clients end them.
    Retiring,
    /// Connections end after their running exchange, idle connections at once.
    Draining,
}

impl Shard {
    /// Begins to drain: accepting stops, and every waiting task is woken to check for the end.
    pub fn drain(&self) {
        self.ending.set(Ending::Draining);
        self.close_accept_switches(|_| true);
        self.look_for_places();
        self.timers.wake_all();
        self.upstreams.close_idle(self.tables.of(self.worker));
        self.report_drained();
    }

    /// Begins to retire: accepting stops, because another process has the same listening sockets. No connection is
    /// closed before its client knows: the next answer announces the end (RFC 9112 section 9.6).
    pub fn retire(&self) {
        if self.ending.get() == Ending::Serving {
            self.ending.set(Ending::Retiring);
        }
        self.close_accept_switches(|_| true);
        self.look_for_places();
        self.timers.wake_all();
        self.report_drained();
    }

    /// Wakes every exchange under way, so that it ends now and is recorded in its present state.
    pub fn cut(&self) {
        self.is_cut.set(true);
        self.timers.wake_all();
    }

    /// Whether the process ends now.
    pub fn is_cut(&self) -> bool {
        self.is_cut.get()
    }

    /// Whether connections are to end after their running exchange.
    pub fn is_draining(&self) -> bool {
        self.ending.get() == Ending::Draining
    }

    /// Whether another process has the same listening sockets, and this one only serves its connections to their end.
    pub fn is_retiring(&self) -> bool {
        self.ending.get() == Ending::Retiring
    }

    /// Whether the worker drains or retires.
    pub fn is_ending(&self) -> bool {
        self.ending.get() != Ending::Serving
    }

    /// Tells the control thread if the calling task ends by a panic, because the worker cannot work without the task.
    pub fn report_panic(&self, task: &'static str) {
        if std::thread::panicking() {
            self.links.say_failed(self.worker, task);
        }
    }

    /// Tells the control thread when the worker is ending and has no connection and no listener left.
    pub fn report_drained(&self) {
        if self.is_ending() && self.connections.get() == 0 && self.listeners.get() == 0 {
            self.links.say_drained(self.worker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::sample::{refusing, run_worker};

    #[test]
    fn a_worker_that_drains_does_not_go_back_to_retiring() {
        type Change = fn(&Shard);
        let rows: [(&[Change], bool, bool); 4] = [
            (&[], false, false),
            (&[Shard::retire], true, false),
            (&[Shard::retire, Shard::drain], false, true),
            (&[Shard::drain, Shard::retire], false, true),
        ];
        for (row, (changes, is_retiring, is_draining)) in rows.into_iter().enumerate() {
            run_worker(
                &[refusing()],
                |_| (),
                async |shard| {
                    changes.iter().for_each(|change| change(&shard));
                    let found = (shard.is_retiring(), shard.is_draining());
                    assert_eq!(found, (is_retiring, is_draining), "row {row}");
                    assert_eq!(shard.is_ending(), is_retiring || is_draining);
                },
            );
        }
    }
}
