//! Getting a connection to a backend: one that is there, else a new one.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use crate::base::time::Micros;
use crate::net::Socket;
use crate::snapshot::{Backend, Protocol};
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::leave::poll_unsent;
use crate::worker::multiplex::Unconnected;
use crate::worker::shard::Shard;
use crate::worker::stream::Stream;
use crate::worker::upstream::descriptors::{Held, may_open, wait_for_one};
use crate::worker::upstream::dial::{Security, greet, introduction};
use crate::worker::upstream::race::{Entrant, others, race};
use crate::worker::upstream::stream::{Obtained, await_connection, obtain_stream};
use crate::worker::upstream::trial::{note_connected, note_unconnected};
use crate::worker::upstream::websocket::{for_websocket, goes_by_http1};
use crate::worker::upstream::{Carrier, Granted, Hold, ReuseKey, Upstream};
use crate::worker::wire::Wire;

/// A connection to the backend for one exchange. `fresh`: one that was never idle, since its backend may have closed
/// such a one just now; over HTTP/2 a backend says before it closes, so that any will do. `None`: the backend has as
/// many connections as it may, and none of them is idle here. Errors: it cannot be connected to in time, or the client
/// left meanwhile.
pub async fn obtain(
    shard: &Rc<Shard>,
    client: &Client,
    exchange: &Exchange,
    backend: &Backend,
    fresh: bool,
) -> Result<Option<Upstream>, Failure> {
    let Some(key) = exchange.plan.reuse_key(backend.id()) else {
        return Err(Failure::ConnectFailed);
    };
    let pool = exchange.plan.pool(exchange.route().pool);
    if pool.protocol == Protocol::Http2 && !goes_by_http1(shard, exchange, backend.id()) {
        match obtain_shared(shard, client, exchange, (backend, key)).await? {
            Multiplexed::Obtained(upstream) => return Ok(upstream),
            Multiplexed::Useless => {}
        }
    }
    let hold = match claim(shard, exchange, backend, key, fresh) {
        Claim::Connection(upstream) => return Ok(Some(upstream.held_by(client))),
        Claim::New(hold) => hold,
        Claim::Nothing => return Ok(None),
    };
    let held = &client.arrival.upstreams;
    while !may_open(shard, held.get()) || !shard.descriptor_waiters.is_empty() {
        wait_for_one(shard, client, exchange, backend.id(), held.clone()).await?;
        let (now, table) = (shard.timers.millis(), shard.tables.of(shard.worker));
        if !fresh && let Some(upstream) = shard.upstreams.take(backend.id(), key, now, table) {
            return Ok(Some(upstream.held_by(client)));
        }
        if may_open(shard, held.get()) {
            break;
        }
    }
    let held = Held::by(client);
    let addr = backend.addr.clone().ok_or(Failure::ConnectFailed)?;
    let mut entrants = vec![Entrant {
        id: backend.id(),
        key,
        addr,
        hold,
    }];
    entrants.extend(others(shard, exchange, backend));
    let began = Micros::now();
    let (won, socket) = connect(shard, client, exchange, entrants).await?;
    let backend = exchange
        .plan
        .backend_of(won.id)
        .ok_or(Failure::ConnectFailed)?;
    let counts = backend.slot.counts().workers.of(shard.worker);
    counts.connect_times.observe(Micros::now().since(began));
    Ok(Some(Upstream {
        wire: Wire::new(Stream::Socket(socket)),
        backend: won.id,
        key: won.key,
        scheme: "http",
        is_websocket: false,
        reused: false,
        hold: won.hold,
        held: Some(held),
    }))
}

/// The outcome of asking for a stream on a shared connection.
enum Multiplexed {
    /// A stream, or `None`, as [`obtain`] returns it.
    Obtained(Option<Upstream>),
    /// The request cannot be sent on a stream to this backend.
    Useless,
}

