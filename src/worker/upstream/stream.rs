//! Getting a stream on a connection to a backend that speaks HTTP/2, and carrying such connections.

use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::base::ids::PoolId;
use crate::base::limits;
use crate::base::time::Micros;
use crate::http::h2::hpack::ListLimits;
use crate::http::h2::{LocalSettings, Role};
use crate::net::{Block, Expired, Socket, Timer, spawn};
use crate::snapshot::Backend;
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::leave::poll_unsent;
use crate::worker::min_rate::MinRate;
use crate::worker::multiplex::{Connection, Gone, Terms, Unconnected};
use crate::worker::plan::Plan;
use crate::worker::shard::Shard;
use crate::worker::stream::Stream;
use crate::worker::upstream::descriptors::may_open;
use crate::worker::upstream::dial::{Security, greet};
use crate::worker::upstream::open::new_hold;
use crate::worker::upstream::race::{Entrant, others, race};
use crate::worker::upstream::trial::{note_connected, note_refusal, note_unconnected};
use crate::worker::upstream::{Granted, Hold, ReuseKey, Upstream};
use crate::worker::wire::Wire;

/// What a request for a stream comes to.
pub enum Obtained {
    Stream(Upstream),
    /// There are as many connections as may be, and no room on any.
    Nothing,
    /// There might be another connection, if there were a descriptor for it.
    NoDescriptor,
}

/// A stream on a shared connection. A new connection takes requests before it is established: they wait for it, and
/// fail with it.
pub fn obtain_stream(
    shard: &Rc<Shard>,
    exchange: &Exchange,
    backend: &Backend,
    key: ReuseKey,
) -> Result<Obtained, Failure> {
    let id = backend.id();
    let pool = exchange.route().pool;
    let queue = exchange.plan.live(pool).queue();
    // What it does not take of that goes to the next request now, and not when this one has ended.
    let granted = exchange.granted.take();
    let (connection, reused) = match shard.shared_upstreams.find(id, key) {
        Some(connection) if !connection.is_second_choice() => (connection, true),
        // A new one is better than one that may be dead, or that others have filled.
        second => match (claim(shard, exchange, backend, granted), second) {
            (Some(hold), _) if has_descriptor(shard) => {
                (open_shared(shard, exchange, backend, key, hold)?, false)
            }
            (_, Some(second)) => (second, true),
            (Some(_), None) => return Ok(Obtained::NoDescriptor),
            (None, None) => return Ok(Obtained::Nothing),
        },
    };
    Ok(Obtained::Stream(Upstream {
        wire: Wire::new(Stream::Multiplexed(connection.stream())),
        backend: id,
        key,
        scheme: match exchange.plan.pool(pool).tls {
            Some(_) => "https",
            None => "http",
        },
        is_websocket: false,
        reused,
        hold: Some(Hold::room(queue, id)),
        held: None,
    }))
}

