//! The meaning of an answer to a request for a slice, where the answer is not that slice.

use crate::cache::extent::Extent;
use crate::cache::not_stored::NotStored;
use crate::cache::slices::is_same;
use crate::cache::validators::Validators;
use crate::cache::vary::{fields_of, matches};
use crate::shared::SharedEntry;
use crate::shared::cache::EntryState;
use crate::worker::cache::effect::{CacheEffect, ReceivedAnswer};
use crate::worker::cache::own::SliceFetch;
use crate::worker::cache::serving::part_of;

impl ReceivedAnswer<'_> {
    /// The effect of an answer that is not the slice that was asked for; `None`: the answer is the slice, or has the
    /// meaning that any answer has.
    pub(super) fn no_slice(&self, now: u64) -> Option<CacheEffect> {
        let slice = self.fetch.slice()?;
        match &slice.first {
            None => self.no_first_slice(slice, now),
            Some(first) => self.no_later_slice(slice, first, now),
        }
    }

    fn no_first_slice(&self, slice: &SliceFetch, now: u64) -> Option<CacheEffect> {
        let is_of_url = slice.number == 0;
        let may_be_sliced = match self.head.status {
            206 => {
                let part = self.extent();
                let part = part.filter(|part| slice.slicing.is_slice(slice.number, part));
                let has_tag = Validators::of(self.head.fields).strong_etag().is_some();
                let is_joined = has_tag && self.is_for_all();
                if part.is_some_and(|part| part.is_whole() || is_joined) {
                    return None;
                }
                false
            }
            // An empty representation has no range, and is asked for as it is.
            416 => true,
            // The first slice has the key of the URL, so that another answer is stored as any is.
            _ if is_of_url => return None,
            200 => false,
            _ => true,
        };
        self.give_up(slice, !may_be_sliced, now);
        Some(CacheEffect::Pass(NotStored::Partial.label()))
    }

    fn no_later_slice(
        &self,
        slice: &SliceFetch,
        first: &SharedEntry,
        now: u64,
    ) -> Option<CacheEffect> {
        let new = Validators::of(self.head.fields);
        let old = Validators::of_head(first.head());
        let status = self.head.status;
        let is_other = match status {
            206 => {
                let part = self.extent();
                let is_same_as_first = |part: &Extent| {
                    part_of(first).is_some_and(|known| is_same((&known, &old), (part, &new)))
                };
                let same = part.filter(is_same_as_first);
                let is_slice = |part: Extent| slice.slicing.is_slice(slice.number, &part);
                if same.is_some_and(is_slice) && self.is_for_all() {
                    return None;
                }
                same.is_none()
            }
            // RFC 9110 section 13.1.1: the state of the representation is another one than that of If-Match.
            412 | 416 => true,
            200 => !old.share_strong(&new),
            404 | 410 => true,
            _ => false,
        };
        // A client that still reads the old state says nothing of the new one.
        if is_other && self.is_superseded(slice, first) {
            self.give_up(slice, false, now);
            return Some(CacheEffect::Pass(NotStored::Partial.label()));
        }
        // Two states are never put together: what is stored of the old one goes.
        if is_other {
            self.invalidate_url(self.fetch.place.path_and_query());
        }
        // The first slice of a representation that has changed since may be old. One that has just come is of a backend
        // that has another state than this one, or the representation changes all the time.
        let memory = u64::from(self.policy.uncacheable_memory) * 1_000;
        let is_at_odds = first.facts().received + memory > now;
        let is_lasting = status < 500 && (!is_other || is_at_odds);
        self.give_up(slice, is_lasting, now);
        Some(CacheEffect::Pass(NotStored::Partial.label()))
    }

    /// Whether a slice that an answer began with was ended since, or the stored first slice of the URL is of another
    /// state.
    fn is_superseded(&self, slice: &SliceFetch, first: &SharedEntry) -> bool {
        if self.store.check(first) == EntryState::Dead {
            return true;
        }
        let (hash, key) = &slice.url;
        let found = self.fetch.with_fields(|fields| {
            let matches = |variant: &[u8]| matches(variant, fields);
            self.store.look_up(*hash, key, matches)
        });
        let began = Validators::of_head(first.head());
        let is_other = |stored: &SharedEntry| {
            let length = |entry| part_of(entry).map(|part| part.total);
            let is_same = began.share_strong(&Validators::of_head(stored.head()));
            !is_same || length(stored) != length(first)
        };
        found.entry.as_ref().is_some_and(is_other)
    }

    /// Whether the answer is a representation for all requests, or for all that accept the same codings: what other
    /// fields select may differ from slice to slice.
    fn is_for_all(&self) -> bool {
        let is_coding = |(name, _): &(&[u8], Option<&[u8]>)| *name == b"accept-encoding";
        let variant = self.variant();
        variant.is_ok_and(|variant| fields_of(&variant).iter().all(is_coding))
    }

    /// Ends the fetch of a slice that cannot be had. `is_lasting`: the URL is asked for without slices for some time.
    pub(super) fn give_up(&self, slice: &SliceFetch, is_lasting: bool, now: u64) {
        let until = if is_lasting { self.remembered(now) } else { 0 };
        let ticket = self.fetch.take_ticket();
        if slice.number == 0 {
            ticket
                .into_iter()
                .for_each(|ticket| ticket.uncacheable(until));
            return;
        }
        // The URL first: requests that waited for the slice look it up at once.
        if until > 0 {
            let (hash, key) = &slice.url;
            self.store.begin_fetch(*hash, key).uncacheable(until);
        }
        ticket.into_iter().for_each(|ticket| ticket.uncacheable(0));
    }
}
