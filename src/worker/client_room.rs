//! Bounds on the clients: each listener has a bound on its connections, and so have all listeners together, over all
//! workers. At a bound, the connection that has been idle for longest is closed for a new client. If no connection is
//! idle, the new client waits until one ends.

pub mod idle;
pub mod wait;

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tracing::warn;

use crate::base::ids::WorkerId;
use crate::base::limits;
use crate::messages::ToWorker;
use crate::net::{Socket, Timer};
use crate::shared::client_count::{ClientCount, SharedClientCount};
use crate::shared::sockets::{WaitingSocket, socket_counters};
use crate::worker::memory::relief;
use crate::worker::shard::Shard;

/// A client's connection, counted until it is dropped.
pub struct CountedConnection {
    shard: Rc<Shard>,
    /// The listener that counts the connection; `None`: no listener does.
    listener: Option<SharedClientCount>,
}

impl CountedConnection {
    /// Counts a connection. `listener`: the listener that has counted the connection already, if one has.
    pub fn begin(shard: &Rc<Shard>, listener: Option<SharedClientCount>) -> CountedConnection {
        shard.connection_begins();
        CountedConnection {
            shard: shard.clone(),
            listener,
        }
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        self.shard.connection_ends();
        if let Some(listener) = &self.listener {
            end(&self.shard, listener);
        }
        self.shard.report_drained();
    }
}

/// Counts an accepted client as soon as the bounds allow, or as soon as `poll_over` is ready: an accepted client cannot
/// be put back into the queue of the listening socket. `None`: the client has left before.
pub async fn enter(
    shard: &Rc<Shard>,
    listener: &SharedClientCount,
    socket: &Socket,
    poll_over: impl FnMut(&mut Context<'_>) -> Poll<()>,
) -> Option<CountedConnection> {
    if !try_begin(shard, listener) && !wait(shard, listener, socket, poll_over).await {
        return None;
    }
    Some(CountedConnection::begin(shard, Some(listener.clone())))
}

/// Waits until the client is counted; false if the client has left.
async fn wait(
    shard: &Rc<Shard>,
    listener: &SharedClientCount,
    socket: &Socket,
    mut poll_over: impl FnMut(&mut Context<'_>) -> Poll<()>,
) -> bool {
    let _waiting = Waiting {
        shard,
        listener,
        _socket: WaitingSocket::default(),
    };
    shard.links.counters(shard.worker).begin_waiting();
    tell_of_bound(shard, listener);
    let again = Duration::from_millis(limits::ASK_AGAIN_MILLIS);
    let next_ask = Timer::new(&shard.timers);
    next_ask.set(again);
    listener.wait(shard.worker);
    close_idle(shard, listener, shard.worker);
    poll_fn(|cx| {
        if may_serve(shard) && (listener.take(shard.worker) || try_begin(shard, listener)) {
            return Poll::Ready(true);
        }
        if poll_over(cx).is_ready() {
            listener.begin();
            return Poll::Ready(true);
        }
        if socket.has_hung_up() {
            return Poll::Ready(false);
        }
        // Another task of this worker may have taken the slot that was left to the worker.
        listener.wait(shard.worker);
        if next_ask.is_due_again(again, cx) {
            // A connection may have become idle only now, and a connection that was asked to close may take long to
            // end.
            close_idle(shard, listener, shard.worker);
            tell_of_bound(shard, listener);
        }
        shard.wake_with_place(cx);
        Poll::Pending
    })
    .await
}

/// A worker that waits for a client slot of a listener.
struct Waiting<'a> {
    shard: &'a Shard,
    listener: &'a SharedClientCount,
    _socket: WaitingSocket,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shard.links.counters(self.shard.worker).end_waiting();
        if self.listener.stop_waiting(self.shard.worker) {
            pass_on(self.shard, self.listener); // The worker needs the slot no longer.
        }
    }
}

