//! The client's side: its connection, and the receiving of request heads.

mod head;
mod linger;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use crate::base::limits;
use crate::base::time::Micros;
use crate::net::{Block, Peer, Socket, Timer};
use crate::snapshot::{HalfClose, ServerTls, Snapshot};
use crate::tls::{Unidentified, identify};

use crate::worker::body::Body;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::idle_clients::{await_client, await_idle};
use crate::worker::live_listener::LiveListener;
use crate::worker::min_rate::MinRate;
use crate::worker::multiplex::{self, Gone};
use crate::worker::shard::Shard;
use crate::worker::stream::Stream;
use crate::worker::wire::Wire;

pub use head::{receive_rest_of_head, speaks_http2};
pub use linger::{Lingering, linger, linger_behind_word, receive_some};

/// A client's connection before its first request.
pub struct Accepted {
    pub socket: Socket,
    pub arrival: Arrival,
    /// What it has brought already.
    pub received: Block,
}

/// How a client came to us: the same for all that its connection carries.
#[derive(Clone)]
pub struct Arrival {
    /// The client's address: that of the connection's peer, or the one that the PROXY header names.
    pub peer: Peer,
    /// The address at the other end of the connection, whatever a PROXY header says.
    pub connection_peer: Peer,
    /// What it connected to; `None`: a Unix socket.
    pub reached: Option<SocketAddr>,
    /// The listener as it was when the connection was accepted.
    pub listener: Rc<LiveListener>,
    /// `None`: in cleartext.
    pub secured: Option<Rc<Secured>>,
    /// Connections to backends that serve requests of the client's connection.
    pub upstreams: Rc<Cell<usize>>,
}

impl Arrival {
    /// Whether what a request says of its client is believed. The peer of the connection vouches for that, and a PROXY
    /// header makes nobody else of the peer.
    pub fn is_trusted(&self, snapshot: &Snapshot) -> bool {
        match self.connection_peer.ip() {
            Some(ip) => snapshot
                .trusted_proxies
                .iter()
                .any(|range| range.contains(ip)),
            None => snapshot.trusts_unix,
        }
    }

    /// The scheme by which the client reached palantir.
    pub fn scheme(&self) -> &'static str {
        if self.secured.is_some() {
            "https"
        } else {
            "http"
        }
    }
}

/// What TLS tells of a client.
pub struct Secured {
    /// The host that it asked for, without a dot at its end.
    pub server_name: Option<Box<str>>,
    /// Which of its listener's certificates it was shown.
    pub certificate: Option<usize>,
    /// The properties of the client's certificate that backends are told; `None`: the client has no certificate.
    pub identity: Option<Result<Vec<(String, String)>, Unidentified>>,
    /// The certificates that the client showed, its own first.
    pub client_chain: Option<Rc<[CertificateDer<'static>]>>,
}

impl Secured {
    /// The fields in which backends are told who the client is.
    pub fn fields(&self) -> Option<&[(String, String)]> {
        self.identity.as_ref()?.as_deref().ok()
    }

    /// What is known of a connection whose handshake is made.
    pub fn of(socket: &Socket, tls: &ServerTls) -> Secured {
        let certificate = socket.peer_certificate();
        let shown = socket.shown_certificate();
        Secured {
            server_name: socket
                .server_name()
                .map(|name| name.strip_suffix('.').unwrap_or(name).into()),
            certificate: shown.and_then(|shown| {
                let mut certificates = tls.certificates.iter();
                certificates.position(|pair| pair.is_shown_as(shown))
            }),
            identity: certificate.map(|certificate| identify(certificate, &tls.identity)),
            client_chain: socket.peer_chain().cloned(),
        }
    }
}

/// What the client's connection does after an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It may bring another request.
    Request,
    Close,
}

/// A client's connection.
pub struct Client {
    pub wire: Wire,
    pub arrival: Arrival,
    pub timer: Timer,
    /// Requests that began on the connection.
    pub requests: Cell<u32>,
    /// When the head of the first request is due. The head of a later one is due some time after its first byte.
    pub first_due: Cell<Micros>,
    /// Whether the connection may go on after the running request, as far as the request says.
    pub keep_alive: Cell<bool>,
    /// Whether the running request has a body that is not received to its end.
    body_pending: Cell<bool>,
    /// Whether the running answer ends with the connection.
    pub ends_by_close: Cell<bool>,
    /// Whether the connection ends in the middle of an answer.
    cut: Cell<bool>,
    /// Whether the connection ends because the client was too slow. Such a client gets little time to read its answer.
    pub is_slow: Cell<bool>,
    /// The core's millisecond in which the client had received its whole last answer although the request was not
    /// complete.
    answered_at: Cell<Option<u64>>,
    /// Whether the client has ended its sending side and is still served.
    half_closed: Cell<bool>,
    /// Bytes of empty lines that have come since the last request.
    empty_bytes: Cell<usize>,
    /// When to look next whether a client that no bytes are received from is still there.
    next_look: RefCell<Option<Timer>>,
}

