//! Bringing a backend's answer to the client: its interim heads, its final head, its body.

mod head;

use std::cell::Cell;
use std::task::{Context, Poll};

use self::head::Answer;
use crate::base::limits;
use crate::base::time::Micros;
use crate::net::{Block, Expired};
use crate::worker::attempt::{Attempt, Side};
use crate::worker::body::{Body, Coming, Unacceptable};
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::interim::Interims;
use crate::worker::leave;
use crate::worker::min_rate::MinRate;
use crate::worker::relay::{Broken, Relay};
use crate::worker::retry::Repeatable;
use crate::worker::shard::Shard;
use crate::worker::stream::Stream;

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// The answer is with the client; whether its connection may carry another exchange is for the backend to say.
    Complete { reusable: bool },
    /// Like the variant before, but [`send_whole`] has still to send the answer: it is small and has come to its end,
    /// so that its connection is free before the client has it.
    Whole { reusable: bool },
    /// Both sides speak another protocol from now on.
    Switched,
}

/// Receives the answer and passes it on through `out`.
pub async fn forward_response(
    attempt: &Attempt<'_>,
    out: &mut Block,
) -> Result<Delivered, Failure> {
    let (client, exchange) = (attempt.client, attempt.exchange);
    let mut interims = Interims::default();
    let (mut body, reusable) = loop {
        match attempt.receive_head(out).await? {
            Answer::Interim { bytes, is_sound } => {
                interims.note(exchange, bytes, is_sound)?;
                attempt.tell(|duplex| duplex.is_sending_interim = true);
                let sent = attempt.send_head(out).await;
                attempt.tell(|duplex| duplex.is_sending_interim = false);
                sent?;
                attempt.tell(|duplex| duplex.told_interim = true);
                // The client may only now know that it is to send its body.
                if let Some(timer) = attempt.upload_timer {
                    timer.set(attempt.patience_with_upload());
                }
            }
            Answer::Switching => {
                attempt.await_upload().await?;
                attempt.check_early_bytes()?;
                attempt.answer_begins();
                attempt.send_head(out).await?;
                return Ok(Delivered::Switched);
            }
            Answer::Final { body, reusable } => break (body, reusable && !interims.are_odd),
        }
    };
    attempt.answer_begins();
    if attempt.take_whole(&mut body, out) {
        return Ok(Delivered::Whole { reusable });
    }
    let relay = Relay {
        blocks: &attempt.shard.blocks,
        pace: &attempt.shard.pace,
        memory: &attempt.shard.memory,
        from: &attempt.upstream.wire,
        to: &client.wire.stream,
        timer: &client.timer,
        idle: &|| attempt.wait_for(Side::Backend),
        stall: &|| attempt.wait_for_reader(),
        count: &|bytes| exchange.count_response(bytes),
        is_source_slow: &|_, _| false,
        sink_rate: attempt.reader_rate(),
        is_cut: &|| leave::is_cut(attempt.shard, exchange),
        has_sent: Cell::default(),
    };
    let begun = client.wire.stream.answer(out, body.has_ended());
    begun.map_err(|_| left(&client.wire.stream))?;
    let relayed = relay
        .run(out, &mut body, |cx| {
            leave::poll_answered(attempt.shard, client, exchange, cx)
        })
        .await;
    match relayed {
        Ok(()) => Ok(Delivered::Complete { reusable }),
        Err(broken) => {
            // An answer of which nothing was sent leaves room for another one. Over HTTP/2 its head is sent already.
            if let Stream::Socket(_) = client.wire.stream {
                exchange.note(|tally| tally.is_answered = relay.has_sent.get());
            }
            match broken {
                Broken::SinkClosed => Err(left(&client.wire.stream)),
                broken => Err(broken_answer(exchange, broken)),
            }
        }
    }
}

/// Sends an answer that is in `out` as a whole.
pub async fn send_whole(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
    out: &mut Block,
) -> Result<(), Failure> {
    let stall = client.stall(exchange);
    client.timer.set(stall);
    let noted = shard.memory.note_send(&client.timer, out.capacity());
    match client.wire.stream.send_answer(out, &client.timer).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(left(&client.wire.stream)),
        Err(Expired) if noted.was_ended() => Err(Failure::Exhausted),
        Err(Expired) => Err(Failure::ClientStalled),
    }
}

/// The reason why a client takes nothing more.
fn left(to: &Stream) -> Failure {
    match to.is_too_slow() {
        true => Failure::ReaderTooSlow,
        false => Failure::ClientLeft,
    }
}

fn broken_answer(exchange: &Exchange, broken: Broken<Failure>) -> Failure {
    match broken {
        Broken::SourceEnded | Broken::Unacceptable(Unacceptable::TooLarge) => Failure::Truncated,
        Broken::SourceTimeout => exchange.expired(Failure::Truncated),
        Broken::Unacceptable(Unacceptable::Malformed(refusal)) => {
            Failure::MalformedResponse(refusal)
        }
        Broken::SinkClosed => Failure::ClientLeft,
        Broken::SinkTimeout => Failure::ClientStalled,
        Broken::TooSlow => Failure::ReaderTooSlow,
        Broken::Exhausted => Failure::Exhausted,
        Broken::Watched(failure) => failure,
        Broken::Cut => Failure::BackendDown,
    }
}

