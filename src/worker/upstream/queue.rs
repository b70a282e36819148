//! The requests of one core that wait for a connection to a pool, served in the order of arrival. A connection or
//! permit that becomes free goes to one request and wakes no other. A request that has waited much longer on another
//! core goes first.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Waker};

use crate::base::ids::{BackendId, WorkerId};
use crate::base::limits;
use crate::base::time::Micros;
use crate::messages::ToWorker;
use crate::shared::SharedPoolCounters;
use crate::shared::backend_table::Permit;
use crate::shared::mailbox::Mailbox;
use crate::worker::upstream::{Carrier, ReuseKey, Upstream};

/// The worker, and the mailboxes of all workers.
pub struct Neighbours {
    /// The number of the worker.
    pub worker: WorkerId,
    /// The mailboxes of all workers, including its own.
    pub mailboxes: Vec<Mailbox<ToWorker>>,
}

/// Backends by the configuration with which a waiting request began.
pub trait Backends {
    /// The generation of the configuration.
    fn generation(&self) -> u64;
    /// The key of the connections that may be used, as [`crate::worker::live_config::LiveConfig::reuse_key`] gives it.
    fn reuse_key(&self, id: BackendId) -> Option<ReuseKey>;
    /// The most connections that the backend may have; `None`: the backend takes no requests.
    fn most_connections(&self, id: BackendId) -> Option<u32>;
}

/// The waiting requests of a pool.
pub struct Queue {
    requests: RefCell<VecDeque<Rc<Waiter>>>,
    /// The number of waiting requests of each carrier. A connection that the first request cannot use may serve a later
    /// request with another carrier.
    by_carrier: [Cell<usize>; Carrier::ALL.len()],
    counters: SharedPoolCounters,
    neighbours: Rc<Neighbours>,
}

struct Waiter {
    config: Rc<dyn Backends>,
    carrier: Carrier,
    since: Micros,
    waker: RefCell<Option<Waker>>,
    offer: RefCell<Option<Offer>>,
}

/// The reason for which a waiting request is woken.
pub enum Offer {
    /// The request gets this connection.
    Connection(Box<Upstream>),
    /// The request may open a connection.
    Permit(Permit),
    /// A connection of this core to a backend may have space for another stream.
    Room(BackendId),
    /// The request must pick a backend anew, because something has changed.
    Look,
}

/// The request, or the worker, that is served next.
enum Next {
    /// A request of this core, by its position in the queue.
    Own(usize),
    Other(WorkerId),
    Nobody,
}

/// The entry of a request in the queue. When the entry is dropped, the request leaves the queue, and an offer that it
/// has not taken goes to the next request.
pub struct QueueEntry {
    queue: Rc<Queue>,
    waiter: Rc<Waiter>,
}

impl Neighbours {
    /// Sends a message to another worker. Errors: the message comes back, because the mailbox of that worker is full.
    pub fn tell(&self, worker: WorkerId, message: ToWorker) -> Result<(), ToWorker> {
        match self.mailboxes.get(worker.index()) {
            Some(mailbox) => mailbox.post(message),
            None => Err(message),
        }
    }
}

impl Queue {
    /// An empty queue. `counters` publish to the other cores how many requests wait here, and since when.
    pub fn new(counters: SharedPoolCounters, neighbours: &Rc<Neighbours>) -> Rc<Queue> {
        Rc::new(Queue {
            requests: RefCell::default(),
            by_carrier: Default::default(),
            counters,
            neighbours: neighbours.clone(),
        })
    }

    /// Whether a waiting request of this generation and carrier comes before a new one. (Requests of other generations
    /// may wait for other connections, and a request that needs a stream must not wait for requests that need a
    /// connection.)
    pub fn is_ahead(&self, generation: u64, carrier: Carrier) -> bool {
        if self.waiting(carrier).get() == 0 {
            return false;
        }
        let requests = self.requests.borrow();
        let last = requests.iter().rfind(|waiter| waiter.carrier == carrier);
        last.is_some_and(|last| last.config.generation() == generation)
    }

    /// Adds a request to the queue; `None`: the queue is full.
    pub fn join(
        self: &Rc<Self>,
        config: Rc<dyn Backends>,
        carrier: Carrier,
        now: Micros,
    ) -> Option<QueueEntry> {
        if !self.has_place() {
            return None;
        }
        let waiter = Rc::new(Waiter {
            config,
            carrier,
            since: now,
            waker: RefCell::default(),
            offer: RefCell::default(),
        });
        debug_assert!(
            (self.requests.borrow().back()).is_none_or(|last| last.since <= now),
            "requests wait in the order in which they came"
        );
        self.requests.borrow_mut().push_back(waiter.clone());
        debug_assert!(self.requests.borrow().len() <= limits::WAITING_REQUESTS);
        let waiting = self.waiting(carrier);
        waiting.set(waiting.get() + 1);
        self.publish();
        let queue = self.clone();
        Some(QueueEntry { queue, waiter })
    }

