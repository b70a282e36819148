//! One request with its response, as plain data: what began the exchange, the facts of the request, its progress, and
//! its tally for the log.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::base::ids::{BackendId, RequestId, RouteId, WorkerId};
use crate::base::time::Micros;
use crate::http::names::{FieldEdits, NO_EDITS};
use crate::shared::SharedCacheCounters;
use crate::shared::access::{CacheOutcome, CachePart, LoggedTexts, RequestFacts, Tally};
use crate::shared::cache::{Follower, PurgeSync};
use crate::shared::cache_counters::CacheBlock;
use crate::shared::route_counters::{BackendBlock, RouteBlock};
use crate::snapshot::Route;
use crate::worker::cache::own::{Collapsed, Led};
use crate::worker::failure::Failure;
use crate::worker::live_config::LiveConfig;
use crate::worker::retry::Used;

/// A request with its response.
pub struct Exchange {
    /// The configuration with which the exchange began.
    pub config: Rc<LiveConfig>,
    worker: WorkerId,
    /// The id of the request, which replies and the log name.
    pub id: RequestId,
    /// When the first byte of the request was there.
    pub began: Micros,
    /// The facts of the request. The decision alone writes them.
    pub facts: RequestFacts,
    /// Texts for the access log, if one is written.
    pub texts: LoggedTexts,
    /// The bound on the whole exchange.
    deadline: Deadline,
    /// Whether the route counts the request for as long as this value lives.
    is_counted: bool,
    /// How far the exchange has come.
    pub progress: Progress,
    /// Counts and times. The tally is the one cell of an exchange, because the upload counts while the answer arrives.
    tally: Cell<Tally>,
    /// The part that the cache had. The outcome is a cell, because the head of the answer may decide it.
    cache: Cell<CacheOutcome>,
}

/// The bound on the whole exchange, apart from the age of its configuration.
#[derive(Clone, Copy, Debug, Default)]
struct Deadline {
    due: Option<Micros>,
    /// Whether the client has set the bound.
    is_of_client: bool,
}

/// How far an exchange has come with its attempts.
#[derive(Default)]
pub struct Progress {
    /// The attempts, retries and changes of backend that the request has used up.
    pub used: Used,
    /// The backends that the request was meant for and that gave no answer.
    pub tried: Vec<BackendId>,
    /// The number of the running attempt among all attempts of the core.
    pub place: Option<usize>,
    /// The time until which the request would have waited for an answer of the backend that it left last.
    patience: Option<Micros>,
    /// How far the request has come with waiting for the answers to others.
    pub collapsed: Collapsed,
    /// The fetch of another request that the request has waited for. Who follows keeps what the store has of the body.
    pub followed: Cell<Option<Follower>>,
    /// The fetch of the cache's own that the request has caused.
    pub led: Cell<Option<Led>>,
    /// Whether the slices of what is asked for cannot be had.
    pub is_unsliced: bool,
    /// The time for which the request waits for others where a stale response may answer it; `None`: until the time for
    /// waiting is over.
    pub stale_after: Cell<Option<Duration>>,
    /// The purges of the request, if the answer has to wait until they outlast the process.
    pub purge_sync: Cell<Option<Box<PurgeSync>>>,
    /// The reason for which the exchange has failed.
    pub failure: Option<Failure>,
}

impl Progress {
    /// Notes that the request has caused a fetch of the cache's own.
    pub fn note_led(&mut self, led: Led) {
        self.collapsed.has_led = true;
        self.led.set(Some(led));
    }
}

impl Drop for Exchange {
    /// Takes the request off the count of its route, even when a panic ends the exchange.
    fn drop(&mut self) {
        if self.is_counted
            && let Some(counters) = self.route_counters()
        {
            counters.in_flight.sub(1);
        }
    }
}

impl Exchange {
    /// An exchange that begins now.
    #[inline]
    pub fn new(config: Rc<LiveConfig>, worker: WorkerId, id: RequestId) -> Exchange {
        Exchange {
            config,
            worker,
            id,
            began: Micros::now(),
            facts: RequestFacts {
                version: 11,
                ..RequestFacts::default()
            },
            texts: LoggedTexts::default(),
            deadline: Deadline::default(),
            is_counted: true,
            progress: Progress::default(),
            tally: Cell::default(),
            cache: Cell::default(),
        }
    }

    /// The rest of this exchange as one of its own, which has the same route and the same bounds. The route does not
    /// count the request once more.
    pub fn rest(&self) -> Exchange {
        let mut rest = Exchange::new(self.config.clone(), self.worker, self.id);
        rest.began = self.began;
        rest.facts.route = self.facts.route;
        rest.facts.pool = self.facts.pool;
        rest.deadline = self.deadline;
        rest.is_counted = false;
        rest
    }

    /// Takes over the conditions of the route.
    #[inline]
    pub fn take_route(&mut self, id: RouteId) {
        debug_assert!(self.facts.route.is_none(), "a request takes one route");
        let route = &self.config.snapshot().routes[id.index()];
        self.facts.route = Some(id);
        self.facts.pool = Some(route.pool);
        route.counters.of(self.worker).in_flight.add(1);
        self.deadline.due = route.timeout.map(|timeout| self.began.after(timeout));
    }

