//! The cache fill of an answer: its body is copied into the store on its way to the client.

use crate::base::ids::WorkerId;
use crate::cache::extent::{Extent, part_head};
use crate::cache::facts::Flags;
use crate::cache::validators::Validators;
use crate::http::range::ByteRange;
use crate::shared::cache::{Filling, Follower};
use crate::shared::{SharedCacheCounters, SharedEntry};
use crate::worker::cache::serving::part_of;

/// The fill of one answer. A fill that is dropped before its end is stored as the part that has come, if a later fetch
/// may complete it; a request that follows it learns that it has failed.
pub struct BodyFill {
    /// `None`: the store has no room for the rest, or the body has ended.
    filling: Option<Filling>,
    /// Where the stored response is counted.
    counted_in: Option<(SharedCacheCounters, WorkerId)>,
    /// The stored part that the answer lies in front of, and that ends the body.
    behind: Option<SharedEntry>,
}

impl BodyFill {
    /// A fill of which the head is stored.
    pub fn new(filling: Filling) -> BodyFill {
        BodyFill {
            filling: Some(filling),
            counted_in: None,
            behind: None,
        }
    }

    /// Lets the response be counted when it is stored whole: by the worker, among the counts of its route's cache.
    pub fn count_in(&mut self, counters: Option<(SharedCacheCounters, WorkerId)>) {
        self.counted_in = counters;
    }

    /// Begins the body with that of a stored part.
    pub fn pass_stored(&mut self, entry: &SharedEntry) {
        entry.pieces().for_each(|piece| self.pass(piece));
    }

    /// Lets the body end with that of a stored part.
    pub fn end_with(&mut self, entry: SharedEntry) {
        self.behind = Some(entry);
    }

    /// Stores the next bytes of the body. Where the store has no room for them the answer goes on without the cache.
    pub fn pass(&mut self, bytes: &[u8]) {
        if let Some(filling) = &mut self.filling
            && filling.push(bytes).is_err()
        {
            self.filling = None;
        }
    }

    /// Puts the whole response into the store. `trailers`: each `name: value CRLF`.
    pub fn end(&mut self, trailers: &[u8]) {
        if let Some(entry) = self.behind.take() {
            self.pass_stored(&entry);
        }
        if let Some(filling) = self.filling.take() {
            let bytes = filling.pushed();
            // RFC 9111 section 3.1 (MUST NOT, b): trailers stay trailers, apart from the fields of the head.
            // A purge that came meanwhile keeps the response out of the store, which harms nobody.
            if filling.finish(trailers).is_ok()
                && let Some((counters, worker)) = &self.counted_in
            {
                counters.of(*worker).note_stored(bytes);
            }
        }
    }

    /// The body, if it goes to others whom it must wait for: see [`Filling::is_held_back`].
    pub fn held_back(&self) -> Option<&Filling> {
        self.filling
            .as_ref()
            .filter(|filling| filling.is_held_back())
    }

    /// Whether others may follow the body: it is stored as the client gets it.
    pub fn may_be_followed(&self) -> bool {
        let fill = self.filling.as_ref().and_then(Filling::fill);
        fill.is_some() && self.behind.is_none()
    }

    /// Takes the memory that the rest of the body may need. False: the store has not so much memory now, so that a
    /// follower could lose the rest.
    pub fn reserve(&mut self) -> bool {
        self.filling.as_mut().is_some_and(Filling::reserve)
    }

    /// The entry whose body grows, the number of bytes that it has, and a follower of the fill; `None`: nobody can
    /// follow.
    pub fn follow(&self) -> Option<(SharedEntry, u64, Follower)> {
        let filling = self.filling.as_ref()?;
        Some((
            filling.entry().clone(),
            filling.pushed(),
            filling.follower()?,
        ))
    }

    /// Whether the body is still being stored.
    pub fn is_storing(&self) -> bool {
        self.filling.is_some()
    }

    /// Stores what has come of a body that was cut.
    fn keep_part(&self, filling: Filling) {
        let (entry, pushed) = (filling.entry().clone(), filling.pushed());
        // A part in front of a stored one is worth less than the stored one, whose place it would take.
        let (Some(length), None) = (filling.length(), &self.behind) else {
            return;
        };
        let announced = part_of(&entry).unwrap_or(Extent {
            range: ByteRange {
                first: 0,
                last: length.saturating_sub(1),
            },
            total: length,
        });
        // RFC 9111 section 3.3: an incomplete response is stored as a part. Without a strong validator it could never
        // be completed.
        let is_kept = pushed > 0
            && pushed < length
            && entry.facts().status == 200
            && Validators::of_head(entry.head()).strong().is_some();
        if is_kept {
            let mut facts = entry.facts();
            facts.flags |= Flags::PARTIAL;
            let head = part_head(entry.head(), &announced.shortened(pushed));
            // A part that is not kept is fetched again.
            let _ = filling.keep(facts, &head);
        }
    }
}

impl Drop for BodyFill {
    fn drop(&mut self) {
        if let Some(filling) = self.filling.take() {
            self.keep_part(filling);
        }
    }
}
