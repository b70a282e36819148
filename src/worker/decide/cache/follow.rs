//! Requests that get the answer to another one.

use super::{LookUp, LookedUp};
use crate::cache::reuse::{Reuse, reuse};
use crate::cache::status::{Forwarded, Handling};
use crate::cache::vary;
use crate::shared::SharedEntry;
use crate::shared::access::CachePart;
use crate::shared::cache::{FillEnd, Follower, Outcome};
use crate::worker::cache::fetch::CacheRequest;
use crate::worker::cache::serving::{AnswerForm, Serving};

impl LookUp<'_> {
    /// Uses the answer to another request, or waits for it. Errors: the answer is of no use for this request.
    pub(super) fn follow(
        &self,
        follower: Follower,
        asked: &CacheRequest<'_>,
    ) -> Result<LookedUp, ()> {
        let entry = match follower.outcome() {
            Outcome::Undecided => return Ok(LookedUp::Follow(follower)),
            Outcome::Storable(entry) => entry,
            Outcome::Uncacheable(_) | Outcome::Gone => return Err(()),
        };
        let facts = entry.facts();
        let is_ours = vary::matches(entry.variant(), asked.fields);
        let reused = reuse(self.policy, &facts, &asked.asking, false, self.now);
        let is_shared = !asked.asking.is_authorized || facts.permits_sharing();
        let is_purged = self.cache.store.is_purged_since(asked.key, &follower);
        if !is_ours || !is_shared || is_purged || !matches!(reused, Reuse::Fresh { .. }) {
            return Err(());
        }
        let is_open = follower.end() == FillEnd::Open;
        let form = self.form_from_fill(asked, &entry, is_open).ok_or(())?;
        let mut serving = self.collapsed(&entry, form);
        if !take_body(&mut serving, follower) {
            return Err(());
        }
        Ok(LookedUp::Serve(Box::new(serving), None))
    }

    /// Answers with what the request has waited for: the answer to a fetch of its own, or to another request.
    pub(super) fn serve_awaited(&self, asked: &CacheRequest<'_>) -> Option<LookedUp> {
        let led = self.serve_led(asked);
        let led = led.map(|serving| LookedUp::Serve(serving, None));
        led.or_else(|| self.serve_followed(asked))
    }

    /// Answers with the response to another request that this one has waited for. The fetch may take no further
    /// followers by now: its body may have grown too large to be stored. `None`: the response is of no use.
    fn serve_followed(&self, asked: &CacheRequest<'_>) -> Option<LookedUp> {
        let follower = self.exchange.progress.followed.take()?;
        let is_usable = match follower.outcome() {
            Outcome::Storable(entry) => {
                // The slowest of those who follow a body that is not stored may have lost its beginning.
                entry.key() == asked.key
                    && entry.first_kept() == 0
                    && (self.cache.store).may_answer(asked.hash, asked.key, &follower)
            }
            Outcome::Undecided | Outcome::Uncacheable(_) | Outcome::Gone => false,
        };
        is_usable.then(|| self.follow(follower, asked).ok())?
    }

    /// The response to another request that this one has waited for.
    pub(super) fn collapsed(&self, entry: &SharedEntry, form: AnswerForm) -> Serving {
        let mut serving = self.serving(entry, form, (CachePart::Hit, "collapsed"));
        serving.handling = Handling::Forwarded {
            reason: Forwarded::UriMiss,
            status: None,
            is_stored: false,
            is_collapsed: true,
        };
        serving
    }
}

/// Lets a response take its body from a fill. False: the beginning of a body that has failed is no answer. Nothing of
/// the body was sent yet.
pub(super) fn take_body(serving: &mut Serving, fill: Follower) -> bool {
    match fill.end() {
        FillEnd::Open => serving.fill = Some(fill),
        // A body that was only passed on has its trailers there alone.
        FillEnd::Complete if fill.trailers() != serving.entry.trailers() => {
            serving.fill = Some(fill);
        }
        FillEnd::Complete => {}
        FillEnd::Failed | FillEnd::Broken => return false,
    }
    true
}