/// Why waiting for a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Bytes came.
    Bytes,
    /// The client ended the connection, or the worker drains, or the listener was removed or demands something else.
    Over,
    /// The deadline passed.
    Expired,
}

impl Client {
    /// A connection just accepted.
    pub fn new(accepted: Accepted, shard: &Rc<Shard>) -> Client {
        let client = Client::on(Stream::Socket(accepted.socket), accepted.arrival, shard);
        client.wire.put(accepted.received, &shard.blocks);
        client
    }

    /// A stream that a client opened on its connection.
    pub fn multiplexed(stream: multiplex::Stream, arrival: Arrival, shard: &Rc<Shard>) -> Client {
        Client::on(Stream::Multiplexed(stream), arrival, shard)
    }

    fn on(stream: Stream, arrival: Arrival, shard: &Rc<Shard>) -> Client {
        Client {
            wire: Wire::new(stream),
            arrival,
            timer: Timer::new(&shard.timers),
            requests: Cell::default(),
            first_due: Cell::default(),
            keep_alive: Cell::default(),
            body_pending: Cell::default(),
            ends_by_close: Cell::default(),
            cut: Cell::default(),
            is_slow: Cell::default(),
            answered_at: Cell::default(),
            half_closed: Cell::default(),
            empty_bytes: Cell::default(),
            next_look: RefCell::default(),
        }
    }

    /// The connection with what it has brought, if it is a socket of its own.
    pub fn into_accepted(self) -> Option<Accepted> {
        let received = self.wire.take();
        let Stream::Socket(socket) = self.wire.stream else {
            return None;
        };
        Some(Accepted {
            socket,
            arrival: self.arrival,
            received,
        })
    }

    /// Forgets what held for the last request.
    pub fn begin_request(&self) {
        self.requests.set(self.requests.get().saturating_add(1));
        self.keep_alive.set(false);
        self.body_pending.set(false);
        self.ends_by_close.set(false);
        self.empty_bytes.set(0);
    }

    /// Notes whether the request that was just parsed has a body.
    pub fn expect_body(&self, has_body: bool) {
        self.body_pending.set(has_body);
    }

    /// Notes how far the running request's own body was received. Nothing else lets the connection go on behind a body:
    /// what is left of one would be taken for the next request.
    pub fn note_received(&self, body: &Body) {
        self.body_pending.set(!body.has_ended());
    }

    /// Whether the running request has a body that is not received to its end.
    pub fn is_body_pending(&self) -> bool {
        self.body_pending.get()
    }

    /// Whether the connection may go on after this answer: the client wants it to, its request is received to the end,
    /// and neither a bound nor a drain forbids it.
    pub fn may_go_on(&self, shard: &Shard, exchange: &Exchange) -> bool {
        let most = exchange.plan.snapshot().client.requests_per_connection;
        let has_said_all = self.half_closed.get() && self.wire.is_empty();
        self.keep_alive.get()
            && !self.body_pending.get()
            && !shard.is_ending()
            && !self.arrival.listener.is_over()
            && !has_said_all
            && self.requests.get() < most
    }

    /// What follows the exchange that has just ended.
    pub fn next(&self) -> Next {
        self.next_look.take();
        if self.keep_alive.get() && !self.cut.get() {
            Next::Request
        } else {
            Next::Close
        }
    }

    /// Ends the connection in the middle of an answer. Where closing is the answer's regular end, the connection is
    /// reset, or the client would take what it got for the whole.
    pub fn cut(&self) {
        self.cut.set(true);
        if self.ends_by_close.get()
            && let Stream::Socket(socket) = &self.wire.stream
        {
            socket.reset_on_close();
        }
    }

    /// Notes that the client has its whole answer although its request is not complete. A connection of HTTP/1 cannot
    /// take another request then. Palantir ends its sending side, which some answers need to show their end to the
    /// client.
    pub fn note_answered(&self, shard: &Shard) {
        self.answered_at.set(Some(shard.timers.millis()));
        if let Stream::Socket(socket) = &self.wire.stream {
            socket.end_sending();
        }
    }

    /// The time since the client had its whole answer, if its request was not complete by then.
    pub fn since_answer(&self, shard: &Shard) -> Option<Duration> {
        let answered_at = self.answered_at.get()?;
        let millis = shard.timers.millis().saturating_sub(answered_at);
        Some(Duration::from_millis(millis))
    }

