//! A connection with many exchanges at once: every stream that the client opens is a task of its own, which runs through
//! the same steps as a request of HTTP/1.

use std::cell::Cell;
use std::rc::Rc;

use tracing::debug;

use super::contain;
use crate::base::time::Micros;
use crate::http::h2::hpack::ListLimits;
use crate::http::h2::{ConnectionError, LocalSettings, Role};
use crate::net::{Peer, Timer, spawn};
use crate::worker::downstream::{Client, linger};
use crate::worker::multiplex::{Connection, End, Stream, Terms};
use crate::worker::proxy;
use crate::worker::shard::Shard;

/// Serves a connection that has brought HTTP/2's preface.
pub async fn serve(shard: &Rc<Shard>, client: Client) {
    let Some((accepted, received)) = client.into_accepted() else {
        return;
    };
    let (socket, peer, gate) = (accepted.stream, accepted.peer, accepted.gate);
    let connection = Connection::new(Role::Server, settings(shard), Micros::now());
    let begun = Cell::new(0_u32);
    let begin = |stream: Stream| {
        begun.set(begun.get().saturating_add(1));
        let client = Client::multiplexed(stream, peer, gate.clone(), shard);
        spawn(serve_stream(shard.clone(), client));
    };
    let is_unwanted = || {
        let most = shard.plan().snapshot().client.requests_per_connection;
        shard.is_ending() || gate.is_closed() || begun.get() >= most
    };
    let terms = Terms {
        timers: &shard.timers,
        blocks: &shard.blocks,
        begin: &begin,
        is_unwanted: &is_unwanted,
        idle: shard.plan().snapshot().client.idle_timeout,
    };
    if let End::Broken(error) = connection.carry(&socket, received, &terms).await {
        report(shard, peer, error);
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

/// Counts a connection that was ended because its client broke a rule, and says so.
fn report(shard: &Shard, peer: Peer, error: ConnectionError) {
    if shard.log_ration.may_log_failure() {
        let client = peer
            .ip()
            .map_or_else(|| "-".to_owned(), |ip| ip.to_string());
        debug!(client, "connection ended: {}", error.word());
    }
}
