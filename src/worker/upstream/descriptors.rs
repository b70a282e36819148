//! The descriptors for connections to backends. When few are left, idle connections are closed, and the connections
//! that serve one client's connection may use only a part of the free descriptors. However many clients want more, some
//! descriptors stay free. (Bounds that follow the free amount: A. K. Choudhury and E. L. Hahne, "Dynamic Queue Length
//! Thresholds for Shared-Memory Packet Switches", 1998.)

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

use crate::base::ids::BackendId;
use crate::base::limits;
use crate::shared::sockets::socket_counters;
use crate::snapshot::Descriptors;

/// A connection to a backend that serves a request of a client, counted for the client's connection.
pub struct Held(Rc<Cell<usize>>);

impl Held {
    /// Counts another connection.
    pub fn by(count: &Rc<Cell<usize>>) -> Held {
        count.set(count.get() + 1);
        Held(count.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        debug_assert!(self.0.get() > 0, "the connection was counted before");
        self.0.set(self.0.get() - 1);
    }
}

/// The requests of a core that wait for a descriptor, in the order of arrival, except that a client which holds more
/// than its part is passed over.
#[derive(Default)]
pub struct Waiters {
    list: RefCell<VecDeque<Rc<DescriptorWaiter>>>,
    /// The number of waiting requests to which a descriptor was promised that they have not taken yet.
    gone: Cell<usize>,
}

/// A request that waits for a descriptor.
pub struct DescriptorWaiter {
    /// The backend that the request wants a connection to.
    backend: BackendId,
    /// The number of connections to backends that serve requests of the request's client.
    held: Rc<Cell<usize>>,
    let_go: Cell<Option<LetGo>>,
    waker: RefCell<Option<Waker>>,
}

/// The reason for which a waiting request goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LetGo {
    /// The request may open a connection.
    Descriptor,
    /// There may be a connection that the request can use.
    Connection,
}

impl DescriptorWaiter {
    /// Has this task woken when the request may go on.
    pub fn wake_with(&self, waker: &Waker) {
        self.waker.replace(Some(waker.clone()));
    }
}

impl Waiters {
    /// Whether no request waits.
    pub fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }

    /// Adds a request that wants a connection to this backend, for a client that has `held` of them.
    pub fn join(&self, backend: BackendId, held: Rc<Cell<usize>>) -> Rc<DescriptorWaiter> {
        let waiter = Rc::new(DescriptorWaiter {
            backend,
            held,
            let_go: Cell::default(),
            waker: RefCell::default(),
        });
        self.list.borrow_mut().push_back(waiter.clone());
        waiter
    }

    /// Takes a request off the list.
    pub fn leave(&self, waiter: &Rc<DescriptorWaiter>) {
        self.set(waiter, None);
        let mut list = self.list.borrow_mut();
        list.retain(|known| !Rc::ptr_eq(known, waiter));
        debug_assert!(
            !list.is_empty() || self.gone.get() == 0,
            "only a request that waits is promised a descriptor"
        );
    }

    /// Whether the request's wait is over. Another core may have taken the promised descriptor; the request then waits
    /// on.
    pub fn may_go(&self, waiter: &DescriptorWaiter, most: Descriptors) -> bool {
        match waiter.let_go.get() {
            None => false,
            Some(LetGo::Connection) => true,
            Some(LetGo::Descriptor) => {
                let is_there = free_sockets(most) > 0;
                if !is_there {
                    self.set(waiter, None);
                }
                is_there
            }
        }
    }

    /// The number of connections to backends that may still be opened, and were not promised to a waiting request.
    pub fn free(&self, most: Descriptors) -> usize {
        free_sockets(most).saturating_sub(self.gone.get())
    }

    /// Whether another connection to a backend may be opened for a client's connection that has `held` of them.
    pub fn may_open(&self, held: usize, most: Descriptors) -> bool {
        let free = self.free(most);
        free > 0 && is_within(held, free)
    }

    /// Whether an unused connection to a backend is worth keeping: while requests wait for a descriptor, only if one of
    /// them wants a connection to the same backend.
    pub fn may_keep(&self, id: BackendId) -> bool {
        self.is_empty() || self.let_reuse(id)
    }

    /// Lets requests go on that may open a connection now.
    pub fn let_go(&self, most: Descriptors) {
        let waiters = self.list.borrow();
        for waiter in waiters
            .iter()
            .filter(|waiter| waiter.let_go.get().is_none())
        {
            match self.free(most) {
                0 => return,
                free if is_within(waiter.held.get(), free) => self.wake(waiter, LetGo::Descriptor),
                _ => {}
            }
        }
    }

    /// Lets the first request go on that wants a connection to this backend, because one has become idle. The result
    /// says whether there is such a request.
    fn let_reuse(&self, id: BackendId) -> bool {
        let waiters = self.list.borrow();
        let wants =
            |waiter: &&Rc<DescriptorWaiter>| waiter.backend == id && waiter.let_go.get().is_none();
        let first = waiters.iter().find(wants);
        first
            .inspect(|first| self.wake(first, LetGo::Connection))
            .is_some()
    }

    /// Lets all requests go on that want a connection to this backend, because there is one that they can share.
    pub fn let_share(&self, id: BackendId) {
        let waiters = self.list.borrow();
        let wants =
            |waiter: &&Rc<DescriptorWaiter>| waiter.backend == id && waiter.let_go.get().is_none();
        let all = waiters.iter().filter(wants);
        all.for_each(|waiter| self.wake(waiter, LetGo::Connection));
    }

    fn wake(&self, waiter: &DescriptorWaiter, let_go: LetGo) {
        self.set(waiter, Some(let_go));
        waiter.waker.take().into_iter().for_each(Waker::wake);
    }

    fn set(&self, waiter: &DescriptorWaiter, let_go: Option<LetGo>) {
        let before = waiter.let_go.replace(let_go);
        let count = |it: Option<LetGo>| usize::from(it == Some(LetGo::Descriptor));
        debug_assert!(self.gone.get() + count(let_go) >= count(before));
        self.gone
            .set(self.gone.get() + count(let_go) - count(before));
    }
}

