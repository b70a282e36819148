//! Bringing a backend's answer to the client: its interim heads, its final head, its body.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::{Context, Poll};

use crate::base::limits;
use crate::base::time::Micros;
use crate::http::h1::{
    self, ChunkedDecoder, FieldSlots, ResponseBody, ResponseEdits, ResponseHead, Rewriting,
    Version, may_be_repaired, may_end_head, repair_response,
};
use crate::http::references::References;
use crate::http::refusal::Refusal;
use crate::http::websocket;
use crate::net::{Block, Expired, Timer};
use crate::worker::admit::Admitted;
use crate::worker::body::{Body, Coming, Unacceptable};
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::interim::Interims;
use crate::worker::leave;
use crate::worker::min_rate::MinRate;
use crate::worker::multiplex;
use crate::worker::relay::{Broken, Relay};
use crate::worker::retry::Repeatable;
use crate::worker::shard::Shard;
use crate::worker::stream::Stream;
use crate::worker::trailers::TrailerRules;
use crate::worker::upstream::Upstream;
use crate::worker::wire::Interrupted;

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// The answer is with the client; whether its connection may carry another exchange is for the backend to say.
    Complete { reusable: bool },
    /// The same, but the answer is still to be sent, by [`send_whole`]: it is small and has come to its end, so that its
    /// connection is free before the client has it.
    Whole { reusable: bool },
    /// Both sides speak another protocol from now on.
    Switched,
}

/// Whether a `Content-Type` is that of server-sent events.
fn is_event_stream(content_type: &[u8]) -> bool {
    const NAME: &[u8] = b"text/event-stream";
    let name = content_type.split(|byte| *byte == b';').next();
    name.is_some_and(|name| name.trim_ascii().eq_ignore_ascii_case(NAME))
}

/// Who is at both ends of an exchange.
pub struct Ends<'a> {
    pub shard: &'a Shard,
    pub client: &'a Client,
    pub exchange: &'a Exchange,
    pub admitted: &'a Admitted,
    pub upstream: &'a Upstream,
    /// When the request was sent, or began to be.
    pub asked_at: Micros,
    /// Bytes of the request's body that had been given away by then.
    pub sent_before: u64,
    /// Whether an interim head is being sent to the client.
    pub is_sending_interim: Cell<bool>,
    /// Whether one was sent: the client may take any for the permission to send its body.
    pub told_interim: Cell<bool>,
    /// What the passing on of the answer's body waits for.
    pub answer_waits_for: Cell<Option<Side>>,
    /// Whether more of the request's body may be sent.
    pub is_uploading: Cell<bool>,
    /// Bounds what the rest of the request waits for, if a rest of it is sent while the answer may come.
    pub upload_timer: Option<&'a Timer>,
}

/// One side of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Backend,
}

/// A head that came from the backend, encoded for the client.
enum Answer {
    Interim {
        bytes: usize,
        /// Whether another answer may come on the same connection, as far as this head says.
        is_sound: bool,
    },
    Switching,
    Final {
        body: Body,
        reusable: bool,
    },
}

