//! One request with its response: what is known of it while it runs, and what is told of it when it has ended.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::base::ids::{BackendId, PoolId, RequestId, RouteId, WorkerId};
use crate::base::time::Micros;
use crate::http::names::{FieldEdits, NO_EDITS};
use crate::shared::access::Texts;
use crate::shared::counts::{BackendBlock, RouteBlock};
use crate::snapshot::Route;
use crate::worker::failure::Failure;
use crate::worker::plan::Plan;
use crate::worker::retry::Used;
use crate::worker::upstream::Carrier;

/// The record of an exchange. Both directions of its body write to it, hence the cells.
pub struct Exchange {
    pub plan: Rc<Plan>,
    worker: WorkerId,
    /// Told to the client in own answers and to the log.
    pub id: RequestId,
    /// When its first byte was there.
    pub began: Micros,
    /// Texts for the access log, if there is one.
    pub texts: RefCell<Option<Texts>>,
    /// The client's address: that of the connection's peer, or the one that a trusted proxy names.
    pub client: Cell<Option<IpAddr>>,
    /// 10 or 11.
    pub version: Cell<u8>,
    /// Whether the answer has no body whatever its fields say.
    pub is_head: Cell<bool>,
    /// Whether it is a gRPC call, which is answered in gRPC's own terms.
    pub is_grpc: Cell<bool>,
    /// Whether the answer is a stream of server-sent events.
    pub is_event_stream: Cell<bool>,
    /// Whether the client would rather have JSON than text.
    pub wants_json: Cell<bool>,
    /// Where the client is sent instead, or what an authority is answered.
    pub own_text: RefCell<Option<String>>,
    /// The route to which host and path lead, whether or not the request may take it.
    pub found_route: Cell<Option<RouteId>>,
    pub route: Cell<Option<RouteId>>,
    pub pool: Cell<Option<PoolId>>,
    /// The protocol by which the request is sent.
    pub carrier: Cell<Carrier>,
    /// Index in the pool's backends.
    pub backend: Cell<Option<u32>>,
    pub attempts: Cell<u8>,
    /// Status sent to the client; 0 before.
    pub status: Cell<u16>,
    /// Whether a response head is on its way to the client, so that no other can be sent.
    pub answered: Cell<bool>,
    /// Whether a byte of an answer came from a backend: the request is not sent again then.
    pub heard: Cell<bool>,
    pub request_bytes: Cell<u64>,
    pub response_bytes: Cell<u64>,
    /// From the sending of the request to the head of the answer that a backend gave; `None` before.
    pub upstream_micros: Cell<Option<u64>>,
    /// From the request's first byte to that head; 0 before.
    pub head_micros: Cell<u64>,
    pub failure: Cell<Option<Failure>>,
    /// When the route's bound on the whole exchange ends.
    deadline: Cell<Option<Micros>>,
    /// Since when nobody but the backend can be waited for: it is connected to, was sent the request, or its end.
    backend_since: Cell<Micros>,
    /// Whether it is the client who set that bound.
    is_bound_by_client: Cell<bool>,
    /// The time until which the request would have waited for the answer of the backend that it has left last.
    patience: Cell<Option<Micros>>,
    /// The place of the attempt that is under way, among the attempts of the core.
    pub place: Cell<usize>,
    /// The attempts, retries and changes of backend that the request has used up.
    pub used: Cell<Used>,
    /// The backends that the request was to go to and did not get an answer from.
    tried: RefCell<Vec<BackendId>>,
}

impl Drop for Exchange {
    /// Also where a panic ends it.
    fn drop(&mut self) {
        if let Some(counts) = self.route_counts() {
            counts.in_flight.sub(1);
        }
    }
}

impl Exchange {
    /// An exchange that begins now.
    pub fn new(plan: Rc<Plan>, worker: WorkerId, id: RequestId) -> Exchange {
        Exchange {
            plan,
            worker,
            id,
            began: Micros::now(),
            texts: RefCell::default(),
            client: Cell::default(),
            version: Cell::new(11),
            is_head: Cell::default(),
            is_grpc: Cell::default(),
            is_event_stream: Cell::default(),
            wants_json: Cell::default(),
            own_text: RefCell::default(),
            found_route: Cell::default(),
            route: Cell::default(),
            pool: Cell::default(),
            carrier: Cell::new(Carrier::Pools),
            backend: Cell::default(),
            attempts: Cell::default(),
            status: Cell::default(),
            answered: Cell::default(),
            heard: Cell::default(),
            request_bytes: Cell::default(),
            response_bytes: Cell::default(),
            upstream_micros: Cell::default(),
            head_micros: Cell::default(),
            failure: Cell::default(),
            deadline: Cell::default(),
            backend_since: Cell::default(),
            is_bound_by_client: Cell::default(),
            patience: Cell::default(),
            place: Cell::new(usize::MAX),
            used: Cell::default(),
            tried: RefCell::default(),
        }
    }

    /// Takes the route's conditions over.
    pub fn take_route(&self, id: RouteId) -> &Route {
        let route = &self.plan.snapshot().routes[id.index()];
        self.route.set(Some(id));
        self.pool.set(Some(route.pool));
        route.counts.of(self.worker).in_flight.add(1);
        self.deadline
            .set(route.timeout.map(|timeout| self.began.after(timeout)));
        route
    }