/// The number of connections to backends that may still be opened.
fn free_sockets(most: Descriptors) -> usize {
    let counters = socket_counters();
    let in_all = most.sockets.saturating_sub(counters.all());
    in_all.min(most.backends.saturating_sub(counters.connected))
}

fn is_within(held: usize, free: usize) -> bool {
    held <= free / limits::HELD_PART
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client may always have a part of the descriptors that its own connections leave, so that some are free however
    /// many clients want more.
    #[test]
    fn a_client_gets_a_part_of_what_is_free() {
        // Held, free, and whether the client may have another one.
        let part = limits::HELD_PART;
        let rows = [
            (0, 0, true),
            (0, 1, true),
            (1, part - 1, false),
            (1, part, true),
            (2, part, false),
            (100, 100 * part, true),
            (101, 100 * part, false),
        ];
        for (held, free, expected) in rows {
            assert_eq!(is_within(held, free), expected, "{held} of {free}");
        }
        for free in part..1_000 {
            let most = (0..free).take_while(|&held| is_within(held, free)).count();
            assert!(most > 0 && most < free, "{most} of {free}");
        }
    }

    #[test]
    fn a_connection_counts_for_its_client_as_long_as_it_serves() {
        let count = Rc::<Cell<usize>>::default();
        let held = [(); 3].map(|()| Held::by(&count));
        assert_eq!(count.get(), 3);
        drop(held);
        assert_eq!(count.get(), 0);
    }

    fn waiter(waiters: &Waiters, backend: u32) -> Rc<DescriptorWaiter> {
        waiters.join(BackendId(backend), Rc::default())
    }

    #[test]
    fn a_connection_that_became_idle_is_for_the_first_who_wants_it() {
        let waiters = Waiters::default();
        let all = [1, 2, 2, 2].map(|backend| waiter(&waiters, backend));
        let gone = || all.each_ref().map(|waiter| waiter.let_go.get().is_some());
        assert!(!waiters.let_reuse(BackendId(3)));
        assert!(waiters.let_reuse(BackendId(2)));
        assert_eq!(gone(), [false, true, false, false]);
        assert!(waiters.let_reuse(BackendId(2)));
        assert_eq!(gone(), [false, true, true, false]);
        waiters.let_share(BackendId(2));
        assert_eq!(gone(), [false, true, true, true]);
        assert_eq!(
            waiters.gone.get(),
            0,
            "none of them was promised a descriptor"
        );
    }

    #[test]
    fn promised_descriptors_are_counted() {
        let waiters = Waiters::default();
        let [first, second] = [1, 2].map(|backend| waiter(&waiters, backend));
        for waiter in [&first, &second] {
            waiters.wake(waiter, LetGo::Descriptor);
        }
        assert_eq!(waiters.gone.get(), 2);
        waiters.wake(&first, LetGo::Connection);
        assert_eq!(waiters.gone.get(), 1);
        waiters.set(&second, None);
        assert_eq!(waiters.gone.get(), 0);
    }
}