/// Logs that a client waits, and which bound it waits at, at a bounded rate.
fn tell_of_bound(shard: &Shard, listener: &ClientCount) {
    let config = shard.config();
    let snapshot = config.snapshot();
    let mut listeners = snapshot.listeners.iter();
    let Some(known) = listeners.find(|known| std::ptr::eq(&*known.clients, listener)) else {
        return; // The listener was removed, and its last clients are being served.
    };
    if !shard.log_ration.may_log_bound() {
        return;
    }
    let (addr, open) = (&known.addr, listener.open());
    let most = snapshot.descriptors.clients;
    let bound = if listener.is_full() {
        let most = known.connections;
        format!(
            "the listener has {open} of at most {most} clients (connections of the listener, or limits.connections)"
        )
    } else if !snapshot.has_place(listener) {
        format!(
            "all {most} client connections are in use or reserved for other listeners (limits.connections, ulimit -n)"
        )
    } else if !has_descriptors(shard) {
        "the process has no descriptors left for sockets (ulimit -n)".to_owned()
    } else {
        "memory is short (limits.memory)".to_owned()
    };
    warn!("new clients wait at {addr}: {bound}");
}

fn try_begin(shard: &Shard, listener: &ClientCount) -> bool {
    may_serve(shard) && shard.config().snapshot().has_place(listener) && listener.try_begin()
}

/// Whether there are memory and descriptors for another client.
fn may_serve(shard: &Shard) -> bool {
    if !shard.memory.may_accept(shard.tables.workers()) {
        relief::relieve(shard);
        return false;
    }
    has_descriptors(shard)
}

/// Whether the workers have fewer sockets than they may have. The other descriptors are reserved for the rest of the
/// process.
pub fn has_descriptors(shard: &Shard) -> bool {
    socket_counters().all() <= shard.config().snapshot().descriptors.sockets
}

/// Takes a client that has left off the count of its listener, and tells a worker that waits for the slot.
pub fn end(shard: &Shard, listener: &ClientCount) {
    listener.settle();
    pass_on(shard, listener);
}

/// Takes a client off the count of its listener, and tells a worker that waits for the slot. Listeners that have less
/// than their share of all connections come first.
fn pass_on(shard: &Shard, listener: &ClientCount) {
    let config = shard.config();
    let snapshot = config.snapshot();
    let others = || {
        let others = snapshot.listeners.iter().map(|other| &*other.clients);
        others.filter(|other| !std::ptr::eq(*other, listener))
    };
    if !snapshot.is_below_share(listener) {
        let mut poor = others().filter(|other| snapshot.is_below_share(other));
        if let Some(worker) = poor.find_map(ClientCount::waiting_worker) {
            listener.give_up();
            return tell(shard, worker);
        }
    }
    if let Some(worker) = listener.leave() {
        return tell(shard, worker);
    }
    // A client of another listener may wait because of the bound on all clients together.
    if let Some(worker) = others().find_map(ClientCount::waiting_worker) {
        tell(shard, worker);
    }
}

fn tell(shard: &Shard, worker: WorkerId) {
    debug_assert!(worker.index() < shard.tables.workers());
    if worker == shard.worker {
        shard.look_for_places();
    } else {
        // If the mailbox is full, the worker checks again at its next tick.
        let _ = shard.neighbours.tell(worker, ToWorker::LookForPlaces);
    }
}

/// Closes the connection that has been idle for longest, for a client that waits on the worker `asker`: a connection of
/// this listener if the listener is full, otherwise of any listener that has its share. If this worker has none, it
/// asks the next worker.
pub fn close_idle(shard: &Shard, listener: &SharedClientCount, asker: WorkerId) {
    debug_assert!(
        asker.index() < shard.tables.workers(),
        "workers ask each other"
    );
    let is_closed = if listener.is_full() {
        shard.idle_clients.close_one_of(listener)
    } else {
        let config = shard.config();
        let is_it = |other: &ClientCount| std::ptr::eq(other, &**listener);
        let gives = |other: &ClientCount| is_it(other) || !config.snapshot().is_below_share(other);
        shard.idle_clients.close_oldest(gives)
    };
    let next = WorkerId((shard.worker.0 + 1) % shard.tables.workers() as u32);
    if !is_closed && next != asker {
        let listener = listener.clone();
        let ask = ToWorker::CloseIdleClient { listener, asker };
        // If the mailbox is full, the waiting client asks again.
        let _ = shard.neighbours.tell(next, ask);
    }
}
