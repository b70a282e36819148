//! Taking in new connections.

use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use tracing::warn;

use crate::base::limits;
use crate::net::{Listener, Timer, is_exhausted, spawn};
use crate::worker::connection;
use crate::worker::shard::Shard;

/// Accepts until the worker drains. When descriptors or memory run out, or there are as many connections as may be,
/// new ones wait in the listening socket's queue.
pub async fn run(shard: Rc<Shard>, listener: Listener) {
    loop {
        poll_fn(|cx| shard.poll_room(cx)).await;
        match listener.accept(&shard.gate).await {
            None => return,
            Some(Ok((stream, peer))) => {
                let counted = shard.count_connection();
                spawn(connection::run(shard.clone(), counted, stream, peer));
            }
            Some(Err(error)) if is_exhausted(&error) => {
                if shard.may_log_exhaustion() {
                    warn!("accepting pauses: {error}; connections already established go on");
                }
                pause(&shard).await;
            }
            // The connection was gone before it was accepted, or the like: no reason to stop.
            Some(Err(_)) => shard.turn.pass().await,
        }
    }
}

async fn pause(shard: &Shard) {
    let timer = Timer::new(&shard.timers);
    timer.set(Duration::from_millis(limits::ACCEPT_PAUSE_MILLIS));
    poll_fn(|cx| timer.poll(cx)).await;
}
