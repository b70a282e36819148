//! The head of a backend's answer: received, checked, and encoded for the client.

use std::task::Poll;

use crate::base::limits;
use crate::http::h1::{
    self, FieldSlots, ResponseBody, ResponseEdits, ResponseHead, Rewriting, Version,
    may_be_repaired, may_end_head, repair_response,
};
use crate::http::references::References;
use crate::http::refusal::Refusal;
use crate::http::websocket;
use crate::net::{Block, Expired};
use crate::worker::attempt::Attempt;
use crate::worker::body::{Body, Coming};
use crate::worker::failure::Failure;
use crate::worker::framing;
use crate::worker::multiplex;
use crate::worker::stream::Stream;
use crate::worker::trailers::TrailerRules;
use crate::worker::wire::Interrupted;

/// A head that came from the backend, encoded for the client.
pub(super) enum Answer {
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

/// Whether a `Content-Type` is that of server-sent events.
fn is_event_stream(content_type: &[u8]) -> bool {
    const NAME: &[u8] = b"text/event-stream";
    let name = content_type.split(|byte| *byte == b';').next();
    name.is_some_and(|name| name.trim_ascii().eq_ignore_ascii_case(NAME))
}

impl Attempt<'_> {
    /// Receives one head and encodes it to `out`.
    pub(super) async fn receive_head(&self, out: &mut Block) -> Result<Answer, Failure> {
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
                    let parsed = head.as_response(end, self.request.asked, &mut slots);
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
            self.exchange.note(|tally| tally.is_heard = true);
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
                self.exchange.note(|tally| tally.is_heard = true);
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
                Ok(_) => return Err(self.upstream.end_without_answer(self.shard)),
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
        let asked = self.request.asked;
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
        let asked = self.request.asked;
        let parsed = h1::parse_response(&repaired.text, &mut slots, asked, u32::MAX);
        let Some(mut head) = parsed.map_err(Failure::MalformedResponse)? else {
            return Ok(None);
        };
        head.keep_alive &= repaired.is_first;
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
                if self.request.version != Version::Http10 {
                    self.encode(head, ResponseBody::None, false, out);
                }
                Ok(Answer::Interim {
                    bytes: head.head_bytes,
                    is_sound: head.keep_alive,
                })
            }
            status => {
                self.exchange.note(|tally| tally.status = status);
                self.note_keep_alive(head);
                Ok(self.take_final(head, out))
            }
        }
    }

    fn switch(&self) -> Answer {
        self.exchange.note(|tally| {
            tally.status = match self.request.version {
                Version::Http2 => 200,
                _ => 101,
            }
        });
        Answer::Switching
    }

    /// A backend switches to what the client has offered. A client of HTTP/2 takes any success for its tunnel. So
    /// nothing but a switch may have one, and the backend must have proved that it means it: to a WebSocket by the key,
    /// which was ours, to any other protocol by its name.
    fn check_switch(&self, head: &ResponseHead<'_, '_>) -> Result<(), Failure> {
        if self.upstream.is_websocket {
            return Ok(()); // Over HTTP/2 the success itself is the proof.
        }
        if head.status == 101 && !self.request.has_offered(head.upgrade_value) {
            return Err(Failure::MalformedResponse(Refusal::BadSwitch));
        }
        if self.request.version != Version::Http2 || !self.request.asked.upgrade {
            return Ok(()); // Another client looks at the proof itself.
        }
        let is_proved = |key| {
            let accept = head.field("sec-websocket-accept").unwrap_or_default();
            websocket::is_accepted(key, accept)
        };
        let is_proper = match head.status {
            101 => self
                .request
                .websocket_key
                .as_ref()
                .is_none_or(|key| is_proved(key)),
            200..=299 => false,
            _ => true,
        };
        match is_proper {
            true => Ok(()),
            false => Err(Failure::MalformedResponse(Refusal::BadSwitch)),
        }
    }

    fn take_final(&self, head: &ResponseHead<'_, '_>, out: &mut Block) -> Answer {
        let (version, strict) = (self.request.version, self.request.asked.strict);
        let framing = framing::of_response(head.body, head.version, version, strict);
        if matches!(head.body, ResponseBody::Chunked | ResponseBody::UntilClose) {
            let content_type = head.field("content-type");
            let is_stream = content_type.is_some_and(is_event_stream);
            self.exchange
                .note(|tally| tally.is_event_stream = is_stream);
        }
        let close = framing.ends_by_close || !self.client.may_go_on(self.shard, self.exchange);
        self.client
            .note(|persistence| persistence.answer_begins(!close, framing.ends_by_close));
        self.encode(head, framing.announced, close, out);
        let may_have_trailers = matches!(framing.coming, Coming::Chunked(_) | Coming::UntilClose);
        Answer::Final {
            body: Body {
                coming: framing.coming,
                chunked: framing.chunked,
                most: u64::MAX,
                trailers: Vec::new(),
                rules: may_have_trailers.then(|| TrailerRules::of_response(self.exchange)),
            },
            reusable: head.keep_alive && head.body != ResponseBody::UntilClose,
        }
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
        let key = self.request.websocket_key.as_ref();
        let accept = key.filter(|_| is_switch).map(|key| websocket::accept(key));
        let edits = ResponseEdits {
            client_version: self.request.version,
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
        let asked_for = self.request.asked_for.as_ref()?;
        let (exchange, pool) = (self.exchange, self.request.pool);
        let plan = &exchange.plan;
        let index = plan.index_of(self.upstream.backend());
        let backend = plan.backend(pool, index.or(exchange.tally().backend)?);
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
