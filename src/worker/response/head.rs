//! The head of a response: checked, and encoded for the client.

use crate::base::time::{Micros, unix_millis};
use crate::http::date::imf_fixdate;
use crate::http::h1::{
    self, ComputedField, ResponseBody, ResponseEdits, ResponseHead, Rewriting, Version,
};
use crate::http::names::FieldEdits;
use crate::http::references::References;
use crate::http::refusal::Refusal;
use crate::http::websocket;
use crate::net::Block;
use crate::worker::attempt::Attempt;
use crate::worker::body::framing::{self, ResponseWay};
use crate::worker::body::trailers::TrailerRules;
use crate::worker::body::{Body, Coming};
use crate::worker::cache::effect::{CacheEffect, ReceivedAnswer};
use crate::worker::cache::fetch::{CacheFetch, FetchPurpose};
use crate::worker::cache::fill::BodyFill;
use crate::worker::cache::serving::Serving;
use crate::worker::cache::stored_head::withheld;
use crate::worker::failure::Failure;
use crate::worker::record::count_unpassed;
use crate::worker::relay::Filters;

/// A head of the backend's response, encoded for the client.
pub(super) enum Answer {
    Interim {
        bytes: usize,
        /// Whether the connection may bring another answer, as far as this head says.
        is_sound: bool,
    },
    Switching,
    Final {
        body: Body,
        reusable: bool,
    },
    /// A stored response is to be served in place of the answer.
    Stored {
        serving: Box<Serving>,
        reusable: bool,
    },
    /// The request is to be sent again without the conditions of the cache.
    Repeat {
        reusable: bool,
    },
}

/// The part of the cache in an answer.
#[derive(Default)]
struct Cached {
    /// The store, which gets a copy of the body.
    fill: Option<Box<BodyFill>>,
    /// The value of `Cache-Status`.
    status: Option<Vec<u8>>,
    /// The value of `Date`, which the backend has not sent.
    date: Option<[u8; 29]>,
    /// The edits of the route with the fields that are for the cache alone taken out; `None`: there are none.
    edits: Option<FieldEdits>,
}

/// Whether a `Content-Type` is that of server-sent events.
fn is_event_stream(content_type: &[u8]) -> bool {
    const NAME: &[u8] = b"text/event-stream";
    let name = content_type.split(|byte| *byte == b';').next();
    name.is_some_and(|name| name.trim_ascii().eq_ignore_ascii_case(NAME))
}

