//! Memory for an exchange that is about to begin: promised at once, or waited for.

use std::task::Context;

use crate::base::memory::{self, Promise};
use crate::net::Interrupted;
use crate::worker::downstream::Client;
use crate::worker::failure::Failure;
use crate::worker::shard::Shard;
use crate::worker::stream::Stream;

/// Whether there is memory for an exchange.
pub enum Room {
    /// There is enough memory, and it is promised to the exchange. `None`: the memory was promised when the client
    /// opened the stream.
    Promised(Option<Promise>),
    None,
}

/// Asks for the memory of an exchange with this client.
pub fn ask(client: &Client) -> Room {
    match &client.wire.stream {
        Stream::Multiplexed(_) => Room::Promised(None),
        _ if memory::may_begin() => Room::Promised(Some(memory::promise())),
        Stream::Socket(_) | Stream::Absent => Room::None,
    }
}

/// Waits for the memory of an exchange with this client, at most for `limits::MEMORY_WAIT_MILLIS`. Errors: there still
/// is not enough memory, or the client has left.
pub async fn wait_for_memory(shard: &Shard, client: &Client) -> Result<Promise, Failure> {
    let watch = |cx: &mut Context<'_>| client.poll_gone(shard, cx);
    match shard.memory.begin(&client.timer, watch).await {
        Ok(promise) => Ok(promise),
        Err(Interrupted::Watched(left)) => Err(left),
        Err(Interrupted::Expired) => Err(Failure::Exhausted),
    }
}
