//! One attempt to have a request answered: it goes to one backend, and the answer comes back.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::base::ids::BackendId;
use crate::base::time::Micros;
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
use crate::worker::upstream::{Obtained, Place, Upstream, pass_on};

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
    backend: BackendId,
    obtained: Obtained,
) -> Result<(), Setback> {
    let was_reused = match &obtained {
        Obtained::Connection(upstream) => upstream.reused,
        Obtained::Place(_) => true,
    };
    let _counted = shard.count_in_flight(backend);
    exchange
        .attempts
        .set(exchange.attempts.get().saturating_add(1));
    let mut out = shard.blocks.take();
    let tried = answer_through(
        shard, client, exchange, admitted, backend, obtained, &mut out,
    )
    .await;
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
    backend: BackendId,
    obtained: Obtained,
    out: &mut Block,
) -> Result<(), Failure> {
    let asked_at = Micros::now();
    let mut turn_at = None;
    let upstream = match obtained {
        Obtained::Connection(upstream) => {
            send_request(shard, client, exchange, admitted, &upstream).await?;
            upstream
        }
        Obtained::Place(place) => {
            let upstream = take_turn(shard, client, exchange, backend, place).await?;
            turn_at = Some(Micros::now());
            upstream
        }
    };
    let body = match admitted.is_whole {
        true => None,
        false => Some(std::mem::replace(&mut admitted.body, Body::none())),
    };
    let ends = Ends {
        shard,
        client,
        exchange,
        admitted,
        upstream: &upstream,
        asked_at,
        turn_at,
    };
    let delivered = receive_answer(&ends, body, out).await?;
    let (reusable, is_whole) = match delivered {
        Delivered::Complete { reusable } => (reusable, false),
        Delivered::Whole { reusable } => (reusable, true),
        Delivered::Switched => {
            tunnel::run(shard, client, exchange, &upstream).await;
            return Ok(());
        }
    };
    if reusable
        && !client.body_pending.get()
        && let Some(upstream) = pass_on(upstream)
    {
        shard.keep_idle(exchange, upstream);
    }
    match is_whole {
        true => send_whole(client, exchange, out).await,
        false => Ok(()),
    }
}

/// Waits until all answers before this one were received: the request was sent by the first in line. Who has waited for
/// too long, or whose connection was lost, is to try again.
async fn take_turn(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
    backend: BackendId,
    place: Place,
) -> Result<Upstream, Failure> {
    let wait = Duration::from_millis(shard.upstreams.patience(backend));
    client.timer.set(exchange.bounded(wait));
    let waited = client.timer.bound(|cx| match place.poll_turn(cx) {
        Poll::Ready(upstream) => Poll::Ready(upstream.ok_or(Failure::Unprocessed)),
        Poll::Pending => client.poll_gone(shard, cx).map(Err),
    });
    waited.await.unwrap_or_else(|Expired| {
        let now = shard.timers.millis();
        shard.upstreams.pace(backend, |pace| pace.keep_apart(now));
        Err(exchange.expired(Failure::Unprocessed))
    })
}

/// Has the answer delivered, and the rest of the body passed on, if there is one, meanwhile.
async fn receive_answer(
    ends: &Ends<'_>,
    body: Option<Body>,
    out: &mut Block,
) -> Result<Delivered, Failure> {
    let Some(mut body) = body else {
        return deliver(ends, out).await;
    };
    let mut uploading = pin!(upload(ends, &mut body));
    let mut delivering = pin!(deliver(ends, out));
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
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
    admitted: &mut Admitted,
    upstream: &Upstream,
) -> Result<(), Failure> {
    let wait = exchange.route().timeouts.upstream_response;
    client.timer.set(exchange.bounded(wait));
    let stream = &upstream.wire.stream;
    if upstream.line.is_open() {
        shard.turn_end.reached().await;
        let mut requests = upstream.line.close();
        let sent = stream.send_all(&mut requests, false, &client.timer).await;
        shard.blocks.give(requests);
        return match sent {
            Ok(_) => Ok(()),
            Err(Expired) => Err(exchange.expired(Failure::ResponseTimeout)),
        };
    }
    let request = &mut admitted.request;
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
