//! Gets a stream on a connection to a backend that speaks HTTP/2, and drives such connections.

use std::rc::Rc;
use std::time::Duration;

use crate::base::ids::PoolId;
use crate::base::limits;
use crate::base::time::Micros;
use crate::http::h2::hpack::ListLimits;
use crate::http::h2::{LocalSettings, Role};
use crate::net::{Block, Socket, Timer, spawn};
use crate::worker::failure::Failure;
use crate::worker::live_config::LiveConfig;
use crate::worker::min_rate::MinRate;
use crate::worker::multiplex::{Gone, MultiplexConnection, Terms, Unconnected};
use crate::worker::shard::Shard;
use crate::worker::stream::Stream;
use crate::worker::upstream::await_descriptor::may_open;
use crate::worker::upstream::connecting::{Connecting, new_hold};
use crate::worker::upstream::dial::{Preliminaries, TlsTarget, greet};
use crate::worker::upstream::race::{Entrant, others, race};
use crate::worker::upstream::trial::{note_connected, note_refusal, note_unconnected};
use crate::worker::upstream::{Granted, Hold, Upstream};
use crate::worker::wire::Wire;

/// The outcome of asking for a stream.
pub enum Obtained {
    Stream(Box<Upstream>),
    /// There are as many connections as the bounds allow, and none has a free stream.
    Nothing,
    /// Another connection is allowed, but no descriptor is free for it.
    NoDescriptor,
}

/// A stream on a shared connection. A new connection takes requests before it is established: they wait for it, and
/// fail if it fails. If the request does not use `granted`, the next request gets the grant at once.
pub(super) fn obtain_stream(
    connecting: &Connecting<'_>,
    granted: Option<Box<Granted>>,
) -> Result<Obtained, Failure> {
    let Connecting { shard, key, .. } = *connecting;
    let id = connecting.backend.id();
    let queue = connecting.caller.config.live(connecting.pool).queue();
    let (connection, reused) = match shard.shared_upstreams.find(id, key) {
        Some(connection) if !connection.is_second_choice() => (connection, true),
        // A new connection is better than one that may be dead, or that other requests fill.
        second => match (claim(connecting, granted), second) {
            (Some(hold), _) if has_descriptor(shard) => (open_shared(connecting, hold)?, false),
            (_, Some(second)) => (second, true),
            (Some(_), None) => return Ok(Obtained::NoDescriptor),
            (None, None) => return Ok(Obtained::Nothing),
        },
    };
    Ok(Obtained::Stream(Box::new(Upstream {
        wire: Wire::new(Stream::Multiplexed(connection.stream())),
        backend: id,
        key,
        scheme: match connecting.pool().tls {
            Some(_) => "https",
            None => "http",
        },
        is_websocket: false,
        reused,
        hold: Some(Hold::room(queue, id)),
        held: None,
    })))
}

/// Waits until the connection of a stream is established. The connection gets no byte of the request before. So a
/// request of any method may go to another backend, when it leaves this one or when the time for the connection is over
/// (RFC 9110 section 9.2.2).
pub(super) async fn await_connection(
    connecting: &Connecting<'_>,
    upstream: Box<Upstream>,
) -> Result<Box<Upstream>, Failure> {
    let Stream::Multiplexed(stream) = &upstream.wire.stream else {
        return Ok(upstream);
    };
    let caller = connecting.caller;
    let step = (caller.connect, Failure::ConnectTimeout);
    let connected = caller.await_step(Some(connecting.backend.id()), step, |cx| {
        stream.poll_connected(cx).map_err(Failure::of_gone)
    });
    connected.await.map(|()| upstream)
}

/// The part of the bound for another connection to the backend. `None`: there are as many connections as the bounds
/// allow.
fn claim(connecting: &Connecting<'_>, granted: Option<Box<Granted>>) -> Option<Hold> {
    let Connecting { shard, backend, .. } = connecting;
    let (config, pool, id) = (connecting.caller.config, connecting.pool, backend.id());
    if shard.shared_upstreams.is_full(id) {
        return None;
    }
    if let Some(Granted::Hold(hold)) = granted.map(|granted| *granted)
        && hold.backend() == id
    {
        return Some(hold);
    }
    let hold = new_hold(shard, config, pool, backend).ok()?;
    Some(hold.unwrap_or_else(|| Hold::room(config.live(pool).queue(), id)))
}