impl Attempt<'_> {
    /// Notes that from here on no other answer can be given.
    fn answer_begins(&self) {
        let exchange = self.exchange;
        if self.is_of_messages() {
            self.client.wire.stream.allow_leisure();
        }
        let now = Micros::now();
        let micros = now.since(self.asked_at);
        exchange.note(|tally| {
            tally.is_answered = true;
            tally.upstream_micros = Some(micros);
            tally.head_micros = now.since(exchange.began);
        });
        if let Some(timer) = self.upload_timer {
            timer.set(self.patience_with_upload()); // What it waits for may come later now, or never.
        }
        let live = exchange.plan.live(self.request.pool);
        let backend = self.upstream.backend();
        exchange.note_backend(backend);
        live.observe(backend, micros, now);
        let millis = self.shard.timers.millis();
        if let Some(place) = exchange.progress.place {
            self.shard.under_way.note_head(place, backend, millis);
        }
        self.shard.report_answer(exchange, backend);
    }

    /// How fast the client must take the answer's body.
    fn reader_rate(&self) -> &MinRate {
        self.reader_rate
            .get_or_init(|| match self.is_of_messages() {
                true => MinRate::none(),
                false => MinRate::of(&self.client.arrival.listener),
            })
    }

    /// Whether the answer consists of messages, which come as they come.
    fn is_of_messages(&self) -> bool {
        self.exchange.facts.is_grpc || self.exchange.tally().is_event_stream
    }

    /// Begins the time that the backend has for its answer: the request has been sent to its end. (While an interim
    /// head is being sent, the client's time runs; the backend's begins behind it.)
    pub fn answer_is_due(&self) {
        if !self.request.is_whole {
            self.exchange.backend_has_time(); // Until now the client could be waited for.
        }
        if !self.exchange.tally().is_answered && !self.duplex().is_sending_interim {
            let wait = self.exchange.route().timeouts.upstream_response;
            self.client.timer.set(self.exchange.bounded(wait));
        }
    }

    /// Ready when the client has gone, or the request does not stay with a backend that has become unhealthy.
    fn poll_unanswered(&self, cx: &mut Context<'_>) -> Poll<Failure> {
        let (client, exchange) = (self.client, self.exchange);
        let request = || {
            let is_untouched = exchange.tally().request_bytes == self.sent_before;
            let is_kept = self.request.is_whole || (client.is_body_pending() && is_untouched);
            Repeatable {
                is_kept: is_kept && self.request.is_kept,
                is_idempotent: self.request.idempotent,
                is_answered: exchange.tally().is_heard,
            }
        };
        leave::poll_unanswered(self.shard, client, exchange, request, cx)
    }

    /// Whether the time for the answer has not begun, and that for the whole exchange has not ended.
    fn may_wait_on(&self) -> bool {
        self.duplex().is_uploading && !self.exchange.is_overdue()
    }

    /// Waits until the request is sent to its end: a client that is told to speak another protocol could not tell where
    /// the body of its request ends. The body has a bound of its own. Errors: the request will never be sent to its
    /// end, so that nobody could tell where the other protocol begins, or ends with its backend.
    async fn await_upload(&self) -> Result<(), Failure> {
        // The task that waits here also sends the request, and looks here after each send. When the backend turns
        // unhealthy, the exchange's timer makes the task look.
        let uploaded = |_: &mut Context<'_>| match self.duplex().is_uploading {
            true if leave::is_cut(self.shard, self.exchange) => {
                Poll::Ready(Err(Failure::BackendDown))
            }
            true => Poll::Pending,
            false => Poll::Ready(Ok(())),
        };
        let timer = &self.client.timer;
        timer.set(limits::LONGEST_TIMEOUT);
        let waited = timer.bound(uploaded).await;
        waited.unwrap_or(Err(Failure::BodyTimeout))?;
        self.duplex().upload_failure.map_or(Ok(()), Err)
    }

    /// Refuses what came behind the head of an upgrade without a body before it was answered.
    fn check_early_bytes(&self) -> Result<(), Failure> {
        match self.request.has_body || self.client.wire.is_empty() {
            true => Ok(()),
            false => Err(Failure::EarlyUpgradeBytes),
        }
    }

    async fn send_head(&self, out: &mut Block) -> Result<(), Failure> {
        let stall = self.client.stall(self.exchange);
        self.client.timer.set(stall);
        let stream = &self.client.wire.stream;
        let begun = stream.answer(out, false);
        let sent = stream.send_all(out, false, &self.client.timer).await;
        out.clear();
        match (begun, sent) {
            (Ok(()), Ok(Ok(()))) => Ok(()),
            (_, Err(Expired)) => Err(Failure::ClientStalled),
            _ => Err(left(stream)),
        }
    }

    /// Puts a small body of known length behind its head, if it was received to its end.
    fn take_whole(&self, body: &mut Body, out: &mut Block) -> bool {
        let length = match body.coming {
            Coming::Nothing => 0,
            Coming::Length(length) if length <= limits::WHOLE_BODY_BYTES => length as usize,
            _ => return false,
        };
        let is_here = self.upstream.wire.with(|received| {
            let is_here = body.is_verbatim() && length <= received.len().min(out.room());
            if is_here {
                out.extend(&received.filled()[..length]);
                received.consume(length);
            }
            is_here
        });
        if is_here {
            self.exchange.count_response(length);
            self.upstream.wire.release(&self.shard.blocks);
        }
        is_here
    }
}
