//! A connection with many exchanges at once: a task serves each stream that the client opens, by the same steps as a
//! request of HTTP/1.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::failure::report;
use super::tasks::Tasks;
use crate::http::h2::hpack::ListLimits;
use crate::http::h2::{LocalSettings, Role};
use crate::net::Timer;
use crate::snapshot::{HalfClose, Listener};
use crate::worker::downstream::{Client, Lingering, linger};
use crate::worker::memory::relief;
use crate::worker::min_rate::MinRate;
use crate::worker::multiplex::{End, MultiplexConnection, MultiplexStream, Terms};
use crate::worker::shard::Shard;

/// Serves a connection that has brought HTTP/2's preface.
pub async fn serve(shard: &Rc<Shard>, client: Client) {
    let Some(accepted) = client.into_accepted() else {
        return;
    };
    let (socket, arrival) = (accepted.socket, accepted.arrival);
    let connection = MultiplexConnection::new(
        Role::Server,
        settings(shard, &arrival.listener),
        &shard.timers,
    );
    let begun = Cell::new(0_u32);
    let tasks = Tasks::new(shard, &arrival);
    let idle = RefCell::new(None);
    let begin = |stream: MultiplexStream| {
        idle.take();
        begun.set(begun.get().saturating_add(1));
        tasks.begin(stream);
    };
    let rest = || {
        tasks.rest();
        let mut idle = idle.borrow_mut();
        if idle.is_none() {
            let connection = Rc::downgrade(&connection);
            let end = move || {
                if let Some(connection) = connection.upgrade() {
                    connection.end_if_idle();
                }
            };
            *idle = Some(shard.idle_clients.enter(&arrival.listener.clients, end));
        }
    };
    let refused = |count| {
        shard.memory.note_refused(count);
        shard.links.counters(shard.worker).refuse_streams(count);
        relief::relieve(shard);
    };
    let is_unwanted = || {
        let most = shard.config().snapshot().client.requests_per_connection;
        shard.is_ending() || arrival.listener.is_over() || begun.get() >= most
    };
    let rate = MinRate::of(&arrival.listener);
    let terms = Terms {
        blocks: &shard.blocks,
        bulk_turns: &shard.bulk_turns,
        memory: &shard.memory,
        begin: &begin,
        refused: &refused,
        rest: &rest,
        is_unwanted: &is_unwanted,
        serves_half_closed: arrival.listener.half_close == HalfClose::Serve,
        idle: shard.config().snapshot().client.idle_timeout,
        head: shard.config().snapshot().client.header_timeout,
        stall: shard.config().snapshot().client.socket_stall(),
        rate: &rate,
    };
    let end = connection.drive(&socket, accepted.received, &terms).await;
    tasks.end();
    if let End::Broken(error) = end {
        report(shard, arrival.peer, &error.into());
    }
    // The connection lingers so that the last bytes, such as the reason of the end, reach the client.
    let timer = Timer::new(&shard.timers);
    linger(shard, &socket, &timer, lingering(shard, end), &rate).await;
}

fn lingering(shard: &Shard, end: End) -> Lingering {
    match end {
        End::Orderly => {
            let stall = shard.config().snapshot().client.idle_timeout;
            Lingering::behind_answer(false, stall)
        }
        End::Stuck | End::Broken(_) => Lingering::after_last_message(),
    }
}

fn settings(shard: &Shard, listener: &Listener) -> LocalSettings {
    let config = shard.config();
    let head = &config.snapshot().client.head;
    LocalSettings {
        head: ListLimits {
            bytes: head.head_bytes,
            fields: head.fields,
        },
        target_bytes: head.target_bytes,
        control_bytes: listener.tolerates_control_bytes,
        ..LocalSettings::default()
    }
}
