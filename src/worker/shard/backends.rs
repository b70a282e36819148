//! The states of the backends on a core: messages from other threads about backends, and reports to the health thread.

use crate::base::ids::BackendId;
use crate::messages::ToHealth;
use crate::shared::backend_table::{BackendState, Permit};
use crate::worker::exchange::Exchange;
use crate::worker::shard::Shard;

impl Shard {
    /// Stores the state that the health thread has found for a backend.
    pub fn set_backend_state(&self, id: BackendId, state: BackendState, is_down: bool) {
        let table = self.tables.of(self.worker);
        let was_down = table.is_down(id);
        if (table.state(id), was_down) == (state, is_down) {
            return;
        }
        table.set_state(id, state);
        table.set_down(id, is_down);
        // Failures before a change of the state say nothing about the backend's present state.
        self.tables.end_failures(id);
        self.config.borrow().state_changed(id);
        self.each_earlier_config(|config| config.state_changed(id));
        if is_down && !was_down {
            self.upstreams.close_idle_to(id, table);
            self.shared_upstreams.suspect(id);
        }
        self.under_way.set_down(id, is_down, &self.timers);
    }

    /// Asks for early probes of the backends in which requests wait without an answer. `now`: the core's millisecond.
    pub(super) fn report_silent(&self, now: u64) {
        for id in self.under_way.silent(now) {
            self.links.tell_health(ToHealth::Silent(id));
        }
    }

    /// Gives a backend this share of its usual requests, of `limits::WHOLE_SHARE`.
    pub fn set_share(&self, id: BackendId, share: u8) {
        let table = self.tables.of(self.worker);
        if table.share(id) == share {
            return;
        }
        table.set_share(id, share);
        self.config.borrow().state_changed(id);
        self.each_earlier_config(|config| config.state_changed(id));
    }

    /// Takes over a permit that another worker gave up for a request that waits here.
    pub fn take_permit(&self, permit: Permit) {
        let config = self.config();
        if let Some(queue) = config.queue_for(permit.backend()) {
            queue.take_over(permit);
        }
    }

    /// Closes idle connections to the pool of this backend, for requests that wait on other workers.
    pub fn give_idle(&self, id: BackendId) {
        let config = self.config();
        let table = self.tables.of(self.worker);
        let backends = config
            .pool_with(id)
            .into_iter()
            .flat_map(|pool| &pool.backends);
        backends.for_each(|backend| self.upstreams.share(backend.id(), table));
        self.shared_upstreams.share();
    }

    /// Lets requests that wait for a connection to the pool of this backend check again.
    pub fn look_for(&self, id: BackendId) {
        if let Some(queue) = self.config().queue_for(id) {
            queue.look();
        }
    }

    /// Counts a failed request to a backend, and tells the health thread when the number of consecutive failures
    /// reaches the one for which the pool ejects a backend. A full mailbox loses the report, because no request waits
    /// for it.
    pub fn report_failure(&self, exchange: &Exchange, backend: BackendId, label: &'static str) {
        let Some(outlier) = &exchange.config.pool(exchange.route().pool).outlier else {
            return;
        };
        let most = outlier.consecutive_failures;
        if let Some(failures) = self.tables.count_failure(backend, most) {
            self.links.tell_health(ToHealth::Failed {
                backend,
                failures,
                label,
            });
        }
    }

    /// Counts the status of an answer: a 5xx counts as a failure, and any other status ends a series of failures.
    #[inline]
    pub fn report_answer(&self, exchange: &Exchange, backend: BackendId) {
        if exchange.tally().status >= 500 {
            self.report_failure(exchange, backend, "status_5xx");
        } else {
            self.tables.end_failures(backend);
        }
    }
}
