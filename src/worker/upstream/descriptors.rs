//! The descriptors for connections to backends: when they become few, those of idle connections are given back, and no
//! client's connection gets more than a part of what is left for the requests that it carries at once. (A bound for
//! each that follows what is free: A. K. Choudhury and E. L. Hahne, "Dynamic Queue Length Thresholds for Shared-Memory
//! Packet Switches", 1998. However many clients want more, some is left.)

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::base::ids::BackendId;
use crate::base::limits;
use crate::shared::sockets::socket_counters;
use crate::worker::failure::Failure;
use crate::worker::shard::Shard;
use crate::worker::upstream::Caller;

/// A connection to a backend that serves a request of a client, counted for that client's connection.
pub struct Held(Rc<Cell<usize>>);

impl Held {
    /// Counts one more of a client.
    pub fn by(count: &Rc<Cell<usize>>) -> Held {
        count.set(count.get() + 1);
        Held(count.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// The requests of a core that wait for a descriptor, first come, first served among those whose client may have one.
#[derive(Default)]
pub struct Waiters {
    list: RefCell<VecDeque<Rc<Waiter>>>,
    /// How many of them were let go for a descriptor that they have not taken yet.
    gone: Cell<usize>,
}

struct Waiter {
    /// The backend that it wants a connection to.
    backend: BackendId,
    /// How many connections the client's own has.
    held: Rc<Cell<usize>>,
    let_go: Cell<Option<LetGo>>,
    waker: RefCell<Option<Waker>>,
}

/// The reason for which a waiting request goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LetGo {
    /// The request may open a connection.
    Descriptor,
    /// There is a connection that the request may be able to use.
    Connection,
}

impl Waiters {
    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }

    /// Lets those go on that may open a connection by now.
    pub fn let_go(&self, shard: &Shard) {
        let waiters = self.list.borrow();
        for waiter in waiters
            .iter()
            .filter(|waiter| waiter.let_go.get().is_none())
        {
            match free(shard) {
                0 => return,
                free if is_within(waiter.held.get(), free) => self.wake(waiter, LetGo::Descriptor),
                _ => {}
            }
        }
    }

    /// Lets the first waiter go on that wants a connection to this backend, because one has become idle. Whether there
    /// is such a waiter.
    fn let_reuse(&self, id: BackendId) -> bool {
        let waiters = self.list.borrow();
        let wants = |waiter: &&Rc<Waiter>| waiter.backend == id && waiter.let_go.get().is_none();
        let first = waiters.iter().find(wants);
        first
            .inspect(|first| self.wake(first, LetGo::Connection))
            .is_some()
    }

    /// Lets all go on that want a connection to this backend: there is one that they can share.
    pub fn let_share(&self, id: BackendId) {
        let waiters = self.list.borrow();
        let wants = |waiter: &&Rc<Waiter>| waiter.backend == id && waiter.let_go.get().is_none();
        let all = waiters.iter().filter(wants);
        all.for_each(|waiter| self.wake(waiter, LetGo::Connection));
    }

    fn wake(&self, waiter: &Waiter, let_go: LetGo) {
        self.set(waiter, Some(let_go));
        waiter.waker.take().into_iter().for_each(Waker::wake);
    }

    fn set(&self, waiter: &Waiter, let_go: Option<LetGo>) {
        let before = waiter.let_go.replace(let_go);
        let count = |it: Option<LetGo>| usize::from(it == Some(LetGo::Descriptor));
        self.gone
            .set(self.gone.get() + count(let_go) - count(before));
    }
}

/// A waiter, until it waits no longer.
struct DescriptorWait<'a> {
    shard: &'a Shard,
    waiter: Rc<Waiter>,
}

