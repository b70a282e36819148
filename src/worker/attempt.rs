//! One attempt to get a request answered: the request goes to one backend, and the answer comes back.

mod duplex;
mod parties;
mod send;

use std::cell::{Cell, OnceCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::base::limits;
use crate::base::time::Micros;
use crate::net::{Block, Timer};
use crate::worker::body::Body;
use crate::worker::cache::detached::DetachedAnswer;
use crate::worker::cache::serving::Serving;
use crate::worker::downstream::Client;
use crate::worker::encode::PreparedRequest;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::response::{Delivered, forward_response, send_whole};
use crate::worker::retry::FailedAttempt;
use crate::worker::shard::{CountedInFlight, Shard};
use crate::worker::stream::Stream;
use crate::worker::tunnel;
use crate::worker::unfinished::Unfinished;
use crate::worker::upload::{ask_for_body, discard};
use crate::worker::upstream::{Upstream, keep_idle};
use send::{Rest, Sent, send_request, send_rest};

pub use duplex::Side;
pub use parties::Attempt;

/// How an attempt ended that did not fail.
pub enum Ended {
    /// The client has its answer.
    Answered,
    /// A stored response is to be served in place of the answer.
    Stored(Box<Serving>),
    /// The request is to be sent again without the conditions of the cache.
    Repeat,
}

/// Makes an attempt: sends the request and receives the answer. While more of the request's body comes, both happen at
/// the same time.
pub async fn make(
    shard: &Rc<Shard>,
    client: &Client,
    exchange: &Exchange,
    request: &mut PreparedRequest,
    upstream: Box<Upstream>,
) -> Result<Ended, FailedAttempt> {
    #[cfg(test)]
    let is_planted = crate::simulated::is_planted(crate::simulated::Fault::ResendsPart);
    #[cfg(not(test))]
    let is_planted = false;
    debug_assert!(
        request.is_kept || is_planted,
        "a request of which a byte was given away is not sent again"
    );
    debug_assert!(
        !exchange.tally().is_answered,
        "a request that is answered is not sent again"
    );
    debug_assert!(!request.bytes.is_empty(), "a request has a head");
    exchange.note(|tally| tally.attempts = tally.attempts.saturating_add(1));
    let mut out = shard.blocks.take();
    let answer = Answering {
        shard,
        client,
        exchange,
        out: &mut out,
    };
    let counted = shard.count_in_flight(upstream.backend());
    let answered = answer.run(request, upstream, counted).await;
    shard.blocks.give(out);
    answered
}

/// The parties of an attempt, and the block through which the answer passes.
struct Answering<'a> {
    shard: &'a Rc<Shard>,
    client: &'a Client,
    exchange: &'a Exchange,
    out: &'a mut Block,
}

