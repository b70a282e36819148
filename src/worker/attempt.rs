//! One attempt to have a request answered: it goes to one backend, and the answer comes back.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use crate::http::h2::raise;
use crate::net::{Block, Expired};
use crate::worker::admit::Admitted;
use crate::worker::body::Body;
use crate::worker::deliver::{Delivered, Ends, deliver, send_whole};
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::shard::Shard;
use crate::worker::stream::Stream;
use crate::worker::tunnel;
use crate::worker::upload::upload;
use crate::worker::upstream::Upstream;

/// An attempt that failed.
pub struct Setback {
    pub failure: Failure,
    /// Whether it was made on a connection that had been idle.
    pub was_reused: bool,
}

/// The request goes out, the answer comes in, and if the request's body is still coming both happen at once.
pub async fn attempt(
    shard: &Rc<Shard>,
    client: &Client,
    exchange: &Exchange,
    admitted: &mut Admitted,
    upstream: Upstream,
) -> Result<(), Setback> {
    let was_reused = upstream.reused;
    let _counted = shard.count_in_flight(upstream.backend);
    exchange
        .attempts
        .set(exchange.attempts.get().saturating_add(1));
    let mut out = shard.blocks.take();
    let tried = answer_through(shard, client, exchange, admitted, upstream, &mut out).await;
    shard.blocks.give(out);
    tried.map_err(|failure| Setback {
        failure,
        was_reused,
    })
}

async fn answer_through(
    shard: &Rc<Shard>,
    client: &Client,
    exchange: &Exchange,
    admitted: &mut Admitted,
    upstream: Upstream,
    out: &mut Block,
) -> Result<(), Failure> {
    let delivered =
        exchange_heads_and_bodies(shard, client, exchange, admitted, &upstream, out).await?;
    let (reusable, is_whole) = match delivered {
        Delivered::Complete { reusable } => (reusable, false),
        Delivered::Whole { reusable } => (reusable, true),
        Delivered::Switched => {
            tunnel::run(shard, client, exchange, &upstream).await;
            return Ok(());
        }
    };
    if reusable && !client.body_pending.get() {
        shard.keep_idle(exchange, upstream);
    }
    match is_whole {
        true => send_whole(client, exchange, out).await,
        false => Ok(()),
    }
}

async fn exchange_heads_and_bodies(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
    admitted: &mut Admitted,
    upstream: &Upstream,
    out: &mut Block,
) -> Result<Delivered, Failure> {
    send_request(client, exchange, admitted, upstream).await?;
    let mut body = match admitted.is_whole {
        true => Body::none(),
        false => std::mem::replace(&mut admitted.body, Body::none()),
    };
    let ends = Ends {
        shard,
        client,
        exchange,
        admitted,
        upstream,
    };
    if admitted.is_whole {
        return deliver(&ends, out).await;
    }
    let mut uploading = pin!(upload(&ends, &mut body));
    let mut delivering = pin!(deliver(&ends, out));
    let mut is_uploading = true;
    poll_fn(|cx| {
        if is_uploading && let Poll::Ready(outcome) = uploading.as_mut().poll(cx) {
            is_uploading = false;
            if let Err(failure) = outcome {
                return Poll::Ready(Err(failure));
            }
        }
        delivering.as_mut().poll(cx)
    })
    .await
}

/// Sends the head and what is kept of the body. That the backend does not take it is no failure yet: it may have
/// answered and then stopped reading; if it has not, receiving tells.
async fn send_request(
    client: &Client,
    exchange: &Exchange,
    admitted: &mut Admitted,
    upstream: &Upstream,
) -> Result<(), Failure> {
    let wait = exchange.route().timeouts.upstream_response;
    client.timer.set(exchange.bounded(wait));
    let request = &mut admitted.request;
    request.rewind();
    let stream = &upstream.wire.stream;
    let is_whole = admitted.body.has_ended();
    let trailers = &admitted.body.trailers;
    if let Stream::Multiplexed(stream) = stream {
        let is_bare = raise::head_bytes(request.filled()) == request.len();
        let is_last = is_whole && is_bare && trailers.is_empty();
        let asked = stream.ask(request, upstream.scheme, is_last);
        asked.map_err(|_| Failure::Unprocessed)?;
    }
    let is_last = is_whole && trailers.is_empty();
    match stream.send_all(request, is_last, &client.timer).await {
        Ok(_) if is_whole && !trailers.is_empty() => {
            // As with a backend that reads no further: if that is a failure, receiving tells.
            let _ = stream.send_trailers(trailers);
            Ok(())
        }
        Ok(_) => Ok(()),
        Err(Expired) => {
            admitted.is_whole = false; // The block is lost with its send.
            Err(exchange.expired(Failure::ResponseTimeout))
        }
    }
}
