//! An attempt under way: its request, its backend and its client, as both directions of the exchange see them.

use std::cell::{Cell, OnceCell};

use super::duplex::Duplex;
use crate::base::limits;
use crate::base::time::Micros;
use crate::cache::request::AskedMethod;
use crate::net::Timer;
use crate::worker::downstream::Client;
use crate::worker::encode::PreparedRequest;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::min_rate::MinRate;
use crate::worker::shard::Shard;
use crate::worker::stream::Stream;
use crate::worker::upstream::Upstream;

/// An attempt whose request has been sent, as far as the request was kept. Both directions of the exchange use it.
pub struct Attempt<'a> {
    /// The core on which the attempt runs.
    pub shard: &'a Shard,
    /// The client that has sent the request.
    pub client: &'a Client,
    /// The exchange that the attempt belongs to.
    pub exchange: &'a Exchange,
    /// The request. The parts of it that are sent while the answer arrives have been taken out.
    pub request: &'a PreparedRequest,
    /// The connection to the backend.
    pub upstream: &'a Upstream,
    /// When the request, or its first part, was sent.
    pub asked_at: Micros,
    /// Bytes of the request's body that had been sent when the attempt began.
    pub sent_before: u64,
    /// Bounds the waits of the upload; `None`: the whole request was sent before the answer is received.
    pub upload_timer: Option<&'a Timer>,
    /// The least rate at which the client must take the answer's body, once the body has begun.
    pub reader_rate: OnceCell<MinRate>,
    /// The state that the two directions share.
    pub(super) duplex: Cell<Duplex>,
    /// The reason why the client gets no answer, although the answer is received on for the cache.
    pub abandoned: Cell<Option<Failure>>,
}

impl Attempt<'_> {
    /// The state that the two directions share, as it is now.
    pub fn duplex(&self) -> Duplex {
        self.duplex.get()
    }

    /// Whether the answer is received on for the cache if its client has gone: others wait for the answer, or only a
    /// little of it is to come.
    pub fn goes_on_without_client(&self) -> bool {
        let Some(fetch) = &self.request.fetch else {
            return false;
        };
        let received = self.exchange.tally().response_bytes;
        fetch.is_followed() || fetch.is_nearly_stored(received)
    }

    /// Whether nobody needs the rest of the answer: its only reader was the cache, which does not store it.
    pub fn is_for_nobody(&self, is_stored: bool) -> bool {
        let Some(fetch) = &self.request.fetch else {
            return false;
        };
        let policy = self.exchange.route().cache.as_ref();
        // The rest of a body that is not stored is for those who follow.
        let is_too_large = || {
            let received = self.exchange.tally().response_bytes;
            let is_over = policy.is_some_and(|policy| received > policy.max_object);
            is_over && !fetch.is_followed()
        };
        // The client that asked for the rest of a part may have gone meanwhile. The bytes that have come are kept. Most
        // slices are so small that their rest is near at once, so that for a slice time counts.
        let is_completing = fetch
            .own
            .as_ref()
            .is_some_and(|own| own.completing.is_some());
        let is_slice = fetch.slice().is_some_and(|slice| slice.is_awaited);
        let has_had_time = || Micros::now() >= self.asked_at.after(limits::FILL_ALONE);
        let is_overdue = is_slice && !fetch.is_followed() && has_had_time();
        let is_left = (is_slice || is_completing) && !self.goes_on_without_client() || is_overdue;
        matches!(self.client.wire.stream, Stream::Absent)
            && fetch.asking.method == AskedMethod::Get
            && (!is_stored || is_too_large() || is_left)
    }

    /// Notes that the client has gone. The result says whether the answer is received on.
    pub fn abandon(&self, failure: Failure) -> bool {
        let goes_on = self.abandoned.get().is_some() || self.goes_on_without_client();
        if goes_on && self.abandoned.get().is_none() {
            self.abandoned.set(Some(failure));
        }
        goes_on
    }

    /// Changes the state that the two directions share.
    pub fn tell(&self, change: impl FnOnce(&mut Duplex)) {
        let mut duplex = self.duplex.get();
        change(&mut duplex);
        self.duplex.set(duplex);
    }
}
