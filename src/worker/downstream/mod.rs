//! The client's side: its connection, and receiving request heads.

mod arrival;
mod head;
mod linger;
mod persistence;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::base::limits;
use crate::base::time::Micros;
use crate::net::{Socket, Timer};
use crate::snapshot::HalfClose;
use crate::worker::client_room::wait::{await_client, await_idle};
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::min_rate::MinRate;
use crate::worker::multiplex::{self, Gone};
use crate::worker::shard::Shard;
use crate::worker::stream::Stream;
use crate::worker::wire::{Amount, Wire};

pub use arrival::{AcceptedClient, Arrival, Secured};
pub use head::{receive_rest_of_head, speaks_http2};
pub use linger::{Lingering, linger, linger_after_last_message, receive_some};
pub use persistence::{Next, Persistence, Surroundings};

/// A client's connection.
pub struct Client {
    /// The client's stream with its received bytes.
    pub wire: Wire,
    /// How the client came.
    pub arrival: Arrival,
    /// The timer of the connection's task.
    pub timer: Timer,
    /// When the head of the first request is due. The head of a later request is due `header_timeout` after its first
    /// byte.
    pub first_due: Cell<Micros>,
    /// All that decides whether the connection goes on.
    persistence: Cell<Persistence>,
    /// Bytes of empty lines that have come since the last request.
    empty_bytes: Cell<usize>,
    /// The timer for the next check whether the client is still there while no bytes are received from it.
    next_look: RefCell<Option<Timer>>,
}

/// Why waiting for a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Bytes came.
    Bytes,
    /// The client ended the connection, the worker drains, or the listener was removed or has other demands.
    Over,
    /// The deadline passed.
    Expired,
}

impl Client {
    /// A connection that was just accepted.
    pub fn new(accepted: AcceptedClient, shard: &Rc<Shard>) -> Client {
        let client = Client::on(Stream::Socket(accepted.socket), accepted.arrival, shard);
        client.wire.put(accepted.received, &shard.blocks);
        client
    }

    /// A stream that a client opened on its connection.
    pub fn multiplexed(
        stream: multiplex::MultiplexStream,
        arrival: Arrival,
        shard: &Rc<Shard>,
    ) -> Client {
        Client::on(Stream::Multiplexed(stream), arrival, shard)
    }

    /// The place of a client in an exchange that has none.
    pub fn absent(arrival: Arrival, shard: &Rc<Shard>) -> Client {
        Client::on(Stream::Absent, arrival, shard)
    }

    fn on(stream: Stream, arrival: Arrival, shard: &Rc<Shard>) -> Client {
        Client {
            wire: Wire::new(stream),
            arrival,
            timer: Timer::new(&shard.timers),
            first_due: Cell::default(),
            persistence: Cell::default(),
            empty_bytes: Cell::default(),
            next_look: RefCell::default(),
        }
    }

    /// The connection with its received bytes; `None`: the client is a stream of HTTP/2.
    pub fn into_accepted(self) -> Option<AcceptedClient> {
        let received = self.wire.take();
        let Stream::Socket(socket) = self.wire.stream else {
            return None;
        };
        Some(AcceptedClient {
            socket,
            arrival: self.arrival,
            received,
        })
    }

    /// Begins another request.
    pub fn begin_request(&self) {
        self.note(Persistence::request_begins);
        self.empty_bytes.set(0);
    }

    /// The persistence of the connection as it is now.
    pub fn persistence(&self) -> Persistence {
        self.persistence.get()
    }

    /// Makes a transition of the connection's persistence.
    pub fn note(&self, transition: impl FnOnce(&mut Persistence)) {
        let mut persistence = self.persistence.get();
        transition(&mut persistence);
        self.persistence.set(persistence);
    }

    /// Whether a part of the running request's body is not received yet.
    pub fn is_body_pending(&self) -> bool {
        self.persistence().is_body_pending()
    }

    /// Whether the connection may go on after this answer.
    pub fn may_go_on(&self, shard: &Shard, exchange: &Exchange) -> bool {
        self.persistence().may_go_on(Surroundings {
            requests: exchange.config.snapshot().client.requests_per_connection,
            is_ending: shard.is_ending() || self.arrival.listener.is_over(),
            is_drained: self.wire.is_empty(),
        })
    }

    /// The act that follows the exchange which has just ended.
    #[inline]
    pub fn next(&self) -> Next {
        self.next_look.take();
        self.persistence().next()
    }

