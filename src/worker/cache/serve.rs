//! Serves a stored response to a client.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::base::limits;
use crate::cache::extent::part_head;
use crate::cache::policy::Policy;
use crate::cache::ranges::{Multipart, RangeSelection};
use crate::cache::stored_head::{find, status};
use crate::http::h1::{ResponseBody, Version};
use crate::net::Block;
use crate::worker::body::framing::{self, ResponseWay};
use crate::worker::body::{Body, Coming};
use crate::worker::cache::rendered::{HeadLook, Rendered};
use crate::worker::cache::served_head::{self, Delivery};
use crate::worker::cache::serving::{AnswerForm, Serving, announced_length, part_of};
use crate::worker::cache::sliced_body::SlicedBody;
use crate::worker::cache::stored_body::{BodySegment, Followed, StoredBody};
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::min_rate::MinRate;
use crate::worker::relay::{Broken, Relay, Sink, Source, Supply};
use crate::worker::response::{left, send_whole};
use crate::worker::shard::Shard;
use crate::worker::stream::Stream;

/// Answers a request with a stored response.
pub async fn answer_from_store(
    shard: &Rc<Shard>,
    client: &Client,
    exchange: &Exchange,
    serving: Serving,
) -> Result<(), Failure> {
    let mut out = shard.blocks.take();
    let answer = Answer {
        shard,
        client,
        exchange,
    };
    let answered = answer.run(serving, &mut out).await;
    shard.blocks.give(out);
    answered
}

/// Answers a request with slices of a stored representation: with a range of its bytes, or with the whole.
pub async fn answer_from_slices(
    shard: &Rc<Shard>,
    client: &Client,
    exchange: &Exchange,
    serving: &Serving,
    stored: &SlicedBody<'_>,
) -> Result<(), Failure> {
    let mut out = shard.blocks.take();
    let answer = Answer {
        shard,
        client,
        exchange,
    };
    let mut body = answer.begin_in_slices(serving, stored, &mut out);
    let supply = (Supply::Sliced(stored), &mut body);
    let answered = pass_on_stored(shard, client, exchange, supply, &mut out).await;
    shard.blocks.give(out);
    answered
}

struct Answer<'a> {
    shard: &'a Rc<Shard>,
    client: &'a Client,
    exchange: &'a Exchange,
}

