//! Answers the client: sends interim heads and the final head, which are already encoded, and the body behind it.

use std::cell::Cell;

use crate::base::limits;
use crate::net::{Block, Expired};
use crate::worker::attempt::{Attempt, Side};
use crate::worker::body::{Body, Coming, Unacceptable};
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::leave;
use crate::worker::relay::{Broken, Relay, Sink, Source, Supply};
use crate::worker::response::Delivered;
use crate::worker::shard::Shard;
use crate::worker::stream::Stream;

/// Sends an answer that is whole in `out`.
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
        Err(Expired) => Err(exchange.unless_outdated(Failure::ClientStalled)),
    }
}

/// The reason why a client takes no more bytes.
pub fn left(to: &Stream) -> Failure {
    if to.is_too_slow() {
        Failure::ReaderTooSlow
    } else {
        Failure::ClientLeft
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
        Broken::SinkTimeout => exchange.unless_outdated(Failure::ClientStalled),
        Broken::TooSlow => Failure::ReaderTooSlow,
        Broken::Exhausted => Failure::Exhausted,
        Broken::Watched(failure) => failure,
        Broken::Cut => exchange.unless_outdated(Failure::BackendDown),
    }
}

impl Attempt<'_> {
    /// Sends an interim head that is in `out`.
    pub(super) async fn pass_on_interim(&self, out: &mut Block) -> Result<(), Failure> {
        self.tell(|duplex| duplex.is_sending_interim = true);
        let sent = self.send_head(out).await;
        self.tell(|duplex| duplex.is_sending_interim = false);
        sent?;
        self.tell(|duplex| duplex.told_interim = true);
        // The client may only now learn that it may send its body, so that the wait for the body begins anew.
        if let Some(timer) = self.upload_timer {
            timer.set(self.patience_with_upload());
        }
        Ok(())
    }

    /// Sends the head in `out` that switches the client to another protocol.
    pub(super) async fn switch(&self, out: &mut Block) -> Result<(), Failure> {
        self.await_upload().await?;
        self.check_early_bytes()?;
        self.answer_begins();
        self.send_head(out).await
    }

    /// Sends the final head, which is in `out`, and the body behind it. `reusable`: the backend's connection may carry
    /// another exchange.
    pub(super) async fn answer(
        &self,
        mut body: Body,
        reusable: bool,
        out: &mut Block,
    ) -> Result<Delivered, Failure> {
        self.answer_begins();
        if self.take_whole(&mut body, out) {
            return Ok(match self.abandoned.get() {
                None => Delivered::Whole { reusable },
                Some(failure) => Delivered::Abandoned { failure, reusable },
            });
        }
        if self.is_for_nobody(body.fill.is_some()) && !body.has_ended() {
            return Err(Failure::ClientLeft);
        }
        if self.may_detach(&body) {
            let taken = self.take_received(&mut body, out);
            taken.inspect_err(|_| self.take_back(false))?;
            if body.ends_here() {
                return Ok(Delivered::Whole { reusable });
            }
            // Where the store has no room, nobody can follow, and the client gets the answer from the backend.
            let has_room = body.fill.as_mut().is_some_and(|fill| fill.reserve());
            if !body.has_ended() && has_room {
                return Ok(Delivered::Detached { body, reusable });
            }
        }
        let (client, exchange) = (self.client, self.exchange);
        let begun = client.wire.stream.answer(out, body.ends_here());
        begun.map_err(|_| left(&client.wire.stream))?;
        let relay = Relay {
            source: Source {
                shard: self.shard,
                supply: Supply::Wire(&self.upstream.wire),
                timer: &client.timer,
                idle: &|| self.wait_for(Side::Backend),
                is_slow: &|_, _| false,
            },
            sink: Sink {
                shard: self.shard,
                stream: &client.wire.stream,
                timer: &client.timer,
                stall: &|| self.wait_for_reader(),
                count: &|bytes| exchange.count_response(bytes),
                rate: self.reader_rate(),
                is_cut: &|| self.must_end(),
                has_sent: Cell::default(),
            },
        };
        let relayed = relay.run(out, &mut body, |cx| {
            leave::poll_answered(self.shard, client, exchange, cx)
        });
        let Err(broken) = relayed.await else {
            return Ok(Delivered::Complete { reusable });
        };
        self.take_back(relay.sink.has_sent.get());
        Err(match broken {
            Broken::SinkClosed => left(&client.wire.stream),
            broken => broken_answer(exchange, broken),
        })
    }

    /// Whether a task of its own may receive the rest of the answer: others may follow the answer, and nothing is left
    /// of the exchange with the backend but to receive.
    fn may_detach(&self, body: &Body) -> bool {
        let is_followed = body
            .fill
            .as_ref()
            .is_some_and(|fill| fill.may_be_followed());
        let is_sending = self.duplex().is_uploading || self.client.is_body_pending();
        is_followed && !is_sending && !matches!(self.client.wire.stream, Stream::Absent)
    }

    /// Appends to the head what has been received of a body.
    fn take_received(&self, body: &mut Body, out: &mut Block) -> Result<(), Failure> {
        let allowed = body.most;
        let mut received = self.upstream.wire.take();
        let taken = body.reframe(&mut received, out);
        self.upstream.wire.put(received, &self.shard.blocks);
        let count = (allowed - body.most) as usize;
        self.exchange.count_response(count);
        match taken {
            Ok(_) => Ok(()),
            Err(unacceptable) => {
                let broken = Broken::Unacceptable(unacceptable);
                Err(broken_answer(self.exchange, broken))
            }
        }
    }

    /// Takes an answer back that could not be passed on. As long as no byte of an answer was sent, a reply may replace
    /// it. Over HTTP/2 the head was already sent.
    fn take_back(&self, has_sent: bool) {
        let is_head_kept = matches!(self.client.wire.stream, Stream::Socket(_));
        #[cfg(test)]
        let is_head_kept =
            is_head_kept || crate::simulated::is_planted(crate::simulated::Fault::AnswersTwice);
        if is_head_kept {
            self.exchange.note(|tally| {
                tally.is_answered = has_sent;
                if !tally.is_answered {
                    tally.response_bytes = 0;
                }
            });
        }
    }

    /// Whether the answer ends although bytes flow.
    fn must_end(&self) -> bool {
        leave::is_cut(self.shard, self.exchange)
            || self.exchange.is_outdated()
            || self.is_for_nobody(true)
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
            (_, Err(Expired)) => Err(self.exchange.unless_outdated(Failure::ClientStalled)),
            _ => Err(left(stream)),
        }
    }

    /// Appends a small body of known length to its head, if the whole body was received.
    fn take_whole(&self, body: &mut Body, out: &mut Block) -> bool {
        let length = match body.coming {
            Coming::Nothing => 0,
            Coming::Length(length) if length <= limits::WHOLE_BODY_BYTES => length as usize,
            _ => return false,
        };
        let is_here = self.upstream.wire.with(|received| {
            let is_here = body.is_verbatim() && length <= received.len().min(out.room());
            if is_here {
                if let Some(mut fill) = body.fill.take() {
                    fill.pass(&received.filled()[..length]);
                    fill.end(&[]);
                }
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
