//! Guards that count listeners, exchanges, and requests at backends while these go on.

use std::rc::Rc;

use crate::base::ids::BackendId;
use crate::shared::worker_counters::WorkerCounters;
use crate::worker::shard::Shard;

impl Shard {
    /// Counts an exchange under way until the guard is dropped. A stop of the process would cut the counted exchanges.
    pub fn count_exchange(&self) -> CountedExchange<'_> {
        let counters = self.links.counters(self.worker);
        counters.begin_exchange();
        CountedExchange(counters)
    }

    /// Counts a listener that accepts until the guard is dropped: the client that it accepts last must still be served.
    pub fn count_listener(self: &Rc<Self>) -> CountedListener {
        self.listeners.set(self.listeners.get() + 1);
        CountedListener(self.clone())
    }

    /// Counts a request under way at a backend until the guard is dropped.
    pub fn count_in_flight(&self, backend: BackendId) -> CountedInFlight<'_> {
        self.tables.of(self.worker).begin(backend);
        CountedInFlight {
            shard: self,
            backend,
        }
    }
}

/// A listener that accepts, counted.
pub struct CountedListener(Rc<Shard>);

impl CountedListener {
    /// The shard of the listener's worker.
    pub fn shard(&self) -> &Rc<Shard> {
        &self.0
    }
}

impl Drop for CountedListener {
    fn drop(&mut self) {
        self.0.report_panic("accepting");
        debug_assert!(self.0.listeners.get() > 0, "each listener was counted");
        self.0.listeners.set(self.0.listeners.get() - 1);
        self.0.report_drained();
    }
}

/// An exchange under way, counted.
pub struct CountedExchange<'a>(&'a WorkerCounters);

impl Drop for CountedExchange<'_> {
    fn drop(&mut self) {
        self.0.end_exchange();
    }
}

/// A request under way at a backend, counted.
pub struct CountedInFlight<'a> {
    shard: &'a Shard,
    backend: BackendId,
}

impl Drop for CountedInFlight<'_> {
    fn drop(&mut self) {
        let shard = self.shard;
        shard.tables.of(shard.worker).end(self.backend);
        if !shard.descriptor_waiters.is_empty() {
            let most = shard.config().snapshot().descriptors;
            // The connection, and with it a descriptor, may have been closed.
            shard.descriptor_waiters.let_go(most);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::worker::sample::{POOL, refusing, run_worker};

    #[test]
    fn what_is_counted_ends_with_its_guard() {
        run_worker(
            &[refusing()],
            |_| (),
            async |shard| {
                let id = shard.config().backend(POOL, 0).id();
                let table = shard.tables.of(shard.worker);
                let in_flight = [(); 2].map(|()| shard.count_in_flight(id));
                assert_eq!(table.in_flight(id), 2);
                drop(in_flight);
                assert_eq!(table.in_flight(id), 0);
                let counters = shard.links.counters(shard.worker);
                let exchange = shard.count_exchange();
                assert_eq!(counters.exchanges(), 1);
                drop(exchange);
                assert_eq!(counters.exchanges(), 0);
            },
        );
    }
}