impl Attempt<'_> {
    /// Checks a head of the response, and encodes it for the client to the end of `out`.
    pub(super) fn take_head(
        &self,
        head: &ResponseHead<'_, '_>,
        out: &mut Block,
    ) -> Result<Answer, Failure> {
        self.check_switch(head)?;
        match head.status {
            101 => {
                self.encode(head, ResponseBody::None, (false, &Cached::default()), out);
                Ok(self.note_switch())
            }
            200..=299 if self.upstream.is_websocket => {
                // A `Content-Length` in a success to CONNECT has no meaning (RFC 9110 section 9.3.6).
                self.encode(
                    head,
                    ResponseBody::UntilClose,
                    (false, &Cached::default()),
                    out,
                );
                Ok(self.note_switch())
            }
            100..=199 => {
                // A client of HTTP/1.0 must not get interim heads (RFC 9110 section 15.2).
                if self.request.version != Version::Http10 {
                    self.encode(head, ResponseBody::None, (false, &Cached::default()), out);
                }
                Ok(Answer::Interim {
                    bytes: head.head_bytes,
                    is_sound: head.keep_alive,
                })
            }
            status => {
                self.exchange.note(|tally| tally.status = status);
                self.note_keep_alive(head);
                match &self.request.fetch {
                    None => Ok(self.take_final(head, Cached::default(), out)),
                    Some(fetch) => Ok(self.take_cached(head, fetch, out)),
                }
            }
        }
    }

    fn note_switch(&self) -> Answer {
        self.exchange.note(|tally| {
            tally.status = match self.request.version {
                Version::Http2 => 200,
                _ => 101,
            }
        });
        Answer::Switching
    }

    /// Checks that a backend switches only to a protocol that the client has offered (RFC 9110 section 7.8). A client
    /// of HTTP/2 takes any success for the opening of its tunnel (RFC 8441 section 5). So only a real switch may have a
    /// success: the backend must prove a WebSocket by the answer to palantir's key (RFC 6455 section 4.2.2), and any
    /// other protocol by its name.
    fn check_switch(&self, head: &ResponseHead<'_, '_>) -> Result<(), Failure> {
        if self.upstream.is_websocket {
            return Ok(()); // Over HTTP/2 the success itself is the proof (RFC 8441 section 5).
        }
        if head.status == 101 && !self.request.has_offered(head.upgrade_value) {
            return Err(Failure::MalformedResponse(Refusal::BadSwitch));
        }
        if self.request.version != Version::Http2 || !self.request.asked.upgrade {
            return Ok(()); // A client of HTTP/1.1 checks the proof itself.
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
        if is_proper {
            Ok(())
        } else {
            Err(Failure::MalformedResponse(Refusal::BadSwitch))
        }
    }

    /// Takes the head of an answer that concerns the cache.
    #[inline(never)]
    fn take_cached(
        &self,
        head: &ResponseHead<'_, '_>,
        fetch: &CacheFetch,
        out: &mut Block,
    ) -> Answer {
        let (Some(policy), Some(cache)) = (&self.exchange.route().cache, &self.shard.cache) else {
            return self.take_final(head, Cached::default(), out);
        };
        let received = ReceivedAnswer {
            store: &cache.store,
            policy,
            fetch,
            head,
            references: self.references(),
        };
        let counters = match fetch.purpose {
            FetchPurpose::Store(..) => self.exchange.cache_counters(),
            FetchPurpose::Bypass(_) | FetchPurpose::Change => None,
        };
        if let Some(counters) = counters {
            counters.fetches.add(1);
        }
        let mut cached = Cached::default();
        let detail = match received.effect() {
            CacheEffect::Serve(serving) => {
                self.note_unpassed(head.status);
                return Answer::Stored {
                    serving,
                    // The body of an answer that is not passed on is not received.
                    reusable: head.keep_alive
                        && matches!(head.body, ResponseBody::None | ResponseBody::Length(0)),
                };
            }
            CacheEffect::Store(mut fill) => {
                fill.count_in(self.exchange.shared_cache_counters());
                cached.fill = Some(fill);
                ""
            }
            CacheEffect::Pass(label) => {
                if let Some(counters) = counters {
                    counters.note_not_stored(label);
                }
                label
            }
            CacheEffect::Repeat => {
                self.note_unpassed(head.status);
                // The body of an answer that is not passed on is not received.
                return Answer::Repeat {
                    reusable: head.keep_alive
                        && matches!(head.body, ResponseBody::None | ResponseBody::Length(0)),
                };
            }
        };
        cached.status = fetch.cache_status(policy, head.fields, detail);
        // RFC 9110 section 6.6.1 (MUST): a response that is stored has a Date, for its first client, too.
        if cached.fill.is_some() && head.field("date").is_none() {
            cached.date = Some(imf_fixdate(unix_millis() / 1_000));
        }
        let is_stored = cached.fill.is_some() && matches!(fetch.purpose, FetchPurpose::Store(..));
        cached.edits = self.edits_without(&withheld(policy, head.fields, is_stored));
        self.take_final(head, cached, out)
    }

    /// The edits of the route with further fields taken out; `None`: there are no further ones.
    fn edits_without(&self, withheld: &[&str]) -> Option<FieldEdits> {
        if withheld.is_empty() {
            return None;
        }
        let own = &self.exchange.route().response_fields;
        let names = withheld.iter().map(|name| name.to_ascii_lowercase());
        let removed = own.remove.iter().cloned().chain(names).collect();
        Some(FieldEdits::new(removed, own.set.clone()))
    }

    /// Counts an answer that is not passed on for its backend.
    fn note_unpassed(&self, status: u16) {
        let backend = self.upstream.backend();
        let now = Micros::now();
        let micros = now.since(self.asked_at);
        self.exchange.note_backend(backend);
        self.exchange
            .config
            .live(self.request.pool)
            .observe(backend, micros, now);
        if let Some(place) = self.exchange.progress.place {
            let millis = self.shard.timers.millis();
            self.shard.under_way.note_head(place, backend, millis);
        }
        self.shard.report_answer(self.exchange, backend);
        count_unpassed(self.shard, self.exchange, status, micros);
    }

    fn take_final(
        &self,
        head: &ResponseHead<'_, '_>,
        mut cached: Cached,
        out: &mut Block,
    ) -> Answer {
        debug_assert!(
            head.status >= 200,
            "an interim head does not end an exchange"
        );
        let way = ResponseWay {
            from: head.version,
            to: self.request.version,
            is_strict: self.request.asked.strict,
        };
        let has_body = !matches!(head.body, ResponseBody::None | ResponseBody::Length(0));
        let filters = Filters::of_response();
        let framing = match filters {
            None => framing::of_response(head.body, way),
            Some(_) => framing::of_filtered_response(head.body, head.named_length(), way),
        };
        let filters = filters.filter(|_| has_body);
        if matches!(head.body, ResponseBody::Chunked | ResponseBody::UntilClose) {
            let content_type = head.field("content-type");
            let is_stream = content_type.is_some_and(is_event_stream);
            self.exchange
                .note(|tally| tally.is_event_stream = is_stream);
        }
        let close = framing.ends_by_close || !self.client.may_go_on(self.shard, self.exchange);
        self.client
            .note(|persistence| persistence.answer_begins(!close, framing.ends_by_close));
        self.encode(head, framing.announced, (close, &cached), out);
        if let Some(fill) = &mut cached.fill
            && matches!(framing.coming, Coming::Nothing)
        {
            fill.end(&[]);
        }
        let may_have_trailers = matches!(framing.coming, Coming::Chunked(_) | Coming::UntilClose);
        Answer::Final {
            body: Body {
                coming: framing.coming,
                chunked: framing.chunked,
                most: u64::MAX,
                trailers: Vec::new(),
                rules: may_have_trailers.then(|| TrailerRules::of_response(self.exchange)),
                filters,
                fill: cached.fill.filter(|fill| fill.is_storing()),
            },
            // A body that the end of the connection ends leaves no connection to reuse (RFC 9112 section 6.3, rule 8).
            reusable: head.keep_alive && head.body != ResponseBody::UntilClose,
        }
    }

    fn encode(
        &self,
        head: &ResponseHead<'_, '_>,
        body: ResponseBody,
        (close, cached): (bool, &Cached),
        out: &mut Block,
    ) {
        let route = self.exchange.route();
        let is_switch = self.upstream.is_websocket && (200..300).contains(&head.status);
        let key = self.request.websocket_key.as_ref();
        let accept = key.filter(|_| is_switch).map(|key| websocket::accept(key));
        let date = cached.date.as_ref().map(|date| &date[..]);
        let computed = [("cache-status", cached.status.as_deref()), ("date", date)];
        let written = computed.into_iter().filter_map(|(name, value)| {
            let value = value?;
            Some(ComputedField { name, value })
        });
        let computed: Vec<_> = written.collect();
        let edits = ResponseEdits {
            client_version: self.request.version,
            body,
            close,
            operator: cached.edits.as_ref().unwrap_or(&route.response_fields),
            computed: &computed,
            via: route.via,
            rewriting: Rewriting {
                references: self.references(),
                cookies: &route.cookies,
            },
            accept: accept.as_ref().map(|accept| &accept[..]),
        };
        h1::encode_response(out.vec(), head, &edits);
    }

    /// How references in the answer are rewritten; `None`: references are not rewritten.
    fn references(&self) -> Option<References<'_>> {
        let asked_for = self.request.asked_for.as_ref()?;
        let (exchange, pool) = (self.exchange, self.request.pool);
        let config = &exchange.config;
        let index = config.index_of(self.upstream.backend());
        let backend = config.backend(pool, index.or(exchange.tally().backend)?);
        Some(asked_for.references(exchange.route(), config.pool(pool), backend))
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
