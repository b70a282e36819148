//! A place for another client: each listener has a bound on its connections, and so have all of them together, over
//! all workers. When there is none, the connection that has been idle for longest is closed for the newcomer; if all
//! are at work, the newcomer waits for one to end.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::base::ids::WorkerId;
use crate::shared::client_count::{ClientCount, SharedClientCount};
use crate::shared::messages::ToWorker;
use crate::shared::sockets::socket_counts;
use crate::worker::shard::{CountedConnection, Shard};

/// Counts a client that was accepted, as soon as there is a place for it; at once when `poll_over` says so, because the
/// client cannot be put back into the queue.
pub async fn enter(
    shard: &Rc<Shard>,
    listener: &SharedClientCount,
    mut poll_over: impl FnMut(&mut Context<'_>) -> Poll<()>,
) -> CountedConnection {
    if !try_begin(shard, listener) {
        let waiting = Waiting { shard, listener };
        listener.wait(shard.worker);
        ask_for_one(shard, listener);
        poll_fn(|cx| {
            if listener.take(shard.worker) || try_begin(shard, listener) {
                return Poll::Ready(());
            }
            listener.wait(shard.worker); // A place that was left to this worker may have gone to another of its tasks.
            if poll_over(cx).is_ready() {
                listener.begin();
                return Poll::Ready(());
            }
            shard.wake_with_place(cx);
            Poll::Pending
        })
        .await;
        drop(waiting);
    }
    shard.count_connection(Some(listener.clone()))
}

/// A worker that waits for a place at a listener.
struct Waiting<'a> {
    shard: &'a Shard,
    listener: &'a SharedClientCount,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.listener.stop_waiting(self.shard.worker) {
            end(self.shard, self.listener); // It has a place already.
        }
    }
}

fn try_begin(shard: &Shard, listener: &ClientCount) -> bool {
    has_descriptors(shard) && shard.plan().snapshot().has_place(listener) && listener.try_begin()
}

/// Whether the workers have no more sockets than they may: the other descriptors are for whatever else the process
/// needs.
pub fn has_descriptors(shard: &Shard) -> bool {
    let counts = socket_counts();
    counts.accepted + counts.connected <= shard.plan().snapshot().descriptors.sockets
}

/// Counts one client of a listener less, and tells whoever waits for its place.
pub fn end(shard: &Shard, listener: &ClientCount) {
    if let Some(worker) = listener.end() {
        return tell(shard, worker);
    }
    // At another listener somebody may wait because there were too many clients in all.
    let plan = shard.plan();
    let listeners = &plan.snapshot().listeners;
    let waiting = listeners.iter().find_map(|it| it.clients.waiting_worker());
    if let Some(worker) = waiting {
        tell(shard, worker);
    }
}

fn tell(shard: &Shard, worker: WorkerId) {
    if worker == shard.worker {
        shard.look_for_places();
    } else {
        // Where the mailbox is full, the worker looks at its next tick.
        let _ = shard.neighbours.tell(worker, ToWorker::LookForPlaces);
    }
}

/// Has an idle connection closed for a client that waits at a listener, here or on another worker.
fn ask_for_one(shard: &Shard, listener: &SharedClientCount) {
    close_idle(shard, listener, shard.worker);
}

/// Closes the longest idle connection of a listener, or of any that has more than its share if all together are too
/// many, for a client that waits on the worker `asker`. If there is none here, the next worker is asked.
pub fn close_idle(shard: &Shard, listener: &SharedClientCount, asker: WorkerId) {
    let is_closed = match listener.is_full() {
        true => shard.idle_clients.close_one_of(listener),
        false => {
            let plan = shard.plan();
            let own = plan.snapshot().listener_share();
            let is_it = |other: &ClientCount| std::ptr::eq(other, &**listener);
            let gives = |other: &ClientCount| is_it(other) || other.open() > own;
            shard.idle_clients.close_oldest(gives)
        }
    };
    let next = WorkerId((shard.worker.0 + 1) % shard.tables.workers() as u32);
    if !is_closed && next != asker {
        let listener = listener.clone();
        let ask = ToWorker::CloseIdleClient { listener, asker };
        let _ = shard.neighbours.tell(next, ask); // Where the mailbox is full, the client waits for one that ends.
    }
}
