//! The beginning of a response, and what holds until then: who is waited for, and how long.

use std::task::{Context, Poll};

use crate::base::limits;
use crate::base::time::Micros;
use crate::worker::attempt::Attempt;
use crate::worker::failure::Failure;
use crate::worker::leave;
use crate::worker::min_rate::MinRate;
use crate::worker::retry::Repeatable;

impl Attempt<'_> {
    /// Notes that from here on no other answer can be given.
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
            timer.set(self.patience_with_upload()); // What it waits for may come later now, or never.
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
        leave::poll_unanswered(self.shard, client, exchange, request, cx)
    }

    /// Whether the time for the answer has not begun, and that for the whole exchange has not ended.
    pub(super) fn may_wait_on(&self) -> bool {
        self.duplex().is_uploading && !self.exchange.is_overdue()
    }

    /// Waits until the request is sent to its end: a client that is told to speak another protocol could not tell where
    /// the body of its request ends. The body has a bound of its own. Errors: the request will never be sent to its
    /// end, so that nobody could tell where the other protocol begins, or ends with its backend.
    pub(super) async fn await_upload(&self) -> Result<(), Failure> {
        // The task that waits here also sends the request, and looks here after each send. When the backend turns
        // unhealthy, the exchange's timer makes the task look.
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
        waited.unwrap_or(Err(Failure::BodyTimeout))?;
        self.duplex().upload_failure.map_or(Ok(()), Err)
    }

    /// Refuses what came behind the head of an upgrade without a body before it was answered.
    pub(super) fn check_early_bytes(&self) -> Result<(), Failure> {
        if self.request.has_body || self.client.wire.is_empty() {
            Ok(())
        } else {
            Err(Failure::EarlyUpgradeBytes)
        }
    }
}
