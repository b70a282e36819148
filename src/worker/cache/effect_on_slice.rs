//! The meaning of an answer to a request for a slice, where the answer is not that slice.

use crate::cache::extent::Extent;
use crate::cache::not_stored::NotStored;
use crate::cache::slices::is_same;
use crate::cache::validators::Validators;
use crate::shared::SharedEntry;
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
            Some(first) => self.no_later_slice(slice, first),
        }
    }

    fn no_first_slice(&self, slice: &SliceFetch, now: u64) -> Option<CacheEffect> {
        let is_of_url = slice.number == 0;
        let knows_ranges = match self.head.status {
            206 => {
                let part = self.extent();
                let part = part.filter(|part| slice.slicing.is_slice(slice.number, part));
                let has_tag = Validators::of(self.head.fields).strong_etag().is_some();
                if part.is_some_and(|part| part.is_whole() || has_tag) {
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
        let until = match self.policy.uncacheable_memory {
            secs if secs > 0 && !knows_ranges => now + u64::from(secs) * 1_000,
            _ => 0,
        };
        let ticket = self.fetch.take_ticket();
        if let Some(ticket) = ticket {
            ticket.uncacheable(if is_of_url { until } else { 0 });
        }
        if until > 0 && !is_of_url {
            let (hash, key) = &slice.url;
            self.store.begin_fetch(*hash, key).uncacheable(until);
        }
        Some(CacheEffect::Pass(NotStored::Partial.label()))
    }

    fn no_later_slice(&self, slice: &SliceFetch, first: &SharedEntry) -> Option<CacheEffect> {
        let new = Validators::of(self.head.fields);
        let old = Validators::of_head(first.head());
        let is_other = match self.head.status {
            206 => {
                let part = self.extent();
                let is_same_as_first = |part: &Extent| {
                    part_of(first).is_some_and(|known| is_same((&known, &old), (part, &new)))
                };
                let same = part.filter(is_same_as_first);
                if same.is_some_and(|part| slice.slicing.is_slice(slice.number, &part)) {
                    return None;
                }
                same.is_none()
            }
            // RFC 9110 section 13.1.1: the state of the representation is another one than that of If-Match.
            412 | 416 => true,
            200 => !old.share_strong(&new),
            _ => false,
        };
        // Two states are never put together: what is stored of the old one goes.
        if is_other {
            self.invalidate_url(self.fetch.place.path_and_query());
        }
        if let Some(ticket) = self.fetch.take_ticket() {
            ticket.uncacheable(0);
        }
        Some(CacheEffect::Pass(NotStored::Partial.label()))
    }
}
