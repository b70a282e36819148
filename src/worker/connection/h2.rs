//! A connection with many exchanges at once: every stream that the client opens is a task of its own, which runs through
//! the same steps as a request of HTTP/1.

use std::cell::Cell;
use std::rc::Rc;

use super::contain;
use super::failure::{ConnectionFailure, report};
use crate::base::time::Micros;
use crate::http::h2::hpack::ListLimits;
use crate::http::h2::{LocalSettings, Role};
use crate::net::{Timer, spawn};
use crate::worker::downstream::{Client, linger};
use crate::worker::multiplex::{Connection, End, Stream, Terms};
use crate::worker::proxy;
use crate::worker::shard::Shard;

/// Serves a connection that has brought HTTP/2's preface.
pub async fn serve(shard: &Rc<Shard>, client: Client) {
    let Some(accepted) = client.into_accepted() else {
        return;
    };
    let (socket, arrival) = (accepted.socket, accepted.arrival);
    let connection = Connection::new(Role::Server, settings(shard), Micros::now());
    let begun = Cell::new(0_u32);
    let begin = |stream: Stream| {
        begun.set(begun.get().saturating_add(1));
        let client = Client::multiplexed(stream, arrival.clone(), shard);
        spawn(serve_stream(shard.clone(), client));
    };
    let is_unwanted = || {
        let most = shard.plan().snapshot().client.requests_per_connection;
        shard.is_ending() || arrival.gate.is_closed() || begun.get() >= most
    };
    let terms = Terms {
        timers: &shard.timers,
        blocks: &shard.blocks,
        begin: &begin,
        is_unwanted: &is_unwanted,
        idle: shard.plan().snapshot().client.idle_timeout,
    };
    if let End::Broken(error) = connection.carry(&socket, accepted.received, &terms).await {
        report(shard, arrival.peer, &ConnectionFailure::Http2(error));
    }
    // What was sent last, such as the reason for the end, is to arrive.
    linger(&socket, &shard.blocks, &Timer::new(&shard.timers)).await;
}

async fn serve_stream(shard: Rc<Shard>, client: Client) {
    contain(&shard, async {
        proxy::serve(&shard, &client).await;
    })
    .await;
}

fn settings(shard: &Shard) -> LocalSettings {
    let plan = shard.plan();
    let head = &plan.snapshot().client.head;
    LocalSettings {
        head: ListLimits {
            bytes: head.head_bytes,
            fields: head.fields,
        },
        target_bytes: head.target_bytes,
        ..LocalSettings::default()
    }
}
