//! Taking in new connections.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tracing::warn;

use crate::base::limits;
use crate::net::{BoundListener, Engine, Gate, Listener, Peer, Socket, Timer, is_exhausted, spawn};
use crate::worker::connection;
use crate::worker::downstream::Accepted;
use crate::worker::shard::{CountedListener, Shard};

/// Begins to accept on a socket. Errors: the engine does not take it.
pub fn start(shard: &Rc<Shard>, bound: BoundListener, engine: Engine) -> io::Result<()> {
    let addr = bound.addr.clone();
    let listener = Listener::new(bound, engine)?;
    let gate = shard.open_gate(addr);
    spawn(run(shard.count_listener(), listener, gate));
    Ok(())
}

/// Accepts until the worker drains or the listener is removed. Of a removed one, the connections that are in the
/// socket's queue are taken in first; when the worker ends they stay there, because another process may have the same
/// socket.
async fn run(counted: CountedListener, listener: Listener, gate: Rc<Gate>) {
    let shard = counted.shard();
    accept_all(shard, &listener, &gate).await;
    while !shard.is_ending() {
        poll_fn(|cx| shard.poll_room(cx)).await;
        match listener.accept_waiting(&shard.turn).await {
            Some(accepted) => serve(shard, accepted, &gate),
            None => return,
        }
    }
}

/// Accepts until the gate is closed. When descriptors or memory run out, or there are as many connections as may be,
/// new ones wait in the listening socket's queue.
async fn accept_all(shard: &Rc<Shard>, listener: &Listener, gate: &Rc<Gate>) {
    loop {
        poll_fn(|cx| match gate.is_closed() {
            true => Poll::Ready(()),
            false => shard.poll_room(cx),
        })
        .await;
        match listener.accept(gate).await {
            None => return,
            Some(Ok(accepted)) => serve(shard, accepted, gate),
            Some(Err(error)) if is_exhausted(&error) => {
                if shard.log_ration.may_log_exhaustion() {
                    warn!("accepting pauses: {error}; connections already established go on");
                }
                pause(shard).await;
            }
            // The connection was gone before it was accepted, or the like: no reason to stop.
            Some(Err(_)) => shard.turn.pass().await,
        }
    }
}

fn serve(shard: &Rc<Shard>, (stream, peer): (Socket, Peer), gate: &Rc<Gate>) {
    let counted = shard.count_connection();
    let accepted = Accepted {
        stream,
        peer,
        gate: gate.clone(),
    };
    spawn(connection::run(shard.clone(), counted, accepted));
}

async fn pause(shard: &Shard) {
    let timer = Timer::new(&shard.timers);
    timer.set(Duration::from_millis(limits::ACCEPT_PAUSE_MILLIS));
    poll_fn(|cx| timer.poll(cx)).await;
}