async fn obtain_shared(
    shard: &Rc<Shard>,
    client: &Client,
    exchange: &Exchange,
    (backend, key): (&Backend, ReuseKey),
) -> Result<Multiplexed, Failure> {
    loop {
        match obtain_stream(shard, exchange, backend, key)? {
            Obtained::Stream(upstream) if exchange.carrier.get() == Carrier::WebSocket => {
                let upstream = for_websocket(shard, client, exchange, upstream).await?;
                return Ok(
                    upstream.map_or(Multiplexed::Useless, |one| Multiplexed::Obtained(Some(one)))
                );
            }
            Obtained::Stream(upstream) => {
                let connected = await_connection(shard, client, exchange, upstream).await?;
                return Ok(Multiplexed::Obtained(Some(connected)));
            }
            Obtained::Nothing => return Ok(Multiplexed::Obtained(None)),
            Obtained::NoDescriptor => {
                let nobodys = Rc::default(); // Other clients' requests will use the connection, too.
                wait_for_one(shard, client, exchange, backend.id(), nobodys).await?;
            }
        }
    }
}

/// The ways in which an exchange may get a connection.
enum Claim {
    Connection(Upstream),
    /// A new connection may be opened.
    New(Option<Hold>),
    Nothing,
}

fn claim(
    shard: &Shard,
    exchange: &Exchange,
    backend: &Backend,
    key: ReuseKey,
    fresh: bool,
) -> Claim {
    let id = backend.id();
    let table = shard.tables.of(shard.worker);
    match exchange.granted.take().map(|granted| *granted) {
        Some(Granted::Hold(hold)) if hold.backend() == id => return Claim::New(Some(hold)),
        Some(Granted::Connection(upstream)) if upstream.backend == id => {
            return match !fresh && upstream.key == key && upstream.unasked().is_none() {
                true => Claim::Connection(upstream),
                false => Claim::New(upstream.close()),
            };
        }
        _ => {} // What was granted of another backend goes to the next request.
    }
    let now = shard.timers.millis();
    if !fresh && let Some(upstream) = shard.upstreams.take(id, key, now, table) {
        return Claim::Connection(upstream);
    }
    match new_hold(shard, exchange, backend) {
        Ok(hold) => Claim::New(hold),
        // What this core keeps idle must not keep its own request waiting.
        Err(Full) => match shard.upstreams.close_oldest(id, table) {
            Some(hold) => Claim::New(Some(hold)),
            None => Claim::Nothing,
        },
    }
}

/// The backend has as many connections as it may.
pub struct Full;

/// What another connection takes up of the backend's bound, if it has one.
pub fn new_hold(
    shard: &Shard,
    exchange: &Exchange,
    backend: &Backend,
) -> Result<Option<Hold>, Full> {
    let most = backend.max_connections;
    if most == u32::MAX {
        return Ok(None);
    }
    let permit = shard.tables.try_open(backend.id(), most).ok_or(Full)?;
    let queue = exchange.plan.live(exchange.route().pool).queue();
    Ok(Some(Hold::permit(queue, permit)))
}

/// Connects to one of these for an exchange, and greets it. That it cannot be connected to, or can, is noted.
async fn connect(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
    entrants: Vec<Entrant>,
) -> Result<(Entrant, Socket), Failure> {
    let route = exchange.route();
    let timer = &client.timer;
    timer.set(exchange.bounded(route.timeouts.connect));
    let pool = exchange.plan.pool(route.pool);
    let introduction = introduction(pool, &client.arrival, exchange.client.get());
    let mut connecting = pin!(async {
        // The backend would have had more time if the exchange had.
        let is_enough = || !exchange.is_overdue();
        let (won, socket) = race(shard, entrants, timer, is_enough).await?;
        exchange.note_backend(won.id);
        let backend = exchange.plan.backend_of(won.id);
        let security = backend.and_then(|backend| Security::of(pool, backend, Protocol::Http1));
        let introduction = introduction.as_deref();
        let greeted = greet(shard, socket, introduction, security.as_ref(), timer).await;
        match &greeted {
            Ok(_) => note_connected(shard, won.id),
            Err(Unconnected::TimedOut) if !is_enough() => {}
            // A failure of HTTP/1.1 at a backend of HTTP/2 says nothing about the backend's other requests.
            Err(_) if pool.protocol == Protocol::Http2 => {}
            Err(unconnected) => note_unconnected(shard, won.id, won.key, *unconnected),
        }
        Ok((won, greeted?))
    });
    let connected = poll_fn(|cx| match connecting.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(Ok(outcome)),
        Poll::Pending => poll_unsent(shard, client, exchange, cx).map(Err),
    });
    match connected.await? {
        Err(Unconnected::TimedOut) => Err(exchange.expired(Failure::ConnectTimeout)),
        outcome => outcome.map_err(Failure::of_unconnected),
    }
}