/// Whether there is a descriptor for another connection, after idle connections are closed if need be.
fn has_descriptor(shard: &Shard) -> bool {
    if !may_open(shard, 0) {
        shard.upstreams.close_idle(shard.tables.of(shard.worker));
    }
    may_open(shard, 0)
}

/// The values with which a shared connection is made.
struct Link {
    config: Rc<LiveConfig>,
    pool: PoolId,
    connect: Duration,
}

/// Has a task of its own make a shared connection, so that the connection outlasts the caller.
fn open_shared(
    connecting: &Connecting<'_>,
    hold: Hold,
) -> Result<Rc<MultiplexConnection>, Failure> {
    let Connecting {
        shard,
        backend,
        caller,
        ..
    } = connecting;
    let addr = backend.addr.clone().ok_or(Failure::ConnectFailed)?;
    let connection = MultiplexConnection::new(Role::Client, settings(), &shard.timers);
    let first = Entrant {
        id: backend.id(),
        key: connecting.key,
        addr,
        hold: Some(hold),
    };
    add(shard, &first, &connection);
    let mut entrants = vec![first];
    entrants.extend(others(connecting));
    let link = Link {
        config: caller.config.clone(),
        pool: connecting.pool,
        connect: caller.connect,
    };
    let shared = connection.clone();
    let shard = Rc::clone(shard);
    spawn(async move { run(&shard, &shared, link, entrants).await });
    Ok(connection)
}

/// Makes a connection available to requests for a backend.
fn add(shard: &Shard, entrant: &Entrant, connection: &Rc<MultiplexConnection>) {
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

/// The connection's window is as wide as the windows of all its streams together can become, so that a stream whose
/// client does not read delays no other stream (RFC 9113 section 5.2).
fn settings() -> LocalSettings {
    LocalSettings {
        head: ListLimits::RESPONSE,
        stream_window: limits::H2_UPSTREAM_STREAM_WINDOW,
        connection_window: limits::H2_WIDEST_STREAM_WINDOW * limits::H2_UPSTREAM_STREAMS as u32,
        ..LocalSettings::default()
    }
}

/// Makes a shared connection and drives it to its end. If another address of the name than the first one is connected
/// to, the connection belongs to the backend with that address from then on.
async fn run(
    shard: &Rc<Shard>,
    connection: &Rc<MultiplexConnection>,
    link: Link,
    entrants: Vec<Entrant>,
) {
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
    // The connection keeps the backend's row in the tables as long as it lasts.
    let Some(slot) = link
        .config
        .backend_of(won.id)
        .map(|backend| backend.slot.clone())
    else {
        return connection.lose(Gone::Lost);
    };
    let counters = slot.counters().workers.of(shard.worker);
    counters.connect_times.observe(Micros::now().since(began));
    let idle = link.config.pool(link.pool).keepalive;
    // Otherwise the connection would keep a configuration that may be replaced long before the connection ends.
    drop(link);
    let is_current = || shard.config().is_current(won.id, won.key);
    let terms = Terms {
        blocks: &shard.blocks,
        bulk_turns: &shard.bulk_turns,
        memory: &shard.memory,
        begin: &|_| (),
        refused: &|_| (),
        rest: &|| (),
        is_unwanted: &|| shard.is_draining() || !is_current(),
        serves_half_closed: false,
        idle,
        head: limits::LONGEST_TIMEOUT, // The timeout of the response bounds the head.
        stall: limits::LONGEST_TIMEOUT,
        rate: &MinRate::none(),
    };
    connection.drive(&socket, Block::default(), &terms).await;
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
    let backend = link.config.backend_of(won.id);
    let pool = link.config.pool(link.pool);
    let security = backend.and_then(|backend| TlsTarget::of(pool, backend, pool.protocol));
    let preliminaries = Preliminaries {
        introduction: None,
        security: security.as_ref(),
    };
    let greeted = greet(shard, socket, preliminaries, timer).await;
    match &greeted {
        Ok(_) => note_connected(shard, won.id),
        Err(unconnected) => note_unconnected(shard, won.id, won.key, *unconnected),
    }
    Ok((won, greeted?))
}
