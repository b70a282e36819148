//! Passes on a request body that is too large to keep, while the answer may already be coming.

mod rate;

use std::cell::Cell;
use std::time::Duration;

use crate::base::limits;
use crate::net::{Expired, Timer};
use crate::snapshot::HalfClose;
use crate::worker::attempt::{Attempt, Side};
use crate::worker::body::{Body, Unacceptable};
use crate::worker::downstream::{Client, Lingering};
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::min_rate::MinRate;
use crate::worker::relay::{Broken, Relay, Sink, Source, Supply};
use crate::worker::shard::Shard;
use crate::worker::stream::Stream;
use crate::worker::wire::{Amount, nothing};

use rate::BodyRate;

/// Passes the rest of the body on. A backend that stops reading is no failure here, because its answer tells why. After
/// the final head has reached the client, neither side has a deadline: the answer goes on without the upload, and the
/// end of the answer ends the upload.
pub async fn upload(attempt: &Attempt<'_>, body: &mut Body, timer: &Timer) -> Result<(), Failure> {
    debug_assert!(
        !attempt.request.is_whole,
        "a request without a rest has no upload"
    );
    let (client, exchange) = (attempt.client, attempt.exchange);
    let (no_rate, rate) = (MinRate::none(), BodyRate::of(attempt));
    let relay = Relay {
        source: Source {
            shard: attempt.shard,
            supply: Supply::Wire(&client.wire),
            timer,
            idle: &|| attempt.wait_to_upload(Side::Client),
            is_slow: &|waited, bytes| rate.is_slow(attempt, waited, bytes),
        },
        sink: Sink {
            shard: attempt.shard,
            stream: &attempt.upstream.wire.stream,
            timer,
            stall: &|| {
                attempt.upload_moves();
                attempt.wait_to_upload(Side::Backend)
            },
            count: &|bytes| {
                attempt.upload_moves();
                exchange.count_request(bytes);
            },
            rate: &no_rate,
            // The side that receives the answer checks whether the exchange is cut.
            is_cut: &|| false,
            has_sent: Cell::default(),
        },
    };
    let mut out = attempt.shard.blocks.take();
    let relayed = relay.run(&mut out, body, nothing).await;
    attempt.shard.blocks.give(out);
    match relayed {
        Ok(()) => client.note(|persistence| persistence.body_received(body.has_ended())),
        Err(Broken::SinkClosed) if body.has_ended() => {}
        // The side that receives the answer decides whether the exchange fails. No switch to another protocol can
        // follow.
        Err(Broken::SinkClosed) => {
            attempt.tell(|duplex| duplex.upload_failure = Some(Failure::Reset))
        }
        Err(Broken::SourceEnded) if attempt.may_still_read() => attempt.end_incomplete(),
        Err(Broken::SourceEnded) => return Err(client.ended_early()),
        Err(Broken::SourceTimeout) if attempt.is_client_waiting() => {
            return Err(exchange.expired(Failure::ResponseTimeout));
        }
        Err(Broken::SourceTimeout) => return Err(exchange.expired(Failure::BodyTimeout)),
        Err(Broken::SinkTimeout) if attempt.is_refused() => {}
        Err(Broken::SinkTimeout) => return Err(exchange.expired(Failure::ResponseTimeout)),
        Err(Broken::TooSlow) => return Err(Failure::BodyTooSlow),
        Err(Broken::Exhausted) => return Err(Failure::Exhausted),
        Err(Broken::Unacceptable(Unacceptable::TooLarge)) => return Err(Failure::BodyTooLarge),
        Err(Broken::Unacceptable(Unacceptable::Malformed(refusal))) => {
            return Err(Failure::Refused(refusal));
        }
        Err(Broken::Cut) => return Err(Failure::BackendDown),
        Err(Broken::Watched(never)) => match never {},
    }
    Ok(())
}

