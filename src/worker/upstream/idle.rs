//! The idle connections of one core. The connection used last is taken first, per backend, so that the connections in
//! use are few and recently used.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::task::{Context, Waker};

use crate::base::ids::BackendId;
use crate::base::limits;
use crate::net::Unasked;
use crate::shared::backend_table::BackendTable;
use crate::worker::upstream::idle_timeout::IdleTimeoutEstimate;
use crate::worker::upstream::peak::{Peak, surplus};
use crate::worker::upstream::{Hold, ReuseKey, Upstream};

/// The number of idle connections to a backend that are kept, and the time for which they are kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keep {
    /// The most idle connections per core and backend.
    pub most: u32,
    /// The longest time for which a connection is kept idle, in milliseconds.
    pub keepalive: u64,
}

/// All idle connections of a core.
#[derive(Default)]
pub struct Upstreams {
    backends: RefCell<Vec<Backend>>,
    /// The number of idle connections of all backends together.
    count: Cell<usize>,
}

#[derive(Default)]
struct Backend {
    /// The oldest connection comes first.
    idle: VecDeque<Idle>,
    /// The pool's settings for idle connections when the last connection was given back.
    keep: Keep,
    estimate: IdleTimeoutEstimate,
    peak: Peak,
}

struct Idle {
    upstream: Box<Upstream>,
    since: u64,
}

impl Upstreams {
    /// Takes the idle connection to a backend that was used last, if its key is this one and no byte and no end has
    /// come on it.
    pub fn take(
        &self,
        id: BackendId,
        key: ReuseKey,
        now: u64,
        table: &BackendTable,
    ) -> Option<Box<Upstream>> {
        if !self.has_idle(id) {
            return None;
        }
        self.with(id, table, |backend| backend.take(key, now))
    }

    /// Closes the oldest idle connection to a backend, if the backend's bound counts it, so that another connection may
    /// take its part of the bound.
    pub fn close_oldest(&self, id: BackendId, table: &BackendTable) -> Option<Hold> {
        self.with(id, table, Backend::close_oldest)
    }

    /// Whether there is an idle connection to a backend.
    fn has_idle(&self, id: BackendId) -> bool {
        let backends = self.backends.borrow();
        backends
            .get(id.index())
            .is_some_and(|backend| !backend.idle.is_empty())
    }

    /// Whether there is an idle connection that a request with this key may use, or whose part of the bound another
    /// connection may take. (All idle connections were made as the latest configuration makes them. The configuration
    /// of the request may be an earlier one.)
    pub fn has_idle_for(&self, id: BackendId, key: Option<ReuseKey>) -> bool {
        let backends = self.backends.borrow();
        let last = backends
            .get(id.index())
            .and_then(|backend| backend.idle.back());
        last.is_some_and(|idle| Some(idle.upstream.key) == key || idle.upstream.hold.is_some())
    }

    /// Takes a connection whose exchange is complete on both sides. A waiting request gets the connection; otherwise it
    /// is kept. The connection is closed if it brought more bytes than its response (RFC 9112 section 9.2), or if there
    /// are enough idle connections.
    pub fn give(&self, mut upstream: Box<Upstream>, keep: Keep, now: u64, table: &BackendTable) {
        let id = upstream.backend;
        let queue = upstream.hold.as_ref().map(|hold| hold.queue().clone());
        if keep.most == 0 || told(&upstream).is_some() {
            return;
        }
        upstream.reused = true;
        let left = match &queue {
            Some(queue) => queue.hand_over(upstream),
            None => Some(upstream),
        };
        if let Some(upstream) = left {
            let is_crowded = self.count.get() >= limits::CORE_IDLE_CONNECTIONS;
            self.with(id, table, |backend| {
                backend.peak.note(table.in_flight(id), now);
                backend.keep(upstream, keep, is_crowded, now);
            });
        }
        // A request that began to wait on another core just now may have found no idle connection here.
        if queue.is_some_and(|queue| queue.waiting_elsewhere() > 0) {
            self.share(id, table);
        }
    }

    /// Closes as many idle connections to a backend as requests wait on other cores.
    pub fn share(&self, id: BackendId, table: &BackendTable) {
        self.with(id, table, Backend::share);
    }

    /// Changes the idle connections to a backend, and publishes their number.
    fn with<T>(
        &self,
        id: BackendId,
        table: &BackendTable,
        change: impl FnOnce(&mut Backend) -> T,
    ) -> T {
        let backend = &mut *self.of(id);
        let before = backend.idle.len();
        let outcome = change(backend);
        let after = backend.idle.len();
        debug_assert!(
            self.count.get() >= before,
            "each idle connection is counted"
        );
        self.count.set(self.count.get() + after - before);
        table.set_idle(id, after as u32);
        outcome
    }

