//! Getting a connection to a backend: an idle one, else a new one.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;

use crate::base::time::Micros;
use crate::net::{Expired, Socket, Timer, connect_tcp, connect_unix, is_exhausted};
use crate::snapshot::{Backend, BackendAddr};
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::shard::Shard;
use crate::worker::upstream::Upstream;
use crate::worker::wire::Wire;

/// A connection to the backend, idle if there is one and `fresh` does not ask for a new one. `None`: the backend has
/// as many connections as it may. Errors: it cannot be connected to in time, or the client left meanwhile.
pub async fn obtain(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
    backend: &Backend,
    fresh: bool,
) -> Result<Option<Upstream>, Failure> {
    let id = backend.id();
    if !fresh {
        let now = shard.timers.millis();
        let idle = poll_fn(|cx| Poll::Ready(shard.upstreams.take(id, now, cx))).await;
        if idle.is_some() {
            return Ok(idle);
        }
    }
    let permit = match backend.max_connections {
        u32::MAX => None,
        most => match shard.tables.try_open(id, most) {
            Some(permit) => Some(permit),
            None => return Ok(None),
        },
    };
    let began = Micros::now();
    let stream = connect(shard, client, exchange, backend).await?;
    let counts = backend.slot.counts().workers.of(shard.worker);
    counts.connect_times.observe(Micros::now().since(began));
    Ok(Some(Upstream {
        wire: Wire::new(stream),
        backend: id,
        reused: false,
        permit,
    }))
}

async fn connect(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
    backend: &Backend,
) -> Result<Socket, Failure> {
    let route = exchange.route();
    client.timer.set(exchange.bounded(route.timeouts.connect));
    match &backend.addr {
        None => Err(Failure::ConnectFailed),
        Some(BackendAddr::Tcp(addr)) => attempt(shard, client, exchange, connect_tcp(*addr)).await,
        Some(BackendAddr::Unix(path)) => attempt(shard, client, exchange, connect_unix(path)).await,
    }
}

async fn attempt(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
    connecting: impl Future<Output = io::Result<Socket>>,
) -> Result<Socket, Failure> {
    let mut connecting = pin!(connecting);
    let timer: &Timer = &client.timer;
    let waited = timer.bound(|cx| match connecting.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(outcome.map_err(|error| {
            if is_exhausted(&error) {
                Failure::Exhausted
            } else {
                Failure::ConnectFailed
            }
        })),
        Poll::Pending => client.poll_gone(shard, cx).map(Err),
    });
    match waited.await {
        Ok(outcome) => outcome,
        Err(Expired) => Err(exchange.expired(Failure::ConnectTimeout)),
    }
}