/// The time that an upload waits for each side.
impl Attempt<'_> {
    /// How long this side may keep the upload waiting. The upload waits for this side from now on.
    pub fn wait_to_upload(&self, side: Side) -> Duration {
        self.tell(|duplex| duplex.upload_waits_for = side);
        self.patience_with_upload()
    }

    /// How long the upload waits for the side that it waits for now.
    pub fn patience_with_upload(&self) -> Duration {
        match self.duplex().upload_waits_for {
            Side::Client => self.patience_with_client(),
            Side::Backend => self.patience_with_backend(),
        }
    }

    /// How long the client may take to send more of the body. A client that waits for the backend's `100 Continue` has
    /// as much time as the backend (RFC 9110 section 10.1.1).
    fn patience_with_client(&self) -> Duration {
        let timeouts = &self.exchange.route().timeouts;
        let wait = if self.is_client_waiting() {
            timeouts.client_body.max(timeouts.upstream_response)
        } else {
            timeouts.client_body
        };
        self.unless_answered(wait)
    }

    /// How long the backend may take none of the request. A backend that has refused the request either reads on soon
    /// or never, while its client may be unable to read the refusal before it has sent everything.
    fn patience_with_backend(&self) -> Duration {
        let wait = self.unless_answered(self.exchange.route().timeouts.upstream_response);
        if self.is_refused() {
            wait.min(Duration::from_secs(limits::LINGER_SILENCE_SECS))
        } else {
            wait
        }
    }

    /// Whether the answer says that the backend does not do what the client asked for.
    pub fn is_refused(&self) -> bool {
        self.exchange.tally().is_answered && self.exchange.tally().status >= 300
    }

    /// Whether a client that has stopped sending its body may still be reading the answer that has begun.
    fn may_still_read(&self) -> bool {
        match &self.client.wire.stream {
            Stream::Socket(socket) => {
                let serves = self.client.arrival.listener.half_close == HalfClose::Serve;
                serves && self.exchange.tally().is_answered && !socket.is_over()
            }
            Stream::Multiplexed(_) | Stream::Absent => false,
        }
    }

    /// Shows a backend of HTTP/1 that the rest of the request will not come (RFC 9112 section 8). Over HTTP/2 only a
    /// reset could show that, and a reset would end the answer.
    fn end_incomplete(&self) {
        if let Stream::Socket(socket) = &self.upstream.wire.stream {
            socket.end_sending();
        }
    }

    fn unless_answered(&self, wait: Duration) -> Duration {
        match self.client.since_answer(self.shard) {
            // The exchange is complete for both sides. The rest of the request is read only so that neither side is cut
            // off while it sends.
            Some(passed) => {
                // A client of HTTP/2 that waits for a sign to stop sending gets a reset soon (RFC 9113 section 8.1).
                let is_alone = matches!(self.client.wire.stream, Stream::Socket(_));
                let lingering = Lingering::behind_answer(is_alone, Duration::ZERO);
                lingering.left(passed, Duration::ZERO)
            }
            None if self.exchange.tally().is_answered => limits::LONGEST_TIMEOUT,
            None => self.exchange.bounded(wait),
        }
    }

    /// How long this side may keep the body of the answer waiting. The answer waits for this side from now on.
    pub fn wait_for(&self, side: Side) -> Duration {
        self.tell(|duplex| duplex.answer_waits_for = Some(side));
        match side {
            Side::Client => self.client.stall(self.exchange),
            Side::Backend => {
                let idle = self.exchange.route().timeouts.upstream_idle;
                self.exchange.bounded(idle)
            }
        }
    }

    /// How long the client may take none of the answer's body. The answer waits for the client from now on.
    pub fn wait_for_reader(&self) -> Duration {
        self.excuse_reader();
        self.wait_for(Side::Client)
    }

    /// Notes that bytes of the request have moved. Silence is bounded for both directions together: a peer that sends
    /// is alive, and may have nothing to send or to read in the other direction.
    pub fn upload_moves(&self) {
        let timer = &self.client.timer;
        if let Some(rate) = self.reader_rate.get() {
            rate.pardon(timer.timers().millis());
        }
        if let Some(side) = self.duplex().answer_waits_for
            && !timer.expired()
        {
            timer.set(self.wait_for(side));
        }
    }

    /// Excuses a client that has taken few bytes of the answer while the backend takes the bytes of the upload: the
    /// client may have to send everything before it reads. While the upload waits for the backend, the kernel takes
    /// more bytes of it in large steps only, so that the bytes are counted that the backend has acknowledged.
    fn excuse_reader(&self) {
        if !self.duplex().is_uploading || self.duplex().upload_waits_for != Side::Backend {
            return;
        }
        let Stream::Socket(backend) = &self.upstream.wire.stream else {
            return; // HTTP/2 reports every byte that the backend takes.
        };
        let left = backend.unacknowledged();
        let before = self.duplex().unacknowledged;
        self.tell(|duplex| duplex.unacknowledged = left);
        if before != left
            && let Some(rate) = self.reader_rate.get()
        {
            rate.pardon(self.client.timer.timers().millis());
        }
    }

    /// Notes that the client has the whole answer while the request is still being passed on. The rest of the request
    /// is passed on for a bounded time.
    pub fn answer_has_ended(&self) {
        self.client.note_answered(self.shard);
        if let Some(timer) = self.upload_timer {
            timer.set(self.patience_with_upload());
        }
    }

    /// Whether the rest of the request is dropped now that the client has its answer: other requests wait for the
    /// connection, or the process ends.
    pub fn must_let_go(&self) -> bool {
        let passed = self.client.since_answer(self.shard).unwrap_or_default();
        let is_over = passed >= Duration::from_millis(limits::LINGER_MILLIS);
        self.upstream.is_awaited() || (is_over && self.shard.is_ending())
    }

    /// Whether the client has sent no byte of its body because it waits for `100 Continue` (RFC 9110 section 10.1.1).
    pub fn is_client_waiting(&self) -> bool {
        self.request.expects_continue
            && !self.duplex().told_interim
            && self.exchange.tally().request_bytes == 0
    }
}

/// Discards the rest of a body of which the backend takes no more, for as long as the answer is on its way. A client
/// that reads its answer only after it has sent everything would otherwise never read the answer.
pub async fn discard(attempt: &Attempt<'_>, timer: &Timer) {
    let (wire, blocks) = (&attempt.client.wire, &attempt.shard.blocks);
    timer.set(limits::LONGEST_TIMEOUT);
    loop {
        blocks.give(wire.take());
        let more = wire.more(blocks, Amount::BLOCK, timer, nothing);
        match more.await {
            Ok(Ok(count @ 1..)) => {
                attempt.upload_moves();
                attempt
                    .shard
                    .bulk_turns
                    .admit(count.min(limits::BLOCK_BYTES))
                    .await;
            }
            _ => return,
        }
    }
}

/// Sends `100 Continue` to a client that waits for it before it sends its body. The backend's answer is passed on only
/// after that, because two sends on one connection at the same time have no order.
pub async fn ask_for_body(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
) -> Result<(), Failure> {
    let timer = &client.timer;
    timer.set(client.stall(exchange));
    let mut out = shard.blocks.take();
    out.extend(b"HTTP/1.1 100 Continue\r\n\r\n");
    let stream = &client.wire.stream;
    let begun = stream.answer(&mut out, false);
    let sent = stream.send_all(&mut out, false, timer).await;
    shard.blocks.give(out);
    match (begun, sent) {
        (Ok(()), Ok(Ok(()))) => Ok(()),
        (_, Err(Expired)) => Err(Failure::ClientStalled),
        _ => Err(Failure::ClientLeft),
    }
}