    /// Ends the connection in the middle of an answer. If the regular end of the answer is the end of the connection,
    /// the connection is reset: otherwise the client would take the incomplete answer for a complete one (RFC 9112
    /// section 8).
    pub fn cut(&self) {
        self.note(Persistence::is_cut_off);
        if self.persistence().ends_by_close() {
            self.wire.stream.reset_on_close();
        }
    }

    /// Notes that the client has its whole answer although its request is not complete. A connection of HTTP/1 cannot
    /// take another request then (RFC 9112 section 9.3). Palantir ends its sending side, because the end of some
    /// answers is the end of the connection.
    pub fn note_answered(&self, shard: &Shard) {
        let millis = shard.timers.millis();
        self.note(|persistence| persistence.answered_early(millis));
        if let Stream::Socket(socket) = &self.wire.stream {
            socket.end_sending();
        }
    }

    /// The time since the client had its whole answer, if its request was not complete by then.
    pub fn since_answer(&self, shard: &Shard) -> Option<Duration> {
        let answered_at = self.persistence().answered_at()?;
        let millis = shard.timers.millis().saturating_sub(answered_at);
        Some(Duration::from_millis(millis))
    }

    /// Ends the connection so that its last answer reaches the client (RFC 9112 section 9.6): bytes of a client that is
    /// still sending, or may send before it has the answer, are received for a bounded time.
    pub async fn close(&self, shard: &Shard) {
        let persistence = self.persistence();
        let is_sending = persistence.is_body_pending() || !self.wire.is_empty();
        if let Stream::Socket(socket) = &self.wire.stream
            && !persistence.is_cut()
            && (is_sending || !socket.is_quiet())
        {
            shard.blocks.give(self.wire.take());
            let stall = shard.config().snapshot().client.idle_timeout;
            let lingering = match self.since_answer(shard) {
                _ if persistence.is_slow() => Lingering::after_last_message(),
                Some(passed) => {
                    // The time for which this client has already been silent counts.
                    let silence = Duration::from_secs(limits::LINGER_SILENCE_SECS);
                    Lingering::behind_answer(is_sending && passed < silence, stall).after(passed)
                }
                None => Lingering::behind_answer(is_sending, stall),
            };
            let rate = MinRate::of(&self.arrival.listener);
            let listening = linger(shard, socket, &self.timer, lingering, &rate);
            let listener = &self.arrival.listener.clients;
            // The future is boxed, so that the task of an idle connection reserves no memory for it. The wait also ends
            // when another client needs the slot of the connection.
            let listening = await_client(shard, listener, socket.receive_queue(), listening);
            let _ = Box::pin(listening).await;
        }
    }

    /// Begins to wait for the client's next bytes, unless some are there. During an exchange the wait detects that the
    /// client leaves, and receives its next request.
    #[inline]
    pub fn watch(&self) {
        if self.wire.is_empty() {
            self.wire.stream.watch();
        }
    }

    /// Waits for the first bytes of a request. A connection that was accepted may bring a request even if its listener
    /// was removed or changed since, because the client could not know of the change. Empty lines before a request are
    /// dropped (RFC 9112 section 2.2), and the wait goes on.
    pub async fn wait_for_request(&self, shard: &Shard, wait: Duration) -> Woken {
        if self.has_request() {
            return Woken::Bytes;
        }
        if self.has_too_many_empty_lines() {
            return Woken::Over;
        }
        self.wire.release(&shard.blocks);
        self.wire.stream.watch();
        self.timer.set(wait);
        poll_fn(|cx| {
            while let Poll::Ready(outcome) = self.poll_more(shard, cx) {
                if !matches!(outcome, Ok(1..)) {
                    return Poll::Ready(Woken::Over);
                }
                if self.has_request() {
                    return Poll::Ready(Woken::Bytes);
                }
                if self.has_too_many_empty_lines() {
                    return Poll::Ready(Woken::Over);
                }
                self.wire.release(&shard.blocks);
                self.wire.stream.watch();
            }
            if shard.is_draining() || self.is_unwanted() {
                return Poll::Ready(Woken::Over);
            }
            self.timer.poll(cx).map(|_| Woken::Expired)
        })
        .await
    }

    /// Drops the empty lines that were received. The result says whether bytes of a request follow them.
    fn has_request(&self) -> bool {
        let Stream::Socket(_) = self.wire.stream else {
            return !self.wire.is_empty();
        };
        self.wire.with(|received| {
            while !self.has_too_many_empty_lines() {
                // Some programs end a body by a line feed alone. Before a request, a line feed alone is as harmless as
                // an empty line.
                let length = match received.filled() {
                    [b'\r', b'\n', ..] => b"\r\n".len(),
                    [b'\n', ..] => b"\n".len(),
                    _ => break,
                };
                received.consume(length);
                self.empty_bytes.set(self.empty_bytes.get() + length);
            }
            // A CR alone may be the first half of an empty line.
            !self.has_too_many_empty_lines() && !matches!(received.filled(), b"" | b"\r")
        })
    }