/// Receives the answer and passes it on through `out`.
pub async fn deliver(ends: &Ends<'_>, out: &mut Block) -> Result<Delivered, Failure> {
    let (client, exchange) = (ends.client, ends.exchange);
    let mut interims = Interims::default();
    let (mut body, reusable) = loop {
        match ends.receive_head(out).await? {
            Answer::Interim { bytes, is_sound } => {
                interims.note(exchange, bytes, is_sound)?;
                ends.is_sending_interim.set(true);
                let sent = ends.send_head(out).await;
                ends.is_sending_interim.set(false);
                sent?;
                ends.told_interim.set(true);
                // The client may only now know that it is to send its body.
                if let Some(timer) = ends.upload_timer {
                    timer.set(ends.patience_with_client());
                }
            }
            Answer::Switching => {
                ends.await_upload().await;
                ends.check_early_bytes()?;
                ends.answer_begins();
                ends.send_head(out).await?;
                return Ok(Delivered::Switched);
            }
            Answer::Final { body, reusable } => break (body, reusable && !interims.are_odd),
        }
    };
    ends.answer_begins();
    if ends.take_whole(&mut body, out) {
        return Ok(Delivered::Whole { reusable });
    }
    let reader_rate = match exchange.is_grpc.get() || exchange.is_event_stream.get() {
        true => MinRate::none(),
        false => MinRate::of(&client.arrival.listener),
    };
    let relay = Relay {
        blocks: &ends.shard.blocks,
        pace: &ends.shard.pace,
        memory: &ends.shard.memory,
        from: &ends.upstream.wire,
        to: &client.wire.stream,
        timer: &client.timer,
        idle: &|| ends.wait_for(Side::Backend),
        stall: &|| ends.wait_for(Side::Client),
        count: &|bytes| exchange.count_response(bytes),
        is_source_slow: &|_, _| false,
        sink_rate: &reader_rate,
        has_sent: Cell::default(),
    };
    let begun = client.wire.stream.answer(out, body.has_ended());
    begun.map_err(|_| Failure::ClientLeft)?;
    let relayed = relay
        .run(out, &mut body, |cx| {
            leave::poll_answered(ends.shard, client, exchange, cx)
        })
        .await;
    match relayed {
        Ok(()) => Ok(Delivered::Complete { reusable }),
        Err(broken) => {
            // An answer of which nothing was sent leaves room for another one. Over HTTP/2 its head is sent already.
            if let Stream::Socket(_) = client.wire.stream {
                exchange.answered.set(relay.has_sent.get());
            }
            Err(broken_answer(exchange, broken))
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
        Ok(Err(_)) => Err(Failure::ClientLeft),
        Err(Expired) if noted.was_ended() => Err(Failure::Exhausted),
        Err(Expired) => Err(Failure::ClientStalled),
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
    }
}

impl Ends<'_> {
    /// Notes that from here on no other answer can be given.
    fn answer_begins(&self) {
        let exchange = self.exchange;
        let now = Micros::now();
        let micros = now.since(self.asked_at);
        exchange.answered.set(true);
        if let Some(timer) = self.upload_timer {
            timer.set(self.patience_with_backend()); // What it waits for may come later now, or never.
        }
        exchange.upstream_micros.set(Some(micros));
        exchange.head_micros.set(now.since(exchange.began));
        let live = exchange.plan.live(self.admitted.pool);
        let backend = self.upstream.backend();
        exchange.note_backend(backend);
        live.observe(backend, micros, now);
        let millis = self.shard.timers.millis();
        (self.shard.under_way).note_head(exchange.place.get(), backend, millis);
        self.shard.report_answer(exchange, backend);
    }

    /// Begins the time that the backend has for its answer: the request has been sent to its end. (While an interim
    /// head is being sent, the client's time runs; the backend's begins behind it.)
    pub fn answer_is_due(&self) {
        if !self.admitted.is_whole {
            self.exchange.backend_has_time(); // Until now the client could be waited for.
        }
        if !self.exchange.answered.get() && !self.is_sending_interim.get() {
            let wait = self.exchange.route().timeouts.upstream_response;
            self.client.timer.set(self.exchange.bounded(wait));
        }
    }

    /// Ready when the client has gone, or the request does not stay with a backend that has become unhealthy.
    fn poll_unanswered(&self, cx: &mut Context<'_>) -> Poll<Failure> {
        let (client, exchange) = (self.client, self.exchange);
        let request = || {
            let is_untouched = exchange.request_bytes.get() == self.sent_before;
            let is_kept = self.admitted.is_whole || (client.is_body_pending() && is_untouched);
            let request = Repeatable {
                is_kept: is_kept && self.admitted.is_kept,
                is_idempotent: self.admitted.idempotent,
                is_answered: exchange.heard.get(),
            };
            (request, self.upstream.wire.stream.is_unsent())
        };
        leave::poll_unanswered(self.shard, client, exchange, request, cx)
    }

    /// Whether the time for the answer has not begun, and that for the whole exchange has not ended.
    fn may_wait_on(&self) -> bool {
        self.is_uploading.get() && !self.exchange.is_overdue()
    }

    /// Waits until the request is sent to its end: a client that is told to speak another protocol could not tell where
    /// the body of its request ends. The body has a bound of its own.
    async fn await_upload(&self) {
        poll_fn(|_| match self.is_uploading.get() {
            true => Poll::Pending, // The same task sends the request, and looks here whenever it has.
            false => Poll::Ready(()),
        })
        .await;
    }

    /// Refuses what came behind the head of an upgrade without a body before it was answered.
    fn check_early_bytes(&self) -> Result<(), Failure> {
        match self.admitted.has_body || self.client.wire.is_empty() {
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
            _ => Err(Failure::ClientLeft),
        }
    }

    /// Receives one head and encodes it to `out`.
    async fn receive_head(&self, out: &mut Block) -> Result<Answer, Failure> {
        match &self.upstream.wire.stream {
            Stream::Socket(_) => self.receive_written_head(out).await,
            Stream::Multiplexed(stream) => self.await_head(stream, out).await,
        }
    }

    async fn await_head(
        &self,
        stream: &multiplex::Stream,
        out: &mut Block,
    ) -> Result<Answer, Failure> {
        let wait = self.exchange.route().timeouts.upstream_response;
        let timer = &self.client.timer;
        timer.set(self.exchange.bounded(wait));
        loop {
            let waited = timer.bound(|cx| match stream.poll_head(cx) {
                Poll::Ready(outcome) => Poll::Ready(outcome.map_err(Failure::of_gone)),
                Poll::Pending => self.poll_unanswered(cx).map(Err),
            });
            match waited.await {
                Ok(outcome) => {
                    self.note_heard(&outcome);
                    let (head, end) = outcome?;
                    let mut slots = FieldSlots::new();
                    let parsed = head.as_response(end, self.admitted.asked, &mut slots);
                    let parsed = parsed.map_err(Failure::MalformedResponse)?;
                    let answer = self.take_head(&parsed, out)?;
                    stream.give_head(head);
                    return Ok(answer);
                }
                // The time for the answer begins when the request has ended.
                Err(Expired) if self.may_wait_on() => {
                    timer.set(self.exchange.bounded(wait));
                }
                Err(Expired) => {
                    stream.suspect();
                    return Err(self.exchange.expired(Failure::ResponseTimeout));
                }
            }
        }
    }

    fn note_heard<T>(&self, outcome: &Result<T, Failure>) {
        if matches!(outcome, Ok(_) | Err(Failure::MalformedResponse(_))) {
            self.exchange.heard.set(true);
        }
    }

    async fn receive_written_head(&self, out: &mut Block) -> Result<Answer, Failure> {
        let wire = &self.upstream.wire;
        let wait = self.exchange.route().timeouts.upstream_response;
        let timer = &self.client.timer;
        timer.set(self.exchange.bounded(wait));
        let mut seen = 0;
        loop {
            let length = wire.with(|received| received.len());
            let is_over = length > limits::RESPONSE_HEAD_BYTES as usize;
            let ends = wire.with(|received| may_end_head(received.filled(), seen));
            if length > 0 {
                self.exchange.heard.set(true);
            }
            if length > 0 && (ends || is_over || seen == 0) {
                let mut received = wire.take();
                let read = self.read_head(&mut received, out);
                wire.put(received, &self.shard.blocks);
                if let Some(answer) = read? {
                    return Ok(answer);
                }
            }
            seen = length;
            let blocks = &self.shard.blocks;
            let more = wire.more(blocks, limits::BLOCK_BYTES, usize::MAX, timer, |cx| {
                self.poll_unanswered(cx)
            });
            match more.await {
                Ok(Ok(count)) if count > 0 => {}
                Ok(_) => return Err(Failure::Reset),
                Err(Interrupted::Watched(failure)) => return Err(failure),
                // The time for the answer begins when the request has ended.
                Err(Interrupted::Expired) if self.may_wait_on() => {
                    timer.set(self.exchange.bounded(wait));
                }
                Err(Interrupted::Expired) => {
                    return Err(self.exchange.expired(Failure::ResponseTimeout));
                }
            }
        }
    }

    fn read_head(&self, received: &mut Block, out: &mut Block) -> Result<Option<Answer>, Failure> {
        let mut slots = FieldSlots::new();
        let most = limits::RESPONSE_HEAD_BYTES;
        let asked = self.admitted.asked;
        let parsed = match h1::parse_response(received.filled(), &mut slots, asked, most) {
            Err(refusal) if !asked.strict && may_be_repaired(refusal) => {
                return self.read_odd_head(received, out);
            }
            parsed => parsed.map_err(Failure::MalformedResponse)?,
        };
        let Some(head) = parsed else {
            return Ok(None);
        };
        let answer = self.take_head(&head, out)?;
        let consumed = head.head_bytes;
        received.consume(consumed);
        Ok(Some(answer))
    }

    /// Reads a head that is not written as it should be. Errors: it has more than one reading.
    #[cold]
    fn read_odd_head(
        &self,
        received: &mut Block,
        out: &mut Block,
    ) -> Result<Option<Answer>, Failure> {
        const MOST: usize = limits::RESPONSE_HEAD_BYTES as usize;
        let beginning = &received.filled()[..received.len().min(MOST)];
        let repaired = match repair_response(beginning).map_err(Failure::MalformedResponse)? {
            Some(repaired) => repaired,
            None if beginning.len() < MOST => return Ok(None),
            None => return Err(Failure::MalformedResponse(Refusal::HeadTooLarge)),
        };
        let mut slots = FieldSlots::new();
        let asked = self.admitted.asked;
        let parsed = h1::parse_response(&repaired.text, &mut slots, asked, u32::MAX);
        let Some(head) = parsed.map_err(Failure::MalformedResponse)? else {
            return Ok(None);
        };
        let answer = self.take_head(&head, out)?;
        received.consume(repaired.taken);
        Ok(Some(answer))
    }

    fn take_head(&self, head: &ResponseHead<'_, '_>, out: &mut Block) -> Result<Answer, Failure> {
        self.check_switch(head)?;
        match head.status {
            101 => {
                self.encode(head, ResponseBody::None, false, out);
                Ok(self.switch())
            }
            200..=299 if self.upstream.is_websocket => {
                // A length that it may have means nothing (RFC 9110 section 9.3.6).
                self.encode(head, ResponseBody::UntilClose, false, out);
                Ok(self.switch())
            }
            100..=199 => {
                if self.admitted.version != Version::Http10 {
                    self.encode(head, ResponseBody::None, false, out);
                }
                Ok(Answer::Interim {
                    bytes: head.head_bytes,
                    is_sound: head.keep_alive,
                })
            }
            status => {
                self.exchange.status.set(status);
                self.note_keep_alive(head);
                Ok(self.take_final(head, out))
            }
        }
    }

    fn switch(&self) -> Answer {
        self.exchange.status.set(match self.admitted.version {
            Version::Http2 => 200,
            _ => 101,
        });
        Answer::Switching
    }

    /// A backend switches to what the client has offered. A client of HTTP/2 takes any success for its tunnel. So nothing
    /// but a switch may have one, and the backend must have proved that it means it: the key was ours.
    fn check_switch(&self, head: &ResponseHead<'_, '_>) -> Result<(), Failure> {
        if self.upstream.is_websocket {
            return Ok(()); // Over HTTP/2 the success itself is the proof.
        }
        if head.status == 101 && !self.admitted.has_offered(head.upgrade_value) {
            return Err(Failure::MalformedResponse(Refusal::BadSwitch));
        }
        let Some(key) = &self.admitted.websocket_key else {
            return Ok(());
        };
        if self.admitted.version != Version::Http2 {
            return Ok(()); // Its own client looks at the proof.
        }
        let is_proper = match head.status {
            101 => {
                let accept = head.field("sec-websocket-accept").unwrap_or_default();
                websocket::is_accepted(key, accept)
            }
            200..=299 => false,
            _ => true,
        };
        match is_proper {
            true => Ok(()),
            false => Err(Failure::MalformedResponse(Refusal::BadSwitch)),
        }
    }

    fn take_final(&self, head: &ResponseHead<'_, '_>, out: &mut Block) -> Answer {
        let is_old = self.admitted.version == Version::Http10;
        let framing = match head.body {
            ResponseBody::Chunked if is_old => ResponseBody::UntilClose,
            ResponseBody::UntilClose if !is_old => ResponseBody::Chunked,
            same => same,
        };
        if matches!(head.body, ResponseBody::Chunked | ResponseBody::UntilClose) {
            let content_type = head.field("content-type");
            let is_stream = content_type.is_some_and(is_event_stream);
            self.exchange.is_event_stream.set(is_stream);
        }
        let ends_by_close = framing == ResponseBody::UntilClose;
        let close = ends_by_close || !self.client.may_go_on(self.shard, self.exchange);
        self.client.keep_alive.set(!close);
        self.client.ends_by_close.set(ends_by_close);
        self.encode(head, framing, close, out);
        let coming = match head.body {
            ResponseBody::None | ResponseBody::Length(0) => Coming::Nothing,
            // Over HTTP/2 the stream tells the end, perhaps with trailers, and has the length checked.
            _ if head.version == Version::Http2 => Coming::UntilClose,
            ResponseBody::Length(length) => Coming::Length(length),
            ResponseBody::Chunked if self.admitted.asked.strict => Coming::Chunked(Box::default()),
            ResponseBody::Chunked => Coming::Chunked(Box::new(ChunkedDecoder::of_backend())),
            ResponseBody::UntilClose => Coming::UntilClose,
        };
        let may_have_trailers = matches!(coming, Coming::Chunked(_) | Coming::UntilClose);
        Answer::Final {
            body: Body {
                coming,
                chunked: framing == ResponseBody::Chunked
                    && self.admitted.version != Version::Http2,
                most: u64::MAX,
                trailers: Vec::new(),
                rules: may_have_trailers.then(|| TrailerRules::of_response(self.exchange)),
            },
            reusable: head.keep_alive && head.body != ResponseBody::UntilClose,
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

    fn encode(
        &self,
        head: &ResponseHead<'_, '_>,
        body: ResponseBody,
        close: bool,
        out: &mut Block,
    ) {
        let route = self.exchange.route();
        let is_switch = self.upstream.is_websocket && (200..300).contains(&head.status);
        let key = self.admitted.websocket_key.as_ref();
        let accept = key.filter(|_| is_switch).map(|key| websocket::accept(key));
        let edits = ResponseEdits {
            client_version: self.admitted.version,
            body,
            close,
            operator: &route.response_fields,
            via: route.via,
            rewriting: Rewriting {
                references: self.references(),
                cookies: &route.cookies,
            },
            accept: accept.as_ref().map(|accept| &accept[..]),
        };
        h1::encode_response(out.vec(), head, &edits);
    }

    /// How references in the answer are rewritten; `None`: not at all.
    fn references(&self) -> Option<References<'_>> {
        let asked_for = self.admitted.asked_for.as_ref()?;
        let (exchange, pool) = (self.exchange, self.admitted.pool);
        let plan = &exchange.plan;
        let index = plan.index_of(self.upstream.backend());
        let backend = plan.backend(pool, index.or(exchange.backend.get())?);
        Some(asked_for.references(exchange.route(), plan.pool(pool), backend))
    }

    fn note_keep_alive(&self, head: &ResponseHead<'_, '_>) {
        if let Some(secs) = head.keep_alive_timeout {
            let now = self.shard.timers.millis();
            self.shard
                .upstreams
                .note_announced(self.upstream.backend(), secs, now);
        }
    }
}
