//! The requests that wait on one core for a connection to a pool, first come, first served. What becomes free is
//! handed to one of them and wakes no other; a request that has waited much longer on another core goes first.

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

/// A worker among the others.
pub struct Neighbours {
    /// The number of the worker.
    pub worker: WorkerId,
    /// Every worker's mailbox, its own too.
    pub mailboxes: Vec<Mailbox<ToWorker>>,
}

/// Backends as the configuration has them with which a waiting request began.
pub trait Backends {
    /// Tells configurations apart.
    fn generation(&self) -> u64;
    /// As [`crate::worker::live_config::LiveConfig::reuse_key`].
    fn reuse_key(&self, id: BackendId) -> Option<ReuseKey>;
    /// How many connections the backend may have; `None`: it takes no requests.
    fn most_connections(&self, id: BackendId) -> Option<u32>;
}

/// A pool's waiting requests.
pub struct Queue {
    requests: RefCell<VecDeque<Rc<Waiter>>>,
    /// The number of waiting requests of each carrier. A connection that a WebSocket cannot use may serve a request
    /// behind it.
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
    Connection(Upstream),
    /// The request may open a connection.
    Permit(Permit),
    /// There should be room on this core's connections to a backend.
    Room(BackendId),
    /// Something has changed: it picks a backend anew.
    Look,
}

/// The request, or the worker, whose turn it is.
enum Next {
    /// The turn is that of a request of this core, by its place in the queue.
    Own(usize),
    Other(WorkerId),
    Nobody,
}

/// A request's place in the queue, which it leaves when this is dropped. What it was offered and has not taken goes
/// to the next one.
pub struct QueueEntry {
    queue: Rc<Queue>,
    waiter: Rc<Waiter>,
}

impl Neighbours {
    /// Tells another worker something. Errors: the message back, because its mailbox is full.
    pub fn tell(&self, worker: WorkerId, message: ToWorker) -> Result<(), ToWorker> {
        match self.mailboxes.get(worker.index()) {
            Some(mailbox) => mailbox.post(message),
            None => Err(message),
        }
    }
}

impl Queue {
    /// An empty queue. `counts` tells the other cores how many requests wait in it, and since when.
    pub fn new(counters: SharedPoolCounters, neighbours: &Rc<Neighbours>) -> Rc<Queue> {
        Rc::new(Queue {
            requests: RefCell::default(),
            by_carrier: Default::default(),
            counters,
            neighbours: neighbours.clone(),
        })
    }

    /// Whether a request of this generation and carrier would overtake one that waits. (Requests of other generations
    /// may wait for other connections than this one, and a request that needs a stream must not wait for requests that
    /// need a connection.)
    pub fn is_ahead(&self, generation: u64, carrier: Carrier) -> bool {
        if self.waiting(carrier).get() == 0 {
            return false;
        }
        let requests = self.requests.borrow();
        let last = requests.iter().rfind(|waiter| waiter.carrier == carrier);
        last.is_some_and(|last| last.config.generation() == generation)
    }

    /// Queues a request; `None` if there are as many as may be.
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

    /// Hands a connection that nobody uses to whoever has waited longest. Gives it back if nobody waits.
    pub fn hand_over(&self, upstream: Upstream) -> Option<Upstream> {
        match self.next(upstream.backend) {
            Next::Own(at) => self.serve(at, Offer::Connection(upstream)),
            Next::Other(worker) => {
                // Another core cannot use the connection itself.
                if let Some(permit) = upstream.close().and_then(|hold| hold.into_permit()) {
                    self.send(worker, permit);
                }
            }
            Next::Nobody => return Some(upstream),
        }
        None
    }

    /// Lets whoever has waited longest open a connection in the place of one that has ended.
    pub fn release(&self, permit: Permit) {
        let id = permit.backend();
        if !permit.is_usable(self.neighbours.worker) {
            drop(permit);
            return self.look(); // It is of use all the same if no other backend takes requests.
        }
        match self.next(id) {
            Next::Own(at) => self.permit(at, permit),
            Next::Other(worker) => self.send(worker, permit),
            Next::Nobody => {
                drop(permit);
                // Who began to wait just now may have found the connection still there.
                let waiting = self.counters.longest_waiting(self.neighbours.worker);
                if let Some((worker, _)) = waiting {
                    let _ = self.neighbours.tell(worker, ToWorker::Look(id)); // Or it looks at its next tick.
                }
            }
        }
    }

    /// Takes over a permit that another worker gave up for a request that waits here. It goes no further: what other
    /// workers wait for may be of no use to them either, and then a permit that is sent on would never come to rest.
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
                // Requests of another configuration wait here; where the permit came from, one may wait that it is for.
                for worker in self.counters.waiting_workers(self.neighbours.worker) {
                    let _ = self.neighbours.tell(worker, ToWorker::Look(id)); // Or it looks at its next tick.
                }
            }
        }
    }

    /// Whether the queue takes another request.
    pub fn has_place(&self) -> bool {
        self.requests.borrow().len() < limits::WAITING_REQUESTS
    }

    /// Tells of room on this core's connections to a backend. Of each carrier, the first request that has no other
    /// offer is told.
    pub fn tell_room(&self, id: BackendId) {
        for carrier in Carrier::ALL {
            let knows = |waiter: &Waiter| waiter.config.reuse_key(id).is_some();
            let is_next = |waiter: &Waiter| knows(waiter) && waiter.offer.borrow().is_none();
            if let Some(waiter) = self.first(carrier, is_next) {
                waiter.wake(Offer::Room(id));
            }
        }
    }

    /// Lets the first request of each carrier look for a backend. If it finds one, the next request looks, too: see
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

    /// Requests that wait on other cores.
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

    /// The place in the queue of the first request that may go to this backend.
    fn first_that_knows(&self, id: BackendId) -> Option<usize> {
        let requests = self.requests.borrow();
        let knows = |waiter: &Rc<Waiter>| waiter.config.reuse_key(id).is_some();
        requests.iter().position(knows)
    }

    /// Lets the request at this place open a connection, if the backend may have as many by the request's
    /// configuration.
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
        // If its mailbox is full, the permit is dropped, and the worker looks for it at its next tick.
        drop(self.neighbours.tell(worker, ToWorker::Permit(permit)));
    }

    fn pass_on(&self, offer: Offer) {
        match offer {
            // If nobody else waits, it is closed: it was on its way to somebody who has left.
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
    /// Gives back what was offered before.
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

    /// Has the request look around when it first asks.
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

    /// Notes that the request found what it needs by looking around: the next one may, too.
    pub fn found(&self) {
        self.queue.leave(&self.waiter);
        self.queue.look_as(self.waiter.carrier);
    }

    /// Notes that it did not. The next one that began with another configuration may all the same.
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