    /// Gives the route back: the decision about the request is made again.
    pub fn leave_route(&mut self) {
        if let Some(counters) = self.route_counters() {
            counters.in_flight.sub(1);
        }
        self.facts.route = None;
        self.facts.pool = None;
    }

    /// The part that the cache had up to now.
    pub fn cache_outcome(&self) -> CacheOutcome {
        self.cache.get()
    }

    /// Notes the part that the cache had, and why.
    pub fn note_cache(&self, part: CachePart, reason: &'static str) {
        self.cache.set(CacheOutcome { part, reason });
    }

    /// Ends the exchange when the time is over for which the client is ready to wait.
    pub fn bound_by_client(&mut self, wait: Duration) {
        let due = self.began.after(wait);
        if self.deadline.due.is_none_or(|earlier| due < earlier) {
            self.deadline = Deadline {
                due: Some(due),
                is_of_client: true,
            };
        }
    }

    /// The instant at which the bound of the route, or of the client, on the whole exchange ends.
    pub fn deadline(&self) -> Option<Micros> {
        self.deadline.due
    }

    /// Whether the bound on the whole exchange comes from the client.
    pub fn is_bound_by_client(&self) -> bool {
        self.deadline.is_of_client
    }

    /// The counts and times up to now.
    pub fn tally(&self) -> Tally {
        self.tally.get()
    }

    /// Changes the counts and times.
    pub fn note(&self, change: impl FnOnce(&mut Tally)) {
        let mut tally = self.tally.get();
        change(&mut tally);
        self.tally.set(tally);
    }

    /// Notes that from now on only the backend can be waited for. The note matters only if the whole exchange has a
    /// bound.
    pub fn backend_has_time(&self) {
        if self.deadline.due.is_some() {
            let now = Micros::now();
            self.note(|tally| tally.backend_since = now);
        }
    }

    /// Whether the backend had most of the time for the whole exchange. Otherwise a client that was slow to send its
    /// request, or other requests in a queue, have used up the time.
    pub fn backend_had_most(&self) -> bool {
        let had = Micros::now().since(self.tally().backend_since);
        let timeout = self
            .route()
            .timeout
            .map(|timeout| timeout.as_micros() as u64);
        timeout.is_none_or(|timeout| had >= timeout / 2)
    }

    /// The route of the request. [`Exchange::take_route`] comes before.
    pub fn route(&self) -> &Route {
        &self.config.snapshot().routes[self.route_id().index()]
    }

    /// The number of the request's route. [`Exchange::take_route`] comes before.
    pub fn route_id(&self) -> RouteId {
        let id = self.facts.route;
        id.expect("a request has its route before it goes on")
    }

    /// The operator's changes of response fields, as far as the route is known.
    pub fn response_edits(&self) -> &FieldEdits {
        match self.facts.found_route {
            Some(id) => &self.config.snapshot().routes[id.index()].response_fields,
            None => &NO_EDITS,
        }
    }

    /// The counters of the route on this worker, once the route is known.
    pub fn route_counters(&self) -> Option<&RouteBlock> {
        let id = self.facts.route?;
        let route = &self.config.snapshot().routes[id.index()];
        Some(route.counters.of(self.worker))
    }

    /// The counters of the route's cache on this worker, if the route has a cache.
    pub fn cache_counters(&self) -> Option<&CacheBlock> {
        let id = self.facts.route?;
        let route = &self.config.snapshot().routes[id.index()];
        Some(route.cache_counters.as_ref()?.of(self.worker))
    }

    /// The counters of the route's cache and the worker that counts, if the route has a cache.
    pub fn shared_cache_counters(&self) -> Option<(SharedCacheCounters, WorkerId)> {
        let counters = self.route().cache_counters.clone()?;
        Some((counters, self.worker))
    }

    /// The counters, on this worker, of the backend that the request was last sent to, if any.
    pub fn backend_counters(&self) -> Option<&BackendBlock> {
        let (pool, index) = (self.facts.pool?, self.tally().backend?);
        let backend = self.config.backend(pool, index);
        Some(backend.slot.counters().workers.of(self.worker))
    }

    /// The backend that the request was last sent to, or was to be sent to.
    pub fn last_backend(&self) -> Option<BackendId> {
        let (pool, index) = (self.facts.pool?, self.tally().backend?);
        Some(self.config.backend(pool, index).id())
    }

    /// The time for a step that may take `wait` by itself: the rest of the time for the whole exchange bounds it.
    pub fn bounded(&self, wait: Duration) -> Duration {
        match self.due() {
            None => wait,
            Some(deadline) => wait.min(Duration::from_micros(deadline.since(Micros::now()))),
        }
    }

    /// Notes that the request leaves a backend. Its attempt there began at `began` and had the time `wait`.
    pub fn leaves(&mut self, began: Micros, wait: Duration) {
        self.progress.patience = Some(began.after(wait));
    }

