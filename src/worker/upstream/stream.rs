//! Getting a stream on a connection to a backend that speaks HTTP/2, and carrying such connections.

use std::rc::Rc;
use std::time::Duration;

use crate::base::limits;
use crate::base::time::Micros;
use crate::http::h2::{LocalSettings, Role};
use crate::net::{Block, Timer, spawn};
use crate::shared::slots::SharedSlot;
use crate::snapshot::{Backend, BackendAddr};
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::multiplex::{Connection, Gone, Terms};
use crate::worker::shard::Shard;
use crate::worker::stream::Stream;
use crate::worker::upstream::dial::{Security, dial};
use crate::worker::upstream::open::new_hold;
use crate::worker::upstream::{Granted, Hold, ReuseKey, Upstream};
use crate::worker::wire::Wire;

/// A stream on a shared connection. A new connection takes requests before it is made: they go out with its first
/// bytes, and fail with it.
pub fn obtain_stream(
    shard: &Rc<Shard>,
    exchange: &Exchange,
    backend: &Backend,
    key: ReuseKey,
) -> Result<Option<Upstream>, Failure> {
    let id = backend.id();
    let pool = exchange.route().pool;
    let queue = exchange.plan.live(pool).queue();
    // What it does not take of that goes to the next request now, and not when this one has ended.
    let granted = exchange.granted.take();
    let (connection, reused) = match shard.shared_upstreams.find(id, key) {
        Some(connection) if !connection.is_suspect() => (connection, true),
        // A new one is better than one that may be dead.
        suspect => match (claim(shard, exchange, backend, granted), suspect) {
            (Some(hold), _) => (open_shared(shard, exchange, backend, key, hold)?, false),
            (None, Some(suspect)) => (suspect, true),
            (None, None) => return Ok(None),
        },
    };
    Ok(Some(Upstream {
        wire: Wire::new(Stream::Multiplexed(connection.stream())),
        backend: id,
        key,
        scheme: match exchange.plan.pool(pool).tls {
            Some(_) => "https",
            None => "http",
        },
        reused,
        hold: Some(Hold::room(queue, id)),
    }))
}

/// What another connection to the backend takes up. `None`: there are as many as may be.
fn claim(
    shard: &Shard,
    exchange: &Exchange,
    backend: &Backend,
    granted: Option<Box<Granted>>,
) -> Option<Hold> {
    let id = backend.id();
    if shard.shared_upstreams.is_full(id) {
        return None;
    }
    if let Some(Granted::Hold(hold)) = granted.map(|granted| *granted)
        && hold.backend() == id
    {
        return Some(hold);
    }
    let Ok(hold) = new_hold(shard, exchange, backend) else {
        return None;
    };
    let queue = exchange.plan.live(exchange.route().pool).queue();
    Some(hold.unwrap_or_else(|| Hold::room(queue, id)))
}

/// What the task of a shared connection needs to know.
struct Link {
    /// Keeps the backend's row for as long as the connection lasts.
    slot: SharedSlot,
    key: ReuseKey,
    addr: BackendAddr,
    security: Option<Security>,
    connect: Duration,
    keepalive: Duration,
}

fn open_shared(
    shard: &Rc<Shard>,
    exchange: &Exchange,
    backend: &Backend,
    key: ReuseKey,
    hold: Hold,
) -> Result<Rc<Connection>, Failure> {
    let addr = backend.addr.clone().ok_or(Failure::ConnectFailed)?;
    let connection = Connection::new(Role::Client, settings(), &shard.timers);
    let shared = connection.clone();
    let queue = hold.as_permit().map(|_| hold.queue().clone());
    shard.shared_upstreams.add(backend.id(), key, shared, queue);
    let link = Link {
        slot: backend.slot.clone(),
        key,
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
        drop(hold);
    });
    Ok(connection)
}

/// The connection's window is as wide as those of all its streams, so that one whose client does not read keeps no
/// other from its bytes.
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
                    shard.is_draining() || !shard.plan().is_current(link.slot.id(), link.key)
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