    /// Hands an unused connection to the request that has waited longest. Gives the connection back if no request
    /// waits.
    pub fn hand_over(&self, upstream: Box<Upstream>) -> Option<Box<Upstream>> {
        match self.next(upstream.backend) {
            Next::Own(at) => self.serve(at, Offer::Connection(upstream)),
            Next::Other(worker) => {
                // Another core cannot use the connection itself, but may open one in its place.
                if let Some(permit) = upstream.close().and_then(|hold| hold.into_permit()) {
                    self.send(worker, permit);
                }
            }
            Next::Nobody => return Some(upstream),
        }
        None
    }

    /// Lets the request that has waited longest open a connection in the place of one that has ended.
    pub fn release(&self, permit: Permit) {
        let id = permit.backend();
        if !permit.is_usable(self.neighbours.worker) {
            drop(permit);
            // A permit that no other core can use may still serve a request for which no other backend is left.
            return self.look();
        }
        match self.next(id) {
            Next::Own(at) => self.permit(at, permit),
            Next::Other(worker) => self.send(worker, permit),
            Next::Nobody => {
                drop(permit);
                // A request that began to wait on another core just now may have been refused a connection because this
                // one was still open.
                let waiting = self.counters.longest_waiting(self.neighbours.worker);
                if let Some((worker, _)) = waiting {
                    // If the mailbox is full, that worker checks at its next tick.
                    let _ = self.neighbours.tell(worker, ToWorker::Look(id));
                }
            }
        }
    }

    /// Takes over a permit that another worker gave up for a request that waits here. The permit is not sent on,
    /// because it may be of no use to the other workers either, and would then circulate without an end.
    pub fn take_over(&self, permit: Permit) {
        let id = permit.backend();
        if !permit.is_usable(self.neighbours.worker) {
            drop(permit);
            return self.look();
        }
        match self.first_that_knows(id) {
            Some(at) => self.permit(at, permit),
            None => {
                drop(permit);
                // Only requests of another configuration wait here. On the other workers a request may wait that can
                // use the permit.
                for worker in self.counters.waiting_workers(self.neighbours.worker) {
                    // If the mailbox is full, that worker checks at its next tick.
                    let _ = self.neighbours.tell(worker, ToWorker::Look(id));
                }
            }
        }
    }

    /// Whether the queue takes another request.
    pub fn has_place(&self) -> bool {
        self.requests.borrow().len() < limits::WAITING_REQUESTS
    }

    /// Offers a stream on this core's connections to a backend. For each carrier, the first request without another
    /// offer gets the offer.
    pub fn tell_room(&self, id: BackendId) {
        for carrier in Carrier::ALL {
            let knows = |waiter: &Waiter| waiter.config.reuse_key(id).is_some();
            let is_next = |waiter: &Waiter| knows(waiter) && waiter.offer.borrow().is_none();
            if let Some(waiter) = self.first(carrier, is_next) {
                waiter.wake(Offer::Room(id));
            }
        }
    }

    /// Lets the first request of each carrier pick a backend anew. If it finds one, the next request does so, too: see
    /// [`QueueEntry::found`].
    pub fn look(&self) {
        for carrier in Carrier::ALL {
            self.look_as(carrier);
        }
    }

    fn look_as(&self, carrier: Carrier) {
        if let Some(first) = self.first(carrier, |_| true) {
            first.wake(Offer::Look);
        }
    }

    fn first(&self, carrier: Carrier, is_wanted: impl Fn(&Waiter) -> bool) -> Option<Rc<Waiter>> {
        if self.waiting(carrier).get() == 0 {
            return None;
        }
        let requests = self.requests.borrow();
        let mut waiting = requests.iter().filter(|it| it.carrier == carrier);
        waiting.find(|waiter| is_wanted(waiter)).cloned()
    }

    fn waiting(&self, carrier: Carrier) -> &Cell<usize> {
        &self.by_carrier[carrier as usize]
    }

    fn remove(&self, at: usize) -> Option<Rc<Waiter>> {
        let removed = self.requests.borrow_mut().remove(at)?;
        let waiting = self.waiting(removed.carrier);
        debug_assert!(waiting.get() > 0, "a request that leaves was counted");
        waiting.set(waiting.get() - 1);
        self.publish();
        Some(removed)
    }

    /// Whether any request waits, on this core or another.
    pub fn is_awaited(&self) -> bool {
        !self.requests.borrow().is_empty() || self.waiting_elsewhere() > 0
    }

    /// The number of requests that wait on other cores.
    pub fn waiting_elsewhere(&self) -> u64 {
        self.counters.waiting_elsewhere(self.neighbours.worker)
    }