    fn of(&self, id: BackendId) -> RefMut<'_, Backend> {
        let mut backends = self.backends.borrow_mut();
        if backends.len() <= id.index() {
            backends.resize_with(id.index() + 1, Backend::default);
        }
        RefMut::map(backends, |backends| &mut backends[id.index()])
    }

    /// Notes for how many seconds the backend announces to keep idle connections (`Keep-Alive: timeout`).
    pub fn note_announced(&self, id: BackendId, secs: u32, now: u64) {
        self.of(id)
            .estimate
            .note_announced(u64::from(secs) * 1000, now);
    }

    /// Closes idle connections that have ended, are too old, are more than the load needs, or whose part of the bound
    /// requests of other cores wait for: once a tick.
    pub fn sweep(&self, now: u64, table: &BackendTable) {
        let rows = self.backends.borrow().len() as u32;
        for id in (0..rows).map(BackendId) {
            if self.has_idle(id) {
                self.with(id, table, |backend| {
                    backend.sweep(now, table.in_flight(id));
                    backend.share();
                });
            }
        }
    }

    /// Closes the idle connections to backends for which `stays` is false, and forgets the estimates of these backends.
    pub fn forget_unless(&self, table: &BackendTable, stays: impl Fn(BackendId) -> bool) {
        let rows = self.backends.borrow().len() as u32;
        for id in (0..rows).map(BackendId).filter(|&id| !stays(id)) {
            self.with(id, table, |backend| *backend = Backend::default());
        }
    }

    /// Closes the idle connections to a backend.
    pub fn close_idle_to(&self, id: BackendId, table: &BackendTable) {
        if self.has_idle(id) {
            self.with(id, table, |backend| backend.idle.clear());
        }
    }

    /// Closes all idle connections.
    pub fn close_idle(&self, table: &BackendTable) {
        if self.count.get() == 0 {
            return;
        }
        let rows = self.backends.borrow().len() as u32;
        for id in (0..rows).map(BackendId) {
            self.with(id, table, |backend| backend.idle.clear());
        }
    }
}

impl Backend {
    fn take(&mut self, key: ReuseKey, now: u64) -> Option<Box<Upstream>> {
        let fits = |idle: &mut Idle| idle.upstream.key == key;
        #[cfg(test)]
        let fits = |idle: &mut Idle| {
            crate::simulated::is_planted(crate::simulated::Fault::KeepsOldSettings) || fits(idle)
        };
        while let Some(idle) = self.idle.pop_back_if(fits) {
            // The kernel may know of an end or of bytes that the ring has not reported yet. On an idle connection
            // either means that the connection cannot be reused (RFC 9112 sections 9.2 and 9.5).
            let unasked = idle.upstream.unasked();
            if unasked.is_none() && !self.is_too_old(&idle, now) {
                return Some(idle.upstream);
            }
            self.note_end(&idle, unasked, now);
        }
        None
    }

    fn close_oldest(&mut self) -> Option<Hold> {
        let counters = |idle: &mut Idle| idle.upstream.hold.is_some();
        self.idle.pop_front_if(counters)?.upstream.close()
    }

    fn keep(&mut self, upstream: Box<Upstream>, keep: Keep, is_crowded: bool, now: u64) {
        self.keep = keep;
        let most = if is_crowded {
            keep.most.min(limits::IDLE_CONNECTIONS_LEAST)
        } else {
            keep.most
        };
        if self.idle.len() < most as usize {
            debug_assert!(
                self.idle.back().is_none_or(|last| last.since <= now),
                "the last idle connection has been idle for the shortest time"
            );
            debug_assert!(
                self.idle
                    .back()
                    .is_none_or(|last| last.upstream.key == upstream.key),
                "the idle connections of a backend were made with the settings that are in force"
            );
            debug_assert!(upstream.reused, "an idle connection has served an exchange");
            self.idle.push_back(Idle {
                upstream,
                since: now,
            });
        }
    }

    fn share(&mut self) {
        #[cfg(test)]
        if crate::simulated::is_planted(crate::simulated::Fault::SharesNothing) {
            return;
        }
        let hold = self
            .idle
            .front()
            .and_then(|idle| idle.upstream.hold.as_ref());
        let wanted = hold.map_or(0, |hold| hold.queue().waiting_elsewhere());
        for _ in 0..wanted {
            if self.close_oldest().is_none() {
                return;
            }
        }
    }