    fn has_too_many_empty_lines(&self) -> bool {
        self.empty_bytes.get() > limits::EMPTY_LINE_BYTES
    }

    /// Waits as [`Client::wait_for_request`] does, and counts as idle meanwhile: the connection may be closed for
    /// another client.
    pub async fn wait_for_request_idly(&self, shard: &Shard, wait: Duration) -> Woken {
        let waiting = self.wait_for_request(shard, wait);
        let Stream::Socket(socket) = &self.wire.stream else {
            return waiting.await;
        };
        let listener = &self.arrival.listener.clients;
        let woken = await_idle(shard, listener, socket.receive_queue(), waiting).await;
        woken.unwrap_or(Woken::Over)
    }

    /// Whether the connection is to end because its listener was removed or has other demands. A connection that has
    /// brought no request yet may bring one: to close the connection could cross with that request.
    fn is_unwanted(&self) -> bool {
        self.arrival.listener.is_over() && self.persistence().requests() > 0
    }

    /// Ready when the client has gone while its request runs. Bytes of the next request are kept, up to one block. A
    /// client that has ended its sending side cannot be told from one that has closed the connection; the setting
    /// `half_close` of the listener decides which of the two is assumed.
    pub fn poll_gone(&self, shard: &Shard, cx: &mut Context<'_>) -> Poll<Failure> {
        let socket = match &self.wire.stream {
            Stream::Multiplexed(stream) => {
                return stream.poll_gone(cx).map(|gone| match gone {
                    Gone::TooSlow => Failure::ReaderTooSlow,
                    _ => Failure::ClientLeft,
                });
            }
            Stream::Socket(socket) => socket,
            Stream::Absent => return Poll::Pending,
        };
        loop {
            #[cfg(test)]
            if !self.wire.is_empty()
                && crate::simulated::is_planted(crate::simulated::Fault::LeavesUnnoticed)
            {
                return Poll::Pending;
            }
            let is_full = self.wire.with(|block| block.len()) >= limits::BLOCK_BYTES;
            let persistence = self.persistence();
            if is_full || persistence.is_body_pending() || persistence.is_half_closed() {
                // Bytes that come now are not received here.
                return self.poll_hung_up(socket, shard, cx);
            }
            socket.watch();
            match std::task::ready!(self.poll_more(shard, cx)) {
                Ok(0) if self.arrival.listener.half_close == HalfClose::Serve => {
                    self.note(Persistence::half_closed);
                }
                Ok(0) | Err(_) => return Poll::Ready(Failure::ClientLeft),
                Ok(_) => {} // The end of the client's side may follow these bytes.
            }
        }
    }

    /// The reason why the body of a request has ended too early: the client has gone, or its trailers are refused.
    pub fn ended_early(&self) -> Failure {
        let refused = match &self.wire.stream {
            Stream::Multiplexed(stream) => stream.refused(),
            Stream::Socket(_) | Stream::Absent => None,
        };
        refused.map_or(Failure::ClientLeft, Failure::Refused)
    }

    /// How long the client may take none of the bytes that are sent to it.
    pub fn stall(&self, exchange: &Exchange) -> Duration {
        let client = &exchange.config.snapshot().client;
        match self.wire.stream {
            Stream::Socket(_) | Stream::Absent => client.idle_timeout,
            Stream::Multiplexed(_) => client.stream_stall,
        }
    }

    /// Checks at intervals whether the client has ended its sending side behind the bytes that it has sent, or its
    /// connection was reset. The I/O engine reports either only when the bytes before it are received.
    fn poll_hung_up(&self, socket: &Socket, shard: &Shard, cx: &mut Context<'_>) -> Poll<Failure> {
        let wait = Duration::from_millis(limits::TICK_MILLIS);
        let mut next_look = self.next_look.borrow_mut();
        let timer = next_look.get_or_insert_with(|| {
            let timer = Timer::new(&shard.timers);
            timer.set(wait);
            timer
        });
        let has_left = || match self.arrival.listener.half_close {
            HalfClose::Serve => socket.is_over(),
            HalfClose::Abort => socket.has_hung_up(),
        };
        if timer.is_due_again(wait, cx) && has_left() {
            Poll::Ready(Failure::ClientLeft)
        } else {
            Poll::Pending
        }
    }

    fn poll_more(&self, shard: &Shard, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.wire.poll_more(cx, &shard.blocks, Amount::BLOCK)
    }
}
