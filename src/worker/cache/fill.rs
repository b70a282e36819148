//! The cache fill of an answer: its body is copied into the store on its way to the client.

use crate::base::ids::WorkerId;
use crate::shared::SharedCacheCounters;
use crate::shared::cache::Filling;

/// The fill of one answer. A fill that is dropped before its end is not stored, and whoever follows it learns that.
pub struct Fill {
    /// `None`: the store has no room for the rest, or the body has ended.
    filling: Option<Filling>,
    /// Where the stored response is counted.
    counted_in: Option<(SharedCacheCounters, WorkerId)>,
}

impl Fill {
    /// A fill of which the head is stored.
    pub fn new(filling: Filling) -> Fill {
        Fill {
            filling: Some(filling),
            counted_in: None,
        }
    }

    /// Lets the response be counted when it is stored whole: by the worker, among the counts of its route's cache.
    pub fn count_in(&mut self, counters: Option<(SharedCacheCounters, WorkerId)>) {
        self.counted_in = counters;
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
        if let Some(filling) = self.filling.take() {
            let bytes = filling.pushed();
            // A purge that came meanwhile keeps the response out of the store, which harms nobody.
            if filling.finish(trailers).is_ok()
                && let Some((counters, worker)) = &self.counted_in
            {
                counters.of(*worker).note_stored(bytes);
            }
        }
    }

    /// Whether others follow the fill, so that the body is needed even if its client leaves.
    pub fn is_followed(&self) -> bool {
        let fill = self.filling.as_ref().and_then(Filling::fill);
        fill.is_some_and(|fill| fill.followers() > 0)
    }

    /// The bytes that are stored.
    pub fn stored(&self) -> u64 {
        self.filling.as_ref().map_or(0, Filling::pushed)
    }

    /// Whether the body is still being stored.
    pub fn is_storing(&self) -> bool {
        self.filling.is_some()
    }
}