impl Answer<'_> {
    async fn run(&self, mut serving: Serving, out: &mut Block) -> Result<(), Failure> {
        let exchange = self.exchange;
        if let Some(length) = self.write_small(&serving, out) {
            exchange.count_response(length);
            return send_whole(self.shard, self.client, exchange, out).await;
        }
        let total = known_length(&serving);
        let segments = segments(&serving, total, exchange.id.0);
        let length = body_length(&segments);
        // RFC 9110 section 8.6 (MUST NOT): a 204 has no Content-Length, and a 304 none of its own.
        let is_bare =
            serving.form == AnswerForm::NotModified || status(serving.entry.head()) == 204;
        let (body, close) = self.begin(match length {
            _ if is_bare => ResponseBody::None,
            Some(length) => ResponseBody::Length(length),
            None => ResponseBody::UntilClose,
        });
        let derived = served_head::derived_head(&serving, total.unwrap_or(0), exchange.id.0);
        let delivery = Delivery {
            version: self.version(),
            is_head: exchange.facts.is_head,
            body: body.announced,
            close,
        };
        let status = match self.rendered(&serving, delivery) {
            Some((policy, rendered)) => {
                served_head::write_rendered(&rendered, policy, &serving, out);
                rendered.status
            }
            None => {
                let head = derived.as_deref().unwrap_or(serving.entry.head());
                served_head::encode(exchange.route(), &serving, head, delivery, out)
            }
        };
        exchange.note_cache(serving.part, serving.reason);
        exchange.note(|tally| tally.status = status);
        let has_body = !exchange.facts.is_head && !is_bare;
        let segments = if has_body { segments } else { VecDeque::new() };
        // A body that is still being stored may be in memory that is soon used again, which costs more than a copy.
        let by_reference = serving.fill.is_none() && takes_pages(self.client);
        let followed = serving.fill.take().map(|fill| Followed {
            wait: self.shard.wait_for_fill(fill.number()),
            fill,
            worker: self.shard.worker,
        });
        let stored = StoredBody::new(serving.entry, followed, segments, by_reference);
        let mut body = Body {
            coming: match length {
                _ if !has_body => Coming::Nothing,
                Some(0) => Coming::Nothing,
                Some(length) => Coming::Length(length),
                None => Coming::UntilClose,
            },
            chunked: body.chunked && has_body,
            most: u64::MAX,
            ..Body::none()
        };
        if self.take_whole(&stored, &mut body, out) {
            return send_whole(self.shard, self.client, exchange, out).await;
        }
        let supply = (Supply::Stored(&stored), &mut body);
        pass_on_stored(self.shard, self.client, exchange, supply, out).await
    }

    /// Writes the head of an answer in slices. The result is the body that follows it.
    fn begin_in_slices(&self, serving: &Serving, stored: &SlicedBody<'_>, out: &mut Block) -> Body {
        let exchange = self.exchange;
        let answer = stored.answer();
        let length = answer.range.len();
        let (framing, close) = self.begin(ResponseBody::Length(length));
        let derived = served_head::derived_head(serving, answer.total, exchange.id.0);
        // The whole has the head of a slice without what says that it is one.
        let head = derived.unwrap_or_else(|| part_head(serving.entry.head(), &answer));
        let delivery = Delivery {
            version: self.version(),
            is_head: false,
            body: framing.announced,
            close,
        };
        let status = served_head::encode(exchange.route(), serving, &head, delivery, out);
        exchange.note_cache(serving.part, serving.reason);
        exchange.note(|tally| tally.status = status);
        Body {
            coming: Coming::Length(length),
            chunked: framing.chunked,
            most: u64::MAX,
            ..Body::none()
        }
    }

    /// Writes the whole answer, if its head lies ready and its body is small: the way of most hits. The result is the
    /// length of the body that is written; `None`: nothing is written.
    #[inline]
    fn write_small(&self, serving: &Serving, out: &mut Block) -> Option<usize> {
        let (exchange, entry) = (self.exchange, &serving.entry);
        let length = entry.body_len();
        // RFC 9110 section 8.6 (MUST NOT): a 204 has no Content-Length, so that its head differs from those that lie
        // ready for bodies of length 0.
        let is_small = serving.fill.is_none()
            && length <= limits::WHOLE_BODY_BYTES
            && entry.facts().status != 204;
        let goes_on = self.client.may_go_on(self.shard, exchange);
        if serving.held.is_none() || !is_small || self.says_close(goes_on) {
            return None;
        }
        let delivery = Delivery {
            version: self.version(),
            is_head: false,
            body: ResponseBody::Length(length),
            close: false,
        };
        let (policy, rendered) = self.rendered(serving, delivery)?;
        self.client
            .note(|persistence| persistence.answer_begins(goes_on, false));
        exchange.note_cache(serving.part, serving.reason);
        exchange.note(|tally| tally.status = rendered.status);
        served_head::write_rendered(&rendered, policy, serving, out);
        if exchange.facts.is_head {
            return Some(0);
        }
        entry.pieces().for_each(|piece| out.extend(piece));
        Some(length as usize)
    }

    /// The head that lies ready for such answers.
    fn rendered(&self, serving: &Serving, delivery: Delivery) -> Option<(&Policy, Rc<Rendered>)> {
        let exchange = self.exchange;
        let held = serving.held.as_ref()?;
        let route = exchange.route();
        let policy = route.cache.as_ref()?;
        let is_plain = serving.form == AnswerForm::Whole && delivery.version != Version::Http10;
        if !is_plain || delivery.close {
            return None;
        }
        let look = HeadLook {
            generation: exchange.config.snapshot().generation,
            route: exchange.route_id(),
        };
        let known = held.rendered.borrow().clone();
        if let Some(known) = known.filter(|known| known.look == look) {
            return Some((policy, known));
        }
        let rendered = Rc::new(served_head::render(look, route, serving, delivery)?);
        held.rendered.replace(Some(rendered.clone()));
        Some((policy, rendered))
    }

    fn version(&self) -> Version {
        match self.exchange.facts.version {
            10 => Version::Http10,
            20 => Version::Http2,
            _ => Version::Http11,
        }
    }

    /// Notes that the answer begins. The result is the framing of its body, and whether the client's connection ends
    /// with the answer.
    fn begin(&self, body: ResponseBody) -> (framing::ResponseFraming, bool) {
        let way = ResponseWay {
            from: Version::Http11,
            to: self.version(),
            is_strict: true,
        };
        let framing = framing::of_response(body, way);
        let may_go_on = self.client.may_go_on(self.shard, self.exchange);
        let goes_on = may_go_on && !framing.ends_by_close;
        self.client
            .note(|persistence| persistence.answer_begins(goes_on, framing.ends_by_close));
        (framing, self.says_close(goes_on))
    }

    /// Whether the answer says that its connection ends, which no answer of HTTP/2 does.
    fn says_close(&self, goes_on: bool) -> bool {
        !goes_on && self.version() != Version::Http2
    }

    /// Appends a small body to its head, if the whole body is there.
    fn take_whole(&self, stored: &StoredBody, body: &mut Body, out: &mut Block) -> bool {
        let length = match body.coming {
            Coming::Nothing => 0,
            Coming::Length(length) if length <= limits::WHOLE_BODY_BYTES => length as usize,
            _ => return false,
        };
        let is_here = length <= out.room() && stored.read_into(out, length);
        if is_here {
            self.exchange.count_response(length);
        }
        is_here
    }
}

/// Whether pages of the store can go to a client by reference.
fn takes_pages(client: &Client) -> bool {
    matches!(&client.wire.stream, Stream::Socket(socket) if socket.takes_pages())
}