impl Answering<'_> {
    async fn run(
        mut self,
        request: &mut PreparedRequest,
        upstream: Box<Upstream>,
        counted: CountedInFlight<'_>,
    ) -> Result<Ended, FailedAttempt> {
        let (reused, asked_at) = (upstream.reused, Micros::now());
        let unfinished = Unfinished {
            shard: self.shard,
            stream: &upstream.wire.stream,
        };
        if let Some(fetch) = &request.fetch {
            fetch.note_sent();
        }
        let sent = send_request(self.client, self.exchange, request, &upstream).await;
        let took_nothing = sent == Ok(Sent::Nothing);
        self.exchange.backend_has_time();
        let outcome = match sent {
            // A connection that was closed before the request was sent may still bring bytes. These were sent before
            // the request, so that they answer no request.
            Ok(Sent::Nothing) if reused => Err(Failure::Reset),
            Ok(sent) => {
                self.exchange_bodies(request, &upstream, asked_at, sent.left())
                    .await
            }
            Err(failure) => Err(failure),
        };
        let delivered = outcome.map_err(|failure| FailedAttempt {
            failure,
            is_unprocessed: failure.is_before_sending() || took_nothing,
            lost_reused: reused && upstream.wire.stream.is_connection_lost(),
        })?;
        drop(unfinished);
        self.end(delivered, upstream, counted).await
    }

    /// Does what is left to do for the answer, and keeps the connection if another request may use it.
    async fn end(
        self,
        delivered: Delivered,
        upstream: Box<Upstream>,
        counted: CountedInFlight<'_>,
    ) -> Result<Ended, FailedAttempt> {
        let ended = match delivered {
            Delivered::Complete { reusable } => {
                self.keep(reusable, upstream);
                Ok(())
            }
            Delivered::Stored { serving, reusable } => {
                self.keep(reusable, upstream);
                return Ok(Ended::Stored(serving));
            }
            Delivered::Repeat { reusable } => {
                self.keep(reusable, upstream);
                return Ok(Ended::Repeat);
            }
            Delivered::Abandoned { failure, reusable } => {
                self.keep(reusable, upstream);
                Err(failure)
            }
            Delivered::Whole { reusable } => {
                self.keep(reusable, upstream);
                debug_assert!(!self.out.is_empty(), "an answer has a head");
                send_whole(self.shard, self.client, self.exchange, self.out).await
            }
            Delivered::Detached { body, reusable } => {
                // The backend has nothing to do with how slowly the client reads.
                drop(counted);
                let rest = DetachedAnswer {
                    upstream,
                    body,
                    reusable,
                };
                rest.pass_on(self.shard, self.client, self.exchange, self.out)
                    .await
            }
            Delivered::Switched => {
                let _unfinished = Unfinished {
                    shard: self.shard,
                    stream: &upstream.wire.stream,
                };
                tunnel::run(self.shard, self.client, self.exchange, &upstream).await
            }
        };
        ended.map_err(FailedAttempt::without_connection)?;
        Ok(Ended::Answered)
    }

    /// Has the answer delivered while the rest of the request is sent: `left` bytes of the kept part, and the rest of
    /// the body.
    async fn exchange_bodies(
        &mut self,
        request: &mut PreparedRequest,
        upstream: &Upstream,
        asked_at: Micros,
        left: usize,
    ) -> Result<Delivered, Failure> {
        let (shard, client, exchange) = (self.shard, self.client, self.exchange);
        debug_assert!(
            left <= request.bytes.len(),
            "only bytes of the request are left to send"
        );
        if request.is_whole && left == 0 {
            let attempt = self.attempt(request, upstream, asked_at);
            return forward_response(&attempt, self.out).await;
        }
        if !request.is_whole && request.expects_continue && exchange.route().answer_continue {
            ask_for_body(shard, client, exchange).await?;
            request.expects_continue = false;
        }
        let before = exchange.tally().request_bytes;
        let mut rest = Rest {
            kept: std::mem::take(&mut request.bytes),
            left,
            body: std::mem::replace(&mut request.body, Body::none()),
        };
        let timer = Timer::new(&shard.timers);
        let attempt = Attempt {
            upload_timer: Some(&timer),
            ..self.attempt(request, upstream, asked_at)
        };
        let uploading = send_rest(&attempt, &mut rest, &timer);
        let delivered = receive_answer(&attempt, uploading, self.out).await;
        if !request.is_whole {
            let is_untouched = before == exchange.tally().request_bytes;
            request.is_kept &= is_untouched && !rest.body.has_ended();
        }
        (request.bytes, request.body) = (rest.kept, rest.body);
        delivered
    }

    fn attempt<'b>(
        &self,
        request: &'b PreparedRequest,
        upstream: &'b Upstream,
        asked_at: Micros,
    ) -> Attempt<'b>
    where
        Self: 'b,
    {
        Attempt {
            shard: self.shard,
            client: self.client,
            exchange: self.exchange,
            request,
            upstream,
            asked_at,
            sent_before: self.exchange.tally().request_bytes,
            upload_timer: None,
            reader_rate: OnceCell::new(),
            duplex: Cell::default(),
            abandoned: Cell::default(),
        }
    }

    /// Keeps the connection of an attempt whose answer is complete, if another request may use the connection.
    fn keep(&self, reusable: bool, upstream: Box<Upstream>) {
        if reusable && !self.client.is_body_pending() {
            upstream.wire.stream.note_answered();
            keep_idle(self.shard, upstream);
        }
    }
}