    fn sweep(&mut self, now: u64, in_use: u32) {
        let mut idle = std::mem::take(&mut self.idle);
        idle.retain(|idle| !self.is_finished(idle, now));
        let peak = self.peak.get(now);
        let closed = surplus(idle.len(), in_use, peak, self.keep.most);
        idle.drain(..closed);
        self.idle = idle;
    }

    fn is_finished(&mut self, idle: &Idle, now: u64) -> bool {
        let unasked = told(&idle.upstream);
        self.note_end(idle, unasked, now);
        unasked.is_some() || self.is_too_old(idle, now)
    }

    fn is_too_old(&mut self, idle: &Idle, now: u64) -> bool {
        let age = now.saturating_sub(idle.since);
        age >= self.estimate.retire_after(self.keep.keepalive, now)
    }

    fn note_end(&mut self, idle: &Idle, unasked: Option<Unasked>, now: u64) {
        if unasked == Some(Unasked::End) {
            self.estimate
                .note_closed(now.saturating_sub(idle.since), now);
        }
    }
}

/// Bytes or an end that have come on an idle connection, as far as the ring has reported. The connection is watched
/// from then on.
fn told(upstream: &Upstream) -> Option<Unasked> {
    let stream = &upstream.wire.stream;
    stream.watch();
    let unwatched = &mut Context::from_waker(Waker::noop());
    if upstream.wire.is_empty() && stream.poll_readable(unwatched).is_pending() {
        return None;
    }
    let unasked = upstream.unasked();
    stream.watch();
    unasked
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::worker::sample::{POOL, listener, run_worker};
    use crate::worker::upstream::keep_idle;
    use crate::worker::upstream::sample::{FRESH, Own, ready};

    /// A step that may be taken with the idle connections to a backend.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// Opens a connection and gives it back.
        Give,
        Take,
        CloseAll,
        Sweep,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => Just(Step::Give),
            3 => Just(Step::Take),
            1 => Just(Step::CloseAll),
            2 => Just(Step::Sweep),
        ];
        prop::collection::vec(step, 1..24)
    }

    fn name(upstream: &Upstream) -> std::net::SocketAddr {
        let crate::worker::stream::Stream::Socket(socket) = &upstream.wire.stream else {
            panic!("only sockets are idle");
        };
        socket.local_addr().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// The connection that was given last is taken first; never more are kept than may be, and all that are kept
        /// are counted.
        #[test]
        fn idle_connections_are_a_stack(steps in steps(), most in 1u32..4) {
            let (_listener, addr) = listener();
            run_worker(&[addr], |_| (), async |shard| {
                let own = Own::of(&shard);
                let id = own.config.backend(POOL, 0).id();
                let key = own.config.reuse_key(id).unwrap();
                let (idle, table) = (Upstreams::default(), shard.tables.of(shard.worker));
                let keep = Keep { most, keepalive: 60_000 };
                let mut model = Vec::new();
                for step in steps {
                    match step {
                        Step::Give => {
                            let upstream = ready(own.connect(&shard, 0, FRESH).await);
                            if model.len() < most as usize {
                                model.push(name(&upstream));
                            }
                            idle.give(upstream, keep, 0, table);
                        }
                        Step::Take => {
                            let taken = idle.take(id, key, 0, table);
                            assert_eq!(taken.as_deref().map(name), model.pop());
                        }
                        Step::CloseAll => {
                            idle.close_idle_to(id, table);
                            model.clear();
                        }
                        Step::Sweep => idle.sweep(0, table),
                    }
                    assert_eq!(table.idle(id) as usize, model.len());
                    assert_eq!(idle.has_idle_for(id, Some(key)), !model.is_empty());
                    assert!(idle.take(id, ReuseKey::default(), 0, table).is_none());
                }
            });
        }
    }

    #[test]
    fn a_connection_that_its_backend_has_closed_is_not_taken() {
        let (listener, addr) = listener();
        run_worker(
            &[addr],
            |_| (),
            async |shard| {
                let own = Own::of(&shard);
                let upstream = ready(own.connect(&shard, 0, FRESH).await);
                let (id, key) = (upstream.backend(), upstream.key());
                keep_idle(&shard, upstream);
                drop(listener.accept().unwrap()); // On loopback the end is there at once.
                let table = shard.tables.of(shard.worker);
                assert!(shard.upstreams.take(id, key, 0, table).is_none());
                assert_eq!(table.idle(id), 0);
            },
        );
    }
}