    /// Lets the whole exchange take no longer than the client is ready to wait.
    pub fn bound_by_client(&self, wait: Duration) {
        let due = self.began.after(wait);
        if self.deadline.get().is_none_or(|earlier| due < earlier) {
            self.deadline.set(Some(due));
            self.is_bound_by_client.set(true);
        }
    }

    /// The instant at which the route's bound on the whole exchange ends, or the client's.
    pub fn deadline(&self) -> Option<Micros> {
        self.deadline.get()
    }

    /// Whether it is the client who bounds the whole exchange.
    pub fn is_bound_by_client(&self) -> bool {
        self.is_bound_by_client.get()
    }

    /// Notes that from now on nobody but the backend can be waited for. It only matters where the whole exchange has
    /// a bound.
    pub fn backend_has_time(&self) {
        if self.deadline.get().is_some() {
            self.backend_since.set(Micros::now());
        }
    }

    /// Whether the backend had most of the time that the whole exchange may take. Else others have used it up: a client
    /// that was slow to send, or requests that were before this one in a queue.
    pub fn backend_had_most(&self) -> bool {
        let had = Micros::now().since(self.backend_since.get());
        let timeout = self
            .route()
            .timeout
            .map(|timeout| timeout.as_micros() as u64);
        timeout.is_none_or(|timeout| had >= timeout / 2)
    }

    /// The route. Only after [`Exchange::take_route`].
    pub fn route(&self) -> &Route {
        &self.plan.snapshot().routes[self.route_id().index()]
    }

    /// The same by its number.
    pub fn route_id(&self) -> RouteId {
        let id = self.route.get();
        id.expect("a request has its route before it goes on")
    }

    /// What the operator changes in answers to the request, as far as its route is known.
    pub fn response_edits(&self) -> &FieldEdits {
        match self.found_route.get() {
            Some(id) => &self.plan.snapshot().routes[id.index()].response_fields,
            None => &NO_EDITS,
        }
    }

    /// What this worker counts of the route, once it is known.
    pub fn route_counts(&self) -> Option<&RouteBlock> {
        let id = self.route.get()?;
        let route = &self.plan.snapshot().routes[id.index()];
        Some(route.counts.of(self.worker))
    }

    /// What this worker counts of the backend that the request was last sent to, if any.
    pub fn backend_counts(&self) -> Option<&BackendBlock> {
        let (pool, index) = (self.pool.get()?, self.backend.get()?);
        let backend = self.plan.backend(pool, index);
        Some(backend.slot.counts().workers.of(self.worker))
    }

    /// How long a step may take that may take `wait` by itself: what is left of the whole exchange bounds it.
    pub fn bounded(&self, wait: Duration) -> Duration {
        match self.due() {
            None => wait,
            Some(deadline) => wait.min(Duration::from_micros(deadline.since(Micros::now()))),
        }
    }

    /// Notes that the request leaves a backend for which its attempt, begun at `began`, had the time `wait`.
    pub fn leaves(&self, began: Micros, wait: Duration) {
        self.patience.set(Some(began.after(wait)));
    }

    /// How long the request may wait for a connection. A request that has left no backend waits for `connect`. A
    /// request that has left one may wait at least as long as that backend had left for its answer, so that leaving is
    /// no disadvantage.
    pub fn wait_for_connection(&self, connect: Duration) -> Duration {
        let patience = self.patience.get();
        let left = patience.map(|until| Duration::from_micros(until.since(Micros::now())));
        self.bounded(left.map_or(connect, |left| left.max(connect)))
    }

    /// The failure that an expired step means: its own, or that of the whole exchange.
    pub fn expired(&self, step: Failure) -> Failure {
        match self.is_overdue() {
            true => Failure::ExchangeTimeout,
            false => step,
        }
    }

    /// Whether the time for the whole exchange has ended.
    pub fn is_overdue(&self) -> bool {
        self.due().is_some_and(|due| Micros::now() >= due)
    }

    /// The instant by which the exchange must end: by its route, by its client, or because its snapshot is too old.
    fn due(&self) -> Option<Micros> {
        let bounds = [self.deadline.get(), self.plan.due()];
        bounds.into_iter().flatten().min()
    }

    /// Notes that a backend gave no answer to the request.
    pub fn note_tried(&self, id: BackendId) {
        if !self.has_tried(id) {
            self.tried.borrow_mut().push(id);
        }
    }

    /// Whether it gave none.
    pub fn has_tried(&self, id: BackendId) -> bool {
        self.tried.borrow().contains(&id)
    }

    /// Notes the backend that the request goes to.
    pub fn note_backend(&self, id: BackendId) {
        if let Some(index) = self.plan.index_of(id) {
            self.backend.set(Some(index));
        }
    }

    /// The backends that gave none.
    pub fn tried(&self) -> Vec<BackendId> {
        self.tried.borrow().clone()
    }

    /// Adds to the bytes of the request body.
    pub fn count_request(&self, bytes: usize) {
        self.request_bytes
            .set(self.request_bytes.get() + bytes as u64);
    }

    /// Adds to the bytes of the response.
    pub fn count_response(&self, bytes: usize) {
        self.response_bytes
            .set(self.response_bytes.get() + bytes as u64);
    }
}