    /// How long the request may wait for a connection. A request that has left no backend waits for `connect`. A
    /// request that has left a backend may wait at least for the rest of its time there, so that leaving is no
    /// disadvantage.
    #[inline]
    pub fn wait_for_connection(&self, connect: Duration) -> Duration {
        let patience = self.progress.patience;
        let left = patience.map(|until| Duration::from_micros(until.since(Micros::now())));
        self.bounded(left.map_or(connect, |left| left.max(connect)))
    }

    /// The failure that an expired step means: the failure `step`, or that of the whole exchange.
    pub fn expired(&self, step: Failure) -> Failure {
        if self.is_overdue() {
            Failure::ExchangeTimeout
        } else {
            step
        }
    }

    /// The failure of a step that took too long, or was cut. If the step ended because the exchange has too old a
    /// configuration, nobody else is to blame.
    pub fn unless_outdated(&self, step: Failure) -> Failure {
        if self.is_outdated() {
            Failure::ExchangeTimeout
        } else {
            step
        }
    }

    /// Whether the exchange must end because its configuration is too old, whatever its step is.
    pub fn is_outdated(&self) -> bool {
        self.config.due().is_some_and(|due| Micros::now() >= due)
    }

    /// Whether the time for the whole exchange has ended.
    pub fn is_overdue(&self) -> bool {
        self.due().is_some_and(|due| Micros::now() >= due)
    }

    /// The instant by which the exchange must end: by its route, by its client, or because its configuration is too
    /// old.
    fn due(&self) -> Option<Micros> {
        let bounds = [self.deadline.due, self.config.due()];
        bounds.into_iter().flatten().min()
    }

    /// Notes that a backend gave no answer to the request.
    pub fn note_tried(&mut self, id: BackendId) {
        if !self.has_tried(id) {
            self.progress.tried.push(id);
        }
    }

    /// Whether a backend gave no answer to the request.
    pub fn has_tried(&self, id: BackendId) -> bool {
        self.progress.tried.contains(&id)
    }

    /// Notes the backend that the request goes to.
    pub fn note_backend(&self, id: BackendId) {
        if let Some(index) = self.config.index_of(id) {
            self.note(|tally| tally.backend = Some(index));
        }
    }

    /// Adds to the bytes of the request body.
    pub fn count_request(&self, bytes: usize) {
        self.note(|tally| tally.request_bytes += bytes as u64);
    }

    /// Adds to the bytes of the response.
    pub fn count_response(&self, bytes: usize) {
        self.note(|tally| tally.response_bytes += bytes as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::sample;
    use crate::worker::upstream::Neighbours;

    fn exchange() -> Exchange {
        let pool = sample::pool(&mut sample::slots(), "api", &sample::addrs(2));
        let neighbours = Rc::new(Neighbours {
            worker: WorkerId(0),
            mailboxes: Vec::new(),
        });
        let config = LiveConfig::new(sample::snapshot(1, vec![pool]), &neighbours);
        Exchange::new(Rc::new(config), WorkerId(0), RequestId(7))
    }

    #[test]
    fn a_client_may_shorten_an_exchange_and_not_lengthen_it() {
        let seconds = Duration::from_secs;
        let mut exchange = exchange();
        assert!(!exchange.is_overdue() && exchange.bounded(seconds(9)) == seconds(9));
        for (wait, expected) in [(600, 600), (300, 300), (400, 300)] {
            exchange.bound_by_client(seconds(wait));
            assert!(exchange.is_bound_by_client());
            let due = exchange.began.after(seconds(expected));
            assert_eq!(exchange.deadline(), Some(due), "{wait}");
        }
        assert!(exchange.bounded(seconds(1_000)) <= seconds(300));
        assert_eq!(exchange.expired(Failure::Reset), Failure::Reset);
        exchange.bound_by_client(Duration::ZERO);
        assert!(exchange.is_overdue());
        assert_eq!(exchange.expired(Failure::Reset), Failure::ExchangeTimeout);
    }

    #[test]
    fn who_leaves_a_backend_waits_as_long_as_there() {
        let seconds = Duration::from_secs;
        let mut exchange = exchange();
        assert_eq!(exchange.wait_for_connection(seconds(5)), seconds(5));
        exchange.leaves(Micros::now(), seconds(1_000));
        assert!(exchange.wait_for_connection(seconds(5)) > seconds(500));
        exchange.leaves(exchange.began, Duration::ZERO);
        assert_eq!(exchange.wait_for_connection(seconds(5)), seconds(5));
    }

    #[test]
    fn both_directions_count_into_one_tally() {
        let mut exchange = exchange();
        exchange.count_request(3);
        exchange.count_response(4);
        exchange.count_request(5);
        let tally = exchange.tally();
        assert_eq!((tally.request_bytes, tally.response_bytes), (8, 4));
        exchange.note_tried(BackendId(1));
        exchange.note_tried(BackendId(1));
        assert_eq!(exchange.progress.tried, [BackendId(1)]);
        assert!(exchange.has_tried(BackendId(1)) && !exchange.has_tried(BackendId(2)));
    }
}