/// Delivers the answer and sends the rest of the request at the same time. A backend may answer before it has read the
/// whole request (RFC 9112 section 9.5), so that the rest is sent for a bounded time after the answer, too.
async fn receive_answer(
    attempt: &Attempt<'_>,
    uploading: impl Future<Output = Result<(), Failure>>,
    out: &mut Block,
) -> Result<Delivered, Failure> {
    let mut uploading = pin!(uploading);
    let mut delivering = pin!(deliver_to_reader(attempt, out));
    let mut discarding = pin!(attempt.upload_timer.map(|timer| discard(attempt, timer)));
    let mut uploaded = None;
    debug_assert!(
        !attempt.duplex().is_uploading,
        "a request is sent once at a time"
    );
    attempt.tell(|duplex| duplex.is_uploading = true);
    let delivered = poll_fn(|cx| {
        if uploaded.is_none()
            && let Poll::Ready(outcome) = uploading.as_mut().poll(cx)
        {
            uploaded = Some(outcome);
            attempt.tell(|duplex| duplex.is_uploading = false);
            match outcome {
                Ok(()) => attempt.answer_is_due(),
                Err(failure) => attempt.tell(|duplex| duplex.upload_failure = Some(failure)),
            }
        }
        let polled = delivering.as_mut().poll(cx);
        if polled.is_pending()
            && uploaded == Some(Ok(()))
            && attempt.exchange.tally().is_answered
            && attempt.client.is_body_pending()
            && let Some(unwanted) = discarding.as_mut().as_pin_mut()
            && unwanted.poll(cx).is_ready()
        {
            discarding.set(None);
        }
        match uploaded {
            // The client is told of the failure, but not while an interim head is being sent to it: the order of two
            // sends at the same time on one connection is not defined.
            Some(Err(failure)) if polled.is_pending() && !attempt.duplex().is_sending_interim => {
                Poll::Ready(Err(failure))
            }
            _ => polled,
        }
    })
    .await?;
    let is_sending = attempt.client.is_body_pending() && !attempt.is_client_waiting();
    if uploaded.is_none() && is_sending && !matches!(delivered, Delivered::Switched) {
        end_upload(attempt, uploading).await;
    }
    Ok(delivered)
}

/// Sends the rest of a request for a bounded time, although the client has its answer. The outcome of the upload does
/// not matter any more.
async fn end_upload(
    attempt: &Attempt<'_>,
    mut uploading: std::pin::Pin<&mut impl Future<Output = Result<(), Failure>>>,
) {
    debug_assert!(
        attempt.duplex().is_uploading,
        "only an upload that goes on is ended"
    );
    attempt.answer_has_ended();
    let look = Timer::new(&attempt.shard.timers);
    let wait = Duration::from_millis(limits::TICK_MILLIS);
    look.set(wait);
    let over = |cx: &mut Context<'_>| match uploading.as_mut().poll(cx) {
        Poll::Pending if look.is_due_again(wait, cx) && attempt.must_let_go() => Poll::Ready(()),
        Poll::Pending => poll_hung_up(&attempt.upstream.wire.stream, cx),
        Poll::Ready(_) => Poll::Ready(()),
    };
    poll_fn(over).await;
}

/// Ready when a backend that has answered has closed the connection, or has sent bytes that belong to no request.
fn poll_hung_up(backend: &Stream, cx: &mut Context<'_>) -> Poll<()> {
    let socket = match backend {
        Stream::Multiplexed(stream) => return stream.poll_gone(cx).map(drop),
        Stream::Socket(socket) => socket,
        Stream::Absent => return Poll::Ready(()),
    };
    loop {
        socket.watch();
        ready!(socket.poll_readable(cx));
        if socket.unasked().is_some() {
            return Poll::Ready(());
        }
    }
}

/// Delivers the answer to a client that may still be sending its request, and that may read the answer only after the
/// request is sent.
async fn deliver_to_reader(attempt: &Attempt<'_>, out: &mut Block) -> Result<Delivered, Failure> {
    match forward_response(attempt, out).await? {
        Delivered::Whole { reusable } if attempt.client.is_body_pending() => {
            send_whole(attempt.shard, attempt.client, attempt.exchange, out).await?;
            Ok(Delivered::Complete { reusable })
        }
        delivered => Ok(delivered),
    }
}
