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
use crate::worker::retry::Setback;
use crate::worker::shard::Shard;
use crate::worker::stream::Stream;
use crate::worker::tunnel;
use crate::worker::upload::{ask_for_body, upload};
use crate::worker::upstream::Upstream;

/// One attempt.
pub struct Attempt<'a> {
    pub shard: &'a Rc<Shard>,
    pub client: &'a Client,
    pub exchange: &'a Exchange,
    pub backend: BackendId,
}

/// What is known of how a request was sent.
struct Sent {
    /// The connection took no byte of it.
    took_nothing: bool,
}

impl Attempt<'_> {
    /// The request goes out, the answer comes in, and if the request's body is still coming both happen at once.
    pub async fn make(&self, admitted: &mut Admitted, upstream: Upstream) -> Result<(), Setback> {
        let _counted = self.shard.count_in_flight(self.backend);
        let attempts = &self.exchange.attempts;
        attempts.set(attempts.get().saturating_add(1));
        let mut out = self.shard.blocks.take();
        let answered = self.answer(admitted, upstream, &mut out).await;
        self.shard.blocks.give(out);
        answered
    }

    async fn answer(
        &self,
        admitted: &mut Admitted,
        upstream: Upstream,
        out: &mut Block,
    ) -> Result<(), Setback> {
        let (reused, asked_at) = (upstream.reused, Micros::now());
        let sent = self.send_request(admitted, &upstream).await;
        let took_nothing = matches!(sent, Ok(Sent { took_nothing: true }));
        let outcome = match sent {
            // What such a connection still brings was on its way before the request: it is nobody's answer.
            Ok(Sent { took_nothing: true }) if reused => Err(Failure::Reset),
            Ok(_) => {
                self.exchange_bodies(admitted, &upstream, asked_at, out)
                    .await
            }
            Err(failure) => Err(failure),
        };
        let delivered = outcome.map_err(|failure| Setback {
            failure,
            is_unprocessed: failure.is_before_sending() || took_nothing,
            lost_reused: reused && upstream.wire.stream.is_connection_lost(),
        })?;
        self.finish(delivered, upstream, out)
            .await
            .map_err(Setback::without_connection)
    }

    /// Has the answer delivered while what is left of the request's body goes out.
    async fn exchange_bodies(
        &self,
        admitted: &mut Admitted,
        upstream: &Upstream,
        asked_at: Micros,
        out: &mut Block,
    ) -> Result<Delivered, Failure> {
        if admitted.is_whole {
            return deliver(&self.ends(admitted, upstream, asked_at), out).await;
        }
        self.await_connection(upstream).await?;
        if admitted.expects_continue && self.exchange.route().answer_continue {
            ask_for_body(self.shard, self.client, self.exchange).await?;
            admitted.expects_continue = false;
        }
        let before = self.exchange.request_bytes.get();
        let mut body = std::mem::replace(&mut admitted.body, Body::none());
        let ends = self.ends(admitted, upstream, asked_at);
        let delivered = receive_answer(&ends, &mut body, out).await;
        admitted.is_kept &= before == self.exchange.request_bytes.get() && !body.has_ended();
        admitted.body = body;
        delivered
    }

    fn ends<'a>(
        &'a self,
        admitted: &'a Admitted,
        upstream: &'a Upstream,
        asked_at: Micros,
    ) -> Ends<'a> {
        Ends {
            shard: self.shard,
            client: self.client,
            exchange: self.exchange,
            admitted,
            upstream,
            asked_at,
            is_sending_interim: Default::default(),
            is_uploading: Default::default(),
        }
    }

    /// Waits until there is a connection for the rest of a body: what a stream of HTTP/2 takes before is lost with
    /// it, and could not be sent to another backend.
    async fn await_connection(&self, upstream: &Upstream) -> Result<(), Failure> {
        let Stream::Multiplexed(stream) = &upstream.wire.stream else {
            return Ok(());
        };
        let Attempt { shard, client, .. } = self;
        let wait = self.exchange.route().timeouts.upstream_response;
        client.timer.set(self.exchange.bounded(wait));
        let waited = client.timer.bound(|cx| match stream.poll_connected(cx) {
            Poll::Ready(outcome) => Poll::Ready(outcome.map_err(Failure::of_gone)),
            Poll::Pending => client.poll_gone(shard, cx).map(Err),
        });
        waited
            .await
            .unwrap_or_else(|Expired| Err(self.exchange.expired(Failure::ConnectTimeout)))
    }

    /// What follows an answer that is delivered: the connection is kept if it may be, and a small answer goes to the
    /// client.
    async fn finish(
        &self,
        delivered: Delivered,
        upstream: Upstream,
        out: &mut Block,
    ) -> Result<(), Failure> {
        let (reusable, is_whole) = match delivered {
            Delivered::Complete { reusable } => (reusable, false),
            Delivered::Whole { reusable } => (reusable, true),
            Delivered::Switched => {
                tunnel::run(self.shard, self.client, self.exchange, &upstream).await;
                return Ok(());
            }
        };
        if reusable && !self.client.is_body_pending() {
            self.shard.keep_idle(upstream);
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
    ) -> Result<Sent, Failure> {
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
        let length = request.len();
        let sending = stream.send_all(request, is_last, &self.client.timer);
        let sent = match stream {
            Stream::Socket(_) => sending.await, // It is no more than a socket takes.
            Stream::Multiplexed(_) => self.client.while_there(self.shard, sending).await?,
        };
        let Ok(taken) = sent else {
            admitted.is_kept = false; // The block is lost with its send.
            return Err(self.exchange.expired(Failure::ResponseTimeout));
        };
        // What a socket took in all is known in cleartext only: a record of TLS may have gone out in part.
        let is_known = matches!(stream, Stream::Socket(socket) if !socket.is_tls());
        let took_nothing = is_known && taken.is_err() && request.len() == length;
        if is_whole && !trailers.is_empty() {
            // As with a backend that reads no further: if that is a failure, receiving tells.
            let _ = stream.send_trailers(trailers);
        }
        Ok(Sent { took_nothing })
    }
}

/// Has the answer delivered, and the rest of the body passed on meanwhile.
async fn receive_answer(
    ends: &Ends<'_>,
    body: &mut Body,
    out: &mut Block,
) -> Result<Delivered, Failure> {
    let mut uploading = pin!(upload(ends, body));
    let mut delivering = pin!(deliver(ends, out));
    let mut uploaded = None;
    ends.is_uploading.set(true);
    poll_fn(|cx| {
        if uploaded.is_none()
            && let Poll::Ready(outcome) = uploading.as_mut().poll(cx)
        {
            uploaded = Some(outcome);
            ends.is_uploading.set(false);
        }
        let polled = delivering.as_mut().poll(cx);
        match uploaded {
            // The client is told of the failure, but not before an interim head that is being sent is with it: two
            // sends on one connection at once have no order.
            Some(Err(failure)) if polled.is_pending() && !ends.is_sending_interim.get() => {
                Poll::Ready(Err(failure))
            }
            _ => polled,
        }
    })
    .await
}