/// Sends the head in `out`, and behind it a body that is read from the store.
pub async fn pass_on_stored(
    shard: &Rc<Shard>,
    client: &Client,
    exchange: &Exchange,
    (supply, body): (Supply<'_>, &mut Body),
    out: &mut Block,
) -> Result<(), Failure> {
    let stream = &client.wire.stream;
    exchange.note(|tally| tally.is_answered = true);
    let begun = stream.answer(out, body.has_ended());
    begun.map_err(|_| left(stream))?;
    let rate = if exchange.tally().is_event_stream {
        MinRate::none()
    } else {
        MinRate::of(&client.arrival.listener)
    };
    let relay = Relay {
        source: Source {
            shard,
            supply,
            timer: &client.timer,
            idle: &|| exchange.bounded(exchange.route().timeouts.upstream_idle),
            is_slow: &|_, _| false,
        },
        sink: Sink {
            shard,
            stream,
            timer: &client.timer,
            stall: &|| client.stall(exchange),
            count: &|bytes| exchange.count_response(bytes),
            rate: &rate,
            is_cut: &|| exchange.is_outdated(),
            has_sent: Cell::default(),
        },
    };
    if !body.has_ended() {
        relay.source.read_ahead(relay.sink.next_receive(body)).await;
    }
    let watch = |cx: &mut Context<'_>| -> Poll<Failure> { client.poll_gone(shard, cx) };
    let Err(broken) = relay.run(out, body, watch).await else {
        return Ok(());
    };
    if matches!(stream, Stream::Socket(_)) && !relay.sink.has_sent.get() {
        exchange.note(|tally| {
            tally.is_answered = false;
            tally.response_bytes = 0;
        });
    }
    Err(failure(exchange, stream, broken))
}

/// The failure of an answer that could not be passed on to its end.
fn failure(exchange: &Exchange, stream: &Stream, broken: Broken<Failure>) -> Failure {
    match broken {
        Broken::SourceEnded | Broken::Unacceptable(_) => Failure::Truncated,
        Broken::SourceTimeout => exchange.expired(Failure::Truncated),
        Broken::SinkClosed => left(stream),
        Broken::SinkTimeout => exchange.unless_outdated(Failure::ClientStalled),
        Broken::TooSlow => Failure::ReaderTooSlow,
        Broken::Exhausted => Failure::Exhausted,
        Broken::Watched(failure) => failure,
        Broken::Cut => exchange.unless_outdated(Failure::BackendDown),
    }
}

/// The length of the representation; `None`: the body is still being stored, and its head names no length.
fn known_length(serving: &Serving) -> Option<u64> {
    match (&serving.fill, part_of(&serving.entry)) {
        (_, Some(extent)) => Some(extent.total),
        (None, None) => Some(serving.entry.body_len()),
        (Some(_), None) => announced_length(&serving.entry),
    }
}

/// The pieces of the answer's body.
fn segments(serving: &Serving, total: Option<u64>, number: u64) -> VecDeque<BodySegment> {
    // The body of a part begins in the middle of the representation.
    let start = part_of(&serving.entry).map_or(0, |extent| extent.range.first);
    let stored = |first: u64, last: u64| BodySegment::Stored(first - start..last + 1 - start);
    match serving.form {
        AnswerForm::NotModified | AnswerForm::Ranges(RangeSelection::Unsatisfiable) => {
            VecDeque::new()
        }
        AnswerForm::Ranges(RangeSelection::Single(range)) => {
            [stored(range.first, range.last)].into()
        }
        AnswerForm::Ranges(RangeSelection::Several(ranges)) => {
            let boundary = served_head::boundary(number);
            let multipart = Multipart {
                boundary: boundary.as_bytes(),
                content_type: find(serving.entry.head(), "content-type"),
                total: total.unwrap_or(0),
            };
            let mut segments = VecDeque::new();
            for (at, range) in ranges.as_slice().iter().enumerate() {
                let mut text = Vec::new();
                multipart.write_part_head(at == 0, *range, &mut text);
                segments.push_back(BodySegment::Text(text.into()));
                segments.push_back(stored(range.first, range.last));
            }
            let mut end = Vec::new();
            multipart.write_end(&mut end);
            segments.push_back(BodySegment::Text(end.into()));
            segments
        }
        AnswerForm::Whole | AnswerForm::Ranges(RangeSelection::Whole) => match total {
            Some(0) => VecDeque::new(),
            total => [BodySegment::Stored(0..total.unwrap_or(u64::MAX))].into(),
        },
    }
}

/// The length of a body of these pieces; `None`: it is not known yet.
fn body_length(segments: &VecDeque<BodySegment>) -> Option<u64> {
    let mut length = 0;
    for segment in segments {
        length += match segment {
            BodySegment::Text(text) => text.len() as u64,
            BodySegment::Stored(range) if range.end == u64::MAX => return None,
            BodySegment::Stored(range) => range.end - range.start,
        };
    }
    Some(length)
}