    /// Ends the connection so that its last answer arrives: a client that is still sending, or may do so before it
    /// has the answer, is listened to for a while.
    pub async fn close(&self, shard: &Shard) {
        let is_sending = self.body_pending.get() || !self.wire.is_empty();
        if let Stream::Socket(socket) = &self.wire.stream
            && !self.cut.get()
            && (is_sending || !socket.is_quiet())
        {
            shard.blocks.give(self.wire.take());
            let stall = shard.plan().snapshot().client.idle_timeout;
            let lingering = match self.since_answer(shard) {
                _ if self.is_slow.get() => Lingering::behind_word(),
                Some(passed) => {
                    // A client that was silent for this long already does not get as much time again.
                    let silence = Duration::from_secs(limits::LINGER_SILENCE_SECS);
                    Lingering::behind_answer(is_sending && passed < silence, stall).after(passed)
                }
                None => Lingering::behind_answer(is_sending, stall),
            };
            let rate = MinRate::of(&self.arrival.listener);
            let listening = linger(shard, socket, &self.timer, lingering, &rate);
            let listener = &self.arrival.listener.clients;
            // The future is boxed because the task of an idle connection has no room for it. The wait also ends when
            // other clients need the connection's place.
            let listening = await_client(shard, listener, socket.receive_queue(), listening);
            let _ = Box::pin(listening).await;
        }
    }

    /// Begins to look out for the client's next bytes, unless some are there. During an exchange that tells when the
    /// client leaves, and takes its next request.
    pub fn watch(&self) {
        if self.wire.is_empty() {
            self.wire.stream.watch();
        }
    }

    /// Waits for the first bytes of a request. A connection that was accepted may bring a request even if its listener
    /// was removed or changed since: the client could not know of that. Empty lines are no bytes of a request (RFC 9112
    /// section 2.2): they are dropped, and the wait goes on.
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
                // Scripts end a body by LF alone. Before a request nothing depends on how an empty line ends.
                let length = match received.filled() {
                    [b'\r', b'\n', ..] => b"\r\n".len(),
                    [b'\n', ..] => b"\n".len(),
                    _ => break,
                };
                received.consume(length);
                self.empty_bytes.set(self.empty_bytes.get() + length);
            }
            // A CR alone may be half of an empty line.
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

    /// Whether the listener that the connection came by was removed or demands something else. (A connection that is
    /// handed over with its listener may send one more request: closing it could cross with that request.)
    fn is_unwanted(&self) -> bool {
        self.arrival.listener.is_over() && self.requests.get() > 0
    }

    /// Ready when the client has gone away while its request runs. Bytes of a next request are kept, up to a block. A
    /// client that has ended its sending side cannot be told from one that has closed the connection. `half_close` of
    /// its listener decides which of the two is assumed.
    pub fn poll_gone(&self, shard: &Shard, cx: &mut Context<'_>) -> Poll<Failure> {
        let socket = match &self.wire.stream {
            Stream::Multiplexed(stream) => {
                return stream.poll_gone(cx).map(|gone| match gone {
                    Gone::TooSlow => Failure::ReaderTooSlow,
                    _ => Failure::ClientLeft,
                });
            }
            Stream::Socket(socket) => socket,
        };
        loop {
            let is_full = self.wire.with(|block| block.len()) >= limits::BLOCK_BYTES;
            if is_full || self.body_pending.get() || self.half_closed.get() {
                return self.poll_hung_up(socket, shard, cx); // What comes now is not to be received here.
            }
            socket.watch();
            match std::task::ready!(self.poll_more(shard, cx)) {
                Ok(0) if self.arrival.listener.half_close == HalfClose::Serve => {
                    self.half_closed.set(true);
                }
                Ok(0) | Err(_) => return Poll::Ready(Failure::ClientLeft),
                Ok(_) => {} // The end may stand behind it.
            }
        }
    }

    /// The reason why the body of a request has ended too early: the client is gone, or its trailers are not
    /// acceptable.
    pub fn ended_early(&self) -> Failure {
        let refused = match &self.wire.stream {
            Stream::Multiplexed(stream) => stream.refused(),
            Stream::Socket(_) => None,
        };
        refused.map_or(Failure::ClientLeft, Failure::Refused)
    }

    /// How long the client may take none of the bytes that are sent to it.
    pub fn stall(&self, exchange: &Exchange) -> Duration {
        let client = &exchange.plan.snapshot().client;
        match self.wire.stream {
            Stream::Socket(_) => client.idle_timeout,
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
        match timer.is_due_again(wait, cx) && has_left() {
            true => Poll::Ready(Failure::ClientLeft),
            false => Poll::Pending,
        }
    }

    fn poll_more(&self, shard: &Shard, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.wire
            .poll_more(cx, &shard.blocks, limits::BLOCK_BYTES, usize::MAX)
    }
}
