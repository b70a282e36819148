//! Accepting new connections on the listening sockets of a core.

mod pause;
pub mod turn_away;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::base::addresses::{ListenAddr, Purpose};
use crate::base::limits;
use crate::net::{
    AcceptSwitch, Block, BoundListener, Engine, ListenSocket, RemoteAddr, Socket, Timer, spawn,
};
use crate::worker::accept::pause::pause_after;
use crate::worker::client_room;
use crate::worker::connection;
use crate::worker::downstream::{AcceptedClient, Arrival};
use crate::worker::live_config::listener::LiveListener;
use crate::worker::shard::{CountedListener, Shard};

/// A listening socket on a core.
struct WorkerListener {
    listener: ListenSocket,
    addr: ListenAddr,
    accept_switch: Rc<AcceptSwitch>,
    /// The settings that the last accepted client got. A listener that was removed may still have clients in its queue.
    last: RefCell<Rc<LiveListener>>,
}

impl WorkerListener {
    /// The settings for a client that connects now.
    fn settings(&self, shard: &Shard) -> Rc<LiveListener> {
        if let Some(settings) = shard.config().listener(&self.addr) {
            self.last.replace(settings.clone());
        }
        self.last.borrow().clone()
    }

    fn poll_closed(&self) -> Poll<()> {
        if self.accept_switch.is_closed() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

/// Begins to accept on a socket. No client is served if the configuration has no such listener, because neither the
/// settings for its clients nor the demands on them are known then. Errors: the engine does not take the socket.
pub fn start(shard: &Rc<Shard>, bound: BoundListener, engine: Engine) -> io::Result<()> {
    let (addr, came_for) = (bound.addr.clone(), bound.came_for);
    let listener = ListenSocket::new(bound, engine)?;
    match (shard.config().listener(&addr), came_for) {
        (Some(settings), _) => {
            let worker_listener = WorkerListener {
                listener,
                accept_switch: shard.open_accept_switch(addr.clone()),
                addr,
                last: RefCell::new(settings.clone()),
            };
            spawn(run(shard.count_listener(), worker_listener, came_for));
        }
        (None, Some(came_for)) => {
            let counted = shard.count_listener();
            spawn(turn_away::leftover(counted, listener, came_for));
        }
        (None, None) => {} // The listener was removed before the worker got the socket.
    }
    Ok(())
}

/// Accepts until the worker drains, retires or the listener is removed. When the worker drains, the connections in the
/// socket's queue stay there, because another process may have the same socket.
async fn run(counted: CountedListener, worker_listener: WorkerListener, came_for: Option<Purpose>) {
    let shard = counted.shard();
    if let Some(came_for) = came_for {
        turn_away::queue(shard, &worker_listener.listener, came_for, || false).await;
    }
    let was_waiting = accept_all(shard, &worker_listener).await;
    if shard.is_retiring() {
        if was_waiting {
            serve_unnoticed(shard, &worker_listener).await;
        }
        return;
    }
    if serve_queue(shard, &worker_listener).await == Queue::Crowded {
        let came_for = worker_listener.last.borrow().purpose();
        turn_away::queue(shard, &worker_listener.listener, came_for, || true).await;
    }
}

/// The state of the queue of a removed listener.
#[derive(PartialEq, Eq)]
enum Queue {
    /// The queue is empty, or another process takes the clients in it.
    Left,
    /// Clients may still be in the queue.
    Crowded,
}

/// Accepts the connections in the queue of a removed listener, as far as the bounds allow, for a bounded time: a flood
/// of clients must not keep the listener open.
async fn serve_queue(shard: &Rc<Shard>, worker_listener: &WorkerListener) -> Queue {
    let timer = Timer::new(&shard.timers);
    timer.set(Duration::from_millis(limits::LEFTOVER_MILLIS));
    for _ in 0..=limits::BACKLOG {
        if shard.is_ending() {
            return Queue::Left;
        }
        match worker_listener.listener.accept_waiting(&shard.turn).await {
            Some(Ok(accepted)) => {
                serve(shard, accepted, worker_listener, |cx| {
                    timer.poll(cx).map(|_| ())
                })
                .await;
            }
            Some(Err(error)) => pause_after(shard, &error).await,
            None => return Queue::Left,
        }
        if timer.expired() {
            break;
        }
    }
    Queue::Crowded
}

/// Serves the client that the kernel woke this process for, if the process stopped waiting for clients at that moment.
/// The next process accepts from the same socket, but the kernel wakes only one process for each client, so that the
/// next process would see this client only when another client connects.
async fn serve_unnoticed(shard: &Rc<Shard>, worker_listener: &WorkerListener) {
    let timer = Timer::new(&shard.timers);
    timer.set(Duration::from_millis(limits::LEFTOVER_MILLIS));
    while worker_listener.listener.has_waiting() && !timer.expired() {
        match worker_listener.listener.accept_waiting(&shard.turn).await {
            Some(Ok(accepted)) => {
                return serve(shard, accepted, worker_listener, |cx| {
                    timer.poll(cx).map(|_| ())
                })
                .await;
            }
            Some(Err(error)) => pause_after(shard, &error).await,
            None => {} // The next process has accepted the client.
        }
    }
}

/// Accepts until the switch is off. While descriptors or memory are short, or a bound on connections is reached, one
/// accepted client waits here and the others wait in the queue of the listening socket. The result says whether the
/// task waited for a client when the switch was turned off.
async fn accept_all(shard: &Rc<Shard>, worker_listener: &WorkerListener) -> bool {
    while !worker_listener.accept_switch.is_closed() {
        match worker_listener
            .listener
            .accept(&worker_listener.accept_switch)
            .await
        {
            Some(Ok(accepted)) => {
                serve(shard, accepted, worker_listener, |_| {
                    worker_listener.poll_closed()
                })
                .await
            }
            Some(Err(error)) => pause_after(shard, &error).await,
            None => return true,
        }
    }
    false
}

/// Serves a client as soon as the bounds on clients allow, or as soon as `poll_over` is ready.
async fn serve(
    shard: &Rc<Shard>,
    (socket, peer): (Socket, RemoteAddr),
    worker_listener: &WorkerListener,
    poll_over: impl FnMut(&mut Context<'_>) -> Poll<()>,
) {
    let listener = worker_listener.settings(shard);
    let entering = client_room::enter(shard, &listener.clients, &socket, poll_over);
    let Some(counted) = entering.await else {
        return;
    };
    let arrival = Arrival {
        peer,
        connection_peer: peer,
        reached: reached(&worker_listener.addr, || socket.local_addr()),
        listener: worker_listener.settings(shard),
        secured: None,
        upstreams: Rc::default(),
    };
    let accepted = Box::new(AcceptedClient {
        socket,
        arrival,
        received: Block::default(),
    });
    spawn(connection::run(shard.clone(), counted, accepted));
}

/// The address that the client connected to. The kernel is asked for `local_addr` only if the socket listens on more
/// than one address.
fn reached(
    addr: &ListenAddr,
    local_addr: impl FnOnce() -> Option<SocketAddr>,
) -> Option<SocketAddr> {
    match addr {
        ListenAddr::Tcp(addr) if addr.ip().is_unspecified() => local_addr(),
        ListenAddr::Tcp(addr) => Some(*addr),
        ListenAddr::Unix(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_what_a_client_of_any_address_has_reached() {
        let [any, one] = ["0.0.0.0:80", "10.0.0.1:80"].map(|addr| addr.parse().unwrap());
        let local: SocketAddr = "10.0.0.2:80".parse().unwrap();
        let rows = [
            (ListenAddr::Tcp(any), Some(local)),
            (ListenAddr::Tcp(one), Some(one)),
            (ListenAddr::Unix("/a".into()), None),
        ];
        for (addr, expected) in rows {
            assert_eq!(reached(&addr, || Some(local)), expected, "{addr}");
        }
    }
}