    fn next(&self, id: BackendId) -> Next {
        let own = self.first_that_knows(id);
        let requests = self.requests.borrow();
        let other = self.counters.longest_waiting(self.neighbours.worker);
        #[cfg(test)]
        let other =
            other.filter(|_| !crate::simulated::is_planted(crate::simulated::Fault::SharesNothing));
        match (own, other) {
            (Some(at), Some((worker, since)))
                if requests[at].since.since(since) > limits::UNFAIR_WAIT_MICROS =>
            {
                Next::Other(worker)
            }
            (Some(at), _) => Next::Own(at),
            (None, Some((worker, _))) => Next::Other(worker),
            (None, None) => Next::Nobody,
        }
    }

    /// The position in the queue of the first request that may go to this backend.
    fn first_that_knows(&self, id: BackendId) -> Option<usize> {
        let requests = self.requests.borrow();
        let knows = |waiter: &Rc<Waiter>| waiter.config.reuse_key(id).is_some();
        requests.iter().position(knows)
    }

    /// Lets the request at this position open a connection, if its configuration allows the backend so many.
    fn permit(&self, at: usize, permit: Permit) {
        let most = self.requests.borrow()[at]
            .config
            .most_connections(permit.backend());
        if !permit.is_beyond(most.unwrap_or(u32::MAX)) {
            self.serve(at, Offer::Permit(permit));
        }
    }

    fn serve(&self, at: usize, offer: Offer) {
        let earlier = self.remove(at).and_then(|waiter| waiter.wake(offer));
        earlier.into_iter().for_each(|offer| self.pass_on(offer));
    }

    fn send(&self, worker: WorkerId, permit: Permit) {
        // If the mailbox is full, the permit is dropped, and that worker checks at its next tick.
        drop(self.neighbours.tell(worker, ToWorker::Permit(permit)));
    }

    fn pass_on(&self, offer: Offer) {
        match offer {
            // The request that was to get the connection has left. If no other request waits, the connection is closed.
            Offer::Connection(upstream) => drop(self.hand_over(upstream)),
            Offer::Permit(permit) => self.release(permit),
            Offer::Room(id) => self.tell_room(id),
            Offer::Look => self.look(),
        }
    }

    fn leave(&self, waiter: &Rc<Waiter>) {
        let requests = self.requests.borrow();
        let at = requests.iter().position(|one| Rc::ptr_eq(one, waiter));
        drop(requests);
        at.and_then(|at| self.remove(at));
    }

    fn publish(&self) {
        let requests = self.requests.borrow();
        debug_assert_eq!(
            self.by_carrier.iter().map(Cell::get).sum::<usize>(),
            requests.len(),
            "each request that waits is counted with its carrier"
        );
        let oldest = requests.front().map(|waiter| waiter.since);
        let worker = self.neighbours.worker;
        self.counters.set_waiting(worker, requests.len(), oldest);
    }
}

impl Waiter {
    /// Makes an offer to the request and wakes it. The result is an earlier offer that the request has not taken.
    fn wake(&self, offer: Offer) -> Option<Offer> {
        let earlier = self.offer.replace(Some(offer));
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
        earlier
    }
}

impl QueueEntry {
    /// Whether no other request of this core and carrier waits.
    pub fn is_alone(&self) -> bool {
        self.queue.waiting(self.waiter.carrier).get() == 1
    }

    /// Lets the request pick a backend anew when it first asks for an offer.
    pub fn look_first(&self) {
        self.waiter.wake(Offer::Look);
    }

    /// The offer that the request has got. The task is woken for the next offer.
    pub fn offer(&self, cx: &Context<'_>) -> Option<Offer> {
        let mut waker = self.waiter.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|known| known.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
        self.waiter.offer.take()
    }

    /// Notes that the request found a backend by picking anew. The next request may find one, too.
    pub fn found(&self) {
        self.queue.leave(&self.waiter);
        self.queue.look_as(self.waiter.carrier);
    }

    /// Notes that the request found no backend. The next request that began with another configuration may find one all
    /// the same.
    pub fn found_nothing(&self) {
        let requests = self.queue.requests.borrow();
        let mut behind = requests
            .iter()
            .skip_while(|one| !Rc::ptr_eq(one, &self.waiter));
        let generation = self.waiter.config.generation();
        let may_find = |one: &&Rc<Waiter>| {
            one.carrier == self.waiter.carrier && one.config.generation() != generation
        };
        if let Some(other) = behind.find(may_find) {
            other.wake(Offer::Look);
        }
    }
}

impl Drop for QueueEntry {
    fn drop(&mut self) {
        self.queue.leave(&self.waiter);
        let offer = self.waiter.offer.take();
        offer
            .into_iter()
            .for_each(|offer| self.queue.pass_on(offer));
    }
}

#[cfg(test)]
mod tests;