impl DescriptorWait<'_> {
    /// Whether the request need not wait any longer. Another core may have taken what it was let go for.
    fn may_go(&self) -> bool {
        let waiters = &self.shard.descriptor_waiters;
        match self.waiter.let_go.get() {
            None => false,
            Some(LetGo::Connection) => true,
            Some(LetGo::Descriptor) => {
                let is_there = free_sockets(self.shard) > 0;
                if !is_there {
                    waiters.set(&self.waiter, None);
                }
                is_there
            }
        }
    }
}

impl Drop for DescriptorWait<'_> {
    fn drop(&mut self) {
        let waiters = &self.shard.descriptor_waiters;
        waiters.set(&self.waiter, None);
        let mut list = waiters.list.borrow_mut();
        list.retain(|waiter| !Rc::ptr_eq(waiter, &self.waiter));
    }
}

/// Connections to backends that may still be opened, and were not promised to anybody who waits.
fn free(shard: &Shard) -> usize {
    free_sockets(shard).saturating_sub(shard.descriptor_waiters.gone.get())
}

fn free_sockets(shard: &Shard) -> usize {
    let counters = socket_counters();
    let config = shard.config();
    let most = config.snapshot().descriptors;
    let in_all = most.sockets.saturating_sub(counters.all());
    in_all.min(most.backends.saturating_sub(counters.connected))
}

fn is_within(held: usize, free: usize) -> bool {
    held <= free / limits::HELD_PART
}

/// Whether another connection to a backend may be opened for a client's connection that has `held` of them.
pub fn may_open(shard: &Shard, held: usize) -> bool {
    let free = free(shard);
    free > 0 && is_within(held, free)
}

/// Waits until another connection to a backend may be opened for a client's connection that has `held` of them, or one
/// to this backend has become idle; at once if one may be opened and nobody else waits for that. Errors: neither came
/// true in the time for a connection, or the caller needs no connection any more.
pub async fn wait_for_one(
    shard: &Shard,
    caller: &Caller<'_>,
    backend: BackendId,
    held: Rc<Cell<usize>>,
) -> Result<(), Failure> {
    shard.descriptor_waiters.let_go(shard);
    if may_open(shard, held.get()) {
        return Ok(());
    }
    shard.upstreams.close_idle(shard.tables.of(shard.worker));
    let waiting = DescriptorWait {
        shard,
        waiter: Rc::new(Waiter {
            backend,
            held,
            let_go: Cell::default(),
            waker: RefCell::default(),
        }),
    };
    let waiters = &shard.descriptor_waiters;
    waiters.list.borrow_mut().push_back(waiting.waiter.clone());
    waiters.let_go(shard);
    let step = (caller.connect, Failure::Exhausted);
    let waited = caller.await_step(Some(backend), step, |cx| {
        if waiting.may_go() {
            return Poll::Ready(Ok(()));
        }
        waiting.waiter.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    });
    waited.await
}

/// Whether a connection to a backend that nobody uses any more is worth keeping: not while requests wait for a
/// descriptor, unless one of them is for the same backend.
pub fn may_keep(shard: &Shard, id: BackendId) -> bool {
    let waiters = &shard.descriptor_waiters;
    waiters.is_empty() || waiters.let_reuse(id)
}

/// Gives the descriptors of idle connections back when few are left, because somebody may need them on another core,
/// and lets those go on that wait here: once a tick.
pub fn spare(shard: &Shard) {
    let few = shard.config().snapshot().descriptors.backends / limits::FEW_LEFT;
    if free(shard) <= few || !shard.descriptor_waiters.is_empty() {
        shard.upstreams.close_idle(shard.tables.of(shard.worker));
    }
    shard.descriptor_waiters.let_go(shard);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client may always have a part of what is left after its own, so that some is left however many want more.
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

    fn waiter(waiters: &Waiters, backend: u32) -> Rc<Waiter> {
        let waiter = Rc::new(Waiter {
            backend: BackendId(backend),
            held: Rc::default(),
            let_go: Cell::default(),
            waker: RefCell::default(),
        });
        waiters.list.borrow_mut().push_back(waiter.clone());
        waiter
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
