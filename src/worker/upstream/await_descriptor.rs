//! A request that waits for a descriptor, and the descriptors that a core gives back for such requests.

use std::cell::Cell;
use std::rc::Rc;
use std::task::Poll;

use crate::base::ids::BackendId;
use crate::base::limits;
use crate::snapshot::Descriptors;
use crate::worker::failure::Failure;
use crate::worker::shard::Shard;
use crate::worker::upstream::Caller;
use crate::worker::upstream::descriptors::DescriptorWaiter;

/// A waiting request, which leaves the list of the core when the wait ends.
struct Waiting<'a> {
    shard: &'a Shard,
    waiter: Rc<DescriptorWaiter>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shard.descriptor_waiters.leave(&self.waiter);
    }
}

fn bounds(shard: &Shard) -> Descriptors {
    shard.config().snapshot().descriptors
}

/// Whether another connection to a backend may be opened for a client's connection that has `held` of them.
pub fn may_open(shard: &Shard, held: usize) -> bool {
    shard.descriptor_waiters.may_open(held, bounds(shard))
}

/// Waits until another connection to a backend may be opened for a client's connection that has `held` of them, or a
/// connection to this backend has become idle. The function returns at once if a connection may be opened and no other
/// request waits for one. Errors: the time for a connection is over, or the caller needs no connection any more.
pub async fn wait_for_one(
    shard: &Shard,
    caller: &Caller<'_>,
    backend: BackendId,
    held: Rc<Cell<usize>>,
) -> Result<(), Failure> {
    let waiters = &shard.descriptor_waiters;
    waiters.let_go(bounds(shard));
    if may_open(shard, held.get()) {
        return Ok(());
    }
    shard.upstreams.close_idle(shard.tables.of(shard.worker));
    let waiting = Waiting {
        shard,
        waiter: waiters.join(backend, held),
    };
    waiters.let_go(bounds(shard));
    let step = (caller.connect, Failure::Exhausted);
    let waited = caller.await_step(Some(backend), step, |cx| {
        if waiters.may_go(&waiting.waiter, bounds(shard)) {
            return Poll::Ready(Ok(()));
        }
        waiting.waiter.wake_with(cx.waker());
        Poll::Pending
    });
    waited.await
}

/// Closes idle connections when few descriptors are left, because another core may need them, and lets waiting requests
/// of this core go on: once a tick.
pub fn spare(shard: &Shard) {
    let (waiters, most) = (&shard.descriptor_waiters, bounds(shard));
    if waiters.free(most) <= most.backends / limits::FEW_LEFT || !waiters.is_empty() {
        shard.upstreams.close_idle(shard.tables.of(shard.worker));
    }
    waiters.let_go(most);
}