/// Waits until the connection of a stream is established. No byte of the request is given to the connection before, so
/// that a request of any method may go to another backend when it leaves this one, or when the time for the connection
/// is over.
pub async fn await_connection(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
    upstream: Upstream,
) -> Result<Upstream, Failure> {
    let Stream::Multiplexed(stream) = &upstream.wire.stream else {
        return Ok(upstream);
    };
    let wait = exchange.route().timeouts.connect;
    client.timer.set(exchange.bounded(wait));
    let waited = client.timer.bound(|cx| match stream.poll_connected(cx) {
        Poll::Ready(outcome) => Poll::Ready(outcome.map_err(Failure::of_gone)),
        Poll::Pending => poll_unsent(shard, client, exchange, cx).map(Err),
    });
    match waited.await {
        Ok(connected) => connected.map(|()| upstream),
        Err(Expired) => Err(exchange.expired(Failure::ConnectTimeout)),
    }
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

/// Whether there is a descriptor for another connection, if need be that of an idle one.
fn has_descriptor(shard: &Shard) -> bool {
    if !may_open(shard, 0) {
        shard.upstreams.close_idle(shard.tables.of(shard.worker));
    }
    may_open(shard, 0)
}

/// What is needed to make a shared connection.
struct Link {
    plan: Rc<Plan>,
    pool: PoolId,
    connect: Duration,
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
    let first = Entrant {
        id: backend.id(),
        key,
        addr,
        hold: Some(hold),
    };
    add(shard, &first, &connection);
    let mut entrants = vec![first];
    entrants.extend(others(shard, exchange, backend));
    let link = Link {
        plan: exchange.plan.clone(),
        pool: exchange.route().pool,
        connect: exchange.route().timeouts.connect,
    };
    let shared = connection.clone();
    let shard = shard.clone();
    spawn(async move { run(&shard, &shared, link, entrants).await });
    Ok(connection)
}

/// Lets requests to a backend use a connection.
fn add(shard: &Shard, entrant: &Entrant, connection: &Rc<Connection>) {
    let permitted = entrant
        .hold
        .as_ref()
        .filter(|hold| hold.as_permit().is_some());
    let queue = permitted.map(|hold| hold.queue().clone());
    let shared = connection.clone();
    shard
        .shared_upstreams
        .add(entrant.id, entrant.key, shared, queue);
    shard.descriptor_waiters.let_share(entrant.id);
}

/// The connection's window is as wide as those of all its streams can become, so that one whose client does not read
/// keeps no other from its bytes.
fn settings() -> LocalSettings {
    LocalSettings {
        head: ListLimits::RESPONSE,
        stream_window: limits::H2_UPSTREAM_STREAM_WINDOW,
        connection_window: limits::H2_WIDEST_STREAM_WINDOW * limits::H2_UPSTREAM_STREAMS as u32,
        ..LocalSettings::default()
    }
}

/// Makes a shared connection and carries it to its end. If another address of the name than the first one is
/// connected to, it is that one's connection from then on.
async fn run(shard: &Rc<Shard>, connection: &Rc<Connection>, link: Link, entrants: Vec<Entrant>) {
    let first = entrants[0].id;
    let timer = Timer::new(&shard.timers);
    timer.set(link.connect);
    let began = Micros::now();
    let connected = connect(shard, &link, entrants, &timer).await;
    if !connected.as_ref().is_ok_and(|(won, _)| won.id == first) {
        shard.shared_upstreams.remove(first, connection);
    }
    let (won, socket) = match connected {
        Ok(connected) => connected,
        Err(unconnected) => return connection.lose(Gone::Unconnected(unconnected)),
    };
    if won.id != first {
        add(shard, &won, connection);
    }
    connection.note_backend(won.id);
    // It keeps the backend's row for as long as it lasts.
    let Some(slot) = link
        .plan
        .backend_of(won.id)
        .map(|backend| backend.slot.clone())
    else {
        return connection.lose(Gone::Lost);
    };
    let counts = slot.counts().workers.of(shard.worker);
    counts.connect_times.observe(Micros::now().since(began));
    let idle = link.plan.pool(link.pool).keepalive;
    drop(link); // Else the connection would keep a configuration that may be replaced long before it ends.
    let is_current = || shard.plan().is_current(won.id, won.key);
    let terms = Terms {
        blocks: &shard.blocks,
        pace: &shard.pace,
        memory: &shard.memory,
        begin: &|_| (),
        refused: &|_| (),
        rest: &|| (),
        is_unwanted: &|| shard.is_draining() || !is_current(),
        serves_half_closed: false,
        idle,
        head: limits::LONGEST_TIMEOUT, // The time for the answer bounds it.
        stall: limits::LONGEST_TIMEOUT,
        rate: &MinRate::none(),
    };
    connection.carry(&socket, Block::default(), &terms).await;
    note_refusal(shard, (won.id, won.key), &socket);
    socket.end_sending();
    socket.end();
    shard.shared_upstreams.remove(won.id, connection);
}

async fn connect(
    shard: &Shard,
    link: &Link,
    entrants: Vec<Entrant>,
    timer: &Timer,
) -> Result<(Entrant, Socket), Unconnected> {
    let (won, socket) = race(shard, entrants, timer, || true).await?;
    let backend = link.plan.backend_of(won.id);
    let pool = link.plan.pool(link.pool);
    let security = backend.and_then(|backend| Security::of(pool, backend, pool.protocol));
    let greeted = greet(shard, socket, None, security.as_ref(), timer).await;
    match &greeted {
        Ok(_) => note_connected(shard, won.id),
        Err(unconnected) => note_unconnected(shard, won.id, won.key, *unconnected),
    }
    Ok((won, greeted?))
}
