//! Getting a connection to a backend: one that is there, else a new one.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::base::time::Micros;
use crate::http::h2::{LocalSettings, Role};
use crate::net::{Block, Expired, Socket, Timer, connect_tcp, connect_unix, is_exhausted, spawn};
use crate::shared::backend_table::Permit;
use crate::shared::slots::SharedSlot;
use crate::snapshot::{Backend, BackendAddr, Protocol};
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::multiplex::{Connection, Gone, Terms, Unconnected};
use crate::worker::shard::Shard;
use crate::worker::stream::Stream;
use crate::worker::upstream::Upstream;
use crate::worker::wire::Wire;

/// A connection to the backend, one that is there unless `fresh` asks for a new one. `None`: the backend has as many
/// connections as it may. Errors: it cannot be connected to in time, or the client left meanwhile.
pub async fn obtain(
    shard: &Rc<Shard>,
    client: &Client,
    exchange: &Exchange,
    backend: &Backend,
    fresh: bool,
) -> Result<Option<Upstream>, Failure> {
    let id = backend.id();
    if exchange.plan.pool(exchange.route().pool).protocol == Protocol::Http2 {
        return obtain_stream(shard, exchange, backend, fresh);
    }
    if !fresh {
        let now = shard.timers.millis();
        let idle = poll_fn(|cx| Poll::Ready(shard.upstreams.take(id, now, cx))).await;
        if idle.is_some() {
            return Ok(idle);
        }
    }
    let Ok(permit) = permit(shard, backend) else {
        return Ok(None);
    };
    let began = Micros::now();
    let socket = connect(shard, client, exchange, backend).await?;
    let counts = backend.slot.counts().workers.of(shard.worker);
    counts.connect_times.observe(Micros::now().since(began));
    Ok(Some(Upstream {
        wire: Wire::new(Stream::Socket(socket)),
        backend: id,
        scheme: "http",
        reused: false,
        permit,
    }))
}

/// The backend has as many connections as it may.
struct Full;

fn permit(shard: &Shard, backend: &Backend) -> Result<Option<Permit>, Full> {
    match backend.max_connections {
        u32::MAX => Ok(None),
        most => match shard.tables.try_open(backend.id(), most) {
            Some(permit) => Ok(Some(permit)),
            None => Err(Full),
        },
    }
}

async fn connect(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
    backend: &Backend,
) -> Result<Socket, Failure> {
    let route = exchange.route();
    client.timer.set(exchange.bounded(route.timeouts.connect));
    let Some(addr) = &backend.addr else {
        return Err(Failure::ConnectFailed);
    };
    let mut connecting = pin!(dial(addr));
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

async fn dial(addr: &BackendAddr) -> io::Result<Socket> {
    match addr {
        BackendAddr::Tcp(addr) => connect_tcp(*addr).await,
        BackendAddr::Unix(path) => connect_unix(path).await,
    }
}

/// A stream on a shared connection. A new connection takes requests before it is made: they go out with its first bytes,
/// and fail with it.
fn obtain_stream(
    shard: &Rc<Shard>,
    exchange: &Exchange,
    backend: &Backend,
    fresh: bool,
) -> Result<Option<Upstream>, Failure> {
    let id = backend.id();
    let known = match fresh {
        true => None,
        false => shard.shared_upstreams.find(id),
    };
    let reused = known.is_some();
    let connection = match known {
        Some(connection) => connection,
        None => {
            let Ok(permit) = permit(shard, backend) else {
                return Ok(None);
            };
            open_shared(shard, exchange, backend, permit)?
        }
    };
    Ok(Some(Upstream {
        wire: Wire::new(Stream::Multiplexed(connection.stream())),
        backend: id,
        scheme: "http",
        reused,
        permit: None,
    }))
}

/// What the task of a shared connection needs to know.
struct Link {
    /// Keeps the backend's row for as long as the connection lasts.
    slot: SharedSlot,
    addr: BackendAddr,
    connect: Duration,
    keepalive: Duration,
}

fn open_shared(
    shard: &Rc<Shard>,
    exchange: &Exchange,
    backend: &Backend,
    permit: Option<Permit>,
) -> Result<Rc<Connection>, Failure> {
    let addr = backend.addr.clone().ok_or(Failure::ConnectFailed)?;
    let connection = Connection::new(Role::Client, LocalSettings::default(), Micros::now());
    if !shard.shared_upstreams.add(backend.id(), connection.clone()) {
        return Err(Failure::Saturated);
    }
    let link = Link {
        slot: backend.slot.clone(),
        addr,
        connect: exchange.route().timeouts.connect,
        keepalive: exchange.plan.pool(exchange.route().pool).keepalive,
    };
    let shared = connection.clone();
    let shard = shard.clone();
    spawn(async move {
        run(&shard, &shared, &link).await;
        shard.shared_upstreams.remove(link.slot.id(), &shared);
        drop(permit);
    });
    Ok(connection)
}

/// Makes a shared connection and carries it to its end.
async fn run(shard: &Rc<Shard>, connection: &Rc<Connection>, link: &Link) {
    let timer = Timer::new(&shard.timers);
    timer.set(link.connect);
    let began = Micros::now();
    let mut dialing = pin!(dial(&link.addr));
    let unconnected = match timer.bound(|cx| dialing.as_mut().poll(cx)).await {
        Ok(Ok(socket)) => {
            let counts = link.slot.counts().workers.of(shard.worker);
            counts.connect_times.observe(Micros::now().since(began));
            let terms = Terms {
                timers: &shard.timers,
                blocks: &shard.blocks,
                begin: &|_| (),
                is_unwanted: &|| {
                    shard.is_draining() || !shard.shared_upstreams.has(link.slot.id(), connection)
                },
                idle: link.keepalive,
            };
            connection.carry(&socket, Block::default(), &terms).await;
            return socket.end();
        }
        Ok(Err(error)) if is_exhausted(&error) => Unconnected::Exhausted,
        Ok(Err(_)) => Unconnected::Failed,
        Err(Expired) => Unconnected::TimedOut,
    };
    connection.lose(Gone::Unconnected(unconnected));
}
