//! The beginning of a response: which party is waited for until then, and how long.

use std::task::{Context, Poll};

use crate::base::limits;
use crate::base::time::Micros;
use crate::worker::attempt::Attempt;
use crate::worker::failure::Failure;
use crate::worker::leave;
use crate::worker::min_rate::MinRate;
use crate::worker::retry::Repeatable;

impl Attempt<'_> {
    /// Notes that from now on no other answer can be given.
    pub(super) fn answer_begins(&self) {
        let exchange = self.exchange;
        if self.is_of_messages() {
            self.client.wire.stream.allow_leisure();
        }
        debug_assert!(
            !exchange.tally().is_answered,
            "an exchange has one final head"
        );
        let now = Micros::now();
        let micros = now.since(self.asked_at);
        exchange.note(|tally| {
            tally.is_answered = true;
            tally.upstream_micros = Some(micros);
            tally.head_micros = now.since(exchange.began);
        });
        if let Some(timer) = self.upload_timer {
            // The awaited bytes of the request may take longer now, or may never come.
            timer.set(self.patience_with_upload());
        }
        let live = exchange.config.live(self.request.pool);
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
    pub(super) fn reader_rate(&self) -> &MinRate {
        self.reader_rate.get_or_init(|| {
            if self.is_of_messages() {
                MinRate::none()
            } else {
                MinRate::of(&self.client.arrival.listener)
            }
        })
    }

    /// Whether the answer consists of messages that the backend sends as events happen.
    fn is_of_messages(&self) -> bool {
        self.exchange.facts.is_grpc || self.exchange.tally().is_event_stream
    }

    /// Begins the time that the backend has for its answer: the request has been sent to its end. While an interim head
    /// is being sent, the client's time runs, and the backend's time begins after it.
    pub fn answer_is_due(&self) {
        if !self.request.is_whole {
            // Until now the exchange may have waited for the client.
            self.exchange.backend_has_time();
        }
        if !self.exchange.tally().is_answered && !self.duplex().is_sending_interim {
            let wait = self.exchange.route().timeouts.upstream_response;
            self.client.timer.set(self.exchange.bounded(wait));
        }
    }

    /// Ready when the client has gone, or when the request must leave or end because its backend has become unhealthy.
    pub(super) fn poll_unanswered(&self, cx: &mut Context<'_>) -> Poll<Failure> {
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
        match leave::poll_unanswered(self.shard, client, exchange, request, cx) {
            Poll::Ready(failure) if failure.is_without_reader() && self.abandon(failure) => {
                leave::poll_unanswered_alone(self.shard, exchange, request, cx)
            }
            polled => polled,
        }
    }

    /// Whether the wait for the head goes on when its time is over: the request is still being sent, and the exchange
    /// has time left.
    pub(super) fn may_wait_on(&self) -> bool {
        self.duplex().is_uploading && !self.exchange.is_overdue()
    }

    /// Waits until the request is sent to its end: in a switch of protocols, the end of the request's body is where the
    /// new protocol begins. The body has a bound of its own. Errors: the request will never be sent to its end, or its
    /// backend has become unhealthy.
    pub(super) async fn await_upload(&self) -> Result<(), Failure> {
        // The waiting task also sends the request, and checks here after each send. When the backend turns unhealthy,
        // the timer of the exchange wakes the task.
        let uploaded = |_: &mut Context<'_>| {
            if !self.duplex().is_uploading {
                Poll::Ready(Ok(()))
            } else if leave::is_cut(self.shard, self.exchange) {
                Poll::Ready(Err(Failure::BackendDown))
            } else {
                Poll::Pending
            }
        };
        let timer = &self.client.timer;
        timer.set(limits::LONGEST_TIMEOUT);
        let waited = timer.bound(uploaded).await;
        waited.unwrap_or_else(|_| Err(self.exchange.unless_outdated(Failure::BodyTimeout)))?;
        self.duplex().upload_failure.map_or(Ok(()), Err)
    }

    /// Refuses bytes that came behind the head of an upgrade request without a body before the answer: they could
    /// belong to the next request or to the new protocol (RFC 9110 section 7.8).
    pub(super) fn check_early_bytes(&self) -> Result<(), Failure> {
        if self.request.has_body || self.client.wire.is_empty() {
            Ok(())
        } else {
            Err(Failure::EarlyUpgradeBytes)
        }
    }
}
