//! One attempt to have a request answered: it goes to one backend, and the answer comes back.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

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
use crate::worker::upstream::Upstream;

/// An attempt that failed.
pub struct Setback {
    pub failure: Failure,
    /// Whether it was made on a connection that had been idle.
    pub was_reused: bool,
}

/// One attempt.
pub struct Attempt<'a> {
    pub shard: &'a Rc<Shard>,
    pub client: &'a Client,
    pub exchange: &'a Exchange,
    pub backend: BackendId,
}

impl Attempt<'_> {
    /// The request goes out, the answer comes in, and if the request's body is still coming both happen at once.
    pub async fn make(&self, admitted: &mut Admitted, upstream: Upstream) -> Result<(), Setback> {
        let was_reused = upstream.reused;
        let _counted = self.shard.count_in_flight(self.backend);
        let attempts = &self.exchange.attempts;
        attempts.set(attempts.get().saturating_add(1));
        let mut out = self.shard.blocks.take();
        let answered = self.answer(admitted, upstream, &mut out).await;
        self.shard.blocks.give(out);
        answered.map_err(|failure| Setback {
            failure,
            was_reused,
        })
    }

    async fn answer(
        &self,
        admitted: &mut Admitted,
        upstream: Upstream,
        out: &mut Block,
    ) -> Result<(), Failure> {
        let asked_at = Micros::now();
        self.send_request(admitted, &upstream).await?;
        let body = match admitted.is_whole {
            true => None,
            false => Some(std::mem::replace(&mut admitted.body, Body::none())),
        };
        let ends = Ends {
            shard: self.shard,
            client: self.client,
            exchange: self.exchange,
            admitted,
            upstream: &upstream,
            asked_at,
        };
        let (reusable, is_whole) = match receive_answer(&ends, body, out).await? {
            Delivered::Complete { reusable } => (reusable, false),
            Delivered::Whole { reusable } => (reusable, true),
            Delivered::Switched => {
                tunnel::run(self.shard, self.client, self.exchange, &upstream).await;
                return Ok(());
            }
        };
        if reusable && !self.client.body_pending.get() {
            self.shard.keep_idle(self.exchange, upstream);
        }
        match is_whole {
            true => send_whole(self.client, self.exchange, out).await,
            false => Ok(()),
        }
    }

    /// Sends the head and what is kept of the body. That the backend does not take it is no failure yet: it may have
    /// answered and then stopped reading; if it has not, receiving tells.
    async fn send_request(
        &self,
        admitted: &mut Admitted,
        upstream: &Upstream,
    ) -> Result<(), Failure> {
        let wait = self.exchange.route().timeouts.upstream_response;
        self.client.timer.set(self.exchange.bounded(wait));
        let stream = &upstream.wire.stream;
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
        let sent = stream.send_all(request, is_last, &self.client.timer).await;
        if sent.is_err() {
            admitted.is_whole = false; // The block is lost with its send.
        } else if is_whole && !trailers.is_empty() {
            // As with a backend that reads no further: if that is a failure, receiving tells.
            let _ = stream.send_trailers(trailers);
        }
        sent.map(drop)
            .map_err(|Expired| self.exchange.expired(Failure::ResponseTimeout))
    }
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
