//! The part of the look-up that lets a request be answered in slices.

use super::{LookUp, LookedUp};
use crate::cache::request::AskedMethod;
use crate::cache::slices::Slicing;
use crate::cache::status::Forwarded;
use crate::cache::vary;
use crate::shared::access::CachePart;
use crate::shared::cache::Follower;
use crate::worker::cache::fetch::{CacheFetch, CacheRequest, FetchPurpose};
use crate::worker::cache::own::{OwnFetch, SliceStart};
use crate::worker::cache::serving::part_of;

impl LookUp<'_> {
    /// Lets a request be answered in slices. `None`: the request is answered as on a route without slices, because it
    /// asks for what slices do not answer, or because the whole that it asks for is stored or is known not to come in
    /// slices.
    pub(super) fn in_slices(
        &self,
        asked: &CacheRequest<'_>,
        cookies: Option<&Vec<u8>>,
        size: u64,
    ) -> Option<LookedUp> {
        let slicing = Slicing::new(size);
        let is_get = asked.asking.method == AskedMethod::Get;
        // The slices that one user may have need not be those that all may have.
        let is_doubtful = asked.asking.is_authorized || self.exchange.progress.is_unsliced;
        if !is_get || is_doubtful || asked.asking.is_only_if_cached() {
            return None;
        }
        let mut number = slicing.start(asked.fields)?;
        let matches = |variant: &[u8]| vary::matches(variant, asked.fields);
        let mut found = self.cache.store.look_up(asked.hash, asked.key, matches);
        self.choose(asked, &mut found);
        if !self.may_share(asked, &found) || found.uncacheable_until > self.now {
            return None;
        }
        if let Some(entry) = &found.entry {
            // A stored whole answers, or is validated, as on any route.
            let part = part_of(entry)?;
            // Behind the end there is no slice: the first one tells where the end is.
            if slicing.range(number).first >= part.total {
                number = 0;
            }
        } else if let Some(recall) = self.recall(asked) {
            return Some(LookedUp::Recall(recall));
        } else if self.is_rare(asked, &found) {
            let reason = (Forwarded::UriMiss, "no_entry");
            let ticket = self.cache.store.begin_fetch(asked.hash, asked.key);
            self.exchange.note_cache(CachePart::Miss, reason.1);
            let mut fetch = self.fetch(asked, cookies.cloned(), found, reason, ticket);
            fetch.is_rare = true;
            return Some(LookedUp::Fetch(Box::new(fetch)));
        }
        let start = SliceStart {
            slicing,
            number,
            head_bytes: self.incoming.head.head_bytes,
        };
        let purpose = FetchPurpose::Store(Forwarded::UriMiss, "no_entry");
        let mut fetch = CacheFetch::new(asked, purpose, None);
        if let Some(cookies) = cookies {
            fetch.replace_cookies(cookies.clone());
        }
        fetch.make_own(OwnFetch::default());
        Some(LookedUp::Slices(Box::new(fetch), start))
    }

    /// The wait for the entries of a key that the disk has; `None`: it has none, or was asked before.
    pub(super) fn recall(&self, asked: &CacheRequest<'_>) -> Option<Follower> {
        let has_recalled = self.exchange.progress.collapsed.has_recalled;
        let recall = || self.cache.store.recall(asked.key);
        (!has_recalled).then(recall).flatten()
    }
}
