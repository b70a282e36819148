//! Getting a connection to a backend: one that is there, else a new one.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::base::limits;
use crate::base::time::Micros;
use crate::http::h2::{LocalSettings, Role};
use crate::net::{Block, Socket, Timer, spawn};
use crate::shared::backend_table::Permit;
use crate::shared::slots::SharedSlot;
use crate::snapshot::{Backend, BackendAddr, Protocol};
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::multiplex::{Connection, Gone, Terms};
use crate::worker::shard::Shard;
use crate::worker::stream::Stream;
use crate::worker::upstream::Upstream;
use crate::worker::upstream::dial::{Security, dial, introduction};
use crate::worker::wire::Wire;

/// A connection to the backend for one exchange. `fresh`: one that was never idle, since its backend may have closed such
/// a one just now. `None`: the backend has as many connections as it may. Errors: it cannot be connected to in time, or the
/// client left meanwhile.
pub async fn obtain(
    shard: &Rc<Shard>,
    client: &Client,
    exchange: &Exchange,
    backend: &Backend,
    fresh: bool,
) -> Result<Option<Upstream>, Failure> {
    let id = backend.id();
    let pool = exchange.plan.pool(exchange.route().pool);
    if pool.protocol == Protocol::Http2 {
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
    let pool = exchange.plan.pool(route.pool);
    let security = Security::of(pool, backend);
    let timer = &client.timer;
    let introduction = introduction(pool, &client.arrival, exchange.client.get());
    let introduction = introduction.as_deref();
    let mut connecting = pin!(dial(shard, addr, introduction, security.as_ref(), timer));
    let connected = poll_fn(|cx| match connecting.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(outcome.map_err(Failure::of_unconnected)),
        Poll::Pending => client.poll_gone(shard, cx).map(Err),
    });
    connected.await.map_err(|failure| match failure {
        Failure::ConnectTimeout => exchange.expired(failure),
        failure => failure,
    })
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
    let (connection, reused) = match known {
        Some(connection) if !connection.is_suspect() => (connection, true),
        // A new one is better than one that may be dead.
        suspect => match (permit(shard, backend), suspect) {
            (Ok(permit), _) => (open_shared(shard, exchange, backend, permit)?, false),
            (Err(Full), Some(suspect)) => (suspect, true),
            (Err(Full), None) => return Ok(None),
        },
    };
    Ok(Some(Upstream {
        wire: Wire::new(Stream::Multiplexed(connection.stream())),
        backend: id,
        scheme: match exchange.plan.pool(exchange.route().pool).tls {
            Some(_) => "https",
            None => "http",
        },
        reused,
        permit: None,
    }))
}

/// What the task of a shared connection needs to know.
struct Link {
    /// Keeps the backend's row for as long as the connection lasts.
    slot: SharedSlot,
    addr: BackendAddr,
    security: Option<Security>,
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
    let connection = Connection::new(Role::Client, settings(), &shard.timers);
    if !shard.shared_upstreams.add(backend.id(), connection.clone()) {
        return Err(Failure::Saturated);
    }
    let link = Link {
        slot: backend.slot.clone(),
        addr,
        security: Security::of(exchange.plan.pool(exchange.route().pool), backend),
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

/// The connection's window is as wide as those of all its streams, so that one whose client does not read keeps no other
/// from its bytes.
fn settings() -> LocalSettings {
    let stream_window = limits::default::H2_UPSTREAM_STREAM_WINDOW;
    LocalSettings {
        stream_window,
        connection_window: stream_window * limits::H2_UPSTREAM_STREAMS as u32,
        ..LocalSettings::default()
    }
}

/// Makes a shared connection and carries it to its end.
async fn run(shard: &Rc<Shard>, connection: &Rc<Connection>, link: &Link) {
    let timer = Timer::new(&shard.timers);
    timer.set(link.connect);
    let began = Micros::now();
    match dial(shard, &link.addr, None, link.security.as_ref(), &timer).await {
        Ok(socket) => {
            let counts = link.slot.counts().workers.of(shard.worker);
            counts.connect_times.observe(Micros::now().since(began));
            let terms = Terms {
                blocks: &shard.blocks,
                begin: &|_| (),
                rest: &|| (),
                is_unwanted: &|| {
                    shard.is_draining() || !shard.shared_upstreams.has(link.slot.id(), connection)
                },
                idle: link.keepalive,
            };
            connection.carry(&socket, Block::default(), &terms).await;
            socket.end_sending();
            socket.end();
        }
        Err(unconnected) => connection.lose(Gone::Unconnected(unconnected)),
    }
}
