//! The part of the look-up that concerns stored parts of a representation: what they lack is asked for (RFC 9111
//! section 3.3 and 3.4).

use super::{Early, LookUp, LookedUp};
use crate::base::limits;
use crate::cache::ranges::RangeSelection;
use crate::cache::status::Forwarded;
use crate::cache::validators::Validators;
use crate::shared::SharedEntry;
use crate::shared::cache::{Entry, Found, Joined};
use crate::worker::cache::fetch::CacheRequest;
use crate::worker::cache::own::{Completing, OwnFetch};
use crate::worker::cache::serving::{AnswerForm, Missing, announced_length, form_of, part_of};

impl LookUp<'_> {
    /// Answers a request for more than the stored part has: the rest is fetched, or the request goes to a backend as it
    /// is.
    pub(super) fn ask_for_rest(
        &self,
        (asked, cookies): (&CacheRequest<'_>, Option<Vec<u8>>),
        mut found: Found,
        entry: SharedEntry,
        missing: Missing,
    ) -> Result<LookedUp, Early> {
        let reason = (Forwarded::Partial, "partial");
        // A part is not validated for a request that it does not answer; but it shows what the responses vary by.
        found.entry = None;
        found.further.clear();
        found.other = Some(entry.clone());
        let Some(own) = self.own_for(asked, &found, &entry, missing) else {
            return self.ask(asked, cookies, found, reason);
        };
        let variant = self.variant(asked, &found);
        let store = &self.cache.store;
        match store.join(asked.hash, asked.key, variant.as_deref(), self.now) {
            Joined::Lead(ticket) => Ok(self.lead((asked, cookies), found, reason, (ticket, own))),
            Joined::Follow(follower) => match self.follow(follower, asked) {
                Ok(looked_up) => Ok(looked_up),
                Err(()) => self.ask(asked, cookies, found, reason),
            },
            Joined::Alone(_) => self.ask(asked, cookies, found, reason),
        }
    }

    /// The fetch of the cache's own that brings what is missing; `None`: the request goes as it is.
    fn own_for(
        &self,
        asked: &CacheRequest<'_>,
        found: &Found,
        entry: &SharedEntry,
        missing: Missing,
    ) -> Option<OwnFetch> {
        let collapsed = self.exchange.progress.collapsed;
        // A stored slice stays a slice.
        let may_wait = self.policy.slice.is_none()
            && self.may_share(asked, found)
            && !self.has_led()
            && !collapsed.is_over
            && collapsed.waits < limits::COLLAPSED_WAITS
            && !asked.asking.is_only_if_cached();
        if !may_wait {
            return None;
        }
        let uses = self.note_range(asked);
        if let Some(completing) = self.completing(entry, missing) {
            return Some(OwnFetch {
                completing: Some(completing),
                ..OwnFetch::default()
            });
        }
        let total = part_of(entry)?.total;
        let wanted = missing.single?;
        let is_wanted = uses >= limits::RANGE_USES || total / limits::WIDENING <= wanted.len();
        let is_near = wanted.first <= limits::RANGE_WAIT_BYTES;
        if !is_wanted || !is_near || total > self.policy.max_object {
            return None;
        }
        Some(OwnFetch {
            widened: Some(self.begin_widened()?),
            ..OwnFetch::default()
        })
    }

    /// Notes a request for a range that is not stored; returns how many came of late.
    pub(super) fn note_range(&self, asked: &CacheRequest<'_>) -> u8 {
        if asked.asking.has_range && self.exchange.progress.collapsed.waits == 0 {
            self.cache.store.note_range(asked.hash, self.now)
        } else {
            0
        }
    }

    /// How the missing bytes complete the stored part.
    fn completing(&self, entry: &SharedEntry, missing: Missing) -> Option<Completing> {
        let stored = part_of(entry)?;
        let completion = stored.completion(missing.range)?;
        // RFC 9111 section 3.4: parts without a strong validator are not joined.
        Validators::of_head(entry.head()).strong()?;
        let is_within = completion.union.range.len() <= self.policy.max_object
            && stored.range.len() <= limits::JOINED_BYTES;
        is_within.then(|| Completing {
            entry: entry.clone(),
            completion,
        })
    }

    /// The form in which an entry that a fill brings answers the request. `is_open`: more of the body comes. `None`:
    /// the entry does not answer, or what is asked for would come too late.
    pub(super) fn form_from_fill(
        &self,
        asked: &CacheRequest<'_>,
        entry: &Entry,
        is_open: bool,
    ) -> Option<AnswerForm> {
        let length = if is_open && asked.asking.has_range {
            announced_length(entry)?
        } else {
            entry.body_len()
        };
        let form = form_of(&asked.asking, asked.fields, entry, length).ok()?;
        let start = part_of(entry).map_or(0, |extent| extent.range.first);
        let first = match &form {
            AnswerForm::Ranges(RangeSelection::Single(range)) => range.first,
            AnswerForm::Ranges(RangeSelection::Several(ranges)) => {
                ranges.as_slice().iter().map(|range| range.first).min()?
            }
            _ => 0,
        };
        let is_near = first.saturating_sub(start) <= entry.body_len() + limits::RANGE_WAIT_BYTES;
        (!is_open || is_near).then_some(form)
    }
}
