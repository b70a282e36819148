//! The part of the look-up that chooses among several stored responses, by the request.

use super::LookUp;
use crate::cache::reuse::{Reuse, reuse};
use crate::cache::selection::{MatchingResponse, chosen};
use crate::cache::vary;
use crate::shared::SharedEntry;
use crate::shared::cache::{EntryState, Found};
use crate::worker::cache::fetch::CacheRequest;
use crate::worker::cache::serving::{Formless, form_of};

impl LookUp<'_> {
    /// Puts the entry that answers the request before the further ones that match.
    pub(super) fn choose(&self, asked: &CacheRequest<'_>, found: &mut Found) {
        let Some(newest) = found.entry.take() else {
            return;
        };
        if !found.further.is_empty() {
            found.further.insert(0, newest);
            let matching = found.further.iter();
            let at = chosen(matching.map(|entry| self.matching(asked, entry)));
            found.entry = Some(found.further.remove(at));
        } else {
            found.entry = Some(newest);
        }
    }

    /// The variant that the request asks for, if the stored responses of the key show what they vary by.
    pub(super) fn variant(&self, asked: &CacheRequest<'_>, found: &Found) -> Option<Vec<u8>> {
        let known = found.entry.as_ref().or(found.other.as_ref())?;
        vary::variant_like(known.variant(), asked.fields)
    }

    fn matching(&self, asked: &CacheRequest<'_>, entry: &SharedEntry) -> MatchingResponse {
        let facts = entry.facts();
        let is_purged = self.cache.store.check(entry) == EntryState::Stale;
        let reused = reuse(self.policy, &facts, &asked.asking, is_purged, self.now);
        let formed = form_of(&asked.asking, asked.fields, entry, entry.body_len());
        MatchingResponse {
            is_usable: !matches!(reused, Reuse::Validate(_))
                && !matches!(formed, Err(Formless::Missing(_))),
            has_vary: !entry.variant().is_empty(),
            date: facts.date,
        }
    }
}
