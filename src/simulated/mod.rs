//! The simulated world: the code of `worker/` and `http/` against sockets, a clock and chances that a seed decides.
//!
//! Below is what takes the place of the kernel and the engine: `clock`, `executor` (tasks), `kernel` (what happens
//! when), `flow` (one direction of a connection), `end` (the proxy's side of one), `peer` (the other side), `place`
//! (addresses). `net/` asks [`kernel`] whether its thread simulates, in tests only.
//!
//! Two things stay outside: the records of TLS (a simulated connection only notes with which settings it was secured),
//! and WebSockets over HTTP/2 (RFC 8441). The tests over real sockets cover both.

mod byte_queue;
pub mod clock;
mod end;
mod executor;
mod fault;
mod flow;
mod kernel;
mod peer;
mod place;
mod world;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::os::fd::RawFd;
use std::rc::Rc;

pub use byte_queue::ByteQueue;
pub use end::End;
pub use fault::{Fault, is_planted, plant};
pub use flow::Weather;
pub use kernel::{ConnId, Happening, Kernel};
pub use place::Manner;

use kernel::What;

thread_local! {
    static KERNEL: RefCell<Option<Rc<Kernel>>> = const { RefCell::new(None) };
}

thread_local! {
    static IS_TRACED: Cell<bool> = const { Cell::new(false) };
}

/// Has the runs of this thread that begin from now on print what happens, or no longer.
pub fn trace(is_traced: bool) {
    IS_TRACED.set(is_traced);
}

/// Whether runs print what happens.
fn is_traced() -> bool {
    IS_TRACED.get()
}

/// The kernel of this thread, if it simulates.
pub fn kernel() -> Option<Rc<Kernel>> {
    KERNEL.with_borrow(Option::clone)
}

/// The hash of a key, the same in every run; `None`: the thread does not simulate.
pub fn hash(key: &[u8]) -> Option<u64> {
    kernel().map(|_| BuildHasherDefault::<DefaultHasher>::default().hash_one(key))
}

/// The thread simulates until this is dropped.
pub struct Simulating(());

impl Simulating {
    /// Has the thread use this kernel.
    pub fn with(kernel: Rc<Kernel>) -> Simulating {
        clock::set(Some(crate::base::time::Micros(kernel.now())));
        KERNEL.set(Some(kernel));
        Simulating(())
    }
}

impl Drop for Simulating {
    fn drop(&mut self) {
        if let Some(kernel) = kernel() {
            kernel.executor.clear();
        }
        KERNEL.set(None);
        clock::set(None);
    }
}

impl Kernel {
    /// Waits until a time, and a little longer.
    pub async fn sleep_until(&self, due: u64) {
        let lag = self.state.borrow_mut().random.number() % 500;
        let mut is_set = false;
        poll_fn(|cx| {
            if self.now() >= due + lag {
                return std::task::Poll::Ready(());
            }
            if !std::mem::replace(&mut is_set, true) {
                let wake = What::Wake(cx.waker().clone());
                self.state.borrow_mut().at(due + lag, wake);
            }
            std::task::Poll::Pending
        })
        .await;
    }

    /// Waits until a mailbox's bell has rung.
    pub async fn hear(&self, bell: RawFd) {
        let mut has_waited = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut has_waited, true) {
                return std::task::Poll::Ready(());
            }
            self.state
                .borrow_mut()
                .bells
                .push((bell, cx.waker().clone()));
            self.note_post(); // The bell may have rung before anybody listened.
            std::task::Poll::Pending
        })
        .await;
    }

    /// Lets everything run that is ready now.
    pub async fn pass_turn(&self) {
        let since = Cell::new(None);
        poll_fn(|cx| self.executor.poll_passed(&since, cx)).await;
    }
}
