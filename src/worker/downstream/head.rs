//! Receiving the rest of a request's head, and the bytes that tell the protocol, when they do not come at once.

use crate::http::h1::may_end_head;
use crate::http::h2::begins_connection;
use crate::net::Interrupted;
use crate::worker::client_room::wait::await_client;
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::shard::Shard;
use crate::worker::stream::Stream;
use crate::worker::wire::{Amount, nothing};

/// Whether a connection that has brought its first bytes speaks HTTP/2: the connection then begins with the preface of
/// HTTP/2 (RFC 9113 section 3.4), which is no request of HTTP/1.
pub async fn speaks_http2(shard: &Shard, client: &Client) -> bool {
    client.timer.set_until(client.first_due.get());
    loop {
        if let Some(speaks) = client.wire.with(|block| begins_connection(block.filled())) {
            return speaks;
        }
        let more = client
            .wire
            .more(&shard.blocks, Amount::BLOCK, &client.timer, nothing);
        if !matches!(more.await, Ok(Ok(count)) if count > 0) {
            return false;
        }
    }
}

/// Receives until the head may be complete or is longer than it may be, so that parsing it again makes sense. The end
/// of the head is searched for among the new bytes only, so that the work is proportional to the size of the head,
/// however small its pieces are.
pub async fn receive_rest_of_head(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
) -> Result<(), Failure> {
    let config = &exchange.config;
    let bounds = &config.snapshot().client;
    client
        .timer
        .set_until(match client.persistence().requests() {
            1 => client.first_due.get(),
            _ => exchange.began.after(bounds.header_timeout),
        });
    let coming = receive_pieces(shard, client, bounds.head.head_bytes as usize);
    match &client.wire.stream {
        Stream::Socket(socket) => {
            let listener = &client.arrival.listener.clients;
            let come = await_client(shard, listener, socket.receive_queue(), coming).await;
            // The connection ends because another client needs its slot.
            come.unwrap_or(Err(Failure::HeadTimeout))
        }
        Stream::Multiplexed(_) | Stream::Absent => coming.await,
    }
}

async fn receive_pieces(shard: &Shard, client: &Client, most: usize) -> Result<(), Failure> {
    loop {
        let seen = client.wire.with(|block| block.len());
        let more = client
            .wire
            .more(&shard.blocks, Amount::BLOCK, &client.timer, nothing);
        match more.await {
            Ok(Ok(0) | Err(_)) => return Err(Failure::ClientLeft),
            Ok(Ok(_)) => {}
            Err(Interrupted::Expired) => return Err(Failure::HeadTimeout),
            Err(Interrupted::Watched(never)) => match never {},
        }
        let worth_parsing = client
            .wire
            .with(|block| may_end_head(block.filled(), seen) || block.len() > most);
        if worth_parsing {
            return Ok(());
        }
    }
}
