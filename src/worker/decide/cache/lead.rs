//! The part of the look-up that lets the cache fetch by itself: where the request of the client could not bring what is
//! to be stored, a request without a client does, and the client waits for its answer.

use httparse::Header;

use super::{LookUp, LookedUp};
use crate::cache::status::{Forwarded, Handling};
use crate::cache::vary;
use crate::shared::access::CachePart;
use crate::shared::cache::{Fetch as Ticket, FillEnd, Found, Outcome};
use crate::worker::cache::fetch::Asked;
use crate::worker::cache::own::{Led, Own};
use crate::worker::cache::serving::Serving;

/// Whether a request has conditions that a cache may evaluate.
pub(super) fn has_conditions(fields: &[Header<'_>]) -> bool {
    let is_condition = |field: &Header<'_>| {
        field.name.eq_ignore_ascii_case("if-none-match")
            || field.name.eq_ignore_ascii_case("if-modified-since")
    };
    fields.iter().any(is_condition)
}

impl LookUp<'_> {
    /// Whether the answer to the request could not be stored, but that to the same request without its conditions could:
    /// a 304 to the client's own conditions brings nothing that could be stored.
    pub(super) fn needs_own(&self, asked: &Asked<'_>, found: &Found) -> bool {
        found.entry.is_none() && has_conditions(asked.fields)
    }

    /// Whether the request has caused a fetch of the cache's own before.
    pub(super) fn has_led(&self) -> bool {
        self.exchange.progress.led.is_some()
    }

    /// Begins a fetch of the cache's own, for whose answer the request waits.
    pub(super) fn lead(
        &self,
        (asked, cookies): (&Asked<'_>, Option<Vec<u8>>),
        found: Found,
        (reason, label): (Forwarded, &'static str),
        (ticket, own): (Ticket, Own),
    ) -> LookedUp {
        let follower = ticket.follower();
        self.exchange.note_cache(CachePart::Miss, label);
        let mut fetch = self.fetch(asked, cookies, found, (reason, label), ticket);
        let Some(fill) = follower else {
            return LookedUp::Fetch(Box::new(fetch));
        };
        fetch.make_own(own);
        let led = Led {
            fill,
            reason,
            label,
        };
        LookedUp::Lead(Box::new(fetch), led)
    }

    /// Answers with what the request's own fetch has brought. The answer need not be fresh: it was fetched for this
    /// very request. `None`: the fetch has brought nothing that answers.
    pub(super) fn serve_led(&self, asked: &Asked<'_>) -> Option<Box<Serving>> {
        let led = self.exchange.progress.led.as_ref()?;
        let Outcome::Storable(entry) = led.fill.outcome() else {
            return None;
        };
        if !vary::matches(entry.variant(), asked.fields) {
            return None;
        }
        let is_open = led.fill.end() == FillEnd::Open;
        let form = self.form_from_fill(asked, &entry, is_open)?;
        let mut serving = self.serving(&entry, form, (CachePart::Miss, led.label));
        serving.handling = Handling::Forwarded {
            reason: led.reason,
            status: None,
            is_stored: true,
            is_collapsed: false,
        };
        if is_open {
            serving.fill = Some(led.fill.clone());
        }
        Some(Box::new(serving))
    }
}
