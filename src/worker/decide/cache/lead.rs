//! The part of the look-up that lets the cache fetch by itself: where the request of the client could not bring what is
//! to be stored, a request without a client does, and the client waits for its answer.

use httparse::Header;

use super::follow::take_body;
use super::{Early, LookUp, LookedUp};
use crate::cache::reuse::Trouble;
use crate::cache::status::{Forwarded, Handling};
use crate::cache::vary;
use crate::shared::access::CachePart;
use crate::shared::cache::{FillEnd, Found, Joined, Outcome, Ticket, Widened};
use crate::worker::cache::fetch::CacheRequest;
use crate::worker::cache::own::{Led, OwnFetch};
use crate::worker::cache::serving::{Serving, form_of, may_answer_stale, part_of};

/// Whether a request has conditions that a cache may evaluate.
pub(super) fn has_conditions(fields: &[Header<'_>]) -> bool {
    let is_condition = |field: &Header<'_>| {
        field.name.eq_ignore_ascii_case("if-none-match")
            || field.name.eq_ignore_ascii_case("if-modified-since")
    };
    fields.iter().any(is_condition)
}

impl LookUp<'_> {
    /// Whether the answer to the request could not be stored, but that to the same request without its conditions
    /// could: a 304 to the client's own conditions brings nothing that could be stored.
    pub(super) fn needs_own(&self, asked: &CacheRequest<'_>, found: &Found) -> bool {
        found.entry.is_none() && has_conditions(asked.fields)
    }

    /// Whether the request has caused a fetch of the cache's own before.
    pub(super) fn has_led(&self) -> bool {
        self.exchange.progress.collapsed.has_led
    }

    /// Counts a fetch of the whole for a client that asks for less; `None`: the request has caused one already, or the
    /// clients of its network have caused too many.
    pub(super) fn begin_widened(&self) -> Option<Widened> {
        let facts = &self.exchange.facts;
        let client = facts.client.or(self.incoming.client.arrival.peer.ip());
        let begin = || self.cache.store.begin_widened(client);
        (!self.has_led()).then(begin).flatten()
    }

    /// Whether the key was asked for too seldom for an answer to be stored.
    pub(super) fn is_rare(&self, asked: &CacheRequest<'_>, found: &Found) -> bool {
        let is_unknown = found.entry.is_none() && found.other.is_none();
        is_unknown
            && self.exchange.progress.collapsed.waits == 0
            && !(self.cache.store).is_wanted(asked.hash, self.policy.min_uses, self.now)
    }

    /// Asks a backend whether a stored response still holds. Where the settings want that and the response may be used
    /// stale, the client waits for a bounded time only, and then gets the stale response.
    pub(super) fn validate_with_patience(
        &self,
        asked: &CacheRequest<'_>,
        cookies: Option<Vec<u8>>,
        found: Found,
        reason: (Forwarded, &'static str),
    ) -> Result<LookedUp, Early> {
        let (Some(patience), Some(entry)) = (self.policy.stale_after, found.entry.clone()) else {
            return self.ask(asked, cookies, found, reason);
        };
        // RFC 9111 section 4.2.4 (MUST NOT, a): what forbids stale responses forbids this one, however slow the backend
        // is.
        let trouble = Trouble::Unreachable;
        let may_be_stale = may_answer_stale(self.policy, &entry, &asked.asking, trouble, self.now);
        let progress = &self.exchange.progress;
        let formed = form_of(&asked.asking, asked.fields, &entry, entry.body_len());
        if let Ok(form) = formed
            && may_be_stale
            && progress.collapsed.is_stale_due
        {
            return Ok(self.serve(&entry, form, (CachePart::Stale, "slow")));
        }
        let may_wait = may_be_stale
            && self.may_collapse(asked, &found)
            && !self.has_led()
            && progress.collapsed.waits == 0
            && !asked.asking.is_only_if_cached();
        if !may_wait {
            return self.ask(asked, cookies, found, reason);
        }
        let variant = self.variant(asked, &found);
        let store = &self.cache.store;
        let led = match store.join(asked.hash, asked.key, variant.as_deref(), self.now) {
            // Another core has refreshed the response, and ended its fetch, since this one looked.
            Joined::Lead(ticket) if !self.has_repeated.get() && self.is_outrun(asked, &found) => {
                self.has_repeated.set(true);
                drop(ticket);
                return self.look_up(asked, cookies);
            }
            Joined::Lead(ticket) => {
                let own = (ticket, OwnFetch::default());
                self.lead((asked, cookies), found, reason, own)
            }
            Joined::Follow(follower) => match self.follow(follower, asked) {
                Ok(looked_up) => looked_up,
                Err(()) => return self.ask(asked, cookies, found, reason),
            },
            Joined::Alone(_) => return self.ask(asked, cookies, found, reason),
        };
        progress.stale_after.set(Some(patience));
        Ok(led)
    }

    /// Lets the stored response be refreshed while it answers, unless another request does that already.
    pub(super) fn with_refresh(
        &self,
        served: LookedUp,
        asked: &CacheRequest<'_>,
        cookies: Option<Vec<u8>>,
        found: Found,
    ) -> LookedUp {
        let LookedUp::Serve(serving, _) = served else {
            return served;
        };
        let variant = self.variant(asked, &found);
        let joined = self
            .cache
            .store
            .join(asked.hash, asked.key, variant.as_deref(), self.now);
        let Joined::Lead(ticket) = joined else {
            return LookedUp::Serve(serving, None);
        };
        if self.is_outrun(asked, &found) {
            return LookedUp::Serve(serving, None);
        }
        // A range would bring a part in place of the whole that is stored.
        let is_whole = part_of(&serving.entry).is_none();
        let mut fetch = self.fetch(
            asked,
            cookies,
            found,
            (Forwarded::Stale, "refreshing"),
            ticket,
        );
        if is_whole {
            fetch.make_own(OwnFetch::default());
        }
        LookedUp::Serve(serving, Some(Box::new(fetch)))
    }

    /// Begins a fetch of the cache's own, for whose answer the request waits.
    pub(super) fn lead(
        &self,
        (asked, cookies): (&CacheRequest<'_>, Option<Vec<u8>>),
        found: Found,
        (reason, label): (Forwarded, &'static str),
        (ticket, own): (Ticket, OwnFetch),
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
    pub(super) fn serve_led(&self, asked: &CacheRequest<'_>) -> Option<Box<Serving>> {
        let led = self.exchange.progress.led.take()?;
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
        take_body(&mut serving, led.fill).then(|| Box::new(serving))
    }
}
